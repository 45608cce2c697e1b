"""sbom.py ROLE ROOT: prints what is in the root of a role's image as CycloneDX 1.6 JSON: the program's crates, as cargo
auditable has put them into it, and the packages of the system and of PyPI whose files stand beside it.

The same root gives the same bytes. VERSION, ROOMSCRIBE_COMMIT and SOURCE_DATE_EPOCH come from the environment."""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse
import uuid
import zlib


def crates_in(program):
    """Cargo auditable's own list: packages with their dependencies as indexes."""
    with tempfile.NamedTemporaryFile() as section, tempfile.NamedTemporaryFile() as rest:
        subprocess.run(["objcopy", "--dump-section", f".dep-v0={section.name}", program, rest.name], check=True)
        return json.loads(zlib.decompress(section.read()))["packages"]


def licences_of_crates():
    """By (name, version); the program itself does not carry them."""
    metadata = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1"], check=True, capture_output=True)
    packages = json.loads(metadata.stdout)["packages"]
    # The older form of "MIT OR Apache-2.0" is "MIT/Apache-2.0".
    return {(p["name"], p["version"]): re.sub(r"\s*/\s*", " OR ", p["license"]) for p in packages if p["license"]}


def debian_packages(root):
    """root.sh leaves the copyright file of each under its name."""
    for folder in sorted((root / "licenses" / "debian").glob("*")):
        show = ["dpkg-query", "--show", "--showformat", "${Version} ${Architecture}\n", folder.name]
        version, architecture = subprocess.run(show, check=True, capture_output=True, text=True).stdout.split()[:2]
        purl = f"pkg:deb/debian/{folder.name}@{urllib.parse.quote(version, safe='~')}?arch={architecture}"
        yield {"type": "library", "bom-ref": purl, "name": folder.name, "version": version, "purl": purl}


def python_packages(root):
    """The recogniser, which only speech has."""
    for folder in (root / "opt" / "moonshine").glob("*.dist-info"):
        name, version = folder.name.removesuffix(".dist-info").replace("_", "-").rsplit("-", 1)
        purl = f"pkg:pypi/{name}@{version}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
               "licenses": [{"expression": "MIT"}]}


def reference(crate):
    return f"pkg:cargo/{crate['name']}@{crate['version']}"


def crate_component(crate, licences):
    made_here = crate["source"] == "local"
    component = {"type": "application" if crate.get("root") else "library", "bom-ref": reference(crate),
                 "name": crate["name"], "version": crate["version"],
                 # What only built it is not in the program.
                 "scope": "excluded" if crate.get("kind") == "build" else "required"}
    licence = licences.get((crate["name"], crate["version"]))
    if licence:
        component["licenses"] = [{"expression": licence}]
    # Our own crates are in no registry.
    return component if made_here else component | {"purl": reference(crate)}


def edges(crates):
    for crate in crates:
        on = sorted({reference(crates[index]) for index in crate.get("dependencies", [])})
        yield {"ref": reference(crate), "dependsOn": on}


def document(role, crates, licences, others, about):
    """Pure: `about` has version, commit and seconds."""
    image = {"type": "container", "bom-ref": f"image-{role}", "name": f"roomscribe-{role}", "version": about["version"],
             "licenses": [{"expression": "Apache-2.0"}],
             "properties": [{"name": "org.opencontainers.image.revision", "value": about["commit"]}]}
    top = [reference(crate) for crate in crates if crate.get("root")] + [other["bom-ref"] for other in others]
    components = [crate_component(crate, licences) for crate in crates] + others
    made = datetime.datetime.fromtimestamp(about["seconds"], datetime.timezone.utc)
    whole = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
             "metadata": {"timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": image},
             "components": components,
             "dependencies": [{"ref": image["bom-ref"], "dependsOn": top}, *edges(crates)]}
    name = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(whole, sort_keys=True))
    return whole | {"serialNumber": f"urn:uuid:{name}"}


def main(role, root):
    root = pathlib.Path(root)
    about = {"version": os.environ["VERSION"], "commit": os.environ["ROOMSCRIBE_COMMIT"],
             "seconds": int(os.environ["SOURCE_DATE_EPOCH"])}
    others = [*debian_packages(root), *python_packages(root)]
    crates = crates_in(root / f"roomscribe-{role}")
    print(json.dumps(document(role, crates, licences_of_crates(), others, about), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
