"""What the tests share: helm, and what it renders."""

import functools
import json
import os
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/roomscribe"
CACHE = pathlib.Path(os.environ["ROOMSCRIBE_CACHE"])


def tool_version(name):
    """As tests/tools/need.sh installs it."""
    return re.search(rf"^ +{name}\) echo (\S+) ;;", (ROOT / "tests/tools/need.sh").read_text(), re.M).group(1)


HELM = CACHE / f"helm-{tool_version('helm')}/helm"
# The oldest that the chart supports.
KUBERNETES = "1.33.0"
NAMESPACE = "roomscribe"

#: Sets of values that differ in what is rendered; every test of form runs over all of them.
SETS = {
    "nothing given": {},
    "as the README installs it": {"livekit": {"existingSecret": "livekit"}, "gladia": {"existingSecret": "gladia"}},
    "an evaluation": {"speech": {"enabled": True}, "nats": {"persistence": {"enabled": False}}},
    "nothing cluster-wide": {
        "crds": {"install": False},
        "rbac": {"aggregate": False},
        "operator": {"watchNamespaces": ["meetings", "webinars"]},
    },
    "own NATS, own Secrets": {
        "install": {"existingSecret": "keys"},
        "livekit": {"existingSecret": "livekit"},
        "gladia": {"existingSecret": "gladia", "region": "eu-west"},
        "gateway": {"auth": {"existingSecret": "api"}},
        "nats": {"enabled": False, "url": "nats://a.example.com:4222,tls://b.example.com:4443", "existingSecret": "nats"},
        "credentials": {"perSession": True, "namespaces": ["meetings"]},
        "networkPolicy": {"egress": {"enabled": True}},
    },
    "no gateway, no NATS": {"gateway": {"enabled": False}, "nats": {"enabled": False}},
    "everything on": {
        "commonLabels": {"team": "video", "app.kubernetes.io/part-of": "meetings"},
        "commonAnnotations": {"example.com/owner": "video"},
        "image": {"registry": "registry.example.com:5000/mirror", "tag": "v1", "pullSecrets": ["regcred"]},
        "crds": {"keep": False},
        "livekit": {"existingSecret": "livekit"},
        "speech": {"enabled": True},
        "transcripts": {"replicas": 3},
        "nats": {"replicas": 3, "persistence": {"storageClass": "fast"}},
        "operator": {
            "replicas": 3,
            "nodePortHost": "nodes.example.com",
            "loadBalancerNodePorts": False,
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"pool": "control"},
            "tolerations": [{"key": "control", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
            ],
            "podLabels": {"a": "b", "app.kubernetes.io/name": "not-ours"},
            "podAnnotations": {"c": "d"},
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
            "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "x"}},
        },
        "worker": {
            "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "256Mi"}},
            "serviceAnnotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "external"},
        },
        "gateway": {
            "autoscaling": {"enabled": True, "minReplicas": 3},
            "allowedOrigins": ["https://app.example.com"],
            "auth": {"jwksUrl": "https://login.example.com/jwks.json"},
            "sessionDefaults": {"ingest": {"exposure": "ClusterIP"}},
            "service": {
                "type": "LoadBalancer",
                "loadBalancerClass": "nlb",
                "loadBalancerSourceRanges": ["10.0.0.0/8"],
                "annotations": {"a": "b"},
                "nodePort": 30080,
            },
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "hosts": ["captions.example.com", "www.example.com"],
                "tls": [{"secretName": "captions-tls", "hosts": ["captions.example.com"]}],
            },
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["captions.example.com"]},
        },
        "networkPolicy": {
            "egress": {"enabled": True},
            "gatewayFrom": [{"podSelector": {}}],
            "rtmpFrom": [{"ipBlock": {"cidr": "203.0.113.0/24"}}],
        },
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "podMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboard": {"enabled": True},
        },
    },
    "no more than must be": {
        "rbac": {"create": False, "aggregate": False},
        "operator": {"replicas": 1, "serviceAccount": {"create": False, "name": "given"}},
        "gateway": {"replicas": 1, "serviceAccount": {"create": False}},
        "networkPolicy": {"enabled": False},
        "drain": {"enabled": False},
        "worker": {"podDisruptionBudget": {"enabled": False}},
    },
}


def helm(*arguments, values=None, **more):
    """Runs helm; values go in as JSON. No person's own configuration has a say."""
    command = [str(HELM), *arguments]
    if values is not None:
        command += ["--values", "-"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    environment.setdefault("KUBECONFIG", "/dev/null")
    environment.update(more.pop("environment", {}))
    return subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, env=environment, check=False, **more
    )


def template(values, *arguments):
    return helm(
        "template", "rel", str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBERNETES, *arguments, values=values
    )


@functools.lru_cache(maxsize=None)
def _rendered(values, arguments):
    done = template(json.loads(values), *arguments)
    if done.returncode:
        raise AssertionError(f"helm template: {done.stderr}")
    return done.stdout


def text(values, *arguments):
    """What is rendered for these values."""
    return _rendered(json.dumps(values, sort_keys=True), arguments)


class Strict(yaml.CSafeLoader):
    """A key that stands twice is an error."""


def _mapping(loader, node, deep=False):
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        raise AssertionError(f"line {node.start_mark.line}: {doubled} stand twice")
    return yaml.CSafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda loader, node: _mapping(loader, node, deep=True)
)


def objects(values, *arguments):
    """The rendered objects; a key that stands twice fails."""
    return [found for found in yaml.load_all(text(values, *arguments), Strict) if found]


def of(rendered, kind, name=None):
    """Objects of a kind; with a name, the one."""
    found = [one for one in rendered if one["kind"] == kind and (name is None or one["metadata"]["name"] == name)]
    if name is None:
        return found
    if len(found) != 1:
        raise AssertionError(f"{len(found)} {kind} {name}")
    return found[0]


def pod_templates(rendered):
    """(name, pod spec, pod labels) of everything that makes a pod."""
    for one in rendered:
        label = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield label, one["spec"], one["metadata"]["labels"]
        elif one["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
            pod = one["spec"]["template"]
            yield label, pod["spec"], pod["metadata"]["labels"]


def environment(spec):
    """Names and values (or sources) of a pod's only container's environment."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in spec["containers"][0].get("env", [])}
