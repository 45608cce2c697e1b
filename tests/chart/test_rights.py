"""Rights are those of the committed files; keys are made once and stay."""

import re
import unittest

import yaml

import chart

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

    def test_the_gateway_sees_sessions_in_its_namespaces_and_creates_them_in_the_first(self):
        rendered = chart.objects({"gateway": {"namespaces": ["a", "b"]}})
        roles = [one for one in chart.of(rendered, "Role") if one["metadata"]["name"].endswith("-gateway")]
        self.assertEqual([one["metadata"]["namespace"] for one in roles], ["a", "b"])
        (group, resource, verbs), = reference("gateway/rbac.yaml")["Role"]
        self.assertEqual(rules(roles[:1]), [(group, resource, verbs)])
        self.assertEqual(rules(roles[1:]), [(group, resource, tuple(verb for verb in verbs if verb != "create"))])

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


if __name__ == "__main__":
    unittest.main()
