//! LiveKit's error texts quote RTMP URLs and sometimes tokens: neither reaches a log, a status or an event.

/// The longest text that is kept, in characters.
const MAX: usize = 300;

/// The text with the last path segment of every URL (of a WebSocket URL: the query) and every JWT cut out. Of every URL, because
/// a stream key stands in one with a wrong scheme too, which LiveKit quotes when it refuses it.
pub(crate) fn text(text: &str) -> String {
    let words: Vec<String> = text.split(' ').map(word).collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(MAX).collect()
}

fn word(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    if let Some(start) = ["wss://", "ws://"].iter().find_map(|scheme| lower.find(scheme)) {
        let cut = word[start..].find('?').map_or(word.len(), |query| start + query);
        return if cut < word.len() { format!("{}?…", &word[..cut]) } else { word.to_owned() };
    }
    if let Some(start) = word.find("://").map(|at| at + 3) {
        let cut = word[start..].rfind('/').map_or(word.len(), |slash| start + slash + 1);
        return format!("{}…", &word[..cut]);
    }
    // One that was cut short has one dot, or none.
    let jwt = word.find("eyJ").filter(|start| word[*start..].contains('.') || word.len() - start > 30);
    jwt.map_or_else(|| word.to_owned(), |start| format!("{}…", &word[..start]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_keys_query_secrets_and_tokens_are_cut_out() {
        let cases = [
            (
                "cannot reach rtmp://h:1935/live/i/s.1/SECRET now",
                "cannot reach rtmp://h:1935/live/i/s.1/… now",
            ),
            ("bad http://h/live/SECRET: use rtmp", "bad http://h/live/… use rtmp"),
            ("dial wss://h/v1/tracks/a?k=SECRET: refused", "dial wss://h/v1/tracks/a?…  refused"),
            ("token eyJhbGciOi.J9.SECRET is invalid", "token … is invalid"),
            ("token eyJhbGciOi.SECRET", "token …"),
            ("\"rtmps://h/app/SECRET\"", "\"rtmps://h/app/…"),
        ];
        for (given, expected) in cases {
            let said = text(given);
            assert!(!said.contains("SECRET"), "{said}");
            assert_eq!(said.replace(' ', ""), expected.replace(' ', ""));
        }
    }

    #[test]
    fn other_words_stay_and_a_long_text_is_cut() {
        assert_eq!(text("requested room does not exist"), "requested room does not exist");
        assert_eq!(text(&"x".repeat(1000)).chars().count(), MAX);
        assert_eq!(text("two\nlines"), "twolines");
    }
}
