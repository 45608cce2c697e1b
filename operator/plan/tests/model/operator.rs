//! A model of the operator process: it observes through caches, carries plans out one action at a time, and can die
//! between any two.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use crate::world::{Late, RealPod, World, seconds};
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::TranscriptionSessionStatus;
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_plan::*;

/// A start call that has not been answered.
struct Flight {
    answers_at: Timestamp,
    attempt: u32,
    outcome: StartOutcome,
}

pub(crate) struct Operator {
    memory: Memory,
    flight: Option<Flight>,
    cached: Option<(u64, TranscriptionSessionStatus)>,
    livekit: LiveKit,
    pub(crate) down_until: Timestamp,
    next: Timestamp,
    pub(crate) crashes: u32,
    crash_one_in: u32,
    collected_at: Timestamp,
    refused: Option<(Reason, String)>,
}

impl Operator {
    pub(crate) fn new(now: Timestamp, crash_one_in: u32) -> Self {
        Self {
            memory: Memory::default(),
            flight: None,
            cached: None,
            livekit: LiveKit::default(),
            down_until: now,
            next: now,
            crashes: 0,
            crash_one_in,
            collected_at: now,
            refused: None,
        }
    }

    fn crash(&mut self, world: &mut World) {
        self.crashes += 1;
        let down = world.rng.i64(0..25);
        let (crashes, one_in) = (self.crashes, self.crash_one_in);
        *self = Self::new(world.now, one_in);
        (self.crashes, self.down_until) = (crashes, world.now + seconds(down));
    }

    /// True when the process died here.
    fn dies(&mut self, world: &mut World) -> bool {
        if !world.chance(self.crash_one_in) {
            return false;
        }
        self.crash(world);
        true
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        if world.now < self.down_until || world.gone {
            return self.collect(world);
        }
        self.answers(world);
        self.collect(world);
        let stirred = world.rng.u32(0..4) == 0;
        if world.now < self.next && !stirred {
            return;
        }
        // The cache may be behind; a status that this process wrote itself it has.
        if self.cached.is_none() || world.calm || world.rng.u32(0..3) > 0 {
            self.cached = Some((world.version, world.status.clone()));
        }
        let Some((version, status)) = self.cached.clone() else { return };
        let observed = self.observe(world, status);
        let plan = plan(&observed, world.now);
        assert_eq!(check::broken(&observed, &plan, world.now), Vec::<String>::new());
        self.next = plan.wake_at.unwrap_or_else(|| world.now + seconds(3600));
        self.carry_out(world, &observed, &plan, version);
    }

    fn answers(&mut self, world: &World) {
        if let Some(flight) = self.flight.take_if(|flight| flight.answers_at <= world.now)
            && let Some(start) = self.memory.start.as_mut().filter(|start| start.attempt == flight.attempt)
        {
            (start.outcome, start.answered_at) = (Some(flight.outcome), Some(world.now));
            self.next = world.now;
        }
    }

    fn observe(&self, world: &World, status: TranscriptionSessionStatus) -> Observed {
        Observed {
            session: Session {
                id: "s".into(),
                generation: Some(1),
                created_at: world.created_at,
                deleted_at: world.deleted_at,
                has_finalizer: world.finalizer,
                force_finalize: false,
                spec: world.spec.clone(),
                status,
            },
            gate: Gate {
                secrets: Known::Known(Secrets::Ready { version: 1 }),
                room_held_by: None,
                queue_place: None,
                livekit_is_public: false,
            },
            cluster: Cluster {
                refused: self.refused.clone(),
                pods: Known::Known(world.pods.iter().map(|pod| pod.pod.clone()).collect()),
                service: Known::Known(world.service.as_ref().map(|(service, due)| Service {
                    address: (*due <= world.now).then(|| ("198.18.0.1".into(), 1935)),
                    ..service.clone()
                })),
            },
            livekit: self.livekit.clone(),
            worker: report(world),
            memory: self.memory.clone(),
        }
    }

