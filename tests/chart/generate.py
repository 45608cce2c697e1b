"""Writes what the chart has from elsewhere: templates/crds.yaml from crds/, the README's table from values.yaml.

Without arguments it only compares (exit 1 and a line for each file that differs); with `--write` it writes.
"""

import json
import pathlib
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/roomscribe"
CRD = ROOT / "crds/transcriptionsessions.yaml"
BEGIN, END = "<!-- values: `make generate` -->", "<!-- end of values -->"

CRD_HEAD = """{{- /* Made by `make generate` from crds/. Not in Helm's crds/ folder: that one is never upgraded. */ -}}
{{- if .Values.crds.install }}
"""
CRD_METADATA = """  {{- include "roomscribe.about" (list . "crd" "" (.Values.crds.keep | ternary (dict "helm.sh/resource-policy" "keep") dict)) | nindent 2 }}
"""


def crd_template(crd):
    """The CRD as a template. Its braces are text, not actions."""
    text = crd.replace("{{", '{{ "{{" }}')
    head, name, rest = text.partition("metadata:\n  name: transcriptionsessions.roomscribe.io\n")
    if not name:
        raise SystemExit(f"{CRD}: its metadata are not as expected")
    return CRD_HEAD + head + name + CRD_METADATA + rest.rstrip("\n") + "\n{{- end }}\n"


def documented(text):
    """(path, words) of each value with a `# --` comment, in order. A path is a tuple of keys."""
    stack, words, found = [], None, []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            words = [bare[5:]]
        elif bare.startswith("# ") and words is not None:
            words.append(bare[2:])
        elif bare and not bare.startswith(("#", "- ")):
            indent = len(line) - len(line.lstrip())
            stack = [entry for entry in stack if entry[0] < indent] + [(indent, bare.split(":")[0])]
            if words is not None:
                found.append((tuple(key for _, key in stack), " ".join(words)))
            words = None
        else:
            words = None
    return found


def value_at(values, path):
    for key in path:
        values = values[key]
    return values


def values_table(text):
    values = yaml.safe_load(text)
    rows = ["| value | default | means |", "|---|---|---|"]
    for path, words in documented(text):
        default = json.dumps(value_at(values, path), ensure_ascii=False)
        rows.append(f"| `{'.'.join(path)}` | `{default}` | {words.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def readme(old, values):
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{CHART / 'README.md'}: the marks {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n{values_table(values)}\n{END}{after}"


def generated():
    """Path and content of every generated file."""
    page = CHART / "README.md"
    return {
        CHART / "templates/crds.yaml": crd_template(CRD.read_text()),
        page: readme(page.read_text(), (CHART / "values.yaml").read_text()),
    }


def main(arguments):
    stale = 0
    for path, text in generated().items():
        if "--write" in arguments:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.relative_to(ROOT)} differs from what it is made of: run `make generate`", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
