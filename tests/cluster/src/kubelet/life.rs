//! The life of a pod as the scheduler, the kubelet and the node controller tell it. Pure: `now` comes in, the pod's status
//! goes out.

use super::settings::{Behaviour, Chooser};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Two failed readiness probes, 2 s apart.
const UNREADY_AFTER: f64 = 4.0;
/// Six failed liveness probes, 10 s apart.
const KILLED_AFTER: f64 = 60.0;
const KILLED: i32 = 137;

/// Where the pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No node yet.
    New,
    /// No node takes it.
    Unschedulable,
    /// It has a node; its container is being made.
    Creating,
    /// The image cannot be pulled.
    PullFails,
    /// The container runs and is not ready.
    Running,
    /// The container runs and is ready.
    Ready,
    /// The container ended and will be started again.
    Waiting,
    /// The container ended with 0.
    Succeeded,
    /// The node threw it out.
    Evicted,
    /// The node does not answer.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Delays {
    schedule: f64,
    unschedulable: Option<f64>,
    start: f64,
    pull_fails: Option<f64>,
    ready: f64,
    restart: f64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Life {
    phase: Phase,
    /// What comes by itself, and when.
    next: Option<(Timestamp, Phase)>,
    delays: Delays,
    ip: String,
    node_ip: String,
    image: String,
    scheduled_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    restarts: u32,
    last_exit: Option<(i32, Timestamp)>,
    is_hung: bool,
    /// Why the container cannot be configured.
    config_error: Option<String>,
}

impl Life {
    pub(super) fn new(
        chooser: &Chooser,
        behaviour: &Behaviour,
        ip: String,
        node_ip: String,
        image: String,
        now: Timestamp,
    ) -> Self {
        let when = |what, share, seconds| chooser.is(what, share).then_some(seconds);
        let delays = Delays {
            schedule: chooser.within("schedule", behaviour.schedule_s),
            unschedulable: when("unschedulable", behaviour.unschedulable, behaviour.unschedulable_s),
            start: chooser.within("start", behaviour.start_s),
            pull_fails: when("pull", behaviour.pull_fails, behaviour.pull_fails_s),
            ready: chooser.within("ready", behaviour.ready_s),
            restart: chooser.within("restart", behaviour.restart_s),
        };
        let first = if delays.unschedulable.is_some() { Phase::Unschedulable } else { Phase::Creating };
        Self {
            phase: Phase::New,
            next: Some((after(now, delays.schedule), first)),
            delays,
            ip,
            node_ip,
            image,
            scheduled_at: None,
            started_at: None,
            restarts: 0,
            last_exit: None,
            is_hung: false,
            config_error: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(super) fn is_hung(&self) -> bool {
        self.is_hung
    }

    /// The worker's process is there (it may hang).
    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Ready)
    }

    /// The container began once.
    pub(super) fn has_run(&self) -> bool {
        self.started_at.is_some()
    }