    /// Status first, then the actions in order; the process may die before and after each.
    fn carry_out(&mut self, world: &mut World, observed: &Observed, plan: &Plan, version: u64) {
        let ended = condition::find(&plan.status.conditions, ConditionType::Succeeded);
        let room_ended = ended.is_some_and(|word| word.reason == Reason::RoomEnded.as_str());
        assert!(!(room_ended && world.room.is_some()), "the room is there, whatever one look said");
        if self.dies(world) {
            return;
        }
        if plan.status != observed.session.status {
            if version != world.version {
                // 409: nothing of this round happens.
                self.cached = None;
                self.next = world.now + seconds(1);
                return;
            }
            world.status = plan.status.clone();
            world.version += 1;
            self.cached = Some((world.version, world.status.clone()));
        }
        self.memory = plan.memory.clone();
        for planned in &plan.actions {
            if self.dies(world) {
                return;
            }
            if let Action::EnsureWorker { .. } = planned.action {
                let quota = world.now >= world.no_quota_until || world.calm;
                self.refused = (!quota).then(|| (Reason::QuotaExceeded, "exceeded quota: pods".into()));
                if !quota {
                    // A failed action ends the round.
                    self.next = world.now + seconds(5);
                    return;
                }
            }
            self.one(world, &planned.action);
            if self.dies(world) {
                return;
            }
        }
    }

    fn one(&mut self, world: &mut World, action: &Action) {
        match action {
            Action::AddFinalizer => world.finalizer = world.deleted_at.is_none(),
            Action::RemoveFinalizer => world.finalizer = false,
            Action::StartEgress { attempt } => self.start(world, *attempt),
            Action::MoveEgress { id, to, .. } => self.move_egress(world, id, *to),
            Action::StopEgress { id } => stop(world, id),
            Action::EnsureWorker { attempt, selects } => ensure_worker(world, *attempt, *selects),
            Action::DeletePod { name } => delete_pods(world, |pod| pod.pod.name == *name),
            Action::StopWorker { .. } => delete_pods(world, |_| true),
            Action::DeleteService => world.service = None,
            Action::Ask(ask) => self.ask(world, *ask),
            Action::DeleteSession => world.deleted_at = Some(world.now),
            Action::WriteIntent { .. } | Action::Event { .. } => {}
        }
    }

    fn ask(&mut self, world: &World, ask: Ask) {
        if !world.livekit_answers() {
            self.livekit.error = Some(LiveKitError::Unreachable);
            return;
        }
        if world.now < world.refuses_key_until {
            self.livekit.error = Some(LiveKitError::CredentialsRefused);
            return;
        }
        self.livekit.error = None;
        match ask {
            Ask::Egresses => {
                let egresses = world.egresses.iter().map(|egress| egress.seen()).collect();
                self.livekit.egresses = Known::Known(Listing { at: world.now, egresses });
            }
            Ask::Room => {
                let room = world.room.filter(|_| world.now >= world.forgets_rooms_until);
                self.livekit.room = Known::Known(RoomView { at: world.now, room });
            }
        }
        self.next = world.now;
    }

    fn called(&mut self, world: &World, attempt: u32, moves: Option<String>) {
        self.memory.intent = None;
        self.memory.start =
            Some(StartCall { attempt, at: world.now, moves, answered_at: None, outcome: None });
    }

    fn start(&mut self, world: &mut World, attempt: u32) {
        self.called(world, attempt, None);
        let (outcome, delay) = if !world.livekit_answers() {
            if world.rng.bool() {
                world.late.push(Late { due: world.now + seconds(world.rng.i64(1..75)), attempt });
            }
            (StartOutcome::Unknown, 20)
        } else if world.now < world.refuses_key_until {
            (StartOutcome::CredentialsRefused, 0)
        } else if world.now < world.refuses_kind_until && !world.calm {
            (StartOutcome::Refused("unsupported".into()), 0)
        } else if world.room.is_none() || world.now < world.forgets_rooms_until {
            (StartOutcome::RoomMissing, 0)
        } else if world.now < world.no_capacity_until {
            (StartOutcome::NoCapacity, 22)
        } else if world.chance(10) {
            // The answer is lost; the egress comes late, or not at all.
            if world.rng.bool() {
                world.late.push(Late { due: world.now + seconds(world.rng.i64(0..75)), attempt });
            }
            (StartOutcome::Unknown, 90)
        } else {
            (StartOutcome::Started { id: world.begin_egress(attempt) }, world.rng.i64(0..3))
        };
        self.flight = Some(Flight { answers_at: world.now + seconds(delay), attempt, outcome });
    }

