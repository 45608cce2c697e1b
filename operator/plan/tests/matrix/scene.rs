//! A session as it is seen, changed word by word. `plan()` also checks every invariant.
#![allow(clippy::unwrap_used, reason = "test support: clippy knows tests only by their attribute")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{TranscriptionSessionSpec, TranscriptionSessionStatus};
use roomscribe_plan::*;

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// Seconds from now.
pub(crate) fn at(offset: i64) -> Timestamp {
    "2026-11-25T12:00:00Z".parse::<Timestamp>().unwrap() + seconds(offset)
}

pub(crate) struct Scene(Observed, Policy);

impl Scene {
    /// Created a minute ago, everything allowed, nothing there; what the Service selects is reached at once.
    pub(crate) fn new() -> Self {
        let observed = Observed {
            session: Session {
                id: "7c9e6679-7425-40de-944b-e07fc1f90ae7".into(),
                generation: Some(1),
                created_at: at(-60),
                deleted_at: None,
                has_finalizer: true,
                force_finalize: false,
                spec: TranscriptionSessionSpec::for_room("standup"),
                status: TranscriptionSessionStatus::default(),
            },
            gate: Gate {
                secrets: Known::Known(Secrets::Ready { version: 1 }),
                room_held_by: None,
                queue_place: None,
                livekit_is_public: false,
            },
            cluster: Cluster { pods: Known::Known(Vec::new()), service: Known::Known(None), refused: None },
            livekit: LiveKit::default(),
            worker: None,
            memory: Memory::default(),
        };
        let at_once = Policy { start_settle_seconds: 0, move_settle_seconds: 0, ..Policy::default() };
        Self(observed, at_once)
    }

    pub(crate) fn plan(self) -> Plan {
        self.plan_at(0)
    }

    /// So many seconds later.
    pub(crate) fn plan_at(self, offset: i64) -> Plan {
        let plan = plan_under(&self.1, &self.0, at(offset));
        assert_eq!(check::broken(&self.0, &plan, at(offset)), Vec::<String>::new());
        plan
    }

    /// The rules of the nodes take their time.
    pub(crate) fn settling(mut self) -> Self {
        self.1 = Policy::default();
        self
    }

    /// What an earlier plan wrote and remembers.
    pub(crate) fn after(self, plan: &Plan) -> Self {
        self.with(|seen| {
            seen.session.status = plan.status.clone();
            seen.memory = plan.memory.clone();
        })
    }

    /// Somebody wants it gone whatever LiveKit says.
    pub(crate) fn forced(self) -> Self {
        self.with(|seen| seen.session.force_finalize = true)
    }

    /// The process is another one.
    pub(crate) fn taken_over(self) -> Self {
        self.remembering(|memory| *memory = Memory::default())
    }

    pub(crate) fn report(self, change: impl FnOnce(&mut WorkerReport)) -> Self {
        self.with(|seen| change(seen.worker.as_mut().unwrap()))
    }

    pub(crate) fn unasked_worker(self) -> Self {
        self.with(|seen| seen.worker = None)
    }

    pub(crate) fn unknown_cluster(self) -> Self {
        self.with(|seen| (seen.cluster.pods, seen.cluster.service) = (Known::Unknown, Known::Unknown))
    }

    /// The newest pod, changed.
    pub(crate) fn but(self, change: impl FnOnce(&mut Pod)) -> Self {
        self.with(|seen| {
            if let Known::Known(pods) = &mut seen.cluster.pods {
                change(pods.last_mut().unwrap());
            }
        })
    }

    /// The spec has been changed.
    pub(crate) fn generation(self, generation: i64) -> Self {
        self.with(|seen| seen.session.generation = Some(generation))
    }

    pub(crate) fn key_generation(self, generation: i32) -> Self {
        self.spec(|spec| spec.ingest.key_generation = generation)
    }

    fn with(mut self, change: impl FnOnce(&mut Observed)) -> Self {
        change(&mut self.0);
        self
    }

    pub(crate) fn without_finalizer(self) -> Self {
        self.with(|seen| seen.session.has_finalizer = false)
    }

    pub(crate) fn gate(self, change: impl FnOnce(&mut Gate)) -> Self {
        self.with(|seen| change(&mut seen.gate))
    }

