"""sbom.py PROGRAM: prints the dependencies that cargo auditable has put into a program, as JSON."""

import subprocess
import sys
import tempfile
import zlib

with tempfile.NamedTemporaryFile() as section, tempfile.NamedTemporaryFile() as rest:
    dump = ["objcopy", "--dump-section", f".dep-v0={section.name}", sys.argv[1], rest.name]
    subprocess.run(dump, check=True)
    print(zlib.decompress(section.read()).decode())
