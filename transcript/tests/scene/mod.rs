//! Transcripts to render: a meeting, three scripts of the world, hostile text, a monologue, and seeded nonsense.

use roomscribe_transcript::{
    End, Event, Final, Gap, Generation, MediaMs, Offset, Record, Relabel, RelabelPart, SegmentId, Speaker,
    SpeakerMethod, Translation, Word,
};

pub(crate) fn scenes() -> Vec<(&'static str, Vec<Record>)> {
    vec![
        ("meeting", meeting()),
        ("languages", languages()),
        ("hostile", hostile()),
        ("monologue", monologue()),
    ]
}

pub(crate) fn any_scenes() -> impl Iterator<Item = (&'static str, Vec<Record>)> {
    (0..200).map(|seed| ("seeded", nonsense(seed)))
}

fn speaker(id: &str, name: &str) -> Speaker {
    Speaker { id: id.into(), name: name.into(), method: SpeakerMethod::ActiveSpeaker, confidence: 0.9 }
}

fn record(offset: u64, event: Event) -> Record {
    Record { offset: Offset(offset), generation: Generation(1), event }
}

fn seg(offset: u64) -> SegmentId {
    SegmentId(format!("1-00_{offset:08}"))
}

pub(crate) fn final_at(offset: u64, start: u64, end: u64, speaker: Option<Speaker>, text: &str) -> Record {
    let event = Final {
        seg: seg(offset),
        start_ms: MediaMs(start),
        end_ms: MediaMs(end),
        speaker,
        language: None,
        text: text.into(),
        words: Vec::new(),
        confidence: None,
        at: "2026-11-23T10:00:04.120Z".into(),
    };
    record(offset, Event::Final(event))
}

/// Gives the final one word per space, each `step` milliseconds long.
fn worded(mut record: Record, step: u64) -> Record {
    if let Event::Final(event) = &mut record.event {
        let start = event.start_ms.0;
        let words = event.text.split_whitespace().enumerate().map(|(nth, w)| Word {
            w: w.trim_matches([',', '.']).into(),
            start_ms: MediaMs(start + nth as u64 * step),
            end_ms: MediaMs(start + (nth as u64 + 1) * step),
            c: 0.98,
        });
        event.words = words.collect();
    }
    record
}

fn in_language(mut record: Record, language: &str) -> Record {
    if let Event::Final(event) = &mut record.event {
        event.language = Some(language.into());
    }
    record
}

/// Two overlapping speakers, an event out of order, a gap, a final relabelled into two turns, an end.
pub(crate) fn meeting() -> Vec<Record> {
    let (alice, bob) = (speaker("alice", "Alice"), speaker("bob", "Bob"));
    let relabel = Relabel {
        seg: seg(3),
        parts: vec![
            RelabelPart { from_word: 0, to_word: 3, speaker: bob.clone() },
            RelabelPart { from_word: 3, to_word: 4, speaker: alice.clone() },
        ],
    };
    let gap = Gap { start_ms: MediaMs(8_000), end_ms: MediaMs(9_000), reason: "PublisherLost".into() };
    vec![
        worded(
            final_at(1, 1_200, 3_480, Some(alice.clone()), "Good morning, do we have 48 microphones?"),
            300,
        ),
        final_at(2, 5_000, 5_000, Some(bob.clone()), "Mhm."),
        worded(final_at(3, 3_300, 5_300, None, "Yes, we do. Good."), 500),
        record(4, Event::Gap(gap)),
        final_at(5, 9_000, 10_000, None, "Who is that?"),
        record(6, Event::Relabel(relabel)),
        record(7, Event::End(End { reason: "RoomEnded".into() })),
    ]
}