    pub(crate) fn livekit(self, change: impl FnOnce(&mut LiveKit)) -> Self {
        self.with(|seen| change(&mut seen.livekit))
    }

    pub(crate) fn spec(self, change: impl FnOnce(&mut TranscriptionSessionSpec)) -> Self {
        self.with(|seen| change(&mut seen.session.spec))
    }

    pub(crate) fn remembering(self, change: impl FnOnce(&mut Memory)) -> Self {
        self.with(|seen| change(&mut seen.memory))
    }

    fn any_pod(self, attempt: u32, change: impl FnOnce(&mut Pod)) -> Self {
        let mut pod = Pod {
            name: format!("ts-standup-{attempt}"),
            uid: format!("uid-{attempt}"),
            attempt,
            key_generation: 1,
            created_at: None,
            node: "node-a".into(),
            state: PodState::Listening,
            leaving: false,
            ends_at: None,
            container_started_at: Some(at(-400)),
            restarts: 0,
            last_exit: None,
        };
        change(&mut pod);
        self.with(|seen| match &mut seen.cluster.pods {
            Known::Known(pods) => pods.push(pod),
            Known::Unknown => {}
        })
        .service(attempt)
    }

    /// A pod that listens, behind the Service.
    pub(crate) fn pod(self, attempt: u32) -> Self {
        self.any_pod(attempt, |_| {})
    }

    pub(crate) fn leaving_pod(self, attempt: u32) -> Self {
        self.any_pod(attempt, |pod| pod.leaving = true)
    }

    /// Its container came back some seconds ago.
    pub(crate) fn restarted_pod(self, attempt: u32, ago: i64) -> Self {
        self.any_pod(attempt, |pod| {
            (pod.restarts, pod.container_started_at) = (1, Some(at(-ago)));
        })
    }

    pub(crate) fn crashed_pod(self, attempt: u32, restarts: u32) -> Self {
        self.any_pod(attempt, |pod| {
            (pod.restarts, pod.state) = (restarts, PodState::NotListening);
            pod.container_started_at = Some(at(-2));
        })
        .remembering(|memory| (memory.exits_of, memory.ends) = (format!("uid-{attempt}"), restarts))
    }

    /// State of the newest pod.
    pub(crate) fn state(self, state: PodState) -> Self {
        self.with(|seen| {
            if let Known::Known(pods) = &mut seen.cluster.pods
                && let Some(pod) = pods.last_mut()
            {
                pod.state = state;
            }
        })
    }

    pub(crate) fn service(self, selects: u32) -> Self {
        let service = Service {
            address: Some(("198.18.112.1".into(), 1935)),
            created_at: at(-60),
            selects,
            leaving: false,
        };
        self.with(|seen| seen.cluster.service = Known::Known(Some(service)))
    }

    pub(crate) fn no_address(self) -> Self {
        self.with(|seen| {
            if let Known::Known(Some(service)) = &mut seen.cluster.service {
                service.address = None;
            }
        })
    }

    pub(crate) fn host(self, host: &str) -> Self {
        self.with(|seen| {
            if let Known::Known(Some(service)) = &mut seen.cluster.service {
                service.address = Some((host.into(), 1935));
            }
        })
    }

    /// The API server refused to make something.
    pub(crate) fn refused(self, text: &str) -> Self {
        self.with(|seen| seen.cluster.refused = Some((Reason::QuotaExceeded, text.into())))
    }

    /// The worker listens and cannot work.
    pub(crate) fn trouble(self, reason: Reason, text: &str) -> Self {
        self.with(|seen| {
            if let Some(report) = &mut seen.worker {
                (report.trouble, report.last_error) = (Some(reason), Some(text.into()));
            }
        })
    }

    /// What the status says already.
    pub(crate) fn said(self, kind: ConditionType, verdict: Verdict, reason: Reason) -> Self {
        self.with(|seen| {
            let conditions = &mut seen.session.status.conditions;
            condition::set(conditions, kind, verdict, reason, "said before", Some(1), &Time(at(-100)));
        })
    }

    fn seen_room(self, room: Option<Room>) -> Self {
        self.with(|seen| seen.livekit.room = Known::Known(RoomView { at: at(0), room }))
    }

