"""The NATS of the chart, and one of your own."""

import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import yaml

import chart

NATS_SERVER = pathlib.Path(sys.executable).parent / "nats-server"
PATIENCE = 60


def config_of(values):
    return chart.of(chart.objects({"nats": values}), "ConfigMap", "rel-roomscribe-nats")["data"]["nats.conf"]


def free_ports(count):
    """So many ports of loopback that nobody listens on, and that no outgoing connection takes either."""
    sockets = []
    while len(sockets) < count:
        try:
            sockets.append(socket.create_server(("127.0.0.1", random.randrange(20_000, 32_000))))
        except OSError:
            continue
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """A real nats-server with a rendered configuration; its addresses and its folder differ from a pod's."""

    def __init__(self, test, name, config):
        folder = pathlib.Path(test.enterContext(tempfile.TemporaryDirectory()))
        config, found = re.subn("store_dir: /data", f"store_dir: {folder}/data", config)
        test.assertEqual(found, 1)
        (folder / "nats.conf").write_text(config)
        self.port, self.monitor = free_ports(2)
        ports = ("--port", str(self.port), "--http_port", str(self.monitor))
        command = [NATS_SERVER, "--config", folder / "nats.conf", "--addr", "127.0.0.1", *ports]
        self.log = open(folder / "log", "w+", encoding="utf-8")
        test.addCleanup(self.log.close)
        environment = {**os.environ, "POD_NAME": name}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        test.addCleanup(self.process.wait, PATIENCE)
        test.addCleanup(self.process.terminate)

    def ask(self, path):
        """The monitor's answer, or None while it has none or says that it is not well."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def until(self, path, holds=lambda answer: True):
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE and self.process.poll() is None:
            answer = self.ask(path)
            if answer is not None and holds(answer):
                return answer
            time.sleep(0.1)
        self.log.seek(0)
        raise AssertionError(f"{path} never held; nats-server said:\n{self.log.read()[-3000:]}")


class RealServer(unittest.TestCase):
    def probes(self, rendered):
        container = chart.of(rendered, "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
        return [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]

    def test_a_real_nats_server_takes_the_configuration_and_passes_the_pod_s_probes(self):
        server = Server(self, "rel-roomscribe-nats-0", config_of({}))
        for path in self.probes(chart.objects({})):
            self.assertEqual(server.until(path)["status"], "ok")
        shown = server.ask("/varz")
        self.assertEqual(shown["server_name"], "rel-roomscribe-nats-0")
        limits = shown["jetstream"]["config"]
        self.assertEqual((limits["max_storage"], limits["max_memory"]), (9 << 30, 64 << 20))
        image = yaml.safe_load((chart.CHART / "values.yaml").read_text())["nats"]["image"]
        self.assertEqual(shown["version"], image["tag"], "what is proved here is not what is installed")

    def test_three_real_nats_servers_become_one_cluster_that_elects_a_leader(self):
        ports = free_ports(3)
        config = config_of({"replicas": 3})
        for peer, port in enumerate(ports):
            name = rf"rel-roomscribe-nats-{peer}\.rel-roomscribe-nats-peers\.roomscribe\.svc:6222"
            config, found = re.subn(name, f"127.0.0.1:{port}", config)
            self.assertEqual(found, 1)
        servers = [
            Server(self, f"rel-roomscribe-nats-{peer}", config.replace("port: 6222", f"port: {port}"))
            for peer, port in enumerate(ports)
        ]
        for server in servers:
            for path in self.probes(chart.objects({"nats": {"replicas": 3}})):
                self.assertEqual(server.until(path)["status"], "ok")
            cluster = server.until("/jsz", lambda answer: answer.get("meta_cluster", {}).get("leader"))["meta_cluster"]
            self.assertEqual(cluster["cluster_size"], 3)


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
