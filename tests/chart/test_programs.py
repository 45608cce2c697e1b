"""What operator, gateway and their jobs are told."""

import re
import unittest

import yaml

import chart


def unknown_settings(component):
    """Environment that the chart gives to a component, and that no setting of its crate reads."""
    known, given = set(), set()
    for path in (chart.ROOT / component / "src").rglob("*.rs"):
        known |= set(re.findall(r'env = "([A-Z_]+)"', path.read_text()))
    if len(known) < 4:
        raise AssertionError(f"{component}: only {known} were understood")
    for values in chart.SETS.values():
        own = {one["name"] for one in values.get(component, {}).get("extraEnv", [])}
        for one in chart.of(chart.objects(values), "Deployment"):
            if one["metadata"]["labels"]["app.kubernetes.io/component"] == component:
                given |= set(chart.environment(one["spec"]["template"]["spec"])) - own
    if not given:
        raise AssertionError(f"nothing is given to {component}")
    return given - known


class Operator(unittest.TestCase):
    def spec(self, values):
        return chart.of(chart.objects(values), "Deployment", "rel-roomscribe-operator")["spec"]

    def test_its_settings_are_ones_that_the_program_has(self):
        self.assertEqual(unknown_settings("operator"), set())

    def test_missing_secrets_and_keys_are_named_by_the_pod_s_status(self):
        spec = self.spec(chart.SETS["as the README installs it"])["template"]["spec"]
        given = chart.environment(spec)
        for name, secret, key in (
            ("LIVEKIT_HTTP_URL", "livekit", "url"),
            ("LIVEKIT_API_KEY", "livekit", "apiKey"),
            ("LIVEKIT_API_SECRET", "livekit", "apiSecret"),
            ("GLADIA_API_KEY", "gladia", "apiKey"),
        ):
            self.assertEqual(given[name], {"secretKeyRef": {"name": secret, "key": key}})
        optional = {one["name"]: one["secret"].get("optional", False) for one in spec["volumes"]}
        self.assertEqual(optional, {"install": False, "livekit": True, "speech": True})

    def test_changed_keys_are_read_from_files(self):
        spec = self.spec(chart.SETS["as the README installs it"])["template"]["spec"]
        given, mounts = chart.environment(spec), spec["containers"][0]["volumeMounts"]
        folders = {one["name"]: one["mountPath"] for one in mounts}
        self.assertEqual(given["LIVEKIT_API_SECRET_FILE"], f"{folders['livekit']}/apiSecret")
        self.assertEqual(given["GLADIA_API_KEY_FILE"], f"{folders['speech']}/apiKey")
        self.assertEqual(given["INSTALL_DIR"], folders["install"])

    def test_an_installation_without_keys_still_starts(self):
        given = chart.environment(self.spec({})["template"]["spec"])
        self.assertEqual([name for name in given if name.startswith("LIVEKIT_API") or name == "GLADIA_API_KEY"], [])

    def test_the_speech_server_s_settings_are_ones_that_the_program_has(self):
        self.assertEqual(unknown_settings("speech"), set())

    def test_the_evaluation_s_speech_server_is_the_one_that_sessions_use(self):
        rendered = chart.objects(chart.SETS["an evaluation"])
        given = chart.environment(self.spec(chart.SETS["an evaluation"])["template"]["spec"])
        service = chart.of(rendered, "Service", "rel-roomscribe-speech")
        self.assertEqual(given["GLADIA_API_URL"], f"http://rel-roomscribe-speech.roomscribe.svc:{service['spec']['ports'][0]['port']}")
        speech = chart.of(rendered, "Deployment", "rel-roomscribe-speech")["spec"]["template"]["spec"]
        self.assertEqual(chart.environment(speech)["SPEECH_API_KEY"], given["GLADIA_API_KEY"])

    def test_what_is_given_reaches_it(self):
        spec = self.spec(chart.SETS["everything on"])["template"]["spec"]
        given = chart.environment(spec)
        self.assertEqual(given["WORKER_IMAGE"], "registry.example.com:5000/mirror/roomscribe/worker:v1")
        self.assertEqual(given["WORKER_PULL_SECRETS"], "regcred")
        self.assertEqual(yaml.safe_load(given["WORKER_RESOURCES"]), chart.SETS["everything on"]["worker"]["resources"])
        self.assertEqual(given["LOAD_BALANCER_NODE_PORTS"], "false")
        self.assertEqual(given["HTTPS_PROXY"], "http://proxy.example.com:3128")
        self.assertEqual(given["NATS_REPLICAS"], "3")
        self.assertEqual(spec["imagePullSecrets"], [{"name": "regcred"}])
        self.assertEqual(spec["priorityClassName"], "system-cluster-critical")
        self.assertEqual(spec["nodeSelector"], {"pool": "control"})
        self.assertEqual(spec["topologySpreadConstraints"][0]["topologyKey"], "zone")

    def test_a_digest_goes_before_a_tag(self):
        digest = "sha256:" + "0" * 64
        spec = self.spec({"operator": {"image": {"digest": digest}}, "worker": {"image": {"tag": "w"}}})
        container = spec["template"]["spec"]["containers"][0]
        self.assertEqual(container["image"], f"ghcr.io/roomscribe/operator@{digest}")
        self.assertEqual(chart.environment(spec["template"]["spec"])["WORKER_IMAGE"], "ghcr.io/roomscribe/worker:w")


