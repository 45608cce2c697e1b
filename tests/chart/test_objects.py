"""Pods, Secrets, rights, networks: what is rendered."""

import re
import unittest

import yaml

import chart

RESTRICTED_VOLUMES = {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim", "downwardAPI", "ephemeral", "csi"}


def rules(objects):
    """Rules in an order of their own."""
    return sorted(
        (tuple(rule["apiGroups"]), tuple(rule["resources"]), tuple(sorted(rule["verbs"])))
        for one in objects
        for rule in one["rules"]
    )


def reference(name):
    """Rules of a committed file, by kind."""
    found = [one for one in yaml.safe_load_all((chart.ROOT / name).read_text()) if one]
    return {kind: rules(chart.of(found, kind)) for kind in ("ClusterRole", "Role")}


class EveryRendering(unittest.TestCase):
    def each(self):
        for name, values in chart.SETS.items():
            with self.subTest(name):
                yield values, chart.objects(values)

    def test_every_pod_passes_the_restricted_pod_security_standard(self):
        for _, rendered in self.each():
            for name, spec, _ in chart.pod_templates(rendered):
                with self.subTest(name):
                    self.restricted(spec)

    def restricted(self, spec):
        pod = spec["securityContext"]
        self.assertIs(pod["runAsNonRoot"], True)
        self.assertGreater(pod["runAsUser"], 0)
        self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
        for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
            self.assertNotIn(forbidden, spec)
        for volume in spec.get("volumes", []):
            self.assertLessEqual(set(volume) - {"name"}, RESTRICTED_VOLUMES)
        for container in spec["containers"] + spec.get("initContainers", []):
            own = container["securityContext"]
            self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
            self.assertIs(own["allowPrivilegeEscalation"], False)
            self.assertIs(own["readOnlyRootFilesystem"], True)
            for port in container.get("ports", []):
                self.assertNotIn("hostPort", port)

    def test_only_what_asks_the_kubernetes_api_gets_a_token(self):
        for _, rendered in self.each():
            for account in chart.of(rendered, "ServiceAccount"):
                self.assertIs(account["automountServiceAccountToken"], False)
            for name, spec, _ in chart.pod_templates(rendered):
                asks = any(part in name for part in ("operator", "gateway", "drain", "self-test"))
                self.assertIs(spec["automountServiceAccountToken"], asks, name)

    def test_every_pod_says_why_it_ended_and_asks_for_resources(self):
        for _, rendered in self.each():
            for name, spec, _ in chart.pod_templates(rendered):
                for container in spec["containers"]:
                    self.assertEqual(container["terminationMessagePolicy"], "FallbackToLogsOnError", name)
                    self.assertIn("requests", container["resources"], name)
                    self.assertIn("memory", container["resources"]["limits"], name)

    def test_every_selector_selects_its_own_pods_and_no_others(self):
        for _, rendered in self.each():
            pods = {name: labels for name, _, labels in chart.pod_templates(rendered)}
            selecting = [one for kind in ("Deployment", "StatefulSet") for one in chart.of(rendered, kind)]
            for one in selecting:
                wanted = one["spec"]["selector"]["matchLabels"].items()
                chosen = [name for name, labels in pods.items() if wanted <= labels.items()]
                self.assertEqual(chosen, [f"{one['kind']} {one['metadata']['name']}"])
            for service in chart.of(rendered, "Service"):
                wanted = service["spec"]["selector"].items()
                chosen = [name for name, labels in pods.items() if wanted <= labels.items()]
                self.assertEqual(len(chosen), 1, service["metadata"]["name"])

    def test_every_port_that_a_service_or_a_probe_names_is_a_port_of_the_pod(self):
        for _, rendered in self.each():
            for name, spec, labels in chart.pod_templates(rendered):
                container = spec["containers"][0]
                ports = {port["name"] for port in container.get("ports", [])}
                for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                    if probe in container:
                        self.assertIn(container[probe]["httpGet"]["port"], ports, name)
                for service in chart.of(rendered, "Service"):
                    if service["spec"]["selector"].items() <= labels.items():
                        self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, ports)

    def test_every_mounted_volume_is_there_and_every_volume_is_mounted(self):
        for _, rendered in self.each():
            claims = {f"StatefulSet {one['metadata']['name']}": one["spec"].get("volumeClaimTemplates", []) for one in chart.of(rendered, "StatefulSet")}
            for name, spec, _ in chart.pod_templates(rendered):
                volumes = {one["name"] for one in spec.get("volumes", [])}
                volumes |= {one["metadata"]["name"] for one in claims.get(name, [])}
                mounted = {one["name"] for one in spec["containers"][0].get("volumeMounts", [])}
                self.assertEqual(mounted, volumes, name)

    def test_no_object_has_the_name_of_another_and_names_are_short_enough(self):
        for values, _ in self.each():
            rendered = chart.objects(values)
            seen = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in rendered]
            self.assertEqual(len(seen), len(set(seen)))
        long = chart.text({"fullnameOverride": "a" * 40, "operator": {"watchNamespaces": ["meetings"]}})
        for name in re.findall(r"^  name: (\S+)$", long, re.M):
            self.assertLessEqual(len(name), 63)

    def test_every_image_has_a_tag_or_a_digest(self):
        for _, rendered in self.each():
            for name, spec, _ in chart.pod_templates(rendered):
                self.assertRegex(spec["containers"][0]["image"], r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", name)

    def test_common_labels_and_annotations_reach_every_object_and_ours_stay(self):
        values = chart.SETS["everything on"]
        for one in chart.objects(values):
            metadata = one["metadata"]
            self.assertEqual(metadata["labels"]["team"], "video", metadata["name"])
            self.assertEqual(metadata["labels"]["app.kubernetes.io/part-of"], "roomscribe")
            self.assertEqual(metadata["annotations"]["example.com/owner"], "video", metadata["name"])
        for name, _, labels in chart.pod_templates(chart.objects(values)):
            self.assertEqual((labels["team"], labels["app.kubernetes.io/name"]), ("video", "roomscribe"), name)


class Operator(unittest.TestCase):
    def spec(self, values):
        return chart.of(chart.objects(values), "Deployment", "rel-roomscribe-operator")["spec"]

    def test_its_settings_are_ones_that_the_program_has(self):
        known = set()
        for path in (chart.ROOT / "operator/src").rglob("*.rs"):
            known |= set(re.findall(r'env = "([A-Z_]+)"', path.read_text()))
        for values in chart.SETS.values():
            spec = self.spec(values)["template"]["spec"]
            own = set(chart.environment(spec)) - {one["name"] for one in values.get("operator", {}).get("extraEnv", [])}
            self.assertEqual(own - known, set())

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

    def test_a_pod_that_ends_serves_until_its_endpoint_is_gone(self):
        pod = self.spec({"gateway": {"preStopSeconds": 7}})["template"]["spec"]
        seconds = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        self.assertEqual((seconds, pod["terminationGracePeriodSeconds"]), (7, 67))
        # Measured: 2.7 s (facts of the test cluster).
        default = self.spec({})["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        self.assertGreater(default, 3)

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
        self.assertEqual(yaml.safe_load(given["SESSION_DEFAULTS"]), {"ingest": {"exposure": "ClusterIP"}})
        own = chart.environment(self.spec(chart.SETS["own NATS, own Secrets"])["template"]["spec"])
        self.assertEqual(own["ROOMSCRIBE_API_KEY"], {"secretKeyRef": {"name": "api", "key": "apiKey"}})
        self.assertEqual(own["ROOMSCRIBE_JWKS_URL"], "https://id.example.com/jwks")
        self.assertEqual(own["NATS_CREDS"], "/etc/roomscribe/nats/nats.creds")


class Nats(unittest.TestCase):
    def stateful_set(self, *arguments, **values):
        return chart.of(chart.objects({"nats": values}, *arguments), "StatefulSet", "rel-roomscribe-nats")

    def test_a_new_version_of_the_chart_does_not_restart_it(self):
        before = self.stateful_set()["spec"]
        upgraded = chart.of(
            chart.objects({"image": {"tag": "v2"}, "operator": {"log": "debug"}}), "StatefulSet", "rel-roomscribe-nats"
        )["spec"]
        self.assertEqual(before, upgraded)
        shown = yaml.safe_dump(before)
        metadata = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        self.assertNotIn(f"roomscribe-{metadata['version']}", shown)

    def test_a_changed_configuration_is_a_changed_pod(self):
        before, after = self.stateful_set(), self.stateful_set(maxFileStore="5Gi")
        self.assertNotEqual(before["spec"]["template"], after["spec"]["template"])

    def test_several_find_each_other(self):
        rendered = chart.objects({"nats": {"replicas": 3}})
        config = chart.of(rendered, "ConfigMap", "rel-roomscribe-nats")["data"]["nats.conf"]
        for peer in range(3):
            self.assertIn(f"nats://rel-roomscribe-nats-{peer}.rel-roomscribe-nats-peers.roomscribe.svc:6222", config)
        self.assertEqual(chart.of(rendered, "StatefulSet")[0]["spec"]["serviceName"], "rel-roomscribe-nats-peers")
        self.assertTrue(chart.of(rendered, "Service", "rel-roomscribe-nats-peers")["spec"]["publishNotReadyAddresses"])

    def test_every_copy_has_a_server(self):
        for values, copies in (({}, "1"), ({"nats": {"replicas": 3}}, "3"), ({"nats": {"replicas": 3}, "transcripts": {"replicas": 1}}, "1")):
            for name in ("operator", "gateway"):
                spec = chart.of(chart.objects(values), "Deployment", f"rel-roomscribe-{name}")["spec"]["template"]["spec"]
                self.assertEqual(chart.environment(spec)["NATS_REPLICAS"], copies)

    def test_transcripts_are_on_a_volume_unless_that_was_refused(self):
        claim = self.stateful_set(persistence={"storageClass": "fast", "size": "20Gi"})["spec"]["volumeClaimTemplates"][0]
        self.assertEqual(claim["spec"]["storageClassName"], "fast")
        self.assertEqual(claim["spec"]["resources"]["requests"]["storage"], "20Gi")
        self.assertNotIn("volumeClaimTemplates", self.stateful_set(persistence={"enabled": False})["spec"])

    def test_workers_are_told_the_same_nats_as_the_gateway(self):
        for values in chart.SETS.values():
            rendered = chart.objects(values)
            urls = {
                chart.environment(spec).get("NATS_URL")
                for name, spec, _ in chart.pod_templates(rendered)
                if name.startswith("Deployment") and not name.endswith("speech")
            }
            self.assertEqual(len(urls), 1)


class Secrets(unittest.TestCase):
    def test_generated_keys_have_the_form_that_programs_ask_for(self):
        data = chart.of(chart.objects({}), "Secret", "rel-roomscribe-install")["data"]
        decoded = {name: yaml.safe_load(f"!!binary {value}") for name, value in data.items()}
        self.assertRegex(decoded["id"].decode(), r"^[0-9a-f]{8}$")
        self.assertRegex(decoded["key"].decode(), r"^[0-9a-f]{64}$")

    def test_generated_keys_cannot_be_changed_and_stay_at_uninstall(self):
        for name in ("install", "gateway"):
            secret = chart.of(chart.objects({}), "Secret", f"rel-roomscribe-{name}")
            self.assertIs(secret["immutable"], True)
            self.assertEqual(secret["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")

    def test_two_installations_have_different_keys(self):
        one, other = (chart.of(list(yaml.safe_load_all(chart.template({}).stdout)), "Secret", "rel-roomscribe-install") for _ in "ab")
        self.assertNotEqual(one["data"], other["data"])

    def test_with_secrets_of_one_s_own_the_chart_makes_none(self):
        values = chart.SETS["own NATS, own Secrets"]
        self.assertEqual(chart.of(chart.objects(values), "Secret"), [])
        spec = chart.of(chart.objects(values), "Deployment", "rel-roomscribe-gateway")["spec"]["template"]["spec"]
        self.assertEqual({one["name"]: one["secret"]["secretName"] for one in spec["volumes"]}, {"install": "keys", "nats": "nats"})

    def test_no_secret_is_in_a_pod_s_plain_environment(self):
        for values in chart.SETS.values():
            for name, spec, _ in chart.pod_templates(chart.objects(values)):
                for key, value in chart.environment(spec).items():
                    if re.search(r"(KEY|SECRET)$", key):
                        self.assertIsInstance(value, dict, f"{name}: {key}")


class Rights(unittest.TestCase):
    def test_the_operator_may_do_what_its_committed_file_says_and_nothing_else(self):
        expected = reference("operator/rbac.yaml")
        rendered = chart.objects({"rbac": {"aggregate": False}})
        self.assertEqual(rules(chart.of(rendered, "ClusterRole")), expected["ClusterRole"])
        self.assertEqual(rules([chart.of(rendered, "Role", "rel-roomscribe-operator-lease")]), expected["Role"])

    def test_in_some_namespaces_it_has_the_same_rights_there_and_none_elsewhere(self):
        expected = reference("operator/rbac.yaml")
        rendered = chart.objects(chart.SETS["nothing cluster-wide"])
        for namespace in ("meetings", "webinars"):
            roles = [one for one in chart.of(rendered, "Role") if one["metadata"]["namespace"] == namespace]
            roles = [one for one in roles if one["metadata"]["name"].endswith("-operator")]
            self.assertEqual(rules(roles), expected["ClusterRole"])

    def test_nothing_cluster_wide_means_nothing(self):
        cluster_wide = [one["kind"] for one in chart.objects(chart.SETS["nothing cluster-wide"]) if "namespace" not in one["metadata"]]
        self.assertEqual(cluster_wide, [])

    def test_secrets_are_read_only_where_sessions_bring_their_own(self):
        expected = reference("operator/rbac-per-session-credentials.yaml")["Role"]
        rendered = chart.objects(chart.SETS["own NATS, own Secrets"])
        reading = [one for one in chart.of(rendered, "Role") if one["metadata"]["name"].endswith("-credentials")]
        self.assertEqual(rules(reading), expected)
        self.assertEqual([one["metadata"]["namespace"] for one in reading], ["meetings"])
        spec = chart.of(rendered, "Deployment", "rel-roomscribe-operator")["spec"]["template"]["spec"]
        self.assertEqual(chart.environment(spec)["CREDENTIALS_PER_SESSION"], "true")

    def test_the_gateway_may_do_what_its_committed_file_says_in_its_namespaces(self):
        rendered = chart.objects({"gateway": {"namespaces": ["a", "b"]}})
        roles = [one for one in chart.of(rendered, "Role") if one["metadata"]["name"].endswith("-gateway")]
        self.assertEqual([one["metadata"]["namespace"] for one in roles], ["a", "b"])
        expected = [(("roomscribe.io",), ("transcriptionsessions",), ("create", "delete", "get", "list", "patch", "watch"))]
        for role in roles:
            self.assertEqual(rules([role]), expected)

    def test_every_binding_is_of_a_role_and_an_account_that_are_there(self):
        for name, values in chart.SETS.items():
            rendered = chart.objects(values)
            accounts = {one["metadata"]["name"] for one in chart.of(rendered, "ServiceAccount")} | {"given", "default"}
            roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for kind in ("Role", "ClusterRole") for one in chart.of(rendered, kind)}
            for binding in chart.of(rendered, "RoleBinding") + chart.of(rendered, "ClusterRoleBinding"):
                with self.subTest(f"{name}: {binding['metadata']['name']}"):
                    reference_ = binding["roleRef"]
                    self.assertIn((reference_["kind"], binding["metadata"].get("namespace"), reference_["name"]), roles)
                    self.assertIn(binding["subjects"][0]["name"], accounts)
            for pod, spec, _ in chart.pod_templates(rendered):
                self.assertIn(spec["serviceAccountName"], accounts, pod)

    def test_people_see_and_edit_sessions_with_the_cluster_s_own_roles(self):
        rendered = chart.objects({})
        for role, verb in (("view", "list"), ("edit", "create")):
            found = chart.of(rendered, "ClusterRole", f"roomscribe-rel-roomscribe-{role}")
            self.assertEqual(found["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{role}"], "true")
            self.assertIn(verb, found["rules"][0]["verbs"])


class Hooks(unittest.TestCase):
    def test_sessions_are_drained_before_anything_is_deleted_without_any_key(self):
        rendered = chart.objects(chart.SETS["as the README installs it"])
        job = chart.of(rendered, "Job", "rel-roomscribe-drain")
        self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], "pre-delete")
        pod = job["spec"]["template"]["spec"]
        self.assertEqual(pod["containers"][0]["args"], ["drain", "--timeout-seconds", "280"])
        self.assertEqual(set(chart.environment(pod)), {"POD_NAMESPACE", "RUST_LOG"})
        self.assertNotIn("volumes", pod)
        # Helm gives up after 300 s without a word of the Job.
        self.assertEqual((job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]), (0, 295))
        account = chart.of(rendered, "Deployment", "rel-roomscribe-operator")["spec"]["template"]["spec"]["serviceAccountName"]
        self.assertEqual(pod["serviceAccountName"], account)

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


