"""Who may reach whom, and who may be evicted."""

import re
import unittest

import chart


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

    def test_a_worker_is_a_worker_only_where_sessions_are_watched(self):
        def namespaces(values):
            rules = self.policies(values)["rel-roomscribe-nats"]["ingress"]
            clients = next(rule["from"] for rule in rules if rule["ports"] == [{"port": 4222}])
            workers = lambda peer: peer["podSelector"]["matchLabels"].get("app.kubernetes.io/component") == "worker"
            return [peer["namespaceSelector"] for peer in clients if workers(peer)]

        self.assertEqual(namespaces({}), [{}])
        watched = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
        self.assertEqual(namespaces({"operator": {"watchNamespaces": ["a", "b"]}}), [{"matchExpressions": [watched]}])

    def test_egress_is_limited_only_on_request_and_then_allows_names_peers_and_the_given_ports(self):
        for policy in self.policies({}).values():
            self.assertEqual(policy["policyTypes"], ["Ingress"])
            self.assertNotIn("egress", policy)
        limited = self.policies(chart.SETS["everything on"])
        self.assertEqual(self.ports(limited["rel-roomscribe-operator"]["egress"]), [53, 53, 443, 4222, 5353, 5353, 6443, 8080, 9090])
        self.assertEqual(self.ports(limited["rel-roomscribe-gateway"]["egress"]), [53, 53, 443, 4222, 5353, 5353, 6443])
        own = self.policies(chart.SETS["own NATS, own Secrets"])
        self.assertEqual(self.ports(own["rel-roomscribe-gateway"]["egress"]), [53, 53, 443, 4222, 4443, 5353, 5353, 6443])

    def test_a_gateway_that_only_some_may_reach_is_still_tested(self):
        gateway = self.policies(chart.SETS["everything on"])["rel-roomscribe-gateway"]
        http = next(rule for rule in gateway["ingress"] if rule["ports"] == [{"port": 8080}])
        tester = chart.of(chart.objects({}), "Pod", "rel-roomscribe-self-test")["metadata"]["labels"]
        self.assertTrue(any(peer["podSelector"].get("matchLabels", {"-": "-"}).items() <= tester.items() for peer in http["from"]))


if __name__ == "__main__":
    unittest.main()