class Gateway(unittest.TestCase):
    def rendered(self, values):
        return chart.objects(values)

    def spec(self, values):
        return chart.of(chart.objects(values), "Deployment", "rel-roomscribe-gateway")["spec"]

    def test_its_settings_are_ones_that_the_program_has(self):
        self.assertEqual(unknown_settings("gateway"), set())

    def test_a_pod_that_ends_has_time_to_settle_and_to_drain_before_it_is_killed(self):
        pod = self.spec({"gateway": {"settleSeconds": 7, "drainSeconds": 20}})["template"]["spec"]
        given = chart.environment(pod)
        self.assertEqual((given["SETTLE_SECONDS"], given["DRAIN_SECONDS"]), ("7", "20"))
        self.assertEqual(pod["terminationGracePeriodSeconds"], 57)
        # Measured on the test cluster: an endpoint is gone 2.7 s after it should.
        self.assertGreater(int(chart.environment(self.spec({})["template"]["spec"])["SETTLE_SECONDS"]), 3)

    def test_a_rolling_update_never_has_fewer_pods(self):
        for name in ("gateway", "operator"):
            spec = chart.of(self.rendered({}), "Deployment", f"rel-roomscribe-{name}")["spec"]
            self.assertEqual(spec["strategy"], {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})

    def test_the_public_service_does_not_show_metrics(self):
        rendered = self.rendered(chart.SETS["everything on"])
        service = chart.of(rendered, "Service", "rel-roomscribe-gateway")["spec"]
        self.assertEqual([port["name"] for port in service["ports"]], ["http"])
        self.assertEqual((service["type"], service["loadBalancerClass"]), ("LoadBalancer", "nlb"))
        self.assertEqual(service["loadBalancerSourceRanges"], ["10.0.0.0/8"])
        self.assertEqual(service["ports"][0]["nodePort"], 30080)

    def test_autoscaling_owns_the_number_of_pods(self):
        values = chart.SETS["everything on"]
        self.assertNotIn("replicas", self.spec(values))
        scaler = chart.of(self.rendered(values), "HorizontalPodAutoscaler", "rel-roomscribe-gateway")["spec"]
        self.assertEqual((scaler["minReplicas"], scaler["scaleTargetRef"]["name"]), (3, "rel-roomscribe-gateway"))
        self.assertEqual(self.spec({})["replicas"], 2)

    def test_ingress_and_route_lead_to_the_service_and_tell_the_public_url(self):
        values = chart.SETS["everything on"]
        ingress = chart.of(self.rendered(values), "Ingress", "rel-roomscribe-gateway")["spec"]
        self.assertEqual([rule["host"] for rule in ingress["rules"]], ["captions.example.com", "www.example.com"])
        for rule in ingress["rules"]:
            backend = rule["http"]["paths"][0]["backend"]["service"]
            self.assertEqual(backend, {"name": "rel-roomscribe-gateway", "port": {"name": "http"}})
        route = chart.of(self.rendered(values), "HTTPRoute", "rel-roomscribe-gateway")["spec"]
        self.assertEqual(route["rules"][0]["backendRefs"], [{"name": "rel-roomscribe-gateway", "port": 80}])
        given = chart.environment(self.spec(values)["template"]["spec"])
        self.assertEqual(given["PUBLIC_URL"], "https://captions.example.com")
        plain = {"gateway": {"ingress": {"enabled": True, "hosts": ["a.example.com"]}}}
        self.assertEqual(chart.environment(self.spec(plain)["template"]["spec"])["PUBLIC_URL"], "http://a.example.com")

    def test_it_serves_the_namespaces_that_the_operator_watches_unless_told_otherwise(self):
        def namespaces(values):
            return chart.environment(self.spec(values)["template"]["spec"])["GATEWAY_NAMESPACES"]

        self.assertEqual(namespaces({}), "roomscribe")
        self.assertEqual(namespaces({"operator": {"watchNamespaces": ["a", "b"]}}), "a,b")
        self.assertEqual(namespaces({"gateway": {"namespaces": ["c"]}}), "c")

    def test_what_is_given_reaches_it(self):
        given = chart.environment(self.spec(chart.SETS["everything on"])["template"]["spec"])
        self.assertEqual(given["ALLOWED_ORIGINS"], "https://app.example.com")
        self.assertEqual(given["ROOMSCRIBE_JWKS_URL"], "https://login.example.com/jwks.json")
        self.assertEqual(yaml.safe_load(given["SESSION_DEFAULTS"]), {"ingest": {"exposure": "ClusterIP"}})
        own = chart.environment(self.spec(chart.SETS["own NATS, own Secrets"])["template"]["spec"])
        self.assertEqual(own["ROOMSCRIBE_API_KEY"], {"secretKeyRef": {"name": "api", "key": "apiKey"}})
        self.assertEqual(own["NATS_CREDS"], "/etc/roomscribe/nats/nats.creds")