    /// When something comes by itself.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.next.map(|(at, _)| at)
    }

    /// What comes next by itself, when it is due.
    pub(super) fn next(&self, now: Timestamp) -> Option<Phase> {
        self.next.filter(|(at, _)| *at <= now).map(|(_, phase)| phase)
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if let Some(phase) = self.next(now) {
            self.enter(phase, now);
        }
    }

    /// No node has room: the scheduler will look again.
    pub(super) fn postpone(&mut self, now: Timestamp) {
        self.phase = Phase::Unschedulable;
        self.next = Some((after(now, 1.0), Phase::Creating));
    }

    /// A Secret is not there: the kubelet will look again. With a message it is one of the container's environment, without
    /// one it is a volume's.
    pub(super) fn lacks_secret(&mut self, message: Option<String>, now: Timestamp) {
        self.config_error = message;
        self.next = self.next.map(|(_, phase)| (after(now, 1.0), phase));
    }

    fn enter(&mut self, phase: Phase, now: Timestamp) {
        // The liveness probe's verdict on a container that hangs.
        if self.is_hung && self.runs() && phase == Phase::Waiting {
            return self.exit(KILLED, now);
        }
        let was = std::mem::replace(&mut self.phase, phase);
        self.next = match phase {
            Phase::Unschedulable => {
                Some((after(now, self.delays.unschedulable.unwrap_or_default()), Phase::Creating))
            }
            Phase::Creating => {
                self.scheduled_at.get_or_insert(now);
                let then = if self.delays.pull_fails.is_some() { Phase::PullFails } else { Phase::Running };
                Some((after(now, self.delays.start), then))
            }
            Phase::PullFails => {
                Some((after(now, self.delays.pull_fails.unwrap_or_default()), Phase::Running))
            }
            Phase::Running if was == Phase::Ready => Some((after(now, KILLED_AFTER), Phase::Waiting)),
            Phase::Running => {
                self.config_error = None;
                self.restarts += u32::from(was == Phase::Waiting);
                self.started_at = Some(now);
                Some((after(now, self.delays.ready), Phase::Ready))
            }
            _ => None,
        };
        if self.phase == Phase::Running && self.delays.ready == 0.0 && !self.is_hung {
            self.enter(Phase::Ready, now);
        }
    }

    /// The container ends with this code.
    pub(super) fn exit(&mut self, code: i32, now: Timestamp) {
        if !self.runs() {
            return;
        }
        self.is_hung = false;
        self.last_exit = Some((code, now));
        self.phase = if code == 0 { Phase::Succeeded } else { Phase::Waiting };
        self.next = (code != 0).then(|| (after(now, self.delays.restart), Phase::Running));
    }

    /// The kubelet throws it out.
    pub(super) fn evict(&mut self, now: Timestamp) {
        if self.runs() {
            self.last_exit = Some((KILLED, now));
        }
        (self.phase, self.next) = (Phase::Evicted, None);
    }

    /// The node is gone.
    pub(super) fn lose(&mut self) {
        (self.phase, self.next) = (Phase::Lost, None);
    }

    /// The process stops answering.
    pub(super) fn hang(&mut self, now: Timestamp) {
        if self.runs() && !self.is_hung {
            self.is_hung = true;
            self.next = Some((after(now, UNREADY_AFTER), Phase::Running));
        }
    }

    /// It answers again.
    pub(super) fn resume(&mut self, now: Timestamp) {
        if self.is_hung && self.runs() {
            self.is_hung = false;
            self.next = Some((now, Phase::Ready));
        }
    }

    /// `status` of the pod; `None`: as the API server made it.
    pub(super) fn status(&self) -> Option<Value> {
        let unschedulable = json!({"phase": "Pending", "conditions": [condition("PodScheduled", "False", Some(("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")))]});
        let (phase, state) = match self.phase {
            Phase::New => return None,
            Phase::Unschedulable => return Some(unschedulable),
            Phase::Creating | Phase::PullFails | Phase::Waiting if self.config_error.is_some() => {
                let message = self.config_error.as_deref();
                // What ran before keeps the pod's phase.
                let phase = if self.has_run() { "Running" } else { "Pending" };
                (phase, json!({"waiting": {"reason": "CreateContainerConfigError", "message": message}}))
            }
            Phase::Creating => ("Pending", json!({"waiting": {"reason": "ContainerCreating"}})),
            Phase::PullFails => {
                let message = format!("Back-off pulling image \"{}\"", self.image);
                ("Pending", json!({"waiting": {"reason": "ImagePullBackOff", "message": message}}))
            }
            Phase::Running | Phase::Ready | Phase::Lost => {
                ("Running", json!({"running": {"startedAt": self.started_at.map(seconds)}}))
            }
            Phase::Waiting => {
                let message = "back-off 10s restarting failed container";
                ("Running", json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}}))
            }
            Phase::Succeeded => ("Succeeded", json!({"terminated": self.terminated()})),
            Phase::Evicted => ("Failed", json!({"terminated": self.terminated()})),
        };
        Some(self.on_a_node(phase, &state))
    }

    fn on_a_node(&self, phase: &str, state: &Value) -> Value {
        let is_ready = self.phase == Phase::Ready;
        // The node controller marks Ready only; ContainersReady is the kubelet's last word.
        let containers_ready = is_ready || self.phase == Phase::Lost;
        let word = |is: bool| if is { "True" } else { "False" };
        let mut conditions = vec![
            condition("PodScheduled", "True", None),
            condition("Initialized", "True", None),
            condition("ContainersReady", word(containers_ready), None),
            condition("Ready", word(is_ready), None),
        ];
        let ended_before = !matches!(self.phase, Phase::Succeeded | Phase::Evicted);
        let last = if ended_before { json!({"terminated": self.terminated()}) } else { json!({}) };
        let mut status = json!({
            "phase": phase,
            "hostIP": self.node_ip,
            "hostIPs": [{"ip": self.node_ip}],
            "startTime": self.scheduled_at.map(seconds),
            "containerStatuses": [{
                "name": "worker", "image": self.image, "imageID": "",
                "ready": containers_ready, "started": self.runs(),
                "restartCount": self.restarts, "state": state, "lastState": last,
            }],
        });
        if self.started_at.is_some() {
            status["podIP"] = self.ip.clone().into();
            status["podIPs"] = json!([{"ip": self.ip}]);
        }
        if self.phase == Phase::Evicted {
            let why = "The node was low on resource: memory.";
            conditions.push(condition("DisruptionTarget", "True", Some(("TerminationByKubelet", why))));
            status["reason"] = "Evicted".into();
            status["message"] = why.into();
        }
        status["conditions"] = conditions.into();
        status
    }

    fn terminated(&self) -> Option<Value> {
        let (code, at) = self.last_exit?;
        let reason = if code == 0 { "Completed" } else { "Error" };
        let started = self.started_at.map(seconds);
        Some(json!({"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": seconds(at)}))
    }
}