/// Russian with a translation, Hebrew and Arabic (right to left), Japanese (no spaces).
pub(crate) fn languages() -> Vec<Record> {
    let translation = |offset, of, text: &str| {
        record(
            offset,
            Event::Translation(Translation { seg: seg(of), language: "en".into(), text: text.into() }),
        )
    };
    let mariya = Some(speaker("m", "Мария Ивановна"));
    vec![
        in_language(final_at(1, 0, 2_000, mariya, "Доброе утро, коллеги. Начнём."), "ru"),
        translation(2, 1, "Good morning, everyone. Let us begin."),
        in_language(final_at(3, 2_500, 4_000, Some(speaker("d", "דוד")), "שלום לכולם, מה שלומכם?"), "he"),
        in_language(final_at(4, 4_500, 7_000, Some(speaker("l", "ليلى")), "صباح الخير، هل تسمعونني؟"), "ar"),
        translation(5, 4, "Good morning, can you hear me?"),
        in_language(
            final_at(
                6,
                7_500,
                12_000,
                None,
                "おはようございます。今日の会議を始めましょう。よろしくお願いします。聞こえますか。はい、聞こえています。",
            ),
            "ja",
        ),
        record(7, Event::End(End { reason: "Stopped".into() })),
    ]
}

/// What a participant who wants to break captions would say, and be called.
pub(crate) fn hostile() -> Vec<Record> {
    let named = |name: &str| Some(speaker("x", name));
    vec![
        final_at(
            1,
            0,
            1_000,
            named("Eve\n\n00:00:00.000 --> 01:00:00.000\nowned"),
            "one\r\n\r\n2\n00:00 --> 00:09\nforged cue",
        ),
        final_at(
            2,
            1_000,
            2_000,
            named("<script>&amp;</v>"),
            "<script>alert(1)</script> &lt; & <b>bold</b> <00:00:01.500>",
        ),
        final_at(3, 2_000, 3_000, named(""), r"{\an8}top {\pos(1,1)} NOTE STYLE WEBVTT --> x"),
        final_at(4, 2_000, 2_000, named("   "), "same start, no length"),
        final_at(5, 2_000, 2_000, None, " \u{2028}\u{0}\u{85}\t "),
        final_at(6, 3_000, 3_500, named(&"N".repeat(300)), &"w".repeat(200)),
        final_at(7, 9_000, 8_000, None, "ends before it starts \u{202e}\u{feff}\u{7}bell"),
        final_at(8, 0, 500, None, "NOTE this is not a comment"),
    ]
}

/// Forty seconds without a pause.
pub(crate) fn monologue() -> Vec<Record> {
    let text = "and then we said that the room would be quiet until the microphones were moved, which took "
        .repeat(5);
    vec![worded(final_at(1, 0, 42_500, Some(speaker("a", "Alice")), text.trim()), 500)]
}

/// Anything: overlaps, backward times, wrong words, relabels that point nowhere.
fn nonsense(seed: u64) -> Vec<Record> {
    let mut random = fastrand::Rng::with_seed(seed);
    (1..random.u64(2..30)).map(|offset| any_record(offset, &mut random)).collect()
}

fn any_record(offset: u64, random: &mut fastrand::Rng) -> Record {
    let start = random.u64(0..60_000);
    let end = (start + random.u64(0..15_000)).saturating_sub(random.u64(0..1_000));
    let who = random.bool().then(|| {
        speaker(&format!("p{}", random.u8(0..4)), ["Ann", "", "Bob & <Co>", "Ж"][random.usize(0..4)])
    });
    if offset > 1 && random.u8(0..4) == 0 {
        let from_word = random.u32(0..9);
        let speaker = speaker("late", "Late");
        let parts = vec![RelabelPart { from_word, to_word: from_word + random.u32(0..5), speaker }];
        return record(offset, Event::Relabel(Relabel { seg: seg(random.u64(1..offset)), parts }));
    }
    let words = [
        "so",
        "мы",
        "שלום",
        "a",
        "supercalifragilisticexpialidociously",
        "--> x",
        "48",
        "&",
        "会議を始めましょう",
        "x\n\ny",
    ];
    let text: Vec<_> = (0..random.usize(0..40)).map(|_| words[random.usize(0..words.len())]).collect();
    let plain = final_at(offset, start, end, who, &text.join(" "));
    match random.u8(0..3) {
        0 => plain,
        _ => worded(plain, random.u64(0..700)),
    }
}
