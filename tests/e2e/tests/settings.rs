//! `serve`'s settings from the outside: where they come from, what a wrong one says, and what is never printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::command::{Finished, finish};
use roomscribe_e2e::{Place, eventually, free_port};
use serde_json::json;
use std::path::Path;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// `serve` with flags and environment in a folder, to its end.
async fn serve(place: &Place, flags: &[&str], environment: &[(&str, &str)]) -> Finished {
    let mut command = roomscribe_e2e::roomscribe().unwrap();
    command.arg("serve").args(flags).env("DATA_DIR", &place.data_dir).current_dir(place.data.path());
    command.envs(environment.iter().copied());
    finish(command).await.unwrap()
}

#[tokio::test]
async fn every_wrong_setting_ends_with_64_and_one_line_that_names_it_and_the_mend() {
    let place = Place::new().unwrap();
    let file = place.data.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (file, below) = (file.to_str().unwrap().to_owned(), file.join("folder").display().to_string());
    // Flags, environment, setting, mend.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, &'a str);
    let table: &[Case<'_>] = &[
        (&[], &[], "GLADIA_API_KEY", "--speech local"),
        (&[], &[("GLADIA_API_URL", "gladia.io")], "GLADIA_API_URL", "https://"),
        (&[], &[("GLADIA_API_URL", "http://")], "GLADIA_API_URL", "https://"),
        (&[], &[("GLADIA_API_KEY", "k"), ("GLADIA_REGION", "moon")], "GLADIA_REGION", "eu-west"),
        (&["--speech", "local", "--http-listen", "127.0.0.1:65536"], &[], "HTTP_LISTEN", "65535"),
        (&["--speech", "local", "--http-listen", "0.0.0.0:8080"], &[], "HTTP_LISTEN", "ROOMSCRIBE_API_KEY"),
        (&["--speech", "local", "--http-listen", "nowhere"], &[], "HTTP_LISTEN", "127.0.0.1:8080"),
        (&["--speech", "local", "--max-sessions", "1"], &[("PORT", "70000")], "PORT", "65535"),
        (&["--speech", "local", "--max-sessions", "1"], &[("PORT", "8080")], "PORT", "ROOMSCRIBE_API_KEY"),
        (&["--speech", "local", "--rtmp-listen", "1.2.3.4.5:1935"], &[], "RTMP_LISTEN", "127.0.0.1"),
        (&["--speech", "local"], &[("METRICS_LISTEN", "99999")], "METRICS_LISTEN", "65535"),
        (&["--speech", "local"], &[("RTMP_HOST", "rtmp://example.com")], "RTMP_HOST", "no scheme"),
        (&["--speech", "local"], &[("RTMP_HOST", "example.com:1935")], "RTMP_HOST", "RTMP_PORT"),
        (&["--speech", "local"], &[("RTMP_PORT", "0")], "RTMP_PORT", "65535"),
        (&["--speech", "local"], &[("RETENTION_DAYS", "0")], "RETENTION_DAYS", "from 1"),
        (&["--speech", "local"], &[("RETENTION_DAYS", "soon")], "RETENTION_DAYS", "from 1"),
        (&["--speech", "local"], &[("PUBLIC_URL", "https://")], "PUBLIC_URL", "https://example.com"),
        (&["--speech", "local"], &[("ALLOWED_ORIGINS", "example.com")], "ALLOWED_ORIGINS", "https://"),
        (&["--speech", "local"], &[("ROOMSCRIBE_API_KEY", "tiny")], "ROOMSCRIBE_API_KEY", "openssl"),
        (&["--speech", "local"], &[("ROOMSCRIBE_JWT_SECRET", "tiny")], "ROOMSCRIBE_JWT_SECRET", "openssl"),
        (&["--speech", "local"], &[("TLS_CERT", "cert.pem")], "TLS_KEY", "give both"),
        (&["--speech", "local"], &[("TLS_CERT", "cert.pem"), ("TLS_KEY", "key.pem")], "TLS_CERT", "PEM file"),
        (&["--speech", "local"], &[("LIVEKIT_API_KEY", "tiny")], "LIVEKIT_HTTP_URL", "all three"),
        (
            &["--speech", "local"],
            &[("LIVEKIT_HTTP_URL", "http://h"), ("LIVEKIT_API_KEY", "k")],
            "LIVEKIT_API_SECRET",
            "all three",
        ),
        (
            &["--speech", "local"],
            &[("LIVEKIT_HTTP_URL", "http://h"), ("LIVEKIT_API_SECRET", "tiny")],
            "LIVEKIT_API_KEY",
            "all three",
        ),
        (
            &["--speech", "local"],
            &[("LIVEKIT_HTTP_URL", "livekit"), ("LIVEKIT_API_KEY", "k"), ("LIVEKIT_API_SECRET", "tiny")],
            "LIVEKIT_HTTP_URL",
            "https://",
        ),
        (&["--speech", "local"], &[("RUST_LOG", "a=b=c")], "RUST_LOG", "info"),
        (&["--speech", "local", "--max-sessions", "0"], &[], "--max-sessions", "at least 1"),
        (&["--speech", "cloud"], &[], "--speech", "local"),
        (&["--rtmp-hots", "x"], &[], "--rtmp-hots", "--rtmp-host"),
        (&["--speech", "local"], &[("DATA_DIR", &file)], "DATA_DIR", "choose a folder"),
        (&["--speech", "local"], &[("DATA_DIR", &below)], "DATA_DIR", "choose a folder"),
        (&["--speech", "local"], &[("DATA_DIR", "/proc")], "DATA_DIR", "choose a folder"),
    ];
    for (flags, environment, name, mend) in table {
        let ended = serve(&place, flags, environment).await;
        assert_eq!(ended.code, 64, "{flags:?} {environment:?}: {}", ended.err);
        let line = ended.line();
        assert!(line.contains(name) && line.contains(mend), "{name}, {mend}: {line}");
        assert!(!line.contains("tiny"), "a secret was printed: {line}");
        assert_eq!(ended.out, "");
    }
}

