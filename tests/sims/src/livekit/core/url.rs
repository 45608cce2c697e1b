//! RTMP URLs as LiveKit judges and redacts them.

/// `^(rtmps?://)(.*/)(.*/)(\S*)$`: host, app, key.
pub(crate) fn is_rtmp(url: &str) -> bool {
    let rest = url.strip_prefix("rtmp://").or_else(|| url.strip_prefix("rtmps://"));
    rest.is_some_and(|rest| {
        let mut parts = rest.rsplitn(2, '/');
        let key = parts.next().unwrap_or_default();
        let app = parts.next().and_then(|before| before.split_once('/'));
        !key.contains(char::is_whitespace)
            && app.is_some_and(|(host, app)| !host.is_empty() && !app.is_empty())
    })
}

/// The key as LiveKit shows it: `abcdef123456` is `{abc...456}`. User info stays, as observed.
pub(crate) fn redact(url: &str) -> String {
    let Some((before, key)) = url.rsplit_once('/') else { return url.to_owned() };
    let characters: Vec<char> = key.chars().collect();
    let edge = match characters.len() {
        9.. => 3,
        6.. => 2,
        3.. => 1,
        _ => return format!("{before}/{{...}}"),
    };
    let first: String = characters[..edge].iter().collect();
    let last: String = characters[characters.len() - edge..].iter().collect();
    format!("{before}/{{{first}...{last}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_keeps_its_edges_only() {
        let cases = [
            ("rtmp://h/live/abcdef123456", "rtmp://h/live/{abc...456}"),
            ("rtmp://h/live/abcdef", "rtmp://h/live/{ab...ef}"),
            ("rtmp://h/live/abc", "rtmp://h/live/{a...c}"),
            ("rtmp://h/live/ab", "rtmp://h/live/{...}"),
        ];
        for (url, expected) in cases {
            assert_eq!(redact(url), expected);
        }
    }

    #[test]
    fn an_rtmp_url_has_a_host_an_app_and_a_key() {
        for url in ["rtmp://h:1935/live/key", "rtmps://h/live/a/b.1/key", "rtmp://h/live/"] {
            assert!(is_rtmp(url), "{url}");
        }
        for url in
            ["rtmp://h/key", "http://h/live/key", "rtmp:///live/key", "rtmp://h/live/k ey", "h/live/key"]
        {
            assert!(!is_rtmp(url), "{url}");
        }
    }
}
