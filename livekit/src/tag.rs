//! Whose egress is it? Installation, session and attempt stand in the RTMP URL (contract §2), in parts that LiveKit does
//! not redact.

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What stands before `/live/`: `rtmp[s]://HOST[:PORT]`.
    pub origin: String,
    /// 8 hex digits of the installation.
    pub install: String,
    /// Session id.
    pub session: String,
    /// Attempt of the stream key.
    pub attempt: u32,
}

/// Reads `rtmp[s]://HOST[:PORT]/live/<install>/<id>.<attempt>/<key>`, with the key redacted or not; `None` for anybody
/// else's URL.
pub fn parse(url: &str) -> Option<Tag> {
    let rest = url.strip_prefix("rtmp://").or_else(|| url.strip_prefix("rtmps://"))?;
    let mut parts = rest.split('/').skip(1);
    let (live, install, target) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    let ours = live == "live"
        && parts.next().is_none()
        && install.len() == 8
        && install.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !ours {
        return None;
    }
    let (session, attempt) = target.rsplit_once('.')?;
    let attempt = attempt.parse().ok().filter(|attempt| *attempt > 0)?;
    let origin = url[..url.len() - rest.len() + rest.find('/')?].to_owned();
    (!session.is_empty()).then(|| Tag { origin, install: install.into(), session: session.into(), attempt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_url_names_installation_session_and_attempt() {
        let tag = |origin: &str| Tag {
            origin: origin.into(),
            install: "0a1b2c3d".into(),
            session: "7c9e6679-7425-40de-944b-e07fc1f90ae7".into(),
            attempt: 12,
        };
        for (origin, key) in [("rtmp://198.18.0.1:1935", "{abc...xyz}"), ("rtmps://rtmp.example.com", "key")]
        {
            let url = format!("{origin}/live/0a1b2c3d/7c9e6679-7425-40de-944b-e07fc1f90ae7.12/{key}");
            assert_eq!(parse(&url), Some(tag(origin)), "{url}");
        }
    }

    #[test]
    fn somebody_else_s_url_is_nobody_s() {
        for url in [
            "rtmp://a.rtmp.youtube.com/live2/{key}",
            "rtmp://h/live/0a1b2c3d/session/key",
            "rtmp://h/live/0a1b2c3d/session.0/key",
            "rtmp://h/live/nothex!!/session.1/key",
            "rtmp://h/live/0a1b2c3d/session.1",
            "rtmp://h/live/0a1b2c3d/session.1/key/more",
            "wss://h/live/0a1b2c3d/session.1/key",
            "",
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }
}
