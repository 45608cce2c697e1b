//! The worker pod `ts-<name>-<attempt>`: bare, restarted in place, as restricted as Pod Security Standards ask.

use super::installation::Installation;
use super::secret::{NATS_CREDS, SPEECH_KEY, own_key, same_service, session_key};
use super::{HTTP_PORT, METRICS_PORT, RTMP_PORT, names};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
    KeyToPath, Pod, PodSecurityContext, PodSpec, Probe, ResourceRequirements, SeccompProfile,
    SecretKeySelector, SecretVolumeSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use roomscribe_crds::{Disruption, TranscriptionSession};
use std::collections::BTreeMap;

/// The worker's own default service.
pub(super) const GLADIA: &str = "https://api.gladia.io";
/// Distroless' user "nonroot".
const USER: i64 = 65_532;
/// Where the Secret is seen.
const CONFIG_DIR: &str = "/etc/roomscribe";
const TLS_DIR: &str = "/etc/roomscribe-tls";
const DATA_DIR: &str = "/var/lib/roomscribe";
/// A pod whose node does not answer has a successor already (the plan does not wait for this): it only has to go away.
const LOST_NODE_SECONDS: i64 = 30;

/// The pod of `attempt`; `before`: the one whose worker still hears the session, and will hand it over.
pub fn pod(
    session: &TranscriptionSession,
    installation: &Installation,
    attempt: u32,
    before: Option<&roomscribe_plan::Pod>,
) -> Pod {
    let worker = &session.spec.worker;
    let mut labels = worker.pod_labels.clone();
    labels.extend(names::pod_labels(session, attempt));
    labels.insert(names::DISRUPTION_LABEL.to_owned(), format!("{:?}", worker.disruption));
    let mut annotations = worker.pod_annotations.clone();
    annotations.insert(names::KEY_GENERATION.to_owned(), session.spec.ingest.key_generation.to_string());
    annotations.insert(names::MADE_OF.to_owned(), super::made_of(session));
    annotations.extend(disruption(worker.disruption, installation));
    Pod {
        metadata: names::metadata(session, names::pod(session, attempt), labels, annotations),
        spec: Some(spec(session, installation, attempt, before)),
        ..Pod::default()
    }
}

