"""Values: closed, said in sentences, documented; what is generated is fresh."""

import json
import subprocess
import sys
import unittest

import yaml

import chart
import generate

#: Values, and words of the refusal.
WRONG = [
    ({"foo": 1}, "additional properties 'foo' not allowed"),
    ({"operator": {"replica": 1}}, "at '/operator': additional properties 'replica' not allowed"),
    ({"livekit": {"apiSecret": "s"}}, "at '/livekit': additional properties 'apiSecret' not allowed"),
    ({"operator": {"replicas": "two"}}, "at '/operator/replicas': got string, want integer"),
    ({"operator": {"leaseSeconds": 1}}, "at '/operator/leaseSeconds': minimum: got 1, want 3"),
    ({"operator": {"watchNamespaces": ["Meetings"]}}, "at '/operator/watchNamespaces/0'"),
    ({"operator": {"watchNamespaces": ["a", "a"]}}, "at '/operator/watchNamespaces': items at 0 and 1 are equal"),
    ({"operator": {"extraEnv": [{"value": "x"}]}}, "missing property 'name'"),
    ({"livekit": {"existingSecret": "Not_A_Name"}}, "at '/livekit/existingSecret': 'Not_A_Name' does not match"),
    ({"gateway": {"service": {"type": "LoadBalanced"}}}, "'ClusterIP', 'NodePort', 'LoadBalancer'"),
    ({"gateway": {"image": {"digest": "sha256:12"}}}, "at '/gateway/image/digest'"),
    ({"gateway": {"auth": {"jwksUrl": "login.example.com"}}}, "at '/gateway/auth/jwksUrl'"),
    ({"gateway": {"allowedOrigins": ["app.example.com"]}}, "at '/gateway/allowedOrigins/0'"),
    ({"gateway": {"sessionDefaults": {"roomName": "x"}}}, "additional properties 'roomName' not allowed"),
    ({"gateway": {"sessionDefaults": {"ingress": {}}}}, "additional properties 'ingress' not allowed"),
    ({"nats": {"replicas": 2}}, "at '/nats/replicas': value must be one of 1, 3, 5"),
    ({"nats": {"url": "nats.example.com"}}, "at '/nats/url'"),
    ({"nats": {"url": "wss://nats.example.com"}}, "at '/nats/url'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
    ({"worker": {"resources": {"request": {}}}}, "at '/worker/resources': additional properties 'request' not allowed"),
    ({"commonLabels": {"team": 7}}, "at '/commonLabels/team': got number, want string"),
    ({"nats": {"enabled": False}}, "gateway.enabled needs NATS"),
    ({"nats": {"url": "nats://a:4222"}}, "set nats.enabled=false to use your own NATS"),
    ({"nats": {"enabled": False, "existingSecret": "a"}, "gateway": {"enabled": False}}, "nats.url is not: set both"),
    ({"nats": {"enabled": False, "url": "nats://u:p@a:4222"}}, "give a credentials file in nats.existingSecret"),
    ({"transcripts": {"replicas": 3}}, "transcripts.replicas (3) is more than nats.replicas (1)"),
    ({"speech": {"enabled": True}, "gladia": {"existingSecret": "g"}}, "exclude each other"),
    ({"credentials": {"perSession": True}}, "credentials.perSession needs credentials.namespaces"),
    ({"operator": {"watchNamespaces": ["a"]}, "gateway": {"namespaces": ["b"]}}, 'gateway.namespaces has "b"'),
    ({"gateway": {"httpRoute": {"enabled": True}}}, "needs gateway.httpRoute.parentRefs"),
    ({"gateway": {"autoscaling": {"enabled": True, "minReplicas": 20}}}, "minReplicas is more than"),
]


def leaves(tree, path=()):
    """Paths of everything that is not a map, or is an empty one."""
    if isinstance(tree, dict) and tree:
        for key, below in tree.items():
            yield from leaves(below, (*path, key))
    else:
        yield path


class Values(unittest.TestCase):
    def setUp(self):
        self.text = (chart.CHART / "values.yaml").read_text()
        self.values = yaml.safe_load(self.text)
        self.schema = json.loads((chart.CHART / "values.schema.json").read_text())

    def test_a_wrong_value_is_refused_in_a_sentence_that_names_it(self):
        for values, words in WRONG:
            with self.subTest(words):
                refused = chart.template(values)
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn(words, refused.stderr)

    def test_every_set_of_values_is_linted_without_a_warning(self):
        for name, values in chart.SETS.items():
            with self.subTest(name):
                arguments = ("lint", str(chart.CHART), "--strict", "--kube-version", chart.KUBERNETES)
                linted = chart.helm(*arguments, values=values)
                self.assertEqual(linted.returncode, 0, linted.stdout + linted.stderr)
                self.assertNotIn("WARNING", linted.stdout)

    def test_every_value_is_documented_and_its_documentation_is_of_a_value(self):
        documented = [path for path, _ in generate.documented(self.text)]
        for path in leaves(self.values):
            self.assertTrue(any(path[: len(known)] == known for known in documented), f"no `# --` above {'.'.join(path)}")
        for path in documented:
            generate.value_at(self.values, path)
        self.assertEqual(len(documented), len(set(documented)))

    def test_the_schema_knows_every_value_and_is_closed_at_every_level(self):
        self.closed(self.schema, self.values, "")

    def closed(self, schema, values, path):
        schema = self.resolved(schema)
        if "properties" not in schema:
            return
        self.assertIs(schema.get("additionalProperties"), False, path)
        if isinstance(values, dict) and path not in ("/gateway/sessionDefaults",):
            known = set(schema["properties"]) - {"global"}
            optional = {"claims", "requests", "limits"} if path.endswith("/resources") else set()
            self.assertEqual(known - optional, set(values) - optional, path)
            for key, below in values.items():
                self.closed(schema["properties"][key], below, f"{path}/{key}")

    def resolved(self, schema):
        while "$ref" in schema:
            schema = self.schema["definitions"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def test_session_defaults_may_be_every_field_of_the_spec_that_is_not_a_session_s_own(self):
        crd = yaml.safe_load(generate.CRD.read_text())
        fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        allowed = self.schema["properties"]["gateway"]["properties"]["sessionDefaults"]["properties"]
        self.assertEqual(set(allowed), set(fields) - {"roomName", "desiredState", "replicas"})


class Generated(unittest.TestCase):
    def test_what_is_generated_is_fresh(self):
        stale = subprocess.run(
            [sys.executable, generate.__file__], capture_output=True, text=True, check=False
        )
        self.assertEqual((stale.returncode, stale.stderr), (0, ""))

    def test_the_chart_has_the_crd_of_the_types(self):
        committed = yaml.safe_load(generate.CRD.read_text())
        rendered = chart.of(chart.objects({}), "CustomResourceDefinition", committed["metadata"]["name"])
        self.assertEqual(rendered["spec"], committed["spec"])
        self.assertEqual(rendered["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")

    def test_the_crd_stays_or_goes_or_is_not_there_at_all(self):
        going = chart.of(chart.objects({"crds": {"keep": False}}), "CustomResourceDefinition")
        self.assertNotIn("annotations", going[0]["metadata"])
        self.assertEqual(chart.of(chart.objects({"crds": {"install": False}}), "CustomResourceDefinition"), [])

    def test_braces_in_a_description_are_text(self):
        crd = "kind: x\nmetadata:\n  name: transcriptionsessions.roomscribe.io\nspec:\n  a: '{{ b }}'\n"
        self.assertIn('{{ "{{" }} b }}', generate.crd_template(crd))


if __name__ == "__main__":
    unittest.main()
