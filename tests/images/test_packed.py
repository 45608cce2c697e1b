"""The archives of IMAGES_DIR, as images/pack.sh leaves them: what is in them, and that they run with nothing else."""

import json
import os
import pathlib
import re
import select
import subprocess
import tempfile
import unittest

import archive

ROLES = ("operator", "worker", "gateway", "speech")
REPOSITORY = pathlib.Path(__file__).parents[2]
IMAGES = pathlib.Path(os.environ.get("IMAGES_DIR", ""))
VERSION = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]
RELEASE = os.environ.get("PROFILE", "release") == "release"
# As a pod: a read-only root, a user that is nobody. No privilege is needed for it.
POD = ["unshare", "--map-root-user", "--mount", "sh", "-c",
       'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && '
       'exec unshare --map-user=65532 --map-group=65532 --root="$0" "$@"']


def unpack(image, root):
    for name, member in image.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.content[name])
        path.chmod(member.mode)


class Packed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.images = {role: archive.read(IMAGES / f"{role}.tar") for role in ROLES}
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        for role, image in cls.images.items():
            unpack(image, cls.root / role)

    def pod(self, role, *args):
        return [*POD, self.root / role, f"/roomscribe-{role}", *args]

    def test_nothing_is_wrong_with_what_is_in_them(self):
        for role, image in self.images.items():
            with self.subTest(role=role):
                self.assertEqual(archive.findings(image, role, VERSION), [])

    def test_each_runs_with_a_read_only_root_and_tells_its_version_and_commit(self):
        for role, image in self.images.items():
            with self.subTest(role=role):
                shown = subprocess.run(self.pod(role, "--version"), capture_output=True, text=True, env={})
                commit = image.runs()["Labels"]["org.opencontainers.image.revision"]
                whole = f"{VERSION} ({commit})" if RELEASE else VERSION
                self.assertEqual((shown.stdout, shown.stderr), (f"roomscribe-{role} {whole}\n", ""))

    def test_each_without_settings_ends_with_one_line_that_names_one(self):
        for role in ("operator", "worker", "gateway"):
            with self.subTest(role=role):
                ended = subprocess.run(self.pod(role), capture_output=True, text=True, env={}, timeout=30)
                self.assertEqual(ended.returncode, 64, ended.stderr)
                self.assertRegex(ended.stderr, r"\A.*(--[a-z]|[A-Z]+_[A-Z]+).*\n\Z")

    def test_speech_listens_with_the_model_of_its_image(self):
        with subprocess.Popen(self.pod("speech", "--http-listen", "127.0.0.1:0"), stderr=subprocess.PIPE, env={}) as server:
            self.addCleanup(server.kill)
            ready, _, _ = select.select([server.stderr], [], [], 30)
            line = server.stderr.readline() if ready else b"nothing within 30 s"
            server.kill()
        self.assertIn(b'"listening"', line)

    @unittest.skipUnless(RELEASE, "programs of tests hold paths, for their panics")
    def test_no_program_tells_where_it_was_built(self):
        home = pathlib.Path.home()
        places = [REPOSITORY, os.environ.get("CARGO_HOME", home / ".cargo"), home / ".rustup"]
        places += [os.environ[name] for name in ("CARGO_TARGET_DIR",) if name in os.environ]
        for role, image in self.images.items():
            with self.subTest(role=role):
                program = image.content[f"roomscribe-{role}"]
                self.assertEqual([place for place in places if f"{place}/".encode() in program], [])


@unittest.skipUnless(RELEASE, "programs of tests hold no list of their crates")
class Listed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lists = {role: json.loads((IMAGES / f"{role}.cdx.json").read_text()) for role in ROLES}

    def test_each_list_is_valid_cyclonedx(self):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
        for role, bom in self.lists.items():
            with self.subTest(role=role):
                self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)))

    def test_every_crate_of_others_has_a_purl_and_a_licence(self):
        for role, bom in self.lists.items():
            with self.subTest(role=role):
                crates = [part for part in bom["components"] if not part["name"].startswith("roomscribe")]
                self.assertGreater(len(crates), 50)
                crates = [part for part in crates if not part["bom-ref"].startswith("pkg:deb/")]
                self.assertEqual([part["name"] for part in crates if "purl" not in part or "licenses" not in part], [])

    def test_every_library_beside_the_program_has_its_package(self):
        for role, bom in self.lists.items():
            with self.subTest(role=role):
                names = {part["name"] for part in bom["components"]}
                self.assertLessEqual({"libc6", "libgcc-s1", "ca-certificates"}, names)
                self.assertEqual("moonshine-voice" in names, role == "speech")


if __name__ == "__main__":
    unittest.main()
