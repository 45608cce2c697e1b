"""The list of what is in an image, from a program's own list of crates."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "images"))
import sbom

CRATES = [{"name": "bytes", "version": "1.10.0", "source": "crates.io"},
          {"name": "cc", "version": "1.2.0", "source": "crates.io", "kind": "build"},
          {"name": "roomscribe-worker", "version": "0.1.0", "source": "local", "root": True, "dependencies": [0, 1]}]
LICENCES = {("bytes", "1.10.0"): "MIT"}
LIBC = {"type": "library", "bom-ref": "pkg:deb/debian/libc6@2.36?arch=amd64", "name": "libc6", "version": "2.36"}
ABOUT = {"version": "0.1.0", "commit": "0123456789ab", "seconds": 1_800_000_000}


def made(**about):
    return sbom.document("worker", CRATES, LICENCES, [LIBC], ABOUT | about)


class Document(unittest.TestCase):
    def test_it_is_of_an_image_whose_program_and_packages_stand_at_the_top(self):
        bom = made()
        self.assertEqual(bom["metadata"]["component"]["name"], "roomscribe-worker")
        self.assertEqual(bom["metadata"]["timestamp"], "2027-01-15T08:00:00Z")
        top = ["pkg:cargo/roomscribe-worker@0.1.0", LIBC["bom-ref"]]
        self.assertEqual(bom["dependencies"][0], {"ref": "image-worker", "dependsOn": top})

    def test_a_crate_of_others_has_a_purl_and_its_licence_and_ours_has_no_purl(self):
        bytes_, cc, worker, _ = made()["components"]
        self.assertEqual(bytes_["purl"], "pkg:cargo/bytes@1.10.0")
        self.assertEqual(bytes_["licenses"], [{"expression": "MIT"}])
        self.assertNotIn("licenses", cc)
        self.assertNotIn("purl", worker)
        self.assertEqual(worker["type"], "application")

    def test_what_only_built_the_program_is_not_said_to_be_in_it(self):
        self.assertEqual([part.get("scope") for part in made()["components"]], ["required", "excluded", "required", None])

    def test_dependencies_are_named(self):
        edges = {edge["ref"]: edge["dependsOn"] for edge in made()["dependencies"]}
        self.assertEqual(edges["pkg:cargo/roomscribe-worker@0.1.0"], ["pkg:cargo/bytes@1.10.0", "pkg:cargo/cc@1.2.0"])

    def test_the_same_image_gives_the_same_serial_number_and_another_gives_another(self):
        self.assertEqual(made()["serialNumber"], made()["serialNumber"])
        self.assertNotEqual(made()["serialNumber"], made(commit="ba9876543210")["serialNumber"])


if __name__ == "__main__":
    unittest.main()