    /// add(new) + remove(old): frame-exact on a healthy egress, without effect on a wedged one.
    fn move_egress(&mut self, world: &mut World, id: &str, to: u32) {
        self.called(world, to, Some(id.to_owned()));
        let answers = world.livekit_answers();
        if answers
            && let Some(egress) =
                world.egresses.iter_mut().find(|egress| egress.id == id && egress.feeds.is_some())
        {
            (egress.attempt, egress.feeds) = (to, None);
        }
        let outcome =
            if answers { StartOutcome::Started { id: id.to_owned() } } else { StartOutcome::Unknown };
        self.flight = Some(Flight { answers_at: world.now, attempt: to, outcome });
    }

    /// Once a minute: egresses whose session is gone or finished.
    fn collect(&mut self, world: &mut World) {
        let idle =
            world.now < self.down_until || !world.livekit_answers() || world.now < world.refuses_key_until;
        if idle || (world.now - self.collected_at).get_seconds() < 60 {
            return;
        }
        self.collected_at = world.now;
        let owned: Vec<_> = world
            .egresses
            .iter()
            .map(|egress| collect::Owned { session: "s".into(), egress: egress.seen() })
            .collect();
        let fate = match (world.gone, world.status.completed_at.is_some()) {
            (true, _) => collect::Fate::Gone,
            (_, true) => collect::Fate::Finished,
            _ => collect::Fate::Active,
        };
        for id in collect::orphans(&owned, |_| fate) {
            stop(world, id);
        }
    }
}

fn stop(world: &mut World, id: &str) {
    let now = world.now;
    if !world.livekit_answers() || now < world.refuses_key_until {
        return;
    }
    if let Some(egress) = world.egresses.iter_mut().find(|egress| egress.id == id && egress.state.is_live()) {
        egress.state = EgressState::Ending;
        egress.feeds = None;
        let wait = if egress.wedged { 30 } else { 1 };
        egress.stops_at.get_or_insert_with(|| now + seconds(wait));
    }
}

fn ensure_worker(world: &mut World, attempt: u32, selects: u32) {
    let now = world.now;
    if world.pods.iter().all(|pod| pod.pod.attempt != attempt) {
        let pod = Pod {
            name: format!("ts-standup-{attempt}"),
            uid: format!("u{attempt}"),
            attempt,
            key_generation: u32::try_from(world.spec.ingest.key_generation).unwrap(),
            created_at: None,
            node: "node".into(),
            state: PodState::Pending(Reason::PodPending, String::new()),
            leaving: false,
            ends_at: None,
            container_started_at: None,
            restarts: 0,
            last_exit: None,
        };
        let listens_at = now + seconds(world.rng.i64(1..6));
        world.pods.push(RealPod {
            pod,
            listens_at,
            gone_at: None,
            accepted: 0,
            heard_since: now,
            refused: false,
        });
    }
    match &mut world.service {
        Some((service, _)) => service.selects = selects,
        None => {
            let service = Service { address: None, created_at: now, selects, leaving: false };
            let never = world.chance(40);
            let wait = if never { 1_000_000 } else { world.rng.i64(0..10) };
            world.service = Some((service, now + seconds(wait)));
        }
    }
}

fn delete_pods(world: &mut World, which: impl Fn(&RealPod) -> bool) {
    let now = world.now;
    let drain = world.rng.i64(1..20);
    for pod in world.pods.iter_mut().filter(|pod| which(pod)) {
        pod.pod.leaving = true;
        pod.gone_at.get_or_insert_with(|| now + seconds(drain));
    }
}

/// The pod that hears somebody, else the newest that listens.
fn report(world: &World) -> Option<WorkerReport> {
    let heard = world.egresses.iter().find_map(|egress| Some((egress.feeds.clone()?, egress.attempt)));
    let listening = || {
        let pods = world.pods.iter().filter(|pod| pod.pod.state == PodState::Listening);
        pods.max_by_key(|pod| pod.pod.attempt).map(|pod| pod.pod.name.clone())
    };
    let (pod, hearing) = match heard {
        Some((pod, attempt)) => (pod, Hearing::Publishing(attempt)),
        None => (listening()?, Hearing::Nobody),
    };
    let real = world.pods.iter().find(|real| real.pod.name == pod)?;
    let since = real.heard_since;
    let speech = match real.refused {
        true => SpeechState::Refused(Reason::CredentialsRejected),
        false => SpeechState::Live,
    };
    Some(WorkerReport {
        pod,
        hearing,
        since,
        speech,
        trouble: None,
        media_ms: world.media_ms,
        audio_lost_ms: 0,
        last_error: None,
    })
}
