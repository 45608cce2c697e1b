//! `start`, `stop` and `list`.

use super::{Client, DEFAULT_URL, segment};
use crate::cli::{CaptureChoice, Format, List, Named, Start};
use crate::exit::Failure;
use crate::terminal::{harmless, print};
use reqwest::Method;
use serde_json::{Value, json};

/// Starts a session and says how to feed and watch it.
pub(crate) async fn start(args: Start) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    let response = client.send(client.request(Method::POST, "/v1/sessions").json(&body(&args))).await?;
    let fresh = response.status().as_u16() == 201;
    let session: Value =
        response.json().await.map_err(|_| Failure::unavailable("the gateway's answer is not JSON"))?;
    if let Some(note) = not_applied(&args, &session).filter(|_| !fresh) {
        eprintln!("roomscribe: {note}");
    }
    match args.format {
        Format::Json => print(session),
        Format::Text => print(describe(&session, fresh, &client.base)),
    }
}

/// Stops a session; its transcript stays.
pub(crate) async fn stop(args: Named) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    let path = format!("/v1/sessions/{}", segment(&args.session));
    let session: Value =
        client.send(client.request(Method::DELETE, &path)).await?.json().await.unwrap_or_default();
    if args.format == Format::Json {
        return print(session);
    }
    let name = &args.session;
    match session["completedAt"].is_string() {
        true => print(format_args!("{name} has ended already; its transcript: roomscribe export {name}")),
        false => print(format_args!("stopping {name}; its transcript stays: roomscribe export {name}")),
    }
}

/// Lists sessions, newest first.
pub(crate) async fn list(args: List) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    let response = client.send(client.request(Method::GET, "/v1/sessions")).await?;
    let answer: Value =
        response.json().await.map_err(|_| Failure::unavailable("the gateway's answer is not JSON"))?;
    let sessions = answer["sessions"].as_array().cloned().unwrap_or_default();
    match args.format {
        Format::Json => sessions.iter().try_for_each(print),
        Format::Text if sessions.is_empty() => {
            print("no sessions; begin one with: roomscribe start NAME --capture push")
        }
        Format::Text => table(&sessions).iter().try_for_each(print),
    }
}

const COLUMNS: [(&str, &str); 6] = [
    ("NAME", "name"),
    ("ROOM", "roomName"),
    ("STATE", "state"),
    ("REASON", "reason"),
    ("CREATED", "createdAt"),
    ("ID", "id"),
];

/// Lines with columns as wide as what they hold.
fn table(sessions: &[Value]) -> Vec<String> {
    let cell = |session: &Value, field: &str| match (field, session[field].as_str().unwrap_or_default()) {
        (_, "") => "-".to_owned(),
        ("createdAt", time) => time.chars().take(19).collect::<String>().replace('T', " "),
        (_, text) => harmless(text),
    };
    let mut rows = vec![COLUMNS.map(|(title, _)| title.to_owned())];
    rows.extend(sessions.iter().map(|session| COLUMNS.map(|(_, field)| cell(session, field))));
    let widths: [usize; 6] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn mode(capture: CaptureChoice) -> &'static str {
    match capture {
        CaptureChoice::Auto => "Auto",
        CaptureChoice::RoomComposite => "RoomComposite",
        CaptureChoice::TrackEgress => "TrackEgress",
        CaptureChoice::Push => "Push",
    }
}

fn body(args: &Start) -> Value {
    let vocabulary: Vec<Value> = args.vocabulary.iter().map(|entry| word(entry)).collect();
    let mut body = json!({
        "roomName": args.room,
        "capture": {"mode": mode(args.capture)},
        "speech": {
            "languages": args.languages,
            "codeSwitching": args.code_switching,
            "translateTo": args.translate_to,
            "vocabulary": vocabulary,
            "partials": !args.no_partials,
        },
    });
    if let Some(name) = &args.name {
        body["name"] = json!(name);
    }
    if let Some(milliseconds) = args.endpointing_milliseconds {
        body["speech"]["endpointingMilliseconds"] = json!(milliseconds);
    }
    body
}