class Disruption(unittest.TestCase):
    def budgets(self, values):
        return {one["metadata"]["name"]: one["spec"] for one in chart.of(chart.objects(values), "PodDisruptionBudget")}

    def test_one_pod_at_a_time_and_no_budget_that_blocks_a_drain_of_a_single_pod(self):
        two = self.budgets({})
        self.assertEqual(two["rel-roomscribe-operator"]["maxUnavailable"], 1)
        self.assertEqual(two["rel-roomscribe-gateway"]["maxUnavailable"], 1)
        self.assertNotIn("rel-roomscribe-nats", two)
        single = self.budgets({"operator": {"replicas": 1}, "gateway": {"replicas": 1}})
        self.assertEqual([name for name in single if "worker" not in name], [])

    def test_workers_that_must_not_move_are_not_evicted_where_sessions_live(self):
        rendered = chart.of(chart.objects({"operator": {"watchNamespaces": ["a", "b"]}}), "PodDisruptionBudget")
        workers = [one for one in rendered if one["metadata"]["name"].endswith("worker-never")]
        self.assertEqual([one["metadata"]["namespace"] for one in workers], ["a", "b"])
        for one in workers:
            self.assertEqual(one["spec"]["maxUnavailable"], 0)
            self.assertEqual(one["spec"]["selector"]["matchLabels"]["roomscribe.io/disruption"], "Never")

    def test_labels_of_workers_are_those_that_the_operator_gives(self):
        names = (chart.ROOT / "operator/src/children/names.rs").read_text()
        manager = re.search(r'MANAGER: &str = "([^"]+)"', names).group(1)
        disruption = re.search(r'DISRUPTION_LABEL: &str = "([^"]+)"', names).group(1)
        given = dict(re.findall(r'\("(app\.kubernetes\.io/[a-z-]+)", "([^"]+)"\)', names))
        given["app.kubernetes.io/managed-by"] = manager
        budget = next(one for name, one in self.budgets({}).items() if name.endswith("worker-never"))
        wanted = dict(budget["selector"]["matchLabels"])
        self.assertEqual(wanted.pop(disruption), "Never")
        self.assertLessEqual(wanted.items(), given.items())


