//! DATA_DIR on a disk that is full (a small tmpfs): nothing acknowledged is lost, everybody is told, and it goes on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::command::run;
use roomscribe_e2e::speech::{Scripted, sentences};
use roomscribe_e2e::{Place, Viewer, ffmpeg, repository};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs of 2 MiB.
struct Disk(PathBuf);

impl Disk {
    /// `None` where nothing may be mounted.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).ok()?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        let _ = std::fs::write(self.0.join("ballast"), vec![0u8; 4 << 20]);
    }

    fn free(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.0.join("ballast"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_stops_new_sessions_says_so_and_loses_nothing_that_was_acknowledged() {
    let mut place = Place::new().unwrap();
    place.data_dir = place.data.path().join("disk");
    let Some(disk) = Disk::mount(&place.data_dir) else {
        eprintln!("SKIPPED: mounting a tmpfs needs root and CAP_SYS_ADMIN");
        return;
    };
    let speech = Scripted::start(&sentences(100, 1.0, 0.6, |n| format!("Sentence {n}."))).await.unwrap();
    let program = place.serve(&["--gladia-api-url", &speech.url()]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let recording = repository("tests/fixtures/meeting/meeting.aac");
    let _publisher = ffmpeg(&recording, session["ingest"]["url"].as_str().unwrap()).unwrap();
    let mut viewer = Viewer::new(&program.url, &session);
    viewer.watch_until(|viewer| viewer.finals().len() >= 2).await.unwrap();

    disk.fill();
    let refused = run(&program.url, &["start", "another", "--capture", "push"]).await.unwrap();
    assert_eq!(refused.code, 75, "{}", refused.err);
    assert!(refused.line().contains("DATA_DIR") && refused.line().contains("503"), "{}", refused.err);
    assert!(!run(&program.url, &["list"]).await.unwrap().out.contains("another"));
    program
        .until(&path, |now| now["message"].as_str().is_some_and(|message| message.contains("DATA_DIR")))
        .await
        .unwrap();
    let acknowledged: Vec<String> = viewer.finals().into_iter().map(str::to_owned).collect();
    let text = program.text(&format!("{path}/transcript?format=txt")).await.unwrap();
    assert!(acknowledged.iter().all(|sentence| text.contains(sentence)), "{text}");

    disk.free().unwrap();
    viewer.watch_until(|viewer| viewer.finals().len() >= acknowledged.len() + 3).await.unwrap();
    let expected: Vec<String> = (0..viewer.finals().len()).map(|n| format!("Sentence {n}.")).collect();
    assert_eq!(viewer.finals(), expected, "a sentence is missing or doubled");
    program.until(&path, |now| now["state"] == "Live").await.unwrap();
    assert_eq!(run(&program.url, &["start", "another", "--capture", "push"]).await.unwrap().code, 0);
    drop(program);
}
