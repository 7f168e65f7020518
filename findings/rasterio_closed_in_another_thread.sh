#!/usr/bin/env bash
# rasterio: a dataset whose `with` is entered in one thread and left in another ends that other thread's environment.
#
# Versions: rasterio 1.4.4 (with the GDAL of its wheel), Python 3.11 (November 2026).
# Behaviour: entering a dataset enters an environment where its thread has none; leaving it elsewhere (an ExitStack of a thread pool,
#   closed by the main thread, say) leaves the environment of the thread that leaves, which then has none: its own `rasterio.Env`, still
#   open, raises EnvError "No GDAL environment exists" at its end, and its settings are gone before.
# Expected: an environment that somebody else opened stays.
# Seen: EnvError from the end of the main thread's `with rasterio.Env(...)`.
# For users: call `rasterio.open(...)` and `close()` without `with` where another thread closes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import threading
import warnings

import numpy as np
import rasterio

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
with rasterio.open("a.tif", "w", driver="GTiff", count=1, width=4, height=4, dtype="uint8") as file:
    file.write(np.ones((1, 4, 4), np.uint8))


def opened_elsewhere(enter):
    files = []

    def work():
        file = rasterio.open("a.tif")
        files.append(file.__enter__() if enter else file)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return files[0]


entered, plain = opened_elsewhere(True), opened_elsewhere(False)
try:
    with rasterio.Env(GDAL_CACHEMAX=64_000_000):
        entered.__exit__(None, None, None)
    raise SystemExit("the behaviour has changed")
except rasterio.errors.EnvError as error:
    print("left in another thread:", error)
with rasterio.Env(GDAL_CACHEMAX=64_000_000):
    plain.close()
print("closed in another thread: no error")
PY
