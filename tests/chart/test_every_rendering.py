"""What holds for every pod and object of every set of values."""

import re
import unittest

import chart

RESTRICTED_VOLUMES = {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim", "downwardAPI", "ephemeral", "csi"}


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


if __name__ == "__main__":
    unittest.main()
