"""A real API server judges every rendered object; Helm installs, upgrades and removes there."""

import json
import unittest

import yaml

import chart
from cluster import Cluster

CRD = "transcriptionsessions.roomscribe.io"
NAMESPACES = (chart.NAMESPACE, "meetings", "webinars", "monitoring")
DONE = {
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T00:00:01Z",
    "succeeded": 1,
    "conditions": [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"} for kind in ("SuccessCriteriaMet", "Complete")],
}
FAILED = {
    "startTime": "2026-01-01T00:00:00Z",
    "failed": 1,
    "conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": "2026-01-01T00:00:01Z"} for kind in ("FailureTarget", "Failed")],
}


class ApiServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.close)
        for namespace in NAMESPACES:
            cls.cluster.namespace(namespace, "pod-security.kubernetes.io/enforce=restricted")
        cls.cluster.install_resources_of_others()
        # The chart brings it.
        cls.cluster.kubectl("delete", "crd", CRD)

    def test_1_every_object_of_every_set_of_values_is_one_that_the_server_would_take(self):
        for name, values in chart.SETS.items():
            with self.subTest(name):
                # Pods ask for their ServiceAccount to be there: they have a test of their own.
                objects = [one for one in chart.objects(values) if one["kind"] != "Pod"]
                arguments = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
                said = self.cluster.try_kubectl(*arguments, text=yaml.safe_dump_all(objects))
                self.assertEqual((said.returncode, said.stderr), (0, ""))
                self.assertEqual(len(said.stdout.splitlines()), len(objects))

    def test_2_every_pod_is_taken_by_a_namespace_that_enforces_the_restricted_standard(self):
        pods = {}
        for values in chart.SETS.values():
            for name, spec, _ in chart.pod_templates(chart.objects(values)):
                pods[json.dumps(spec, sort_keys=True)] = name
        # Accounts and priority classes would have to be there; they are not what is asked here.
        self.cluster.kubectl("-n", "monitoring", "create", "serviceaccount", "any")
        manifests = []
        for number, (spec, name) in enumerate(pods.items()):
            spec = {**json.loads(spec), "serviceAccountName": "any"}
            metadata = {"name": f"pod-{number}", "namespace": "monitoring", "annotations": {"of": name}}
            for claim in [mount for mount in spec["containers"][0].get("volumeMounts", []) if mount["name"] == "data"]:
                known = {volume["name"] for volume in spec.get("volumes", [])}
                if claim["name"] not in known:
                    spec["volumes"] = [*spec["volumes"], {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
            manifests.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self.assertGreater(len(manifests), 10)
        said = self.cluster.try_kubectl("create", "--dry-run=server", "-f", "-", text=yaml.safe_dump_all(manifests))
        self.assertEqual((said.returncode, said.stderr), (0, ""))

    def test_3_installing_upgrading_removing_and_installing_again_keeps_the_keys(self):
        cluster, values = self.cluster, chart.SETS["as the README installs it"]
        notes = cluster.helm("install", "rel", str(chart.CHART), values=values)
        self.assertIn("kubectl -n roomscribe get ts -w", notes)
        self.assertIn('MISSING: the Secret "livekit" (livekit.existingSecret)', notes)
        installed = {name: cluster.get("secret", f"rel-roomscribe-{name}") for name in ("install", "gateway")}
        nats = cluster.get("statefulset", "rel-roomscribe-nats")["metadata"]["generation"]
        self.may_do_what_it_must_and_no_more()
        self.session_of_the_notes_is_taken(notes)

        cluster.kubectl("-n", chart.NAMESPACE, "create", "secret", "generic", "livekit", "--from-literal=url=u", "--from-literal=apiKey=k", "--from-literal=apiSecret=s")
        notes = cluster.helm("upgrade", "rel", str(chart.CHART), values={**values, "image": {"tag": "v2"}})
        self.assertNotIn('"livekit"', notes)
        self.same_keys(installed)
        operator = cluster.get("deployment", "rel-roomscribe-operator")["spec"]["template"]["spec"]
        self.assertTrue(chart.environment(operator)["WORKER_IMAGE"].endswith("worker:v2"))
        self.assertEqual(cluster.get("statefulset", "rel-roomscribe-nats")["metadata"]["generation"], nats, "NATS would restart")

        refused = cluster.try_helm("upgrade", "rel", str(chart.CHART), values={**values, "nats": {"replicas": 3}})
        self.assertIn("nats.replicas is 3 and 1 servers run", refused.stderr)

        refused = cluster.try_kubectl("apply", "-f", "-", text=chart.text(values, "--no-hooks"))
        self.assertIn("field is immutable when `immutable` is set", refused.stderr)
        self.same_keys(installed)

        self.the_self_test_runs()
        self.a_drain_that_fails_removes_nothing()
        self.removed_but_for_what_is_kept()
        cluster.helm("install", "rel", str(chart.CHART), values=values)
        self.same_keys(installed)

    def same_keys(self, installed):
        for name, secret in installed.items():
            self.assertEqual(self.cluster.get("secret", f"rel-roomscribe-{name}")["data"], secret["data"], name)

    def may_do_what_it_must_and_no_more(self):
        for account, verb, resource, namespace, expected in (
            ("operator", "list", "transcriptionsessions.roomscribe.io", "meetings", "yes"),
            ("operator", "create", "pods", "meetings", "yes"),
            ("operator", "get", "secrets", "meetings", "no"),
            ("operator", "patch", "leases.coordination.k8s.io", chart.NAMESPACE, "yes"),
            ("operator", "patch", "leases.coordination.k8s.io", "meetings", "no"),
            ("gateway", "create", "transcriptionsessions.roomscribe.io", chart.NAMESPACE, "yes"),
            ("gateway", "create", "transcriptionsessions.roomscribe.io", "meetings", "no"),
            ("gateway", "get", "secrets", chart.NAMESPACE, "no"),
            ("nats", "list", "pods", chart.NAMESPACE, "no"),
        ):
            user = f"system:serviceaccount:{chart.NAMESPACE}:rel-roomscribe-{account}"
            said = self.cluster.try_kubectl("auth", "can-i", verb, resource, "-n", namespace, f"--as={user}")
            self.assertEqual(said.stdout.strip(), expected, f"{account} {verb} {resource} in {namespace}")

    def session_of_the_notes_is_taken(self, notes):
        self.cluster.established(f"crd/{CRD}")
        for values in (chart.SETS["as the README installs it"], {}):
            if not values:
                notes = self.cluster.helm("upgrade", "rel", str(chart.CHART), "--dry-run=server", values=values)
            session = next(line for line in notes.splitlines() if line.strip().startswith("{apiVersion: roomscribe.io"))
            self.cluster.kubectl("-n", "meetings", "apply", "--dry-run=server", "-f", "-", text=session)

    def the_self_test_runs(self):
        played = self.cluster.play("pod", "rel-roomscribe-self-test", {"phase": "Succeeded"})
        said = self.cluster.helm("test", "rel", "--timeout", "60s")
        self.assertIn("Succeeded", said)
        self.assertEqual(played.spec()["containers"][0]["args"], ["self-test"])

    def a_drain_that_fails_removes_nothing(self):
        played = self.cluster.play("job", "rel-roomscribe-drain", FAILED)
        said = self.cluster.try_helm("uninstall", "rel", "--timeout", "60s")
        played.spec()
        self.assertNotEqual(said.returncode, 0)
        self.assertIn("BackoffLimitExceeded", said.stderr)
        self.assertIn("deployment.apps/rel-roomscribe-operator", self.cluster.names("deployments"))

    def removed_but_for_what_is_kept(self):
        # The Job of the failed try: what is played is the new one.
        self.cluster.kubectl("-n", chart.NAMESPACE, "delete", "job", "rel-roomscribe-drain")
        played = self.cluster.play("job", "rel-roomscribe-drain", DONE)
        self.cluster.helm("uninstall", "rel", "--timeout", "60s")
        played.spec()
        left = self.cluster.names("deployments,statefulsets,services,jobs,pods,networkpolicies,pdb,roles,rolebindings,configmaps,secrets")
        self.assertEqual(
            left - {"configmap/kube-root-ca.crt"},
            {"secret/rel-roomscribe-install", "secret/rel-roomscribe-gateway", "secret/livekit"},
        )
        self.cluster.kubectl("get", "crd", CRD)


if __name__ == "__main__":
    unittest.main()