    pub(crate) fn room(self, open_microphones: u32) -> Self {
        self.seen_room(Some(Room { participants: 2, open_microphones }))
    }

    pub(crate) fn no_room(self) -> Self {
        self.seen_room(None)
    }

    pub(crate) fn no_room_at(self, offset: i64) -> Self {
        self.room_at(offset, None)
    }

    pub(crate) fn room_at(self, offset: i64, room: Option<Room>) -> Self {
        self.with(|seen| seen.livekit.room = Known::Known(RoomView { at: at(offset), room }))
    }

    pub(crate) fn listed(self, egresses: Vec<Egress>) -> Self {
        self.listed_at(0, egresses)
    }

    pub(crate) fn listed_at(self, offset: i64, egresses: Vec<Egress>) -> Self {
        self.with(|seen| seen.livekit.egresses = Known::Known(Listing { at: at(offset), egresses }))
    }

    /// The status holds this attempt, intended some seconds ago by a process that is gone.
    pub(crate) fn attempt(self, attempt: i32, ago: i64) -> Self {
        self.with(|seen| {
            (seen.session.status.attempt, seen.session.status.intent_at) =
                (Some(attempt), Some(MicroTime(at(-ago))));
        })
    }

    /// The same by this process, not yet carried out.
    pub(crate) fn intended(self, attempt: i32, ago: i64) -> Self {
        let intent = Intent { attempt: u32::try_from(attempt).unwrap(), how: How::Start };
        self.attempt(attempt, ago).remembering(|memory| memory.intent = Some(intent))
    }

    /// LiveKit was asked to start this attempt so many seconds ago, and answered so many ago.
    pub(crate) fn answered(self, attempt: u32, ago: (i64, i64), outcome: StartOutcome) -> Self {
        let (at, answered_at) = (at(-ago.0), Some(at(-ago.1)));
        let call = StartCall { attempt, at, moves: None, answered_at, outcome: Some(outcome) };
        self.remembering(|memory| memory.start = Some(call))
    }

    /// The worker hears this attempt; 0: nobody.
    pub(crate) fn hearing(self, attempt: u32) -> Self {
        let hearing = if attempt == 0 { Hearing::Nobody } else { Hearing::Publishing(attempt) };
        let report = WorkerReport {
            pod: "ts-standup-1".into(),
            hearing,
            since: at(-30),
            speech: SpeechState::Live,
            trouble: None,
            media_ms: 0,
            audio_lost_ms: 0,
            last_error: None,
        };
        self.with(|seen| seen.worker = Some(report))
    }

    pub(crate) fn speech(self, speech: SpeechState) -> Self {
        let scene = if self.0.worker.is_some() { self } else { self.hearing(0) };
        scene.with(|seen| {
            if let Some(report) = &mut seen.worker {
                report.speech = speech;
            }
        })
    }

    pub(crate) fn deleted(self, ago: i64) -> Self {
        self.with(|seen| seen.session.deleted_at = Some(at(-ago)))
    }

    /// Created so long ago.
    pub(crate) fn later(self, ago: i64) -> Self {
        self.with(|seen| {
            seen.session.created_at = at(-ago);
            if let Known::Known(Some(service)) = &mut seen.cluster.service {
                service.created_at = at(-ago);
            }
        })
    }

    /// It was ready once; the first audio came at this time.
    pub(crate) fn started(self, offset: i64) -> Self {
        self.with(|seen| {
            let status = &mut seen.session.status;
            status.started_at = Some(Time(at(offset)));
            let (kind, now) = (ConditionType::Succeeded, Time(at(offset)));
            condition::set(
                &mut status.conditions,
                kind,
                Verdict::Unknown,
                Reason::Running,
                "",
                Some(1),
                &now,
            );
        })
    }

    pub(crate) fn completed(self, offset: i64) -> Self {
        self.with(|seen| {
            let status = &mut seen.session.status;
            status.completed_at = Some(Time(at(offset)));
            for kind in ConditionType::ALL {
                let now = Time(at(offset));
                condition::set(
                    &mut status.conditions,
                    kind,
                    Verdict::True,
                    Reason::Stopped,
                    "",
                    Some(1),
                    &now,
                );
            }
        })
    }
}
