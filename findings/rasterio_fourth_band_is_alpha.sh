#!/usr/bin/env bash
# rasterio/GDAL: the near-infrared of a four-band byte GeoTIFF is taken for transparency, and rules what a smaller read says of the others.
#
# Versions: rasterio 1.4.4 (with the GDAL of its wheel), numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: a uint8 GeoTIFF of four bands, written without further options (red, green, blue, near-infrared of an aerial image, say),
#   has the colour interpretation red, green, blue, alpha. A full read is right. A read at half the size with averaging weighs every
#   band by the fourth: where that is 0, red is 0, whatever it was. No warning is given.
# Expected: bands that nobody called alpha are averaged by themselves.
# Seen: red is 100 everywhere, the fourth band 0 in the left half: averaged red [0, 0, 100, 100]; with the tag set to
#   undefined before the bands are written: [100, 100, 100, 100].
# For users: set `colorinterp` before writing, or read at full size and average yourself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
bands = np.full((4, 8, 8), 100, np.uint8)
bands[3, :, :4] = 0
shape = {"count": 4, "width": 8, "height": 8, "dtype": "uint8"}


def averaged(name, undefined):
    with rasterio.open(name, "w", driver="GTiff", **shape) as file:
        if undefined:
            file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * 3
        file.write(bands)
    with rasterio.open(name) as file:
        assert (file.read() == bands).all()
        tag = file.colorinterp[3].name
        return tag, file.read(1, out_shape=(4, 4), resampling=Resampling.average)[0].tolist()


usual, told = averaged("usual.tif", False), averaged("told.tif", True)
print("as written by default:", *usual, "- told that no band is alpha:", *told)
assert usual == ("alpha", [0, 0, 100, 100]), "the behaviour has changed"
assert told == ("undefined", [100, 100, 100, 100]), "the remedy has changed"
PY
