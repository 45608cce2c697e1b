//! The Service `ts-<name>`: where LiveKit's egress finds the worker.

use super::installation::Installation;
use super::{HTTP_PORT, RTMP_PORT, names};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use roomscribe_crds::{Exposure, TranscriptionSession};
use std::collections::BTreeMap;

/// The Service, selecting the pod of attempt `selects`. With exposure External it is a ClusterIP Service: what somebody
/// else forwards to.
pub fn service(session: &TranscriptionSession, installation: &Installation, selects: u32) -> Service {
    let labels = names::pod_labels(session, selects);
    let name = names::shared(session);
    Service {
        metadata: names::metadata(session, name, labels, annotations(session, installation)),
        spec: Some(spec(session, installation, selects)),
        ..Service::default()
    }
}

fn spec(session: &TranscriptionSession, installation: &Installation, selects: u32) -> ServiceSpec {
    let ingest = &session.spec.ingest;
    let kind = match ingest.exposure {
        Exposure::LoadBalancer => "LoadBalancer",
        Exposure::NodePort => "NodePort",
        Exposure::ClusterIP | Exposure::External => "ClusterIP",
    };
    let from_outside = matches!(ingest.exposure, Exposure::LoadBalancer | Exposure::NodePort);
    let selector =
        [(names::SESSION_LABEL, names::id(session).to_owned()), (names::ATTEMPT_LABEL, selects.to_string())];
    ServiceSpec {
        type_: Some(kind.into()),
        selector: Some(selector.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ports: Some(vec![port("rtmp", RTMP_PORT), port("http", HTTP_PORT)]),
        // `Local` keeps the publisher's address, but a pod on another node is found only after the load balancer's health
        // check: longer than an egress tries (30 s).
        external_traffic_policy: from_outside.then(|| "Cluster".into()),
        // Two node ports a session end the default range (30000–32767) at 1,384 sessions. `None` leaves Kubernetes' default,
        // true: a load balancer that needs them would reach nobody without.
        allocate_load_balancer_node_ports: (ingest.exposure == Exposure::LoadBalancer
            && !installation.ingest.load_balancer_node_ports)
            .then_some(false),
        load_balancer_class: ingest.load_balancer_class.clone(),
        load_balancer_source_ranges: (!ingest.source_ranges.is_empty()).then(|| ingest.source_ranges.clone()),
        ..ServiceSpec::default()
    }
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(name.into())),
        ..ServicePort::default()
    }
}

/// The installation's annotations, and over them those of the session that are allowed.
fn annotations(session: &TranscriptionSession, installation: &Installation) -> BTreeMap<String, String> {
    let mut annotations = installation.ingest.annotations.clone();
    let asked = session.spec.ingest.annotations.iter().filter(|(name, _)| allowed(name, installation));
    annotations.extend(asked.map(|(name, value)| (name.clone(), value.clone())));
    annotations
}

/// Annotations of the session that this installation does not allow: they are left out, and somebody should say so.
pub fn refused_annotations<'a>(
    session: &'a TranscriptionSession,
    installation: &Installation,
) -> Vec<&'a str> {
    let names = session.spec.ingest.annotations.keys();
    names.filter(|name| !allowed(name, installation)).map(String::as_str).collect()
}

fn allowed(name: &str, installation: &Installation) -> bool {
    installation.ingest.annotation_prefixes.iter().any(|prefix| name.starts_with(prefix))
}
