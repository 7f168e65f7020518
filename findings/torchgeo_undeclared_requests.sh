#!/usr/bin/env bash
# torchgeo: `import torchgeo.datasets` fails in a fresh environment: it imports requests, which the package does not require.
#
# Versions: torchgeo 0.8.1, Python 3.11 (November 2026).
# Behaviour: torchgeo/datasets/__init__.py imports openstreetmap.py, which imports requests at its top. The package's metadata do not name
#   requests, and nothing that it requires brings it.
# Expected: requests among the requirements, or imported where it is used.
# Seen: after `pip install torchgeo==0.8.1` with torch 2.14.1 in a new environment: "ModuleNotFoundError: No module named 'requests'".
# For users: install requests beside torchgeo.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# Without what it requires, which is gigabytes: its metadata and its source say it.
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps torchgeo==0.8.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import ast
from importlib.metadata import files, requires

named = {word.split(";")[0] for word in requires("torchgeo") if "extra ==" not in word}
declared = any(name.startswith("requests") for name in named)
importing = []
for file in files("torchgeo"):
    if file.parts[:2] == ("torchgeo", "datasets") and file.suffix == ".py":
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Import) and any(alias.name == "requests" for alias in node.names):
                importing.append(file.name)
first = [path for path in files("torchgeo") if str(path) == "torchgeo/datasets/__init__.py"][0].read_text()
loaded = [name for name in importing if f"from .{name.removesuffix('.py')} import" in first]
print("required:", declared, "- imported at the top of:", importing, "- by torchgeo.datasets itself:", loaded)
assert loaded and not declared, "the behaviour has changed"
PY
