//! A really full disk: a small tmpfs. Needs root; says so and passes without.

use crate::publisher::Publisher;
use crate::stage::{Speech, Stage};
use crate::tones::{check, numbers};
use roomscribe_sims::rtmp_client::{Client, target};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Takes all that is left.
    fn fill(&self) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn on_a_full_disk_the_session_says_so_takes_no_new_publisher_and_goes_on_without_loss_when_there_is_space()
 {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let Some(disk) = SmallDisk::mount(&stage.data, "8m") else {
        eprintln!("not run: mounting a small tmpfs needs root");
        return;
    };
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    stage.until_events(|events| numbers(events).contains(&0)).await;
    let acknowledged = stage.events();
    disk.fill();
    worker.until_status(|status| status["reason"] == "StorageFull").await;
    let status = worker.status().await;
    assert!(status["lastError"].as_str().unwrap().contains("DATA_DIR"), "{status}");
    assert_eq!(status["state"], "publishing", "the live publisher is kept: {status}");
    let refused = Client::publish(&target(&stage.url(1)).unwrap()).await;
    assert!(refused.is_err(), "a new publisher was accepted");
    assert_eq!(worker.metric("roomscribe_worker_rtmp_refused_total{reason=\"storage\"}").await, 1);
    publisher.reach(publisher.now() + 5.0).await;
    assert_eq!(stage.events()[..acknowledged.len()], acknowledged[..], "what was acknowledged has changed");
    disk.free();
    worker.until_status(|status| status["reason"] == "" && status["lastError"].is_null()).await;
    publisher.reach(publisher.now() + 2.0).await;
    assert!(publisher.holes().is_empty(), "the live publisher was dropped");
    let heard = publisher.leave().await - 0.1;
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    check(&stage.events(), &[], heard);
}

#[tokio::test]
async fn a_worker_that_starts_on_a_full_disk_waits_for_space_instead_of_crashing() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let Some(disk) = SmallDisk::mount(&stage.data, "8m") else {
        eprintln!("not run: mounting a small tmpfs needs root");
        return;
    };
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    stage.until_events(|events| numbers(events).contains(&0)).await;
    worker.kill().await;
    disk.fill();
    let mut worker = stage.worker().await;
    worker.until_status(|status| status["reason"] == "StorageFull").await;
    disk.free();
    worker.until_status(|status| status["reason"] == "" && status["state"] == "publishing").await;
    publisher.reach(publisher.now() + 3.0).await;
    let holes = publisher.holes();
    let heard = publisher.leave().await - 0.1;
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    check(&stage.events(), &holes, heard);
}
