//! What the parts of a node are told.

use super::addresses::{API_SERVICE, DNS, NAME, NODE, PODS, PODS_HERE, SERVICES};
use crate::ApiServer;
use crate::api_server::Place;
use k8s_openapi::api::rbac::v1::PolicyRule;
use std::path::Path;

/// The kubelet's name.
pub(super) const NODE_NAME: &str = "node-1";
/// As `images.sh` names it.
const PAUSE: &str = "localhost/pause:1";

pub(super) fn place() -> Place {
    Place {
        address: NODE,
        port: 6443,
        etcd: 2379,
        services: SERVICES.into(),
        hosts: format!("DNS:kubernetes.default.svc.cluster.local,IP:{NODE},IP:{API_SERVICE}"),
        more: vec![
            "--allow-privileged=true".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--kubelet-preferred-address-types=InternalIP".into(),
        ],
    }
}

/// Lets the API server ask the kubelet: logs, exec, port-forward.
pub(super) fn kubelet_client(api: &ApiServer) -> anyhow::Result<Vec<String>> {
    api.authority.sign("kubelet-client", "kubelet-client", &["system:masters"], "")?;
    let file = |name: &str| api.authority.file(name);
    Ok(vec![
        format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
    ])
}

/// For kube-controller-manager.
pub(super) fn controllers(api: &ApiServer) -> Vec<String> {
    let file = |name: &str| api.authority.file(name);
    vec![
        format!("--cluster-cidr={PODS}"),
        "--allocate-node-cidrs=true".into(),
        "--node-cidr-mask-size=24".into(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--node-monitor-grace-period=20s".into(),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins".into(),
    ]
}

/// For kube-scheduler.
pub(super) fn scheduler(api: &ApiServer) -> anyhow::Result<Vec<String>> {
    let config = api.kubeconfig("system:kube-scheduler")?.display().to_string();
    Ok(vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        format!("--cert-dir={}", api.authority.file("")),
        "--leader-elect=false".into(),
    ])
}

/// For containerd, and its files.
pub(super) fn containerd(folder: &Path) -> anyhow::Result<Vec<String>> {
    let (own, cni) = (folder.join("containerd"), folder.join("cni"));
    std::fs::create_dir_all(&cni)?;
    std::fs::write(cni.join("10-pods.conflist"), cni_list().to_string())?;
    let (own, cni, socket) = (own.display(), cni.display(), socket(folder));
    let config = folder.join("containerd.toml");
    // restrict_oom_score_adj: where CAP_SYS_RESOURCE is missing, no sandbox starts without it.
    std::fs::write(
        &config,
        format!(
            "version = 2\nroot = '{own}/root'\nstate = '{own}/state'\n\
             disabled_plugins = ['io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.aufs', \
             'io.containerd.snapshotter.v1.zfs', 'io.containerd.snapshotter.v1.devmapper']\n\
             [grpc]\naddress = '{socket}'\n\
             [plugins.'io.containerd.internal.v1.opt']\npath = '{own}/opt'\n\
             [plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '{PAUSE}'\n\
             netns_mounts_under_state_dir = true\ndisable_apparmor = true\nrestrict_oom_score_adj = true\n\
             [plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '/usr/lib/cni'\nconf_dir = '{cni}'\n\
             [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n"
        ),
    )?;
    Ok(vec![format!("--config={}", config.display())])
}

fn cni_list() -> serde_json::Value {
    serde_json::json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS_HERE}]], "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "portmap", "capabilities": {"portMappings": true}}]})
}

/// Where containerd answers.
pub(super) fn socket(folder: &Path) -> String {
    folder.join("containerd.sock").display().to_string()
}

/// For the kubelet, and its file.
pub(super) fn kubelet(api: &ApiServer) -> anyhow::Result<Vec<String>> {
    let user = format!("system:node:{NODE_NAME}");
    let hosts = format!("DNS:{NODE_NAME},IP:{NODE}");
    api.authority.sign("kubelet-server", &user, &["system:nodes"], &hosts)?;
    let file = |name: &str| api.authority.file(name);
    let config = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": file("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": file("kubelet-server.crt"),
        "tlsPrivateKeyFile": file("kubelet-server.key"),
        "containerRuntimeEndpoint": format!("unix://{}", socket(api.folder())),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{NAME}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        // The images were brought by hand and cannot be fetched again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
        "maxPods": 200,
    });
    let path = api.folder().join("kubelet.json");
    std::fs::write(&path, config.to_string())?;
    Ok(vec![
        format!("--config={}", path.display()),
        format!("--kubeconfig={}", api.kubeconfig(&user)?.display()),
        format!("--cert-dir={}", file("")),
        format!("--hostname-override={NODE_NAME}"),
        format!("--node-ip={NODE}"),
    ])
}

/// For kube-proxy, and its file.
pub(super) fn proxy(api: &ApiServer) -> anyhow::Result<Vec<String>> {
    let config = serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": api.kubeconfig("system:kube-proxy")?},
        "clusterCIDR": PODS,
        "hostnameOverride": NODE_NAME,
        "mode": "nftables",
        // The host's own settings are not the node's to write.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    let path = api.folder().join("proxy.json");
    std::fs::write(&path, config.to_string())?;
    Ok(vec![format!("--config={}", path.display())])
}

/// Who asks for pods and policies.
pub(super) const POLICIES_USER: &str = "policies";

/// For what enforces NetworkPolicies.
pub(super) fn policies(api: &ApiServer) -> anyhow::Result<Vec<String>> {
    Ok(vec![
        format!("--kubeconfig={}", api.kubeconfig(POLICIES_USER)?.display()),
        format!("--node={NODE_NAME}"),
        format!("--services={SERVICES}"),
    ])
}

/// What it reads.
pub(super) fn policies_rules() -> Vec<PolicyRule> {
    let reads = |group: &str, resources: &[&str]| PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(resources.iter().map(|resource| (*resource).into()).collect()),
        verbs: ["get", "list", "watch"].map(Into::into).into(),
        ..PolicyRule::default()
    };
    vec![reads("", &["nodes", "namespaces", "pods"]), reads("networking.k8s.io", &["networkpolicies"])]
}