fn condition(kind: &str, status: &str, why: Option<(&str, &str)>) -> Value {
    match why {
        Some((reason, message)) => {
            json!({"type": kind, "status": status, "reason": reason, "message": message})
        }
        None => json!({"type": kind, "status": status}),
    }
}

/// Kubernetes' times have whole seconds.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn after(now: Timestamp, seconds: f64) -> Timestamp {
    let delay = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    now.checked_add(delay).unwrap_or(now)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test support")]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, seconds)
    }

    fn life(behaviour: &Behaviour) -> Life {
        let chooser = Chooser::new(1, "pod");
        Life::new(&chooser, behaviour, "127.9.0.1".into(), "127.9.255.1".into(), "worker:1".into(), at(0.0))
    }

    fn fixed() -> Behaviour {
        Behaviour { schedule_s: [1.0, 1.0], start_s: [1.0, 1.0], ready_s: [1.0, 1.0], ..Behaviour::default() }
    }

    /// Phases with the second in which they began, up to `until`.
    fn live(life: &mut Life, until: f64) -> Vec<(f64, Phase)> {
        let mut seen = Vec::new();
        while let Some(due) = life.due().filter(|due| *due <= at(until)) {
            life.advance(due);
            seen.push((due.as_millisecond() as f64 / 1000.0, life.phase()));
        }
        seen
    }

    fn ready(status: &Value) -> &str {
        let all = status["conditions"].as_array().unwrap();
        all.iter().find(|condition| condition["type"] == "Ready").unwrap()["status"].as_str().unwrap()
    }

    #[test]
    fn a_pod_without_faults_is_scheduled_started_and_ready() {
        let mut pod = life(&fixed());
        assert_eq!(pod.status(), None);
        let expected = [(1.0, Phase::Creating), (2.0, Phase::Running), (3.0, Phase::Ready)];
        assert_eq!(live(&mut pod, 100.0), expected);
        let status = pod.status().unwrap();
        assert_eq!(
            (&status["phase"], &status["podIP"], ready(&status)),
            (&json!("Running"), &json!("127.9.0.1"), "True")
        );
        assert_eq!(status["containerStatuses"][0]["state"]["running"]["startedAt"], "1970-01-01T00:00:02Z");
    }

    #[test]
    fn troubles_pass() {
        let behaviour = Behaviour { unschedulable: 1.0, pull_fails: 1.0, ..fixed() };
        let mut pod = life(&behaviour);
        let phases: Vec<_> = live(&mut pod, 100.0).into_iter().map(|(_, phase)| phase).collect();
        assert_eq!(
            phases,
            [Phase::Unschedulable, Phase::Creating, Phase::PullFails, Phase::Running, Phase::Ready]
        );
    }

    #[test]
    fn a_container_that_crashes_comes_back_with_one_restart_more_and_its_exit_code() {
        let mut pod = life(&fixed());
        live(&mut pod, 10.0);
        pod.exit(75, at(10.0));
        let status = pod.status().unwrap();
        assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "CrashLoopBackOff");
        assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 75);
        assert_eq!((ready(&status), pod.runs()), ("False", false));
        assert_eq!(live(&mut pod, 100.0), [(11.0, Phase::Running), (12.0, Phase::Ready)]);
        assert_eq!(pod.status().unwrap()["containerStatuses"][0]["restartCount"], 1);
    }

    #[test]
    fn a_container_that_comes_back_without_its_secret_says_so_and_waits_for_it() {
        let mut pod = life(&fixed());
        live(&mut pod, 10.0);
        pod.exit(1, at(10.0));
        pod.lacks_secret(Some("secret \"ts-monday\" not found".into()), at(11.0));
        let status = pod.status().unwrap();
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(
            (&status["phase"], &waiting["reason"]),
            (&json!("Running"), &json!("CreateContainerConfigError"))
        );
        assert_eq!(live(&mut pod, 100.0), [(12.0, Phase::Running), (13.0, Phase::Ready)]);
    }

    #[test]
    fn a_container_that_ends_with_0_is_done() {
        let mut pod = life(&fixed());
        live(&mut pod, 10.0);
        pod.exit(0, at(10.0));
        assert_eq!(pod.status().unwrap()["phase"], "Succeeded");
        assert_eq!(pod.due(), None);
    }

    #[test]
    fn a_container_that_hangs_is_not_ready_and_then_killed() {
        let mut pod = life(&Behaviour { ready_s: [0.0, 0.0], ..fixed() });
        live(&mut pod, 10.0);
        pod.hang(at(10.0));
        assert_eq!(live(&mut pod, 73.0), [(14.0, Phase::Running)]);
        assert_eq!(live(&mut pod, 74.0), [(74.0, Phase::Waiting)]);
        assert_eq!(live(&mut pod, 100.0), [(75.0, Phase::Ready)]);
        let container = &pod.status().unwrap()["containerStatuses"][0];
        assert_eq!(
            (&container["restartCount"], &container["lastState"]["terminated"]["exitCode"]),
            (&json!(1), &json!(137))
        );
        pod.hang(at(100.0));
        pod.resume(at(101.0));
        assert_eq!(live(&mut pod, 200.0), [(101.0, Phase::Ready)]);
    }

    #[test]
    fn eviction_and_a_lost_node_look_as_the_kubelet_and_the_node_controller_say_it() {
        let mut pod = life(&fixed());
        live(&mut pod, 10.0);
        let mut lost = pod.clone();
        pod.evict(at(10.0));
        let status = pod.status().unwrap();
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("Evicted")));
        lost.lose();
        let status = lost.status().unwrap();
        assert_eq!((ready(&status), &status["containerStatuses"][0]["ready"]), ("False", &json!(true)));
    }
}