/// Options of the command that a session which runs already does not take: it has its own, which its document does not all show.
fn not_applied(args: &Start, session: &Value) -> Option<String> {
    let is = |field: &str, given: &str| session[field].as_str() == Some(given);
    let options = [
        ("--name", args.name.as_ref().is_some_and(|name| !is("name", name))),
        ("--capture", args.capture != CaptureChoice::Auto && !is("captureMode", mode(args.capture))),
        ("--languages", !args.languages.is_empty()),
        ("--translate-to", !args.translate_to.is_empty()),
        ("--code-switching", args.code_switching),
        ("--vocabulary", !args.vocabulary.is_empty()),
        ("--endpointing-milliseconds", args.endpointing_milliseconds.is_some()),
        ("--no-partials", args.no_partials),
    ];
    let given: Vec<&str> = options.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    let name = harmless(session["name"].as_str().unwrap_or_default());
    (!given.is_empty()).then(|| {
        format!(
            "{name} runs already and keeps its own options; not applied: {}. To use them, end it first: roomscribe stop {name}",
            given.join(", ")
        )
    })
}

/// `WORD` or `WORD=SOUND|SOUND`.
fn word(entry: &str) -> Value {
    let (value, sounds) = entry.split_once('=').unwrap_or((entry, ""));
    let sounds: Vec<&str> = sounds.split('|').map(str::trim).filter(|sound| !sound.is_empty()).collect();
    json!({"value": value.trim(), "pronunciations": sounds})
}

fn describe(session: &Value, fresh: bool, gateway: &str) -> String {
    let text =
        |pointer: &str| session.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = vec![format!(
        "{} {} ({})",
        if fresh { "started" } else { "already running:" },
        text("/name"),
        text("/id")
    )];
    if text("/captureMode") != "Push" {
        lines.push(format!("captures  the LiveKit room {}", harmless(&text("/roomName"))));
    }
    let url = text("/ingest/url");
    if !url.is_empty() {
        lines.push(format!("publish   ffmpeg -re -i INPUT -vn -c:a aac -f flv '{url}'"));
        lines.push(format!(
            "OBS       server {}  stream key {}",
            text("/ingest/server"),
            text("/ingest/streamKey")
        ));
    }
    lines.push(format!("watch     {gateway}/#/s/{}", text("/id")));
    lines.push(format!("          roomscribe tail {}{}", elsewhere(gateway), text("/name")));
    lines.join("\n")
}

/// What a command needs to find the same gateway again.
fn elsewhere(gateway: &str) -> String {
    let known = std::env::var("ROOMSCRIBE_URL").is_ok_and(|url| url.trim().trim_end_matches('/') == gateway);
    if known || gateway == DEFAULT_URL { String::new() } else { format!("--url {gateway} ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_hold() {
        let session = |name: &str, room: &str| json!({"name": name, "roomName": room, "state": "Live", "reason": "", "createdAt": "2026-11-25T10:00:00.000Z", "id": "1"});
        let lines = table(&[session("a", "планёрка\u{1b}[2J"), session("a-much-longer-name", "b")]);
        assert_eq!(lines[0], "NAME                ROOM          STATE  REASON  CREATED              ID");
        assert_eq!(
            lines[1],
            "a                   планёрка\u{fffd}[2J  Live   -       2026-11-25 10:00:00  1"
        );
        assert_eq!(lines[2], "a-much-longer-name  b             Live   -       2026-11-25 10:00:00  1");
    }

    #[test]
    fn options_that_a_running_session_does_not_take_are_named() {
        use crate::cli::{Cli, Command};
        use clap::Parser;
        let note = |options: &[&str]| {
            let words = ["roomscribe", "start", "standup"].iter().chain(options);
            let Ok(Command::Start(start)) = Cli::try_parse_from(words).map(|cli| cli.command) else {
                panic!("{options:?}")
            };
            not_applied(&start, &json!({"name": "standup-1", "captureMode": "RoomComposite"}))
        };
        assert_eq!(note(&[]), None);
        assert_eq!(note(&["--name", "standup-1", "--capture", "room-composite"]), None);
        let told = note(&["--languages", "ru,en", "--no-partials", "--capture", "push", "--name", "other"]);
        let told = told.unwrap();
        assert!(told.contains(": --name, --capture, --languages, --no-partials. "), "{told}");
        assert!(told.ends_with("roomscribe stop standup-1"), "{told}");
    }

    #[test]
    fn a_word_may_bring_its_sounds() {
        assert_eq!(word("Kubernetes"), json!({"value": "Kubernetes", "pronunciations": []}));
        assert_eq!(
            word("Roomscribe=room scribe| rum scribe"),
            json!({"value": "Roomscribe", "pronunciations": ["room scribe", "rum scribe"]})
        );
    }
}
