//! Single settings: text in, value out, or one line that names the setting and the mend. An empty value is no value:
//! `.env` files are full of `NAME=`.

use crate::exit::Failure;
use reqwest::Url;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// HS256 with a shorter secret can be guessed (RFC 7518 §3.2).
const JWT_SECRET_BYTES: usize = 32;
/// A shorter API key can be guessed.
const API_KEY_BYTES: usize = 16;
/// A century.
const MAX_DAYS: u32 = 36_500;

/// What was given, unless it is empty.
pub(crate) fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// `host:port`, `:port` or a bare port, for a listener.
pub(crate) fn address(name: &str, text: &str) -> Result<SocketAddr, Failure> {
    let text = text.trim();
    let wrong = |why: &str| {
        Err(Failure::setting(
            name,
            format_args!("`{text}` is not an address: {why}; write e.g. 127.0.0.1:8080"),
        ))
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(SocketAddr::from(([127, 0, 0, 1], listening_port(name, text)?)));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return wrong("it has no port") };
    let port = listening_port(name, port)?;
    if host.is_empty() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    if host.contains(':') && !host.starts_with('[') {
        return wrong("an IPv6 address needs brackets");
    }
    match (host.trim_start_matches('[').trim_end_matches(']'), port).to_socket_addrs() {
        Ok(mut addresses) => addresses.next().map_or_else(|| wrong("the host has no address"), Ok),
        Err(_) => wrong("the host is unknown"),
    }
}

/// 0 = any free port.
fn listening_port(name: &str, text: &str) -> Result<u16, Failure> {
    text.parse().map_err(|_| {
        Failure::setting(name, format_args!("`{text}` is not a port: write a number from 1 to 65535"))
    })
}

/// A port that others connect to.
pub(crate) fn port(name: &str, text: &str) -> Result<u16, Failure> {
    match text.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Failure::setting(
            name,
            format_args!("`{}` is not a port: write a number from 1 to 65535", text.trim()),
        )),
    }
}

/// A host as it stands in a URL: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host(name: &str, text: &str) -> Result<String, Failure> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
    };
    let host = text.strip_suffix('.').unwrap_or(text);
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(Failure::setting(
            name,
            format_args!(
                "`{text}` is not a host: write e.g. rtmp.example.com, no scheme, no port (that is RTMP_PORT), no path"
            ),
        ));
    }
    Ok(text.to_owned())
}

/// The host of URLs that lead to a listener.
pub(crate) fn url_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// `http(s)://HOST[:PORT][/PATH]`, without a trailing slash. What is refused is not repeated: it may hold a password.
pub(crate) fn url(name: &str, text: &str) -> Result<String, Failure> {
    let wrong =
        |why: &str| Err(Failure::setting(name, format_args!("{why}; write e.g. https://example.com")));
    let text = text.trim().trim_end_matches('/');
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return wrong("is not a URL that begins with http:// or https://");
    }
    let Ok(url) = Url::parse(text) else { return wrong("is not a URL: look at its host and port") };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("holds a user or password: keys have their own settings");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("must end before ? and #");
    }
    if url.port() == Some(0) {
        return wrong("has port 0");
    }
    Ok(text.to_owned())
}

/// `https://app.example.com` or `https://*.example.com`, separated by commas.
pub(crate) fn origins(name: &str, text: &str) -> Result<Vec<String>, Failure> {
    let origins = list(Some(text));
    for origin in &origins {
        let plain = origin.replacen("://*.", "://", 1);
        let whole = url(name, &plain).is_ok() && Url::parse(&plain).is_ok_and(|url| url.path() == "/");
        if !whole || plain.contains('*') {
            return Err(Failure::setting(
                name,
                format_args!(
                    "`{origin}` is not an origin: write e.g. https://app.example.com or https://*.example.com"
                ),
            ));
        }
    }
    Ok(origins)
}

/// Whole days, from 1.
pub(crate) fn days(name: &str, text: &str) -> Result<u32, Failure> {
    match text.trim().parse() {
        Ok(days) if (1..=MAX_DAYS).contains(&days) => Ok(days),
        _ => Err(Failure::setting(
            name,
            format_args!("`{}` is not a number of days from 1 to {MAX_DAYS}", text.trim()),
        )),
    }
}

/// API keys, separated by commas; the keys themselves are never repeated.
pub(crate) fn keys(name: &str, text: Option<&str>) -> Result<Vec<String>, Failure> {
    let keys = list(text);
    if let Some(key) = keys.iter().find(|key| key.len() < API_KEY_BYTES) {
        return Err(Failure::setting(
            name,
            format_args!(
                "a key of {} characters can be guessed: use at least {API_KEY_BYTES}, e.g. from `openssl rand -hex 16`",
                key.len()
            ),
        ));
    }
    if keys.iter().any(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Failure::setting(
            name,
            "a key has a character that no HTTP header takes: use letters and digits",
        ));
    }
    Ok(keys)
}

/// The viewers' secret.
pub(crate) fn jwt_secret(name: &str, secret: String) -> Result<String, Failure> {
    if secret.len() < JWT_SECRET_BYTES {
        return Err(Failure::setting(
            name,
            format_args!("is shorter than {JWT_SECRET_BYTES} bytes: make one with `openssl rand -hex 32`"),
        ));
    }
    Ok(secret)
}

/// A count of at least one.
pub(crate) fn count(name: &str, count: usize) -> Result<usize, Failure> {
    if count == 0 {
        return Err(Failure::setting(name, "must be at least 1"));
    }
    Ok(count)
}

/// Items between commas.
pub(crate) fn list(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_a_port_or_an_address_with_a_port() {
        let table = [
            ("8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
            (" 127.0.0.1:1 ", "127.0.0.1:1"),
        ];
        for (text, expected) in table {
            assert_eq!(address("X", text).unwrap().to_string(), expected, "{text}");
        }
        for text in
            ["", "localhost", "127.0.0.1:65536", "65536", "::1:80", "127.0.0.1:", "1.2.3.4:-1", "http://x:80"]
        {
            let line = address("X", text).unwrap_err().to_string();
            assert!(line.starts_with("X: ") && line.contains("write"), "{text}: {line}");
        }
    }

    #[test]
    fn a_host_stands_in_a_url_as_it_is() {
        for (text, expected) in [
            ("rtmp.example.com", "rtmp.example.com"),
            ("10.0.0.5", "10.0.0.5"),
            ("2001:db8::1", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("worker_1", "worker_1"),
        ] {
            assert_eq!(host("RTMP_HOST", text).unwrap(), expected);
        }
        for text in ["rtmp://a", "a:1935", "a/b", "a b", "-a", "a..b", "[a]", "[::1]:1935"] {
            assert!(host("RTMP_HOST", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_that_is_refused_is_not_repeated() {
        for text in [
            "https://user:hunter2@a.example",
            "hunter2",
            "http://",
            "https://a:hunter2",
            "https://a/?key=hunter2",
        ] {
            let line = url("PUBLIC_URL", text).unwrap_err().to_string();
            assert!(line.starts_with("PUBLIC_URL: ") && !line.contains("hunter2"), "{line}");
        }
        assert_eq!(url("PUBLIC_URL", "https://a.example/base/").unwrap(), "https://a.example/base");
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        assert_eq!(origins("X", "https://a.example, http://*.b.example:3000,").unwrap().len(), 2);
        for text in ["a.example", "*", "https://a.example/app", "https://a.*.example", "https://*a.example"] {
            assert!(origins("X", text).is_err(), "{text}");
        }
    }
}
