//! Any language, end to end: what a session asks for reaches the speech service, and what it says reaches everyone unharmed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::command::run;
use roomscribe_e2e::speech::{Front, Mood, Scripted};
use roomscribe_e2e::{Place, Viewer};
use roomscribe_sims::adts::first;
use roomscribe_sims::egress::{AudioSource, Habits, Publisher, publish};
use roomscribe_sims::meeting::MEETING_AAC;
use serde_json::{Value, json};

/// (start and end in seconds, language, text, English translation)
const SAID: [(f64, f64, &str, &str, &str); 4] = [
    (1.0, 3.0, "ru", "Добрый день, коллеги: съешьте ещё этих булок.", "Good day, colleagues."),
    (5.0, 7.0, "ar", "مرحبا بالجميع، عندنا ٣ مواضيع.", "Welcome everyone, we have 3 topics."),
    (9.0, 11.0, "he", "שלום לכולם, בוקר טוב!", "Hello everyone, good morning!"),
    (13.0, 15.0, "en", "And <now> English & \"quotes\".", "And <now> English & \"quotes\"."),
];

fn script() -> Value {
    let utterance = |(start, end, language, text, english): (f64, f64, &str, &str, &str)| {
        let translations = if language == "en" { json!({}) } else { json!({"en": english}) };
        json!({"start": start, "end": end, "language": language, "text": text, "translations": translations})
    };
    json!({"utterances": SAID.map(utterance)})
}

#[tokio::test]
async fn cyrillic_arabic_and_hebrew_reach_viewers_tail_and_exports_with_their_translations_and_times() {
    let speech = Scripted::start(&script()).await.unwrap();
    let front = Front::start(&speech.address, Mood::Open).await.unwrap();
    let place = Place::new().unwrap();
    let program = place.serve(&["--gladia-api-url", &front.url]).await.unwrap();
    let words = [
        "start",
        "планёрка",
        "--capture",
        "push",
        "--name",
        "meeting",
        "--format",
        "json",
        "--languages",
        "ru,ar,he,en",
        "--code-switching",
        "--translate-to",
        "en",
        "--vocabulary",
        "Roomscribe=room scribe|рум скрайб,Кубернетес",
        "--endpointing-milliseconds",
        "250",
    ];
    let started = run(&program.url, &words).await.unwrap();
    assert_eq!(started.code, 0, "{}", started.err);
    let session = started.json().unwrap().remove(0);
    let url = session["ingest"]["url"].as_str().unwrap().to_owned();
    let audio = AudioSource::Adts(first(MEETING_AAC, 18));
    let publisher = Publisher { url, audio, speed: 10.0, habits: Habits::default() };
    let mut viewer = Viewer::new(&program.url, &session);
    let everything = |viewer: &Viewer| viewer.finals().len() == 4 && viewer.of("translation").len() == 3;
    let (published, watched) =
        tokio::join!(publish(publisher, std::future::pending()), viewer.watch_until(everything));
    published.unwrap();
    watched.unwrap();
    program.stop_session(&session).await.unwrap();
    viewer.watch_until(Viewer::has_ended).await.unwrap();

    let asked = &front.bodies()[0];
    assert_eq!(
        asked["language_config"],
        json!({"languages": ["ru", "ar", "he", "en"], "code_switching": true})
    );
    assert_eq!(asked["endpointing"], 0.25);
    let extras = &asked["realtime_processing"];
    assert_eq!((&extras["translation"], &extras["custom_vocabulary"]), (&json!(true), &json!(true)));
    assert_eq!(extras["translation_config"]["target_languages"], json!(["en"]));
    assert_eq!(
        extras["custom_vocabulary_config"]["vocabulary"],
        json!([{"value": "Roomscribe", "pronunciations": ["room scribe", "рум скрайб"]}, {"value": "Кубернетес"}])
    );

    for (event, (start, end, language, text, _)) in viewer.of("final").into_iter().zip(SAID) {
        assert_eq!((&event["text"], &event["language"]), (&json!(text), &json!(language)));
        let near = |field: &str, seconds: f64| event[field].as_f64().unwrap() - seconds * 1000.0;
        assert!(near("startMs", start).abs() <= 100.0 && near("endMs", end).abs() <= 100.0, "{event}");
    }
    let translated: Vec<_> = viewer.of("translation").iter().map(|event| event["text"].clone()).collect();
    assert_eq!(translated, SAID[..3].iter().map(|said| json!(said.4)).collect::<Vec<_>>());

    let id = session["id"].as_str().unwrap();
    let tail = run(&program.url, &["tail", "meeting"]).await.unwrap().out;
    for format in ["txt", "srt", "vtt", "json"] {
        let export = run(&program.url, &["export", id, "--format", format]).await.unwrap().out;
        for (start, _, _, text, english) in SAID {
            let escaped = match format {
                "vtt" => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
                "json" => text.replace('"', "\\\""),
                // SubRip has no escapes: a character that looks the same keeps players from seeing a tag.
                "srt" => text.replace('<', "\u{2039}").replace('>', "\u{203a}"),
                _ => text.to_owned(),
            };
            // Subtitles break long lines.
            let flat = export.replace('\n', " ");
            assert!(flat.contains(&escaped), "{format} lacks {escaped}: {export}");
            assert!(tail.contains(&format!("00:00:{start:02}  {text}")), "{text}: {tail}");
            assert!(tail.contains(english), "{english}: {tail}");
        }
    }
}
