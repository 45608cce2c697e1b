"""A real API server with etcd, and somebody who plays the controllers that a hook waits for."""

import json
import os
import pathlib
import subprocess
import threading
import time

import chart

PATIENCE = 120


class Cluster:
    """Runs until `close`; kubectl and helm talk to it."""

    def __init__(self):
        program = os.environ.get("API_SERVER_BIN")
        if not program:
            raise AssertionError("API_SERVER_BIN is not set: run `make chart`")
        self.process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
        self.environment = {**os.environ, "KUBECONFIG": self._said("KUBECONFIG=")}
        self.kubectl_program = self._said("kubectl ")

    def _said(self, prefix):
        line = self.process.stdout.readline().strip()
        if not line.startswith(prefix):
            raise AssertionError(f"the API server did not start: {line!r}")
        return line.removeprefix(prefix)

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def try_kubectl(self, *arguments, text=None):
        return subprocess.run(
            [self.kubectl_program, *arguments], input=text, capture_output=True, text=True, env=self.environment, check=False
        )

    def kubectl(self, *arguments, text=None):
        done = self.try_kubectl(*arguments, text=text)
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def get(self, kind, name, namespace=chart.NAMESPACE):
        return json.loads(self.kubectl("-n", namespace, "get", kind, name, "-o", "json"))

    def names(self, kinds, namespace=chart.NAMESPACE):
        return set(self.kubectl("-n", namespace, "get", kinds, "-o", "name").split())

    def namespace(self, name, *labels):
        self.kubectl("create", "namespace", name)
        if labels:
            self.kubectl("label", "namespace", name, *labels)

    def try_helm(self, *arguments, values=None):
        kubeconfig = {"KUBECONFIG": self.environment["KUBECONFIG"]}
        return chart.helm(*arguments, "--namespace", chart.NAMESPACE, values=values, environment=kubeconfig)

    def helm(self, *arguments, values=None):
        done = self.try_helm(*arguments, values=values)
        if done.returncode:
            raise AssertionError(f"helm {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def install_resources_of_others(self):
        """ServiceMonitors and HTTPRoutes as their projects define them."""
        version = chart.tool_version("chart-crds")
        folder = pathlib.Path(chart.CACHE / f"chart-crds-{version}")
        for path in sorted(folder.glob("*.yaml")):
            self.kubectl("apply", "--server-side", "-f", str(path))
            self.established("-f", str(path))

    def established(self, *which):
        """Waits until a resource is served. `kubectl wait` alone fails on one that has no conditions yet."""
        begun = time.monotonic()
        while True:
            said = self.try_kubectl("wait", "--for=condition=Established", "--timeout=60s", *which)
            if said.returncode == 0:
                return
            if time.monotonic() - begun > PATIENCE:
                raise AssertionError(said.stderr)
            time.sleep(0.1)

    def play(self, kind, name, status):
        """Gives the next object of this name a status, as its controller would; returns its spec when joined."""
        played = Played(self, kind, name, status)
        played.start()
        return played


class Played(threading.Thread):
    """See `Cluster.play`. Asks until it was done: the object comes at any time, and may just have been replaced."""

    def __init__(self, cluster, kind, name, status):
        super().__init__(daemon=True)
        self.cluster, self.object, self.status = cluster, (kind, name), status
        self.seen, self.said = None, "it did not come"

    def run(self):
        patch = json.dumps({"status": self.status})
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            arguments = ("patch", *self.object, "--subresource=status", "--type=merge", "-p", patch, "-o", "json")
            done = self.cluster.try_kubectl("-n", chart.NAMESPACE, *arguments)
            if done.returncode == 0:
                self.seen = json.loads(done.stdout)
                return
            self.said = done.stderr
            time.sleep(0.2)

    def spec(self):
        self.join(PATIENCE)
        if self.seen is None:
            raise AssertionError(f"{self.object}: {self.said}")
        return self.seen["spec"]
