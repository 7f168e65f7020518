#!/usr/bin/env bash
# rasterio/GDAL: a small GeoTIFF that the disk has no room for is written without an error; half of a file stays.
#
# Versions: rasterio 1.4.4 (with the GDAL of its wheel), numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: where the system refuses to write ("File too large" here, "No space left on device" on a full disk), `write` and the
#   end of `with rasterio.open(..., "w")` return as if all were well; libtiff prints a line to stderr, and nothing is raised.
# Expected: an exception, as Python's own files raise OSError.
# Seen: no exception for 120 × 120 uint16 under a limit of 1,000 bytes a file; 1,000 bytes are there, and reading them fails.
#   The same made in memory (MemoryFile) and written by Python raises OSError.
# For users: write by way of `rasterio.io.MemoryFile` and `Path.write_bytes`, or read back what was written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import os
import resource
import signal
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
bands = np.random.default_rng(0).integers(0, 9_999, (1, 120, 120)).astype(np.uint16)
shape = {"driver": "GTiff", "count": 1, "width": 120, "height": 120, "dtype": "uint16"}

raised = None
try:
    with rasterio.open("direct.tif", "w", **shape) as file:
        file.write(bands)
except Exception as error:
    raised = error
print("written directly:", raised or "no error", "-", os.path.getsize("direct.tif"), "bytes")
assert raised is None and os.path.getsize("direct.tif") <= 1000, "the behaviour has changed"
try:
    with rasterio.open("direct.tif") as file:
        whole = (file.read() == bands).all()
except rasterio.errors.RasterioError:
    whole = False
assert not whole

with MemoryFile() as content:
    with content.open(**shape) as file:
        file.write(bands)
    try:
        Path("memory.tif").write_bytes(content.getbuffer())
        raise SystemExit("the remedy has changed")
    except OSError as error:
        print("by way of memory:", error)
PY
