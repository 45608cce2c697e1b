"""Reads an image's docker-archive, and says what is wrong with it."""

import dataclasses
import io
import json
import pathlib
import re
import stat
import tarfile

SOURCE = "https://github.com/roomscribe/roomscribe"
EVERYWHERE = ["etc/group", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "licenses/*",
              "licenses/debian/*", "lib*/*.so*", "lib*/*/*.so*", "usr/lib*/*.so*", "usr/lib*/*/*.so*"]
OF_SPEECH = ["opt/moonshine/*/*", "opt/moonshine/*/*/*", "opt/moonshine/*/*/*/*"]
# Far more than any private bundle, fewer than any release of Mozilla's.
AUTHORITIES = 100


@dataclasses.dataclass
class Image:
    config: dict
    files: dict  # by path, without the leading slash
    folders: dict
    strange: list  # neither file nor folder
    content: dict  # of files

    def runs(self):
        return self.config["config"]


def read(path):
    with tarfile.open(path) as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        config = json.load(archive.extractfile(manifest["Config"]))
        (layer,) = manifest["Layers"]
        members = tarfile.open(fileobj=io.BytesIO(archive.extractfile(layer).read()))
    image = Image(config, {}, {}, [], {})
    for member in members:
        name = member.name.removeprefix("./").rstrip("/")
        if member.isfile():
            image.files[name] = member
            image.content[name] = members.extractfile(member).read()
        elif member.isdir():
            image.folders[name] = member
        else:
            image.strange.append(name)
    return image


def findings(image, role, version):
    """All that is wrong, a sentence each."""
    return [*of_config(image, role), *of_labels(image, role, version), *of_rights(image, role), *of_files(image, role)]


def of_config(image, role):
    runs = image.runs()
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", runs.get("User", "")):
        yield f"user {runs.get('User')!r} is not a number above 0"
    if runs.get("Entrypoint") != [f"/roomscribe-{role}"]:
        yield f"entry point is {runs.get('Entrypoint')}"
    for field in ("Cmd", "Env", "ExposedPorts", "Volumes"):
        if runs.get(field):
            yield f"{field} is set: {runs[field]}"


def of_labels(image, role, version):
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in (image.runs().get("Labels") or {}).items()}
    wanted = {"title": f"roomscribe-{role}", "version": version, "source": SOURCE, "licenses": "Apache-2.0"}
    for name, text in wanted.items():
        if labels.get(name) != text:
            yield f"label {name} is {labels.get(name)!r} instead of {text!r}"
    if not re.fullmatch(r"[0-9a-f]{12}(-dirty)?", labels.get("revision", "")):
        yield f"label revision {labels.get('revision')!r} is no commit"


def of_rights(image, role):
    runs = {f"roomscribe-{role}"}
    for name, member in (image.files | image.folders).items():
        if member.uid or member.gid:
            yield f"{name} belongs to {member.uid}:{member.gid}"
        if member.mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"{name} is setuid or setgid"
        if member.mode & (stat.S_IWGRP | stat.S_IWOTH):
            yield f"{name} can be written by others"
        loads = pathlib.PurePath(name).name.startswith("ld-linux")
        if name in image.files and member.mode & 0o111 and name not in runs and not loads:
            yield f"{name} can be run"


def of_files(image, role):
    allowed = EVERYWHERE + [f"roomscribe-{role}"] + (OF_SPEECH if role == "speech" else [])
    for name in [*image.files, *image.strange]:
        if name in image.strange or not any(pathlib.PurePath("/", name).match("/" + pattern) for pattern in allowed):
            yield f"{name} is not expected"
    for name in (f"roomscribe-{role}", "etc/nsswitch.conf", "licenses/roomscribe"):
        if name not in image.files:
            yield f"{name} is missing"
    bundle = image.content.get("etc/ssl/certs/ca-certificates.crt", b"")
    if bundle.count(b"-----BEGIN CERTIFICATE-----") < AUTHORITIES:
        yield "certificates of public authorities are missing"
    if b"PRIVATE KEY" in bundle:
        yield "a private key is among the certificates"
