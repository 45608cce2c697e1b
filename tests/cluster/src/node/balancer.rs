//! The load balancer of a cluster without a cloud: it gives every Service of type LoadBalancer an address of its own, unless
//! it names the class of another one. kube-proxy does the rest.

use super::addresses::balancers;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::pin::pin;

/// Until it is dropped.
pub(super) async fn balance(client: Client) {
    let services: Api<Service> = Api::all(client.clone());
    let (store, writer) = reflector::store();
    let seen =
        watcher(services, watcher::Config::default()).default_backoff().reflect(writer).applied_objects();
    let mut seen = pin!(seen.filter_map(async |service| service.ok()));
    // The store learns of our own words a moment later.
    let mut given: HashMap<String, Ipv4Addr> = HashMap::new();
    while let Some(service) = seen.next().await {
        let known = store.state();
        given.retain(|uid, _| known.iter().any(|service| service.metadata.uid.as_ref() == Some(uid)));
        let uid = service.uid().unwrap_or_default();
        if !wants(&service) || given.contains_key(&uid) {
            continue;
        }
        let taken = known.iter().filter_map(|service| address(service)).chain(given.values().copied());
        match next(&taken.collect::<Vec<_>>()) {
            Some(address) if tell(&client, &service, address).await => drop(given.insert(uid, address)),
            Some(_) => {}
            None => tracing::warn!(service = service.name_any(), "no load balancer address is left"),
        }
    }
}

fn wants(service: &Service) -> bool {
    let spec = service.spec.as_ref().filter(|spec| spec.load_balancer_class.is_none());
    let is_balanced = spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    is_balanced && service.metadata.deletion_timestamp.is_none() && address(service).is_none()
}

fn address(service: &Service) -> Option<Ipv4Addr> {
    let status = service.status.as_ref()?.load_balancer.as_ref()?;
    status.ingress.as_ref()?.first()?.ip.as_ref()?.parse().ok()
}

fn next(taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    balancers().find(|address| !taken.contains(address))
}

async fn tell(client: &Client, service: &Service, address: Ipv4Addr) -> bool {
    let services: Api<Service> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    let ingress = json!([{"ip": address, "ipMode": "VIP"}]);
    let patch = Patch::Merge(
        json!({"metadata": {"uid": service.uid()}, "status": {"loadBalancer": {"ingress": ingress}}}),
    );
    let told = services.patch_status(&service.name_any(), &PatchParams::default(), &patch).await;
    if let Err(error) = &told {
        // A conflict is followed by another event, a broken watch by all of them.
        tracing::warn!(service = service.name_any(), "its address was not told: {error}");
    }
    told.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ServiceSpec;

    #[test]
    fn the_first_free_address_is_given_until_none_is_left() {
        let first = Ipv4Addr::new(198, 18, 112, 1);
        assert_eq!(next(&[]), Some(first));
        assert_eq!(next(&[first]), Some(Ipv4Addr::new(198, 18, 112, 2)));
        let all: Vec<Ipv4Addr> = balancers().collect();
        assert_eq!(next(&all), None);
    }

    #[test]
    fn a_service_of_another_class_waits_for_its_own_balancer() {
        let service = |class: Option<&str>| Service {
            spec: Some(ServiceSpec {
                type_: Some("LoadBalancer".into()),
                load_balancer_class: class.map(str::to_owned),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        };
        assert!(wants(&service(None)));
        assert!(!wants(&service(Some("example.com/other"))));
    }
}
