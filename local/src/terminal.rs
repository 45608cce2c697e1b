//! Captions in a terminal: a final is a line, the newest partial is one line that is overwritten.

use crate::cli::Format;
use crate::exit::Failure;
use serde_json::Value;
use std::io::{self, ErrorKind, IsTerminal, Write};

const CLEAR_LINE: &str = "\r\x1b[2K";
/// What of a partial fits one line beside its time.
const PARTIAL_CHARS: usize = 60;

/// One line on standard output.
pub(crate) fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    written(writeln!(io::stdout().lock(), "{line}"))
}

/// A reader that has gone ends the command quietly, anything else is said.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::nobody_listens()),
        Err(error) => Err(Failure::unavailable(format_args!("cannot write to standard output: {error}"))),
    }
}

/// Text from elsewhere must not move the cursor or change colours.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Prints wire events for people or for programs.
pub(crate) struct Captions {
    format: Format,
    /// A person looks on: partials, bold and dim.
    live: bool,
    partial_shown: bool,
}

impl Captions {
    /// Partials are shown on a terminal only.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, live: io::stdout().is_terminal(), partial_shown: false }
    }

    /// One event.
    pub(crate) fn show(&mut self, event: &Value) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let result = match self.format {
            Format::Json => writeln!(out, "{event}"),
            Format::Text => self.text(event, &mut out),
        };
        written(result.and_then(|()| out.flush()))
    }

    fn text(&mut self, event: &Value, out: &mut impl Write) -> io::Result<()> {
        let line = match event["type"].as_str() {
            Some("partial") => return self.partial(event, out),
            Some("final") => self.caption(event),
            Some("translation") => {
                format!(
                    "          {}",
                    self.dim(&format!("{}: {}", text(event, "language"), text(event, "text")))
                )
            }
            Some("gap") => {
                self.note(&format!("{} s of audio lost: {}", seconds(event), text(event, "reason")))
            }
            Some("status") => self.note(&status(event)),
            Some("end") => self.note(&format!("end: {}", text(event, "reason"))),
            Some("error") => self.note(&format!("error: {}", text(event, "message"))),
            _ => return Ok(()),
        };
        if std::mem::take(&mut self.partial_shown) {
            write!(out, "{CLEAR_LINE}")?;
        }
        writeln!(out, "{line}")
    }

    fn partial(&mut self, event: &Value, out: &mut impl Write) -> io::Result<()> {
        if !self.live {
            return Ok(());
        }
        // The tail of a long partial is what is being said now.
        let words = text(event, "text");
        let skip = words.chars().count().saturating_sub(PARTIAL_CHARS);
        let tail: String = words.chars().skip(skip).collect();
        self.partial_shown = true;
        write!(out, "{CLEAR_LINE}{}  {}", time(event), self.dim(&tail))
    }

    fn caption(&self, event: &Value) -> String {
        let words = text(event, "text");
        match event.pointer("/speaker/name").and_then(Value::as_str).map(harmless) {
            Some(name) if self.live => format!("{}  \x1b[1m{name}\x1b[0m: {words}", time(event)),
            Some(name) => format!("{}  {name}: {words}", time(event)),
            None => format!("{}  {words}", time(event)),
        }
    }

    fn note(&self, words: &str) -> String {
        format!("          {}", self.dim(&format!("[{words}]")))
    }

    fn dim(&self, text: &str) -> String {
        if self.live { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn status(event: &Value) -> String {
    match (text(event, "state"), text(event, "message")) {
        (state, message) if message.is_empty() => state,
        (state, message) => format!("{state}: {message}"),
    }
}

fn text(event: &Value, field: &str) -> String {
    harmless(event[field].as_str().unwrap_or_default().trim())
}

fn time(event: &Value) -> String {
    let seconds = event["startMs"].as_u64().unwrap_or(0) / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn seconds(event: &Value) -> String {
    let (start, end) = (event["startMs"].as_u64().unwrap_or(0), event["endMs"].as_u64().unwrap_or(0));
    format!("{:.1}", end.saturating_sub(start) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(live: bool, events: &[Value]) -> String {
        let mut captions = Captions { format: Format::Text, live, partial_shown: false };
        let mut out = Vec::new();
        events.iter().for_each(|event| captions.text(event, &mut out).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_file_gets_finals_translations_gaps_and_the_end_and_no_escapes() {
        let events = [
            json!({"type": "partial", "startMs": 0, "text": "Доб"}),
            json!({"type": "final", "startMs": 3_661_000, "text": " Добрый день", "speaker": {"name": "Анна"}}),
            json!({"type": "translation", "language": "en", "text": "Good day"}),
            json!({"type": "gap", "startMs": 1000, "endMs": 2500, "reason": "PublisherLost"}),
            json!({"type": "end", "reason": "Stopped"}),
        ];
        let expected = "01:01:01  Анна: Добрый день\n          en: Good day\n          [1.5 s of audio lost: PublisherLost]\n          [end: Stopped]\n";
        assert_eq!(shown(false, &events), expected);
    }

    #[test]
    fn a_final_takes_the_place_of_the_partial_on_a_terminal() {
        let events = [json!({"type": "partial", "text": "go"}), json!({"type": "final", "text": "Good."})];
        let out = shown(true, &events);
        assert!(out.ends_with(&format!("{CLEAR_LINE}00:00:00  Good.\n")), "{out:?}");
    }

    #[test]
    fn words_cannot_steer_the_terminal() {
        let out =
            shown(true, &[json!({"type": "final", "text": "a\u{1b}[2Jb", "speaker": {"name": "x\ry"}})]);
        assert!(!out.contains("\x1b[2J") && !out.contains('\r'), "{out:?}");
    }
}
