"""An image with a fault is told from one without: each fault by its sentence."""

import io
import json
import pathlib
import re
import tarfile
import tempfile
import unittest

import archive

LABELS = {"title": "roomscribe-worker", "version": "0.1.0", "source": archive.SOURCE, "licenses": "Apache-2.0",
          "revision": "0123456789ab"}
CERTIFICATES = b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" * archive.AUTHORITIES
FILES = {"roomscribe-worker": (0o755, b"ELF"), "lib64/ld-linux-x86-64.so.2": (0o755, b""),
         "lib/x86_64-linux-gnu/libc.so.6": (0o644, b""), "etc/passwd": (0o644, b""), "etc/group": (0o644, b""),
         "etc/nsswitch.conf": (0o644, b""), "licenses/roomscribe": (0o644, b""), "licenses/debian/libc6": (0o644, b""),
         "etc/ssl/certs/ca-certificates.crt": (0o644, CERTIFICATES)}


def tar(files, owner=0, links=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, (mode, content) in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size, member.uid = mode, len(content), owner
            made.addfile(member, io.BytesIO(content))
        for name in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
            made.addfile(member)
    return buffer.getvalue()


def faults(config=None, labels=None, files=None, role="worker", **layer):
    runs = {"User": "65532:65532", "Entrypoint": ["/roomscribe-worker"],
            "Labels": {f"org.opencontainers.image.{name}": text for name, text in (LABELS | (labels or {})).items()}}
    parts = {"manifest.json": [{"Config": "config.json", "Layers": ["layer.tar"]}],
             "config.json": {"config": runs | (config or {})}}
    parts = {name: (0o644, json.dumps(part).encode()) for name, part in parts.items()}
    parts["layer.tar"] = (0o644, tar({name: file for name, file in (FILES | (files or {})).items() if file}, **layer))
    with tempfile.NamedTemporaryFile() as whole:
        pathlib.Path(whole.name).write_bytes(tar(parts))
        return archive.findings(archive.read(whole.name), role, "0.1.0")


class Faults(unittest.TestCase):
    def test_an_image_as_promised_has_none(self):
        self.assertEqual(faults(), [])

    def test_a_user_that_is_root_or_a_name(self):
        for user in ("", "0:0", "65532:0", "nonroot"):
            self.assertEqual(faults(config={"User": user}), [f"user {user!r} is not a number above 0"])

    def test_another_entry_point_and_settings_that_nobody_asked_for(self):
        self.assertEqual(faults(config={"Entrypoint": ["/bin/sh"]}), ["entry point is ['/bin/sh']"])
        self.assertEqual(faults(config={"Env": ["A=b"]}), ["Env is set: ['A=b']"])

    def test_labels_that_are_wrong_or_missing(self):
        self.assertEqual(faults(labels={"version": "0.2.0"}), ["label version is '0.2.0' instead of '0.1.0'"])
        self.assertEqual(faults(labels={"revision": "unknown commit"}), ["label revision 'unknown commit' is no commit"])
        self.assertEqual(len(faults(config={"Labels": None})), 5)

    def test_a_commit_of_an_unclean_checkout_says_so(self):
        self.assertEqual(faults(labels={"revision": "0123456789ab-dirty"}), [])

    def test_a_shell(self):
        self.assertEqual(faults(files={"bin/sh": (0o755, b"")}), ["bin/sh can be run", "bin/sh is not expected"])

    def test_a_file_with_more_rights_than_it_needs(self):
        name = "lib/x86_64-linux-gnu/libc.so.6"
        self.assertEqual(faults(files={"roomscribe-worker": (0o4755, b"")}), ["roomscribe-worker is setuid or setgid"])
        self.assertEqual(faults(files={name: (0o666, b"")}), [f"{name} can be written by others"])
        self.assertIn(f"{name} belongs to 1000:0", faults(owner=1000))

    def test_a_link(self):
        self.assertEqual(faults(links=["etc/hosts"]), ["etc/hosts is not expected"])

    def test_the_recogniser_in_an_image_that_is_not_of_speech(self):
        name = "opt/moonshine/moonshine_voice/libmoonshine.so"
        self.assertEqual(faults(files={name: (0o644, b"")}), [f"{name} is not expected"])

    def test_no_certificates_too_few_or_a_key_among_them(self):
        name, missing = "etc/ssl/certs/ca-certificates.crt", "certificates of public authorities are missing"
        self.assertEqual(faults(files={name: None}), [missing])
        self.assertEqual(faults(files={name: (0o644, CERTIFICATES[:500])}), [missing])
        with_key = CERTIFICATES + b"-----BEGIN PRIVATE KEY-----"
        self.assertEqual(faults(files={name: (0o644, with_key)}), ["a private key is among the certificates"])

    def test_no_program(self):
        self.assertEqual(faults(files={"roomscribe-worker": None}), ["roomscribe-worker is missing"])


class Dockerfile(unittest.TestCase):
    def test_it_names_the_version_of_the_workspace(self):
        repository = pathlib.Path(__file__).parents[2]
        version = re.search(r'^version = "(.*)"', (repository / "Cargo.toml").read_text(), re.MULTILINE)[1]
        self.assertIn(f'image.version="{version}"', (repository / "images" / "Dockerfile").read_text())


if __name__ == "__main__":
    unittest.main()
