//! `start`, `stop` and `list`.

use super::{Client, segment};
use crate::cli::{CaptureChoice, Format, List, Named, Start};
use crate::exit::Failure;
use reqwest::Method;
use serde_json::{Value, json};

/// Starts a session and says how to feed and watch it.
pub(crate) async fn start(args: Start) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    let response = client.send(client.request(Method::POST, "/v1/sessions").json(&body(&args))).await?;
    let fresh = response.status().as_u16() == 201;
    let session: Value =
        response.json().await.map_err(|_| Failure::unavailable("the gateway's answer is not JSON"))?;
    match args.format {
        Format::Json => println!("{session}"),
        Format::Text => println!("{}", describe(&session, fresh, &args.gateway.url)),
    }
    Ok(())
}

/// Stops a session; its transcript stays.
pub(crate) async fn stop(args: Named) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    client.send(client.request(Method::DELETE, &format!("/v1/sessions/{}", segment(&args.session)))).await?;
    println!("stopping {}; its transcript stays: roomscribe export {}", args.session, args.session);
    Ok(())
}

/// Lists sessions, newest first.
pub(crate) async fn list(args: List) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    let response = client.send(client.request(Method::GET, "/v1/sessions")).await?;
    let answer: Value =
        response.json().await.map_err(|_| Failure::unavailable("the gateway's answer is not JSON"))?;
    let sessions =
        answer["sessions"].as_array().or_else(|| answer["items"].as_array()).cloned().unwrap_or_default();
    if args.format == Format::Json {
        sessions.iter().for_each(|session| println!("{session}"));
        return Ok(());
    }
    if sessions.is_empty() {
        println!("no sessions; begin one with: roomscribe start NAME --capture push");
        return Ok(());
    }
    println!("{:<34} {:<22} {:<15} {:<20} ID", "NAME", "ROOM", "STATE", "CREATED");
    for session in &sessions {
        let text = |field: &str| session[field].as_str().unwrap_or("-").to_owned();
        let created: String = text("createdAt").chars().take(19).collect();
        println!(
            "{:<34} {:<22} {:<15} {:<20} {}",
            text("name"),
            text("roomName"),
            text("state"),
            created,
            text("id")
        );
    }
    Ok(())
}

fn body(args: &Start) -> Value {
    let mode = match args.capture {
        CaptureChoice::Auto => "Auto",
        CaptureChoice::RoomComposite => "RoomComposite",
        CaptureChoice::TrackEgress => "TrackEgress",
        CaptureChoice::Push => "Push",
    };
    let vocabulary: Vec<Value> = args.vocabulary.iter().map(|word| json!({"value": word})).collect();
    json!({
        "roomName": args.room,
        "capture": {"mode": mode},
        "speech": {"languages": args.languages, "translateTo": args.translate_to, "vocabulary": vocabulary},
    })
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
    lines.push(format!("          roomscribe tail {}", text("/name")));
    lines.join("\n")
}