#[tokio::test]
async fn an_env_file_that_cannot_be_read_names_its_line_and_not_its_value() {
    let place = Place::new().unwrap();
    std::fs::write(place.data.path().join(".env"), "# ours\nGLADIA_API_KEY=word hunter2\n").unwrap();
    let ended = serve(&place, &[], &[]).await;
    assert_eq!(ended.code, 64);
    let line = ended.line();
    assert!(line.contains(".env") && line.contains("line 2") && !line.contains("hunter2"), "{line}");
}

#[tokio::test]
async fn a_port_or_folder_in_use_ends_with_69_and_names_its_setting() {
    let (place, other) = (Place::new().unwrap(), Place::new().unwrap());
    let speech = ["--gladia-api-url", "http://127.0.0.1:9"];
    let _running = place.serve(&speech).await.unwrap();
    let (http, rtmp) = (format!("127.0.0.1:{}", place.http), format!("127.0.0.1:{}", place.rtmp));
    let own = place.data_dir.to_str().unwrap();
    // Flags, environment, setting.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let table: &[Case<'_>] = &[
        (&["--http-listen", &http], &[], "HTTP_LISTEN"),
        (&["--rtmp-listen", &rtmp], &[], "RTMP_LISTEN"),
        (&[], &[("METRICS_LISTEN", &rtmp)], "METRICS_LISTEN"),
        (&[], &[("DATA_DIR", own)], "DATA_DIR"),
    ];
    for (flags, environment, name) in table {
        let mut words = vec!["serve"];
        let (http, rtmp) = (format!("127.0.0.1:{}", other.http), format!("127.0.0.1:{}", other.rtmp));
        if !flags.contains(&"--http-listen") {
            words.extend(["--http-listen", &http]);
        }
        if !flags.contains(&"--rtmp-listen") {
            words.extend(["--rtmp-listen", &rtmp]);
        }
        words.extend(speech);
        words.extend(*flags);
        let mut command = roomscribe_e2e::roomscribe().unwrap();
        command.args(words).env("DATA_DIR", &other.data_dir).envs(environment.iter().copied());
        command.current_dir(other.data.path());
        let ended = finish(command).await.unwrap();
        assert_eq!(ended.code, 69, "{}", ended.err);
        assert!(ended.line().contains(name) && ended.line().contains("stop"), "{}", ended.err);
    }
}