class Hooks(unittest.TestCase):
    def test_sessions_are_drained_before_anything_is_deleted_without_any_key(self):
        rendered = chart.objects(chart.SETS["as the README installs it"])
        job = chart.of(rendered, "Job", "rel-roomscribe-drain")
        self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], "pre-delete")
        pod = job["spec"]["template"]["spec"]
        self.assertEqual(pod["containers"][0]["args"], ["drain", "--timeout-seconds", "280"])
        self.assertEqual(set(chart.environment(pod)), {"POD_NAMESPACE"})
        self.assertNotIn("volumes", pod)
        # Helm gives up after 300 s without a word of the Job.
        self.assertEqual((job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]), (0, 295))
        account = chart.of(rendered, "Deployment", "rel-roomscribe-operator")["spec"]["template"]["spec"]["serviceAccountName"]
        self.assertEqual(pod["serviceAccountName"], account)

    def test_without_hooks_nothing_is_rendered_that_ends_sessions(self):
        kinds = {one["kind"] for one in chart.objects({}, "--no-hooks")}
        self.assertEqual(kinds & {"Job", "Pod"}, set())

    def test_the_self_test_sees_what_the_operator_sees_and_the_gateway(self):
        for values in (chart.SETS["as the README installs it"], chart.SETS["own NATS, own Secrets"]):
            rendered = chart.objects(values)
            pod = chart.of(rendered, "Pod", "rel-roomscribe-self-test")
            operator = chart.of(rendered, "Deployment", "rel-roomscribe-operator")["spec"]["template"]["spec"]
            given = chart.environment(pod["spec"])
            self.assertEqual(given.pop("GATEWAY_URL"), "http://rel-roomscribe-gateway.roomscribe.svc:80")
            self.assertEqual(given, chart.environment(operator))
            self.assertEqual(pod["spec"]["volumes"], operator["volumes"])
            self.assertEqual(pod["spec"]["containers"][0]["args"], ["self-test"])


if __name__ == "__main__":
    unittest.main()
