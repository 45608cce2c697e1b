//! WebSocket frames that are not log records (contract §4), and what viewers send.

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

/// Subprotocol, and so the version of everything here.
pub(crate) const SUBPROTOCOL: &str = "roomscribe.v1.json";

/// Server → viewer.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Say<'a> {
    /// Always first.
    Hello {
        session: &'a str,
        epoch: &'a str,
        /// First offset still there.
        oldest: u64,
        head: u64,
        /// The first record sent has the offset after this.
        from: u64,
        /// False: the viewer's place is lost; it forgets what it has and takes what follows `from`.
        recovered: bool,
        state: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        media_zero_at: Option<&'a str>,
        ping_seconds: u64,
        server: &'a str,
    },
    Heartbeat {
        head: u64,
    },
    Lag {
        skipped_partials: u64,
    },
    Error {
        code: &'a str,
        message: &'a str,
        retry: bool,
    },
    AuthExpiring {
        seconds: u64,
    },
    /// `None`: the token does not expire.
    AuthOk {
        expires_in_seconds: Option<u64>,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        t: Option<serde_json::Number>,
    },
}

impl Say<'_> {
    pub(crate) fn text(&self) -> Utf8Bytes {
        // Serialising these plain structs cannot fail.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// Viewer → server. Unknown fields are passed over: an older server must survive a newer page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum Heard {
    Auth {
        token: String,
    },
    Ack {
        offset: u64,
    },
    /// Partials off.
    Pause,
    /// Partials on.
    Resume,
    Ping {
        #[serde(default)]
        t: Option<serde_json::Number>,
    },
}

/// Closes of the client protocol: code and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bye(pub(crate) u16, pub(crate) &'static str);

impl Bye {
    pub(crate) const END: Self = Self(1000, "the session has ended");
    pub(crate) const DRAINING: Self = Self(1001, "draining: reconnect");
    pub(crate) const PROTOCOL: Self = Self(1002, "protocol error");
    pub(crate) const NOT_TEXT: Self = Self(1003, "text frames only");
    pub(crate) const NOT_UTF8: Self = Self(1007, "text is not UTF-8");
    pub(crate) const TOO_BIG: Self = Self(1009, "frame too big");
    pub(crate) const INTERNAL: Self = Self(1011, "the transcript cannot be read now");
    pub(crate) const BAD_REQUEST: Self = Self(4400, "bad request");
    pub(crate) const AUTH: Self = Self(4401, "not authenticated");
    pub(crate) const EXPIRED: Self = Self(4401, "the token has expired");
    pub(crate) const FORBIDDEN: Self = Self(4403, "forbidden");
    pub(crate) const NO_SESSION: Self = Self(4404, "no such session");
    pub(crate) const SLOW: Self = Self(4408, "too slow: resume by offset");
    pub(crate) const LOST: Self = Self(4409, "the offset cannot be continued: reconnect");
    pub(crate) const GONE: Self = Self(4410, "the transcript is gone");
    pub(crate) const TOO_MANY: Self = Self(4429, "too many viewers: try again later");
    pub(crate) const TOO_MUCH: Self = Self(4429, "too many messages");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_spelled_as_the_contract_spells_them() {
        let hello = Say::Hello {
            session: "id",
            epoch: "9f2c01ab",
            oldest: 1,
            head: 17,
            from: 0,
            recovered: true,
            state: "Live",
            media_zero_at: Some("2026-11-23T10:00:00.000Z"),
            ping_seconds: 20,
            server: "roomscribe/0.1.0",
        };
        let table = [
            (
                hello,
                r#"{"type":"hello","session":"id","epoch":"9f2c01ab","oldest":1,"head":17,"from":0,"recovered":true,"state":"Live","mediaZeroAt":"2026-11-23T10:00:00.000Z","pingSeconds":20,"server":"roomscribe/0.1.0"}"#,
            ),
            (Say::Heartbeat { head: 22 }, r#"{"type":"heartbeat","head":22}"#),
            (Say::Lag { skipped_partials: 4 }, r#"{"type":"lag","skippedPartials":4}"#),
            (
                Say::Error { code: "c", message: "m", retry: true },
                r#"{"type":"error","code":"c","message":"m","retry":true}"#,
            ),
            (Say::AuthExpiring { seconds: 60 }, r#"{"type":"authExpiring","seconds":60}"#),
            (Say::AuthOk { expires_in_seconds: Some(3600) }, r#"{"type":"authOk","expiresInSeconds":3600}"#),
        ];
        for (frame, text) in table {
            assert_eq!(frame.text().as_str(), text);
        }
    }

    #[test]
    fn viewers_frames_are_read_and_unknown_types_are_not() {
        let table = [
            (r#"{"type":"auth","token":"t"}"#, Some(Heard::Auth { token: "t".into() })),
            (r#"{"type":"ack","offset":7,"later":1}"#, Some(Heard::Ack { offset: 7 })),
            (r#"{"type":"pause"}"#, Some(Heard::Pause)),
            (r#"{"type":"resume"}"#, Some(Heard::Resume)),
            (r#"{"type":"ping","t":5}"#, Some(Heard::Ping { t: Some(5.into()) })),
            (r#"{"type":"ping"}"#, Some(Heard::Ping { t: None })),
            (r#"{"type":"dance"}"#, None),
            (r#"{"type":"ack","offset":-1}"#, None),
            ("[]", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(serde_json::from_str::<Heard>(text).ok(), expected, "{text}");
        }
    }
}