#[tokio::test]
async fn flags_win_over_the_environment_and_the_environment_over_the_env_file() {
    let place = Place::new().unwrap();
    let env = "RTMP_HOST=file.example\nRTMP_PORT=1\nGLADIA_API_URL=http://127.0.0.1:9\nPUBLIC_URL=\nMETRICS_LISTEN=\n";
    std::fs::write(place.data.path().join(".env"), env).unwrap();
    for (flag, variable, expected) in [
        (Some("flag.example"), Some("variable.example"), "flag.example:1"),
        (None, Some("variable.example"), "variable.example:1"),
        (None, None, "file.example:1"),
    ] {
        let mut command = place.command(&[]).unwrap();
        command.args(flag.map(|host| ["--rtmp-host", host]).iter().flatten());
        command.envs(variable.map(|host| ("RTMP_HOST", host)));
        let program = place.run(command).await.unwrap();
        let session = program.start_push("standup", json!({})).await.unwrap();
        let url = session["ingest"]["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("rtmp://{expected}/live/")), "{url}");
        assert_eq!(program.terminate().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn port_listens_on_every_address_with_a_key_and_nothing_secret_is_printed() {
    let place = Place::new().unwrap();
    let (port, key) = (free_port().unwrap(), "0123456789abcdef-the-api-key");
    let (gladia, jwt) = ("the-gladia-key", "the-secret-of-viewers-tokens-is-long");
    let mut command = roomscribe_e2e::roomscribe().unwrap();
    command
        .args(["serve", "--rtmp-listen", &format!("127.0.0.1:{}", place.rtmp), "--log", "debug"])
        .envs([("PORT", port.to_string().as_str()), ("ROOMSCRIBE_API_KEY", key), ("GLADIA_API_KEY", gladia)])
        .envs([("ROOMSCRIBE_JWT_SECRET", jwt), ("GLADIA_API_URL", "http://127.0.0.1:9")])
        .env("DATA_DIR", &place.data_dir)
        .current_dir(place.data.path());
    let (out, err) = (place.data.path().join("out"), place.data.path().join("err"));
    command.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&err).unwrap());
    let place = Place { http: port, ..place };
    let program = place.run(command).await.unwrap();
    let unknown = reqwest::get(format!("{}/v1/sessions", program.url)).await.unwrap();
    assert_eq!(unknown.status(), 401);
    let known = reqwest::Client::new().get(format!("{}/v1/sessions", program.url)).bearer_auth(key);
    assert_eq!(known.send().await.unwrap().status(), 200);
    let page = format!("http://127.0.0.1:{port}/");
    eventually(|| async { read(&out).contains(&page) }).await.unwrap();
    assert_eq!(program.terminate().await.unwrap(), 0);
    let printed = read(&out) + &read(&err);
    for secret in [key, gladia, jwt] {
        assert!(!printed.contains(secret), "{secret} was printed");
    }
}

#[tokio::test]
async fn a_name_for_publishers_elsewhere_beside_a_port_for_this_machine_only_is_told() {
    let place = Place::new().unwrap();
    let mut command = place.command(&["--gladia-api-url", "http://127.0.0.1:9"]).unwrap();
    let err = place.data.path().join("err");
    command.args(["--rtmp-host", "rtmp.example.com"]).stderr(std::fs::File::create(&err).unwrap());
    let program = place.run(command).await.unwrap();
    let told = "publishers are told rtmp.example.com: set RTMP_LISTEN=0.0.0.0:";
    let line = |text: String| {
        text.lines().any(|line| line.starts_with("RTMP_LISTEN is 127.0.0.1:") && line.contains(told))
    };
    eventually(|| async { line(read(&err)) }).await.unwrap();
    assert_eq!(program.terminate().await.unwrap(), 0);
}
