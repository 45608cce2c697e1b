//! Captions in a terminal: a final is a line, the newest partial is one line that is overwritten.

use crate::cli::Format;
use serde_json::Value;
use std::io::{IsTerminal, Write};

const CLEAR_LINE: &str = "\r\x1b[2K";

/// Prints wire events for people or for programs.
pub(crate) struct Captions {
    format: Format,
    live: bool,
    partial_shown: bool,
}

impl Captions {
    /// Partials are shown on a terminal only.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, live: std::io::stdout().is_terminal(), partial_shown: false }
    }

    /// One event.
    pub(crate) fn show(&mut self, event: &Value) {
        let mut out = std::io::stdout().lock();
        // A closed pipe ends the command through SIGPIPE or at the next write; there is nobody left to tell.
        let _ = match self.format {
            Format::Json => writeln!(out, "{event}"),
            Format::Text => self.text(event, &mut out),
        };
        let _ = out.flush();
    }

    fn text(&mut self, event: &Value, out: &mut impl Write) -> std::io::Result<()> {
        let line = match event["type"].as_str() {
            Some("partial") => return self.partial(event, out),
            Some("final") => caption(event),
            Some("translation") => {
                format!("           {} {}", dim(text(event, "language")), text(event, "text"))
            }
            Some("gap") => {
                dim(&format!("           [{} s of audio lost: {}]", seconds(event), text(event, "reason")))
            }
            Some("status") => {
                dim(&format!("           [{}: {}]", text(event, "state"), text(event, "message")))
            }
            Some("end") => dim(&format!("           [end: {}]", text(event, "reason"))),
            Some("error") => dim(&format!("           [error: {}]", text(event, "message"))),
            _ => return Ok(()),
        };
        if std::mem::take(&mut self.partial_shown) {
            write!(out, "{CLEAR_LINE}")?;
        }
        writeln!(out, "{line}")
    }

    fn partial(&mut self, event: &Value, out: &mut impl Write) -> std::io::Result<()> {
        if !self.live {
            return Ok(());
        }
        // The tail of a long partial is what is being said now.
        let words = text(event, "text");
        let skip = words.chars().count().saturating_sub(60);
        let tail: String = words.chars().skip(skip).collect();
        self.partial_shown = true;
        write!(out, "{CLEAR_LINE}{}  {}", time(event), dim(&tail))
    }
}

fn caption(event: &Value) -> String {
    let name = event.pointer("/speaker/name").and_then(Value::as_str);
    match name {
        Some(name) => format!("{}  \x1b[1m{name}\x1b[0m: {}", time(event), text(event, "text")),
        None => format!("{}  {}", time(event), text(event, "text")),
    }
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_default()
}

fn time(event: &Value) -> String {
    let seconds = event["startMs"].as_u64().unwrap_or(0) / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn seconds(event: &Value) -> String {
    let (start, end) = (event["startMs"].as_u64().unwrap_or(0), event["endMs"].as_u64().unwrap_or(0));
    format!("{:.1}", end.saturating_sub(start) as f64 / 1000.0)
}

fn dim(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
}
