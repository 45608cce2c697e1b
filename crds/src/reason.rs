//! Every reason that a condition can have: one list, from which `docs/conditions.md` is made.

use std::fmt;

macro_rules! reasons {
    ($($name:ident: $meaning:literal, $action:literal;)*) => {
        /// A condition's reason; the text says what it means and who must act.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// All of them, grouped by the condition that they appear on first.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As in YAML.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do.
            pub const fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)* }
            }
        }
    };
}

reasons! {
    Accepted: "The spec can work.", "Nothing.";
    AcceptedWithoutTls: "The spec can work; audio crosses networks in clear text because LiveKit is not in a private network and `ingest.tls` is absent.", "Set `spec.ingest.tls` on new sessions, or ignore it where the network is yours.";
    SecretNotFound: "A Secret that the session needs is not there.", "Create the Secret that the message names; the session goes on by itself.";
    SecretKeyMissing: "A Secret lacks a key, or the key is empty.", "Add the key that the message names to the Secret.";
    PerSessionCredentialsDisabled: "`livekitRef` or `speech.secretRef` is set, but the operator may not read Secrets.", "Install the chart with `credentials.perSession=true`, or remove the reference.";
    CaptureModeUnavailable: "This version cannot capture by Track Egress yet; nothing is started.", "Make a new session with `capture.mode` `Auto`, `RoomComposite` or `Push`.";
    RoomAlreadyTranscribed: "Another session transcribes this room of this LiveKit project already.", "Use the session that the message names, or stop it first.";
    ConcurrencyLimited: "The installation's number of speech sessions is in use; the session waits in a queue, oldest first.", "Wait, stop another session, or raise `speech.maxConcurrent`.";
    CredentialsRefused: "LiveKit refused the API key or secret.", "Mend `apiKey` and `apiSecret` of the LiveKit Secret; nothing is started meanwhile.";
    LiveKitUnreachable: "LiveKit's API does not answer.", "Check `url` of the LiveKit Secret and the way there; the operator tries on.";
    LiveKitFailing: "LiveKit's API answers with an error; its words are in the message.", "Look at LiveKit's own log, and check that its URL leads to LiveKit's API; it is asked again and again.";

    Listening: "The worker listens.", "Nothing.";
    PodPending: "The worker pod is on its way.", "Wait; the pod's own events tell more.";
    Unschedulable: "No node takes the worker pod.", "Add a node, or lower `spec.worker.resources`; the scheduler's words are in the message.";
    QuotaExceeded: "The namespace's quota refuses the pod or the Service.", "Raise the ResourceQuota, or stop another session.";
    Refused: "The API server refuses the pod, the Service or the Secret; its words are in the message.", "Mend what the message names in the spec, the namespace or the cluster's policies; the operator tries again, at least every five minutes.";
    ImagePullFailed: "The worker's image cannot be pulled.", "Check the image, its registry and the pull secret.";
    WorkerRestarting: "The worker's container ended and is started again; its exit code is in `status.worker.lastExit`, its last words in the message.", "Nothing: the next egress follows by itself.";
    CrashLooping: "The worker's container ends again and again.", "Read its last words in the message, and its log; its exit code is in `status.worker.lastExit`.";
    Evicted: "The worker pod was evicted; another one takes over.", "Nothing.";
    NodeLost: "The worker's node does not answer; another pod takes over.", "Look after the node.";
    Terminating: "The worker pod is ending.", "Nothing.";
    WorkerUnreachable: "The worker's status port does not answer the operator.", "Check NetworkPolicies between operator and workers, port 9090.";

    AddressReady: "The address is known.", "Nothing.";
    AddressPending: "The Service has no address yet; the message says what it waits for.", "Wait; the Service's events tell more.";
    AddressTimeout: "The Service got no address in `ingest.addressTimeoutSeconds`.", "Read the message; with a load balancer, check the cloud's quota and controller, or choose another exposure.";
    AddressLoopback: "LiveKit's egress is told a loopback or unspecified address, which only this machine can reach.", "Give a host that LiveKit can reach: `ingest.external.host`, or RTMP_HOST.";
    Unreachable: "LiveKit's egress could not connect to the address.", "Check firewall, security group and `ingest.sourceRanges` for port 1935.";

    Active: "The worker hears the egress.", "Nothing.";
    NotNeeded: "Capture mode Push has no egress.", "Publish RTMP to the session's URL.";
    WaitingForRoom: "The LiveKit room does not exist yet.", "Nothing: the session starts when the room does.";
    WaitingForAudio: "Everything is up; nobody speaks, or nobody's microphone is open.", "Nothing.";
    Starting: "The egress is being started.", "Nothing.";
    StartUnknown: "LiveKit did not say whether the egress started; the operator looks for it before it tries again.", "Nothing.";
    CapacityExhausted: "No egress worker of LiveKit has room.", "Add egress workers; the operator tries on.";
    EgressFailed: "The egress failed; LiveKit's words are in the message.", "Nothing: the next attempt follows by itself.";
    EgressAborted: "The egress was aborted before it ran.", "Nothing: the next attempt follows by itself.";
    EgressRefused: "LiveKit refuses this kind of egress.", "Read the message; a newer LiveKit Egress may be needed.";
    EgressLimitReached: "LiveKit's own limit ended the egress.", "Nothing: the next attempt follows by itself.";
    Stalled: "No audio arrives although a microphone is open; the egress is replaced.", "Nothing.";
    Ended: "The egress has ended.", "Nothing.";

    SpeechConnected: "The speech session is open.", "Nothing.";
    SpeechConnecting: "The speech session is being opened.", "Nothing.";
    SpeechIdle: "No audio: the speech session is closed, because an open one costs money.", "Nothing.";
    CredentialsRejected: "The speech service refused its key; nothing that costs money is kept running.", "Mend the key; a new worker tries it when the Secret changes, and otherwise after 5 minutes, then at doubled waits up to an hour.";
    SpeechOptionsRejected: "The speech service refused the session's options.", "Mend `spec.speech` in a new session; it is tried again after 5 minutes, then at doubled waits up to an hour.";
    RateLimited: "The speech account's limit is reached; audio is kept and sent later.", "Stop another session, or raise the account's limit.";
    UpstreamUnavailable: "The speech service does not answer; audio is kept and sent later.", "Check `speech.apiUrl` and the way out; the worker tries on.";
    StorageFull: "The transcript's log refuses events for lack of space; nothing that was acknowledged is lost.", "Free space, or enlarge the volume.";
    StorageFailed: "The transcript's log cannot be written; nothing that was acknowledged is lost.", "Look after the volume; the worker's words are in the message.";
    NatsUnreachable: "The NATS that keeps transcripts does not answer the worker; what was said is kept, and stored when it does.", "Look whether NATS runs, and whether the session's namespace reaches it on port 4222; the worker's words are in the message.";
    UnsupportedAudio: "The publisher does not send AAC-LC.", "Change the publisher's encoder.";

    AsAsked: "It works as asked.", "Nothing.";
    FallbackActive: "Room Composite cannot work here; audio comes by Track Egress instead.", "Read the cause in the message; new sessions try Room Composite again.";
    ChromeInUse: "LiveKit's egress renders the room in Chrome, which costs several cores.", "Update LiveKit Egress to 1.13 or newer, or set `enable_room_composite_sdk_source`.";

    Ready: "Everything that we own is up.", "Nothing.";

    Running: "The session is active.", "Nothing.";
    Stopping: "The session is ending.", "Nothing.";
    Stopped: "Ended because it was asked to.", "Nothing.";
    RoomEnded: "Ended with its room.", "Nothing.";
    MaxDuration: "Ended at `limits.maxDurationSeconds`.", "Make a new session, or raise the limit.";
    StartDeadlineExceeded: "Gave up: not up within `limits.startDeadlineSeconds`.", "Read the other conditions for the cause, then make a new session.";
    AttemptsExhausted: "Gave up: every way to get audio failed.", "Read the other conditions for the cause, then make a new session.";
    NextPod: "What was changed in the spec holds from the worker's next pod on (an event only; it names the fields).", "Nothing, or delete the worker pod: another takes over, and the audio of a few seconds is lost.";
    AnnotationsLeftOut: "Annotations of `ingest.annotations` that this installation does not allow are not on the Service (an event only; it names them).", "Use annotations of a cloud load balancer: see docs/operator.md for those that are.";
    EgressCleanupAbandoned: "LiveKit did not confirm the stop before the deadline; with pod and Service gone the egress ends by itself.", "Check LiveKit; the egress id is in the event.";
}

impl Reason {
    /// The reason of this name; `None`: it is none of ours.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }

    /// Somebody must act; otherwise it passes by itself.
    pub fn needs_somebody(self) -> bool {
        let action = self.action();
        !(action.starts_with("Nothing") || action.starts_with("Wait;"))
    }

    /// LiveKit as a whole cannot be asked: every session of its project meets it, and the log says it once for all of them.
    pub fn is_of_the_project(self) -> bool {
        matches!(self, Self::CredentialsRefused | Self::LiveKitUnreachable | Self::LiveKitFailing)
    }

    /// Worth a Warning event: somebody must act, or something broke that heals by itself.
    pub fn is_warning(self) -> bool {
        let broke = matches!(
            self,
            Self::EgressFailed
                | Self::EgressAborted
                | Self::EgressLimitReached
                | Self::Stalled
                | Self::WorkerRestarting
                | Self::Evicted
        );
        broke || self.needs_somebody()
    }

    /// What it means, and what to do about it where somebody must act: a condition's message.
    pub fn sentence(self) -> String {
        if self.needs_somebody() {
            format!("{} {}", self.meaning(), self.action())
        } else {
            self.meaning().to_owned()
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
