//! The actor of one Service: the load balancer that gives it an address, and the doors that lead from there to its pod.

use super::World;
use super::addresses::name_of;
use super::handle::Handle;
use super::settings::Chooser;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use roomscribe_sims::rtmp_sink::{Behaviour, Told, serve};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Of one Service at a time; a session has one publisher, and a second one for a moment.
const MAX_CONNECTIONS: usize = 16;
const RETRY: Duration = Duration::from_millis(300);

/// What the Service selects now.
pub(super) type Selector = Arc<Mutex<BTreeMap<String, String>>>;

pub(super) struct Balancer {
    world: Arc<World>,
    namespace: String,
    name: String,
    uid: String,
    selector: Selector,
    /// Address that goes back when this ends.
    address: Option<Ipv4Addr>,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.world.addresses.give_back(address);
        }
    }
}

impl Balancer {
    pub(super) fn new(world: Arc<World>, service: &Service, selector: Selector) -> Self {
        let metadata = service.metadata.clone();
        Self {
            world,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            selector,
            address: None,
        }
    }

    /// Until it is dropped.
    pub(super) async fn run(mut self, service: Service) {
        let Some(spec) = service.spec else { return };
        let rtmp = spec.ports.iter().flatten().find(|port| port.name.as_deref() == Some("rtmp"));
        let Some(port) = rtmp.or_else(|| spec.ports.iter().flatten().next()).cloned() else { return };
        let number = |port: i32| u16::try_from(port).unwrap_or_default();
        match spec.type_.as_deref() {
            Some("LoadBalancer") => self.balance(number(port.port)).await,
            Some("NodePort") => {
                let address = self.world.addresses.node(1);
                self.door(address, number(port.node_port.unwrap_or_default())).await;
            }
            _ => {
                if let Some(address) = spec.cluster_ip.and_then(|ip| ip.parse().ok()) {
                    self.door(address, number(port.port)).await;
                }
            }
        }
    }

    async fn balance(&mut self, port: u16) {
        let behaviour = self.world.behaviour();
        let chooser = Chooser::new(self.world.settings.seed, &format!("{}/{}", self.namespace, self.name));
        if chooser.is("no address", behaviour.no_address) {
            return std::future::pending().await;
        }
        let is_named = chooser.is("hostname", behaviour.hostname);
        sleep(Duration::from_secs_f64(chooser.within("address", behaviour.address_s))).await;
        if chooser.is("address changes", behaviour.address_changes) {
            let Some(first) = self.take() else { return };
            let moved = sleep(Duration::from_secs_f64(behaviour.address_changes_s));
            tokio::select! {
                () = self.open(first, port, is_named) => {}
                () = moved => {}
            }
        }
        if let Some(address) = self.take() {
            self.open(address, port, is_named).await;
        }
    }

    /// The next address; the one before goes back.
    fn take(&mut self) -> Option<Ipv4Addr> {
        let next = self.world.addresses.take_balancer();
        let before = std::mem::replace(&mut self.address, next);
        before.into_iter().for_each(|address| self.world.addresses.give_back(address));
        if next.is_none() {
            tracing::warn!(service = self.name, "no load balancer address is left");
        }
        next
    }

    /// Tells the address once the door is open.
    async fn open(&self, address: Ipv4Addr, port: u16, is_named: bool) {
        let ingress = match is_named {
            true => json!([{"hostname": name_of(address)}]),
            false => json!([{"ip": address.to_string(), "ipMode": "VIP"}]),
        };
        let patch = Patch::Merge(
            json!({"metadata": {"uid": self.uid}, "status": {"loadBalancer": {"ingress": ingress}}}),
        );
        let tell = async {
            let services: Api<Service> = Api::namespaced(self.world.client.clone(), &self.namespace);
            loop {
                match services.patch_status(&self.name, &PatchParams::default(), &patch).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return,
                    Err(error) => tracing::debug!("again: {error}"),
                    Ok(_) => return,
                }
                sleep(RETRY).await;
            }
        };
        tokio::join!(self.door(address, port), tell);
    }

    /// Leads connections to the pod that is selected when they come; without one they are closed, as a load balancer without
    /// a healthy target does.
    async fn door(&self, address: Ipv4Addr, port: u16) {
        let listener = match TcpListener::bind((address, port)).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(service = self.name, %address, port, "cannot listen: {error}");
                return;
            }
        };
        let mut connections = JoinSet::new();
        loop {
            let accepted = listener.accept().await;
            while connections.try_join_next().is_some() {}
            let Ok((socket, _)) = accepted else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let selector = self.selector.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let endpoint = self.world.endpoint(&self.namespace, &selector);
            if let Some(handle) = endpoint.filter(|_| connections.len() < MAX_CONNECTIONS) {
                connections.spawn(connection(socket, handle, self.world.next_connection()));
            }
        }
    }
}

/// One RTMP connection, as long as the worker's process lives; nothing is read while that hangs.
async fn connection(socket: TcpStream, handle: Arc<Handle>, number: u64) {
    let (mut process, mut hung) = (handle.process.subscribe(), handle.hung.subscribe());
    let told = Arc::clone(&handle);
    let serving = serve(socket, Behaviour::Take, move |what| match what {
        Told::Publish { app, key } => told.publish(number, app, key),
        Told::Audio { timestamp, .. } => told.hear(number, timestamp),
        Told::Goodbye => {
            told.leave(number);
            true
        }
    });
    tokio::pin!(serving);
    loop {
        let is_hung = *hung.borrow_and_update();
        tokio::select! {
            // How a publisher's connection ended is told by the report.
            _ = &mut serving, if !is_hung => break,
            _ = process.changed() => break,
            changed = hung.changed() => if changed.is_err() { break },
        }
    }
    handle.leave(number);
}
