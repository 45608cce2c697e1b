//! A model of LiveKit and of Kubernetes around one session, with the faults that were observed on real ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use roomscribe_crds::{DesiredState, TranscriptionSessionSpec, TranscriptionSessionStatus};
use roomscribe_plan::*;

pub(crate) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// An egress as it really is.
#[derive(Debug, Clone)]
pub(crate) struct RealEgress {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) state: EgressState,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    /// Name of the pod whose worker has accepted it.
    pub(crate) feeds: Option<String>,
    /// It says ACTIVE and will never send again.
    pub(crate) wedged: bool,
    pub(crate) error: String,
    pub(crate) stops_at: Option<Timestamp>,
}

impl RealEgress {
    pub(crate) fn seen(&self) -> Egress {
        Egress {
            id: self.id.clone(),
            attempt: self.attempt,
            state: self.state.clone(),
            error: self.error.clone(),
            origin: "rtmp://198.18.0.9:1935".into(),
            uses_chrome: false,
            started_at: Some(self.started_at),
            ended_at: self.ended_at,
        }
    }
}

/// A pod as it really is.
#[derive(Debug, Clone)]
pub(crate) struct RealPod {
    pub(crate) pod: Pod,
    pub(crate) listens_at: Timestamp,
    pub(crate) gone_at: Option<Timestamp>,
    /// Highest attempt that its worker has accepted.
    pub(crate) accepted: u32,
    pub(crate) heard_since: Timestamp,
    /// The speech service has refused its key; it never asks again.
    pub(crate) refused: bool,
}

/// A start that LiveKit has taken and not yet turned into an egress.
#[derive(Debug, Clone)]
pub(crate) struct Late {
    pub(crate) due: Timestamp,
    pub(crate) attempt: u32,
}

