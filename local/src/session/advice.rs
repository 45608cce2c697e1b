//! The plan's reasons in the words of people who have a `.env` and no Kubernetes: who must act, and on which setting.

use super::Place;
use roomscribe_crds::reason::Reason;
use roomscribe_plan::address::is_unspecified;

/// What to tell of a reason; `said` is the plan's own text, which stays where it speaks of nothing but LiveKit.
pub(super) fn advice(reason: Reason, said: &str, place: &Place) -> String {
    match reason {
        Reason::AddressLoopback => nowhere(place),
        Reason::Unreachable => format!(
            "LiveKit's egress could not connect to {}: check RTMP_HOST and RTMP_PORT, the firewall and port forwarding",
            place.base()
        ),
        reason => fixed(reason).unwrap_or(said).to_owned(),
    }
}

/// What the log tells of a change. Where nobody must act, the session document has no words and the log has these.
pub(super) fn news(reason: Reason, said: &str, place: &Place) -> String {
    match reason {
        Reason::Ready => "the room's audio arrives".to_owned(),
        Reason::Starting => "the room's audio is not here yet".to_owned(),
        Reason::Running => "the session runs".to_owned(),
        reason => advice(reason, said, place),
    }
}

/// The name of a reason here: a pod is nothing that anybody has seen.
pub(super) fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::PodPending | Reason::NextPod => Reason::Starting.as_str(),
        reason => reason.as_str(),
    }
}

fn nowhere(Place { host, .. }: &Place) -> String {
    let mend = "set RTMP_HOST to a name or address of this machine that LiveKit reaches, then restart";
    if is_unspecified(host) {
        format!("{host} is no address that anybody can publish to: {mend}")
    } else {
        format!("LiveKit is elsewhere and cannot reach {host}: {mend}")
    }
}

/// Where the plan's own words name an object or a field of Kubernetes.
fn fixed(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Accepted => "the session can work",
        Reason::AcceptedWithoutTls => {
            "audio crosses networks in clear text: set TLS_CERT and TLS_KEY, or ignore it where the network is yours"
        }
        Reason::CredentialsRefused => {
            "LiveKit refused the key: mend LIVEKIT_API_KEY and LIVEKIT_API_SECRET, then restart; nothing is started meanwhile"
        }
        Reason::LiveKitUnreachable => {
            "LiveKit's API does not answer: check LIVEKIT_HTTP_URL and the way there; trying on"
        }
        Reason::PodPending => "the session's files are being opened",
        Reason::WorkerRestarting => "the egress did not come back after a restart: the next one is started",
        Reason::CrashLooping => "the session's task fails again and again: look at the log, and report it",
        Reason::Terminating => "the session is ending",
        Reason::WorkerUnreachable => "the session's task does not listen yet",
        Reason::WaitingForRoom => "the LiveKit room does not exist yet; the session starts when it does",
        Reason::WaitingForAudio => "nobody's microphone is open",
        Reason::StartUnknown => {
            "LiveKit did not say whether the egress started: it is looked for before it is tried again"
        }
        Reason::CapacityExhausted => {
            "no egress worker of LiveKit has room: add egress workers; trying on meanwhile"
        }
        Reason::CredentialsRejected => {
            "the speech service refused the key: mend it there, or GLADIA_API_KEY and restart; nothing that costs runs meanwhile"
        }
        Reason::SpeechOptionsRejected => "the speech service refused the session's options: mend `speech`",
        Reason::RateLimited => {
            "the speech account's limit is reached: trying again; end other sessions, or raise the limit there"
        }
        Reason::UpstreamUnavailable => "the speech service does not answer: trying again",
        Reason::StorageFull | Reason::StorageFailed => "nothing can be stored: free or mend DATA_DIR",
        Reason::UnsupportedAudio => "the publisher's audio is not AAC-LC: change its encoder",
        Reason::StartDeadlineExceeded => "gave up: not up within `limits.startDeadlineSeconds`",
        Reason::AttemptsExhausted => "gave up: every way to get audio failed",
        Reason::EgressCleanupAbandoned => {
            "LiveKit did not confirm before the deadline that the egress has ended; it finds no RTMP address any more and ends by itself: check LiveKit"
        }
        // A process that is its own cluster has none of these.
        Reason::SecretNotFound
        | Reason::SecretKeyMissing
        | Reason::PerSessionCredentialsDisabled
        | Reason::ConcurrencyLimited
        | Reason::Unschedulable
        | Reason::NextPod
        | Reason::AnnotationsLeftOut
        | Reason::QuotaExceeded
        | Reason::Refused
        | Reason::ImagePullFailed
        | Reason::Evicted
        | Reason::NodeLost
        | Reason::NatsUnreachable
        | Reason::AddressPending
        | Reason::AddressTimeout => "this cannot happen without Kubernetes: please report it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of a world that `serve` is not in. "Service" with a capital is Kubernetes' own.
    const FOREIGN: &[&str] = &[
        "Secret",
        "Secrets",
        "secret",
        "pod",
        "Pod",
        "pods",
        "Service",
        "kubectl",
        "namespace",
        "node",
        "nodes",
        "operator",
        "NetworkPolicies",
        "scheduler",
        "container",
        "volume",
        "spec",
        "status",
        "conditions",
        "apiKey",
        "apiSecret",
        "ingest",
        "worker's",
        "kubelet",
    ];

    fn place() -> Place {
        Place {
            scheme: "rtmp",
            host: "rtmp.example.com".into(),
            port: 1935,
            is_loopback: false,
            livekit_is_public: true,
        }
    }

    #[test]
    fn no_reason_speaks_of_kubernetes() {
        let mut found = Vec::new();
        for reason in Reason::ALL.iter().copied() {
            for said in [reason.meaning().to_owned(), reason.action().to_owned(), reason.sentence()] {
                let told = advice(reason, &said, &place());
                let words = told.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '_'));
                let foreign = words.filter(|word| FOREIGN.contains(word)).count();
                found.extend((foreign > 0).then(|| format!("{reason}: {told}")));
            }
            found.extend(name(reason).contains("Pod").then(|| reason.to_string()));
        }
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn livekit_s_own_words_stay() {
        assert_eq!(advice(Reason::EgressFailed, "track TR_x not found", &place()), "track TR_x not found");
    }

    #[test]
    fn an_address_that_is_none_is_not_called_far_away() {
        for (host, word) in [("0.0.0.0", "no address"), ("[::]", "no address"), ("127.0.0.1", "elsewhere")] {
            let told = advice(Reason::AddressLoopback, "", &Place { host: host.into(), ..place() });
            assert!(told.contains(word) && told.contains(host) && told.contains("RTMP_HOST"), "{told}");
        }
    }
}