class Network(unittest.TestCase):
    def policies(self, values):
        return {one["metadata"]["name"]: one["spec"] for one in chart.of(chart.objects(values), "NetworkPolicy")}

    def ports(self, rules_):
        return sorted(port["port"] for rule in rules_ or [] for port in rule["ports"])

    def test_every_pod_that_stays_has_a_policy(self):
        for name, values in chart.SETS.items():
            if values.get("networkPolicy", {}).get("enabled", True):
                with self.subTest(name):
                    rendered = chart.objects(values)
                    selectors = [one["spec"]["podSelector"]["matchLabels"] for one in chart.of(rendered, "NetworkPolicy")]
                    for pod, _, labels in chart.pod_templates(rendered):
                        if pod.startswith(("Deployment", "StatefulSet")):
                            self.assertEqual(sum(one.items() <= labels.items() for one in selectors), 1, pod)

    def test_rtmp_and_http_are_open_and_everything_else_names_its_peers(self):
        open_ports = set()
        for policy in self.policies(chart.SETS["an evaluation"]).values():
            for rule in policy["ingress"] or []:
                if not rule.get("from"):
                    open_ports |= {port["port"] for port in rule["ports"]}
        self.assertEqual(open_ports, {1935, 8080})

    def test_the_worker_s_status_is_for_the_operator_and_scrapers(self):
        worker = self.policies({})["roomscribe-rel-roomscribe-worker"]
        status = next(rule for rule in worker["ingress"] if rule["ports"] == [{"port": 9090}])
        operator, scraper = status["from"]
        labels = chart.of(chart.objects({}), "Deployment", "rel-roomscribe-operator")["spec"]["template"]["metadata"]["labels"]
        self.assertLessEqual(operator["podSelector"]["matchLabels"].items(), labels.items())
        self.assertEqual(operator["namespaceSelector"]["matchLabels"], {"kubernetes.io/metadata.name": "roomscribe"})
        self.assertEqual(scraper["namespaceSelector"]["matchLabels"], {"kubernetes.io/metadata.name": "monitoring"})

    def test_who_may_reach_nats_are_the_pods_that_are_told_its_url(self):
        rendered = chart.objects({})
        rule = next(one for one in self.policies({})["rel-roomscribe-nats"]["ingress"] if one["ports"] == [{"port": 4222}])
        for pod, spec, labels in chart.pod_templates(rendered):
            let_in = any(peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in rule["from"])
            self.assertEqual(let_in, "NATS_URL" in chart.environment(spec), pod)

    def test_egress_is_limited_only_on_request_and_then_allows_names_peers_and_the_given_ports(self):
        for policy in self.policies({}).values():
            self.assertEqual(policy["policyTypes"], ["Ingress"])
            self.assertNotIn("egress", policy)
        limited = self.policies(chart.SETS["everything on"])
        self.assertEqual(self.ports(limited["rel-roomscribe-operator"]["egress"]), [53, 53, 443, 4222, 6443, 8080, 9090])
        self.assertEqual(self.ports(limited["rel-roomscribe-gateway"]["egress"]), [53, 53, 443, 4222, 6443])
        own = self.policies(chart.SETS["own NATS, own Secrets"])
        self.assertEqual(self.ports(own["rel-roomscribe-gateway"]["egress"]), [53, 53, 443, 4222, 4443, 6443])

    def test_a_gateway_that_only_some_may_reach_is_still_tested(self):
        gateway = self.policies(chart.SETS["everything on"])["rel-roomscribe-gateway"]
        http = next(rule for rule in gateway["ingress"] if rule["ports"] == [{"port": 8080}])
        tester = chart.of(chart.objects({}), "Pod", "rel-roomscribe-self-test")["metadata"]["labels"]
        self.assertTrue(any(peer["podSelector"].get("matchLabels", {"-": "-"}).items() <= tester.items() for peer in http["from"]))


if __name__ == "__main__":
    unittest.main()
