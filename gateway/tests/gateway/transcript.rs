//! `GET …/transcript`: formats, negotiation, tags, ranges.

use crate::common::{Door, append, keyed, problem, utterance};
use roomscribe_transcript::{Event, SessionId};
use serde_json::{Value, json};

async fn spoken() -> (Door, SessionId, String) {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 3).await;
    let path = format!("/v1/sessions/{id}/transcript");
    (door, id, path)
}

#[tokio::test]
async fn each_format_has_its_media_type_its_file_name_and_every_final() {
    let (door, _, path) = spoken().await;
    for (format, kind, begins) in [
        ("json", "application/json", "{"),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:01,000 --> "),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n"),
        ("txt", "text/plain; charset=utf-8", ""),
    ] {
        let answer = door.get(&format!("{path}?format={format}")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], kind);
        assert_eq!(
            answer.headers()["content-disposition"],
            format!("inline; filename=\"standup-name.{format}\"")
        );
        assert_eq!(answer.headers()["cache-control"], "private, no-cache");
        let text = answer.text().await.unwrap();
        assert!(text.starts_with(begins), "{text}");
        assert!((1..=3).all(|at| text.contains(&format!("utterance {at}"))), "{text}");
    }
}

#[tokio::test]
async fn the_accept_header_chooses_where_the_url_does_not() {
    let (door, _, path) = spoken().await;
    for (accept, kind) in [
        ("text/vtt", "text/vtt; charset=utf-8"),
        ("text/plain;q=0.4, application/x-subrip;q=0.8", "application/x-subrip; charset=utf-8"),
        ("text/html, */*;q=0.1", "application/json"),
    ] {
        let answer = door.request("GET", &path).header("accept", accept).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], kind, "{accept}");
        assert!(answer.headers().get_all("vary").iter().any(|v| v.to_str().unwrap().contains("Accept")));
    }
    let answer = door.request("GET", &path).header("accept", "image/png").send().await.unwrap();
    assert_eq!(problem(answer).await, (406, "not-acceptable".into()));
}

#[tokio::test]
async fn the_json_export_says_how_far_it_goes_and_whether_that_is_all() {
    let (door, id, path) = spoken().await;
    let export: Value = door.get(&path).await.json().await.unwrap();
    assert_eq!(
        (&export["session"], &export["head"], &export["complete"]),
        (&json!(id.as_str()), &json!(3), &json!(false))
    );
    assert_eq!(export["segments"].as_array().unwrap().len(), 3);
    door.end(&id).await;
    let export: Value = door.get(&path).await.json().await.unwrap();
    assert_eq!((&export["head"], &export["complete"]), (&json!(4), &json!(true)));
}

#[tokio::test]
async fn after_and_until_take_a_part() {
    let (door, _, path) = spoken().await;
    for (query, offsets) in
        [("after=1", vec![2, 3]), ("until=2", vec![1, 2]), ("after=1&until=2", vec![2]), ("after=9", vec![])]
    {
        let export: Value = door.get(&format!("{path}?{query}")).await.json().await.unwrap();
        let got: Vec<_> =
            export["segments"].as_array().unwrap().iter().map(|s| s["offset"].as_u64().unwrap()).collect();
        assert_eq!(got, offsets, "{query}");
    }
    for query in ["after=x", "after=-1", "until=1.5", "format=pdf", "format="] {
        assert_eq!(problem(door.get(&format!("{path}?{query}")).await).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn an_unchanged_transcript_is_304_until_something_is_said() {
    let (door, id, path) = spoken().await;
    let tag = door.get(&path).await.headers()["etag"].to_str().unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
        let answer = door.request("GET", &path).header("if-none-match", &known).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["etag"].to_str().unwrap()),
            (304, tag.as_str()),
            "{known}"
        );
        assert!(answer.bytes().await.unwrap().is_empty());
    }
    let vtt = door
        .request("GET", &format!("{path}?format=vtt"))
        .header("if-none-match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(vtt.status(), 200, "another format is another thing");
    door.speak(&id, 4).await;
    let answer = door.request("GET", &path).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.headers()["etag"].to_str().unwrap(), tag);
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let (door, _, path) = spoken().await;
    let answer = door.request("HEAD", &format!("{path}?format=srt")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-subrip; charset=utf-8");
    assert!(answer.headers().contains_key("etag"));
    assert!(answer.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn markup_in_speech_stays_text_in_captions() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    append(&door.log, &id, Event::Final(utterance(1, "<script>alert(1)</script> a --> b & שלום"))).await;
    let vtt = door.get(&format!("/v1/sessions/{id}/transcript?format=vtt")).await.text().await.unwrap();
    assert!(vtt.contains("&lt;script&gt;") && vtt.contains("--&gt;") && vtt.contains("שלום"), "{vtt}");
}
