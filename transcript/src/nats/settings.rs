//! Where NATS is, and what the stream must be.

use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, StorageType};
use std::path::PathBuf;
use std::time::Duration;

/// Where NATS is and how long it keeps.
#[derive(Clone)]
pub struct NatsSettings {
    /// `nats://HOST:4222` or `tls://…`, several separated by commas; user and password may stand in it.
    pub url: String,
    /// A credentials file (JWT and nkey).
    pub creds: Option<PathBuf>,
    /// First part of every subject, and in upper case the stream's name: `roomscribe`.
    pub prefix: String,
    /// Copies of the stream, 1 to 5; more than one needs a NATS cluster.
    pub replicas: u8,
    /// Age at which messages go.
    pub retention: Duration,
}

impl std::fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsSettings")
            .field("url", &self.shown_url())
            .field("prefix", &self.prefix)
            .field("replicas", &self.replicas)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

impl NatsSettings {
    /// The URL without user and password.
    pub fn shown_url(&self) -> String {
        let shown = |url: &str| match url.trim().rsplit_once('@') {
            Some((before, host)) => {
                let scheme =
                    before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
                format!("{scheme}{host}")
            }
            None => url.trim().to_owned(),
        };
        self.url.split(',').map(shown).collect::<Vec<_>>().join(",")
    }

    pub(super) fn stream_name(&self) -> String {
        self.prefix.to_uppercase().replace('.', "_")
    }

    /// The stream as it is made.
    pub(super) fn stream(&self) -> Config {
        Config {
            name: self.stream_name(),
            description: Some("Roomscribe: transcripts, one subject per session".to_owned()),
            subjects: vec![format!("{}.log.*", self.prefix)],
            storage: StorageType::File,
            num_replicas: usize::from(self.replicas.max(1)),
            max_age: self.retention,
            // A full stream must refuse the new, never drop what was acknowledged.
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            duplicate_window: Duration::from_secs(120).min(self.retention),
            allow_direct: true,
            // An erased transcript's tombstone takes the place of all its messages at once, and outlives retention.
            allow_rollup: true,
            allow_message_ttl: true,
            republish: Some(Republish {
                source: format!("{}.log.*", self.prefix),
                destination: format!("{}.live.{{{{wildcard(1)}}}}", self.prefix),
                headers_only: false,
            }),
            ..Config::default()
        }
    }

    /// What an existing stream lacks: it was made by something else, or changed by hand.
    pub(super) fn lacks(&self, found: &Config) -> Option<&'static str> {
        let wanted = self.stream();
        let republished = |config: &Config| {
            config
                .republish
                .as_ref()
                .map(|republish| (republish.source.clone(), republish.destination.clone()))
        };
        [
            (found.subjects == wanted.subjects, "its subjects"),
            (republished(found) == republished(&wanted), "republish"),
            (found.allow_direct, "allow_direct"),
            (found.allow_rollup && !found.deny_purge, "allow_rollup_hdrs without deny_purge"),
            (found.allow_message_ttl, "allow_msg_ttl"),
            (found.discard == DiscardPolicy::New, "discard new"),
        ]
        .into_iter()
        .find_map(|(good, what)| (!good).then_some(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> NatsSettings {
        let prefix = "roomscribe".to_owned();
        NatsSettings {
            url: url.to_owned(),
            creds: None,
            prefix,
            replicas: 1,
            retention: Duration::from_secs(9),
        }
    }

    #[test]
    fn user_and_password_of_a_url_are_never_shown() {
        for (url, shown) in [
            ("nats://a:hush@h:4222", "nats://h:4222"),
            ("a:hu@sh@h", "h"),
            ("tls://hush@h:1, nats://b:hush@i", "tls://h:1,nats://i"),
            ("nats://[::1]:4222", "nats://[::1]:4222"),
        ] {
            assert_eq!(settings(url).shown_url(), shown);
            assert!(!format!("{:?}", settings(url)).contains("hush"));
        }
    }

    #[test]
    fn a_stream_that_would_drop_or_hide_words_is_not_taken() {
        let settings = settings("h");
        let good = settings.stream();
        assert_eq!(settings.lacks(&good), None);
        assert_eq!(
            settings.lacks(&Config { discard: DiscardPolicy::Old, ..good.clone() }),
            Some("discard new")
        );
        assert_eq!(settings.lacks(&Config { republish: None, ..good.clone() }), Some("republish"));
        assert!(settings.lacks(&Config { deny_purge: true, ..good }).is_some());
    }
}
