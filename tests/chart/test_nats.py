"""The NATS of the chart, and one of your own."""

import unittest

import yaml

import chart


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


if __name__ == "__main__":
    unittest.main()