/// What autoscalers may do. A `Never` pod stays until its session ends. A `Move` pod may be moved, because its session is
/// moved first, but only where the transcript does not live in the pod's own folder.
fn disruption(disruption: Disruption, installation: &Installation) -> BTreeMap<String, String> {
    let may_go = disruption == Disruption::Move && installation.log.is_durable();
    let mut annotations =
        BTreeMap::from([("cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(), may_go.to_string())]);
    if !may_go {
        annotations.insert("karpenter.sh/do-not-disrupt".to_owned(), "true".to_owned());
    }
    annotations
}

fn spec(
    session: &TranscriptionSession,
    installation: &Installation,
    attempt: u32,
    before: Option<&roomscribe_plan::Pod>,
) -> PodSpec {
    let (worker, defaults) = (&session.spec.worker, &installation.worker);
    PodSpec {
        restart_policy: Some("OnFailure".into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(defaults.grace_seconds.into()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: some(defaults.image_pull_secrets.clone()),
        node_selector: (!worker.node_selector.is_empty()).then(|| worker.node_selector.clone()),
        tolerations: Some(tolerations(&worker.tolerations)),
        priority_class_name: (!worker.priority_class_name.is_empty())
            .then(|| worker.priority_class_name.clone()),
        volumes: Some(volumes(session, installation, attempt)),
        containers: vec![container(session, installation, before)],
        ..PodSpec::default()
    }
}

fn container(
    session: &TranscriptionSession,
    installation: &Installation,
    before: Option<&roomscribe_plan::Pod>,
) -> Container {
    let defaults = &installation.worker;
    let grace = defaults.grace_seconds.to_string();
    let args = ["--session", "/etc/roomscribe/session.json", "--grace-seconds", &grace];
    Container {
        name: "worker".into(),
        image: Some(defaults.image.clone()),
        image_pull_policy: defaults.image_pull_policy.clone(),
        args: Some(args.map(str::to_owned).into()),
        env: Some(environment(session, installation, before)),
        ports: Some(vec![port("rtmp", RTMP_PORT), port("http", HTTP_PORT), port("metrics", METRICS_PORT)]),
        resources: Some(resources(&session.spec.worker.resources, &defaults.resources)),
        // The worker takes port 1935 before port 9090, so whoever answers here listens there.
        readiness_probe: Some(probe("/ready", 2, 2)),
        liveness_probe: Some(probe("/live", 10, 6)),
        // A program that ends says why in one line, which the session's condition shows.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(session)),
        ..Container::default()
    }
}

fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("metrics".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn environment(
    session: &TranscriptionSession,
    installation: &Installation,
    before: Option<&roomscribe_plan::Pod>,
) -> Vec<EnvVar> {
    let (speech, own) = (&session.spec.speech, &installation.speech);
    let region = if same_service(session, installation) { own.region.as_ref() } else { None };
    let tls = |file: &str| session.spec.ingest.tls.as_ref().map(|_| format!("{TLS_DIR}/{file}"));
    let nats = installation.log.nats.as_ref();
    let creds = installation.log.creds().map(|_| format!("{CONFIG_DIR}/{NATS_CREDS}"));
    let plain = [
        ("DATA_DIR", Some(DATA_DIR.to_owned())),
        ("RUST_LOG", Some(installation.worker.log_filter.clone())),
        ("GLADIA_API_URL", speech.api_url.clone().or_else(|| own.api_url.clone())),
        ("GLADIA_REGION", speech.region.as_ref().or(region).cloned()),
        ("NATS_URL", nats.map(|nats| nats.url.clone())),
        ("NATS_CREDS", creds),
        ("NATS_REPLICAS", nats.map(|nats| nats.replicas.to_string())),
        ("RETENTION_DAYS", nats.map(|nats| nats.retention_days.to_string())),
        ("HANDOVER", before.map(|_| "true".to_owned())),
        ("HANDOVER_UNTIL", before.and_then(|pod| pod.ends_at).map(|at| at.to_string())),
        ("TLS_CERT", tls("tls.crt")),
        ("TLS_KEY", tls("tls.key")),
    ];
    let mut environment: Vec<EnvVar> = plain
        .into_iter()
        .filter_map(|(name, value)| {
            Some(EnvVar { name: name.into(), value: Some(value?), ..EnvVar::default() })
        })
        .collect();
    environment.extend(speech_key(session, installation).map(|secret_key_ref| EnvVar {
        name: SPEECH_KEY.into(),
        value_from: Some(EnvVarSource { secret_key_ref: Some(secret_key_ref), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }));
    environment
}

/// Where the kubelet finds the speech service's key: the operator need not read a user's Secret.
fn speech_key(session: &TranscriptionSession, installation: &Installation) -> Option<SecretKeySelector> {
    let (name, key) = match &session.spec.speech.secret_ref {
        Some(reference) => (reference.name.clone(), reference.key.clone()),
        None => {
            own_key(session, installation)?;
            (names::shared(session), SPEECH_KEY.to_owned())
        }
    };
    Some(SecretKeySelector { name, key, optional: None })
}

fn volumes(session: &TranscriptionSession, installation: &Installation, attempt: u32) -> Vec<Volume> {
    let mut config = vec![item(&session_key(attempt), "session.json")];
    config.extend(installation.log.creds().map(|_| item(NATS_CREDS, NATS_CREDS)));
    let mut volumes = vec![
        secret_volume("config", names::shared(session), Some(config)),
        empty_volume("data", installation.worker.data_size_limit.clone()),
        empty_volume("tmp", Quantity("16Mi".into())),
    ];
    volumes.extend(
        session.spec.ingest.tls.as_ref().map(|tls| secret_volume("tls", tls.secret_name.clone(), None)),
    );
    volumes
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.into(), path: path.into(), ..KeyToPath::default() }
}

fn secret_volume(name: &str, secret: String, items: Option<Vec<KeyToPath>>) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(secret),
        default_mode: Some(0o440),
        items,
        ..SecretVolumeSource::default()
    };
    Volume { name: name.into(), secret: Some(source), ..Volume::default() }
}

fn empty_volume(name: &str, limit: Quantity) -> Volume {
    let source = EmptyDirVolumeSource { size_limit: Some(limit), ..EmptyDirVolumeSource::default() };
    Volume { name: name.into(), empty_dir: Some(source), ..Volume::default() }
}

fn mounts(session: &TranscriptionSession) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts =
        vec![mount("config", CONFIG_DIR, true), mount("data", DATA_DIR, false), mount("tmp", "/tmp", false)];
    mounts.extend(session.spec.ingest.tls.as_ref().map(|_| mount("tls", TLS_DIR, true)));
    mounts
}

/// The session's own values over the installation's, quantity by quantity. A default that contradicts a value of the session
/// (a limit under a request) is dropped: the API server would refuse the pod for something that nobody wrote.
fn resources(own: &ResourceRequirements, defaults: &ResourceRequirements) -> ResourceRequirements {
    ResourceRequirements {
        requests: over(&own.requests, &defaults.requests, &own.limits),
        limits: over(&own.limits, &defaults.limits, &own.requests),
        claims: own.claims.clone(),
    }
}

type Quantities = Option<BTreeMap<String, Quantity>>;

/// `own` over `defaults`; a default whose counterpart the session gives stays only where the session gives both.
fn over(own: &Quantities, defaults: &Quantities, counterpart: &Quantities) -> Quantities {
    let given =
        |name: &String| counterpart.as_ref().is_some_and(|counterpart| counterpart.contains_key(name));
    let mut all = defaults.clone().unwrap_or_default();
    all.retain(|name, _| !given(name));
    all.extend(own.clone().unwrap_or_default());
    (!all.is_empty()).then_some(all)
}

/// The session's tolerations, and ours for a lost node, unless the session has its own for that taint.
fn tolerations(own: &[Toleration]) -> Vec<Toleration> {
    let mut tolerations = own.to_vec();
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !own.iter().any(|toleration| toleration.key.as_deref().is_none_or(|key| key == taint)) {
            tolerations.push(Toleration {
                key: Some(taint.into()),
                operator: Some("Exists".into()),
                effect: Some("NoExecute".into()),
                toleration_seconds: Some(LOST_NODE_SECONDS),
                ..Toleration::default()
            });
        }
    }
    tolerations
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