pub(crate) struct World {
    pub(crate) rng: fastrand::Rng,
    pub(crate) now: Timestamp,
    pub(crate) calm: bool,
    pub(crate) room: Option<Room>,
    pub(crate) egresses: Vec<RealEgress>,
    pub(crate) late: Vec<Late>,
    pub(crate) unreachable_until: Timestamp,
    pub(crate) no_capacity_until: Timestamp,
    pub(crate) refuses_key_until: Timestamp,
    /// LiveKit answers 400 to starts.
    pub(crate) refuses_kind_until: Timestamp,
    /// LiveKit says of every room that there is none.
    pub(crate) forgets_rooms_until: Timestamp,
    /// The speech service refuses the key of whoever asks it.
    pub(crate) refuses_speech_until: Timestamp,
    /// The namespace has no room for another pod.
    pub(crate) no_quota_until: Timestamp,
    pub(crate) pods: Vec<RealPod>,
    pub(crate) service: Option<(Service, Timestamp)>,
    pub(crate) spec: TranscriptionSessionSpec,
    pub(crate) status: TranscriptionSessionStatus,
    pub(crate) version: u64,
    pub(crate) finalizer: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) gone: bool,
    pub(crate) numbers: u32,
    /// Seconds during which two egresses were accepted by workers at the same time.
    pub(crate) doubled: u32,
    pub(crate) media_ms: u64,
    /// Seconds during which two egresses were billed and nobody had asked either to stop.
    pub(crate) overlapping: u32,
    /// Seconds with an open microphone, and those of them in which no worker heard anything.
    pub(crate) spoken: u32,
    pub(crate) deaf: u32,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        let room = rng.bool().then_some(Room { participants: 2, open_microphones: 1 });
        Self {
            now,
            calm: false,
            room,
            egresses: Vec::new(),
            late: Vec::new(),
            unreachable_until: now,
            no_capacity_until: now,
            refuses_key_until: now,
            refuses_kind_until: now,
            forgets_rooms_until: now,
            refuses_speech_until: now,
            no_quota_until: now,
            pods: Vec::new(),
            service: None,
            spec: TranscriptionSessionSpec::for_room("standup"),
            status: TranscriptionSessionStatus::default(),
            version: 1,
            finalizer: false,
            created_at: now,
            deleted_at: None,
            gone: false,
            numbers: 0,
            doubled: 0,
            media_ms: 0,
            overlapping: 0,
            spoken: 0,
            deaf: 0,
            rng,
        }
    }

    pub(crate) fn chance(&mut self, one_in: u32) -> bool {
        !self.calm && self.rng.u32(0..one_in) == 0
    }

    pub(crate) fn livekit_answers(&self) -> bool {
        self.now >= self.unreachable_until
    }

    /// One second passes.
    pub(crate) fn tick(&mut self) {
        self.now += seconds(1);
        self.faults();
        self.late_starts();
        self.pods_go_on();
        self.egresses_go_on();
        let feeding = self.egresses.iter().filter(|egress| egress.feeds.is_some()).count();
        self.doubled += u32::from(feeding > 1);
        let billed = self
            .egresses
            .iter()
            .filter(|egress| matches!(egress.state, EgressState::Starting | EgressState::Active));
        self.overlapping += u32::from(billed.count() > 1);
        let wanted = self.deleted_at.is_none() && self.status.completed_at.is_none();
        if wanted && self.room.is_some_and(|room| room.open_microphones > 0) {
            self.spoken += 1;
            self.deaf += u32::from(feeding == 0);
        }
        self.media_ms += if feeding > 0 { 1000 } else { 0 };
        if self.deleted_at.is_some() && !self.finalizer {
            self.gone = true;
        }
    }

    fn faults(&mut self) {
        let now = self.now;
        if self.chance(120) {
            self.unreachable_until = now + seconds(self.rng.i64(1..40));
        }
        if self.chance(200) {
            self.no_capacity_until = now + seconds(self.rng.i64(1..60));
        }
        if self.chance(600) {
            self.refuses_key_until = now + seconds(self.rng.i64(1..60));
        }
        if self.chance(600) {
            self.refuses_kind_until = now + seconds(self.rng.i64(1..400));
        }
        if self.chance(600) {
            self.spec.ingest.key_generation += 1;
            self.version += 1;
        }
        if self.chance(300) && now >= self.forgets_rooms_until + seconds(60) {
            // A restarted LiveKit has forgotten its rooms for a moment, and does not restart again within the minute.
            self.forgets_rooms_until = now + seconds(self.rng.i64(1..6));
        }
        if self.chance(500) {
            self.refuses_speech_until = now + seconds(self.rng.i64(1..400));
        }
        if self.chance(300) {
            self.no_quota_until = now + seconds(self.rng.i64(1..60));
        }
        if self.room.is_none() && self.status.completed_at.is_none() && self.chance(20) {
            self.room = Some(Room { participants: 2, open_microphones: 1 });
        }
        if self.chance(40)
            && let Some(room) = &mut self.room
        {
            room.open_microphones = u32::from(self.rng.bool());
        }
        if self.chance(150) && !self.pods.is_empty() {
            let index = self.rng.usize(0..self.pods.len());
            self.crash(index);
        }
        if self.chance(400) && !self.pods.is_empty() {
            let index = self.rng.usize(0..self.pods.len());
            let grace = self.rng.i64(5..60);
            let pod = &mut self.pods[index];
            pod.pod.leaving = true;
            pod.gone_at.get_or_insert_with(|| now + seconds(grace));
        }
        if self.chance(500) && !self.pods.is_empty() {
            let index = self.rng.usize(0..self.pods.len());
            self.pods[index].pod.state = PodState::NodeLost;
            let name = self.pods[index].pod.name.clone();
            self.cut(&name);
        }
        if self.chance(150) {
            let wedge = self.rng.bool();
            if let Some(egress) = self.egresses.iter_mut().find(|egress| egress.feeds.is_some()) {
                (egress.feeds, egress.wedged) = (None, wedge);
            }
        }
        if self.chance(300)
            && let Some(egress) = self.egresses.iter_mut().find(|egress| egress.state.is_live())
        {
            (egress.state, egress.ended_at, egress.feeds) = (EgressState::Failed, Some(now), None);
        }
    }

    fn crash(&mut self, index: usize) {
        let (now, back) = (self.now, seconds(self.rng.i64(1..12)));
        let pod = &mut self.pods[index];
        if pod.pod.state != PodState::Listening {
            return;
        }
        pod.pod.restarts += 1;
        pod.pod.last_exit =
            Some(ContainerExit { code: 137, reason: "Error".into(), words: String::new(), at: now });
        pod.pod.state = PodState::NotListening;
        pod.listens_at = now + back;
        pod.accepted = 0;
        let name = pod.pod.name.clone();
        self.cut(&name);
    }

    /// The worker's side of every connection breaks; some egresses never come back, and say ACTIVE all the same.
    fn cut(&mut self, pod: &str) {
        let wedge = self.rng.bool();
        for egress in self.egresses.iter_mut().filter(|egress| egress.feeds.as_deref() == Some(pod)) {
            (egress.feeds, egress.wedged) = (None, wedge);
        }
    }

    fn late_starts(&mut self) {
        let now = self.now;
        let (due, rest): (Vec<_>, Vec<_>) = self.late.drain(..).partition(|late| late.due <= now);
        self.late = rest;
        for late in due {
            self.begin_egress(late.attempt);
        }
    }

    pub(crate) fn begin_egress(&mut self, attempt: u32) -> String {
        self.numbers += 1;
        let id = format!("EG_{}", self.numbers);
        self.egresses.push(RealEgress {
            id: id.clone(),
            attempt,
            state: EgressState::Starting,
            started_at: self.now,
            ended_at: None,
            feeds: None,
            wedged: false,
            error: String::new(),
            stops_at: None,
        });
        id
    }

    fn pods_go_on(&mut self) {
        let now = self.now;
        for pod in &mut self.pods {
            let waiting = matches!(pod.pod.state, PodState::Pending(..) | PodState::NotListening);
            if waiting && pod.listens_at <= now {
                pod.pod.state = PodState::Listening;
                pod.pod.container_started_at = Some(now);
                pod.heard_since = now;
            }
        }
        let gone: Vec<_> = self
            .pods
            .iter()
            .filter(|pod| pod.gone_at.is_some_and(|at| at <= now))
            .map(|pod| pod.pod.name.clone())
            .collect();
        for name in gone {
            self.cut(&name);
            self.pods.retain(|pod| pod.pod.name != name);
        }
    }

    fn egresses_go_on(&mut self) {
        let (now, room) = (self.now, self.room);
        for index in 0..self.egresses.len() {
            let egress = &mut self.egresses[index];
            if !egress.state.is_live() {
                continue;
            }
            if egress.stops_at.is_some_and(|at| at <= now) || (room.is_none() && !egress.wedged) {
                (egress.state, egress.ended_at, egress.feeds) = (EgressState::Complete, Some(now), None);
                if egress.stops_at.is_none() {
                    egress.error = "End reason: Source closed".into();
                }
                continue;
            }
            let connects = egress.feeds.is_none() && !egress.wedged && egress.stops_at.is_none();
            if connects && room.is_some_and(|room| room.open_microphones > 0) {
                self.connect(index);
            }
        }
    }

    /// RTMP to the pod that the Service selects; refused is the end of a new egress and the start of a wedge of an old one.
    fn connect(&mut self, index: usize) {
        let now = self.now;
        let selects = self.service.as_ref().map(|(service, _)| service.selects);
        let attempt = self.egresses[index].attempt;
        let target = self.pods.iter_mut().find(|pod| {
            Some(pod.pod.attempt) == selects && pod.pod.state == PodState::Listening && !pod.pod.leaving
        });
        match target {
            Some(pod) if attempt >= pod.accepted => {
                pod.accepted = attempt;
                pod.heard_since = now;
                pod.refused |= now < self.refuses_speech_until;
                let name = pod.pod.name.clone();
                for other in self.egresses.iter_mut().filter(|egress| egress.feeds.as_deref() == Some(&name))
                {
                    (other.feeds, other.wedged) = (None, true);
                }
                let egress = &mut self.egresses[index];
                (egress.state, egress.feeds) = (EgressState::Active, Some(name));
            }
            _ => {
                let egress = &mut self.egresses[index];
                if egress.state == EgressState::Starting {
                    (egress.state, egress.ended_at) = (EgressState::Failed, Some(now));
                    egress.error = "Could not connect".into();
                } else {
                    egress.wedged = self.rng.bool();
                }
            }
        }
    }

    pub(crate) fn ask_to_end(&mut self, how: u32) {
        match how {
            0 => self.deleted_at = Some(self.now),
            1 => self.spec.desired_state = DesiredState::Stopped,
            _ => self.room = None,
        }
        self.version += 1;
    }
}
