//! A session's Service.

use crate::children::names::ATTEMPT_LABEL;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use roomscribe_crds::{Exposure, TranscriptionSessionSpec};

/// `node`: a host that reaches the nodes, for exposure NodePort. `None` for an object that no API server has seen.
pub fn service(
    service: &Service,
    session: &TranscriptionSessionSpec,
    node: Option<&str>,
) -> Option<roomscribe_plan::Service> {
    let selects = selected(service);
    let host = match session.ingest.exposure {
        Exposure::LoadBalancer => balanced(service),
        Exposure::ClusterIP => cluster_ip(service),
        Exposure::NodePort => node.map(str::to_owned),
        Exposure::External => session.ingest.external.as_ref().map(|external| external.host.clone()),
    };
    let port = match (session.ingest.exposure, &session.ingest.external) {
        (Exposure::External, Some(external)) => Some(external.port),
        (Exposure::NodePort, _) => rtmp_port(service).and_then(|port| port.node_port),
        _ => rtmp_port(service).map(|port| port.port),
    };
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Some(roomscribe_plan::Service {
        address: host.zip(port),
        created_at: service.metadata.creation_timestamp.as_ref()?.0,
        selects,
        leaving: service.metadata.deletion_timestamp.is_some(),
    })
}

fn rtmp_port(service: &Service) -> Option<&ServicePort> {
    service.spec.as_ref()?.ports.iter().flatten().find(|port| port.name.as_deref() == Some("rtmp"))
}

/// Attempt of the selector; 0 when it names none.
fn selected(service: &Service) -> u32 {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.and_then(|selector| selector.get(ATTEMPT_LABEL)?.parse().ok()).unwrap_or(0)
}

/// Some load balancers give an IP address, others a name; an entry with neither is on its way.
fn balanced(service: &Service) -> Option<String> {
    let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    balancer
        .ingress
        .iter()
        .flatten()
        .find_map(|ingress| named(&ingress.ip).or_else(|| named(&ingress.hostname)))
}

fn cluster_ip(service: &Service) -> Option<String> {
    let ip = service.spec.as_ref()?.cluster_ip.clone()?;
    (!ip.is_empty() && ip != "None").then_some(ip)
}
