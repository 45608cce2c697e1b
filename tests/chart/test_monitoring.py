"""Alerts and the dashboard speak of metrics and labels that the code has."""

import json
import re
import unittest

import promql_parser
import yaml

import chart

#: What Prometheus adds to a histogram and a counter.
SUFFIXES = {"Counter": ["_total"], "Histogram": ["_bucket", "_count", "_sum"], "Gauge": [""]}


def metrics_of(path):
    """Name of each metric of a file with a registry, and its labels."""
    source = path.read_text()
    prefix = re.search(r'with_prefix\("([a-z_]+)"\)', source).group(1)
    label_sets = {
        name: set(re.findall(r"^\s+pub(?:\(crate\))? (\w+):", body, re.M))
        for name, body in re.findall(r"EncodeLabelSet[^{]*?struct (\w+) \{(.*?)\n\}", source, re.S)
    }
    types = dict(re.findall(r"^\s+(?:pub(?:\(crate\))? )?(\w+): (Counter|Gauge|Histogram|Family<\w+, \w+>)", source, re.M))
    found = {}
    for name, field in re.findall(r'register\(\s*"([a-z_]+)",\s*"[^"]*",\s*(?:self|metrics|m)\.(\w+)\.clone\(\)', source):
        kind, labels = types[field], set()
        family = re.match(r"Family<(\w+), (\w+)>", kind)
        if family:
            kind, labels = family.group(2), label_sets[family.group(1)]
        for suffix in SUFFIXES[kind]:
            found[f"{prefix}_{name}{suffix}"] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def known():
    found = {}
    for crate in ("operator", "worker", "gateway", "speech"):
        of_crate = metrics_of(chart.ROOT / crate / "src/metrics.rs")
        if len(of_crate) < 8:
            raise AssertionError(f"{crate}: only {of_crate} were understood")
        found |= of_crate
    return found


def selectors(text):
    """(metric, labels that are matched) of an expression that Prometheus' grammar accepts."""
    promql_parser.parse(text)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    for name, matchers in re.findall(r"\b(roomscribe_\w+)(?:\{([^}]*)\})?", bare):
        yield name, set(re.findall(r"(\w+)\s*[!=]", matchers))


class Monitoring(unittest.TestCase):
    def setUp(self):
        self.alerts = yaml.safe_load((chart.CHART / "monitoring/alerts.yaml").read_text())
        self.dashboard = json.loads((chart.CHART / "monitoring/dashboard.json").read_text())
        self.known = known()

    def expressions(self):
        for alert in self.alerts:
            yield alert["alert"], alert["expr"]
        for panel in self.dashboard["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]

    def test_every_metric_and_every_label_of_an_expression_exists_in_the_code(self):
        count = 0
        for title, expression in self.expressions():
            with self.subTest(title):
                used = list(selectors(expression))
                self.assertTrue(used, expression)
                grouped = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in by.split(",")}
                for name, labels in used:
                    self.assertIn(name, self.known)
                    self.assertLessEqual(labels | grouped, self.known[name], name)
                    count += 1
        self.assertGreater(count, 30)

    def test_the_words_that_labels_are_compared_with_are_words_of_the_code(self):
        sources = "".join(
            path.read_text()
            for folder in ("operator", "livekit", "crds", "gateway", "worker")
            for path in (chart.ROOT / folder).rglob("src/**/*.rs")
        )
        for title, expression in self.expressions():
            for _, words in re.findall(r'(?<!status)(=~|!~|=|!=)"([^"]*)"', expression):
                for word in words.split("|"):
                    if word != "5..":
                        self.assertRegex(sources, rf'"{word}"|\b{word}\b,', f"{title}: {word}")

    def test_every_alert_says_what_is_wrong_and_what_to_do(self):
        for alert in self.alerts:
            with self.subTest(alert["alert"]):
                self.assertIn(alert["labels"]["severity"], ("warning", "critical"))
                self.assertGreater(len(alert["annotations"]["summary"]), 15)
                self.assertGreater(len(alert["annotations"]["description"]), 40)

    def test_what_is_installed_is_what_is_tested(self):
        rendered = chart.objects(chart.SETS["everything on"])
        rule = chart.of(rendered, "PrometheusRule", "rel-roomscribe")
        self.assertEqual(rule["spec"]["groups"][0]["rules"], self.alerts)
        data = chart.of(rendered, "ConfigMap", "rel-roomscribe-dashboard")["data"]
        self.assertEqual(json.loads(data["roomscribe.json"]), self.dashboard)
        self.assertEqual(rule["metadata"]["labels"]["app.kubernetes.io/component"], "monitoring")

    def test_monitors_find_a_service_or_pods_with_that_port(self):
        rendered = chart.objects(chart.SETS["everything on"])
        for monitor in chart.of(rendered, "ServiceMonitor"):
            wanted, port = monitor["spec"]["selector"]["matchLabels"], monitor["spec"]["endpoints"][0]["port"]
            found = [
                one["metadata"]["name"]
                for one in chart.of(rendered, "Service")
                if wanted.items() <= one["metadata"]["labels"].items()
                and port in [each["name"] for each in one["spec"]["ports"]]
            ]
            self.assertEqual(len(found), 1, monitor["metadata"]["name"])
        self.assertEqual(len(chart.of(rendered, "ServiceMonitor")), 3)
        pods = chart.of(rendered, "PodMonitor", "rel-roomscribe-worker")["spec"]
        ports = (chart.ROOT / "operator/src/children/pod.rs").read_text()
        self.assertIn(f'port("{pods["podMetricsEndpoints"][0]["port"]}", METRICS_PORT)', ports)


if __name__ == "__main__":
    unittest.main()
