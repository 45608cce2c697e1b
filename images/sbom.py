"""sbom.py PROGRAM: prints the dependencies that cargo auditable has put into a program, as JSON."""

import subprocess
import sys
import tempfile
import zlib

with tempfile.NamedTemporaryFile() as section:
    subprocess.run(["objcopy", "-O", "binary", "--only-section=.dep-v0", sys.argv[1], section.name], check=True)
    print(zlib.decompress(section.read()).decode())
