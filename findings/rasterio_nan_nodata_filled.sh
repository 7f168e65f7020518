#!/usr/bin/env bash
# rasterio: where two bands have NaN as nodata, a masked read is filled with 1e20 instead of NaN.
#
# Versions: rasterio 1.4.4 (with the GDAL of its wheel), numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: `read(masked=True).filled()` puts the file's nodata where there is none. Of a file with one band and NaN as nodata it
#   does, of one with two such bands it puts 1e20: the bands' nodata values are compared, and NaN is not equal to NaN. The mask is right.
# Expected: NaN in both cases, as `nodatavals` says of every band.
# Seen: one band [nan], two bands [1e+20, 1e+20].
# For users: give the value, `filled(float("nan"))`, or read without a mask: NaN is in the file.
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

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)


def filled(count):
    bands = np.full((count, 4, 4), 7, np.float32)
    bands[:, 0] = np.nan
    shape = {"count": count, "width": 4, "height": 4, "dtype": "float32", "nodata": np.nan}
    with rasterio.open("bands.tif", "w", driver="GTiff", **shape) as file:
        file.write(bands)
    with rasterio.open("bands.tif") as file:
        assert np.isnan(file.nodatavals).all()
        masked = file.read(masked=True)
    assert masked.mask[:, 0].all() and not masked.mask[:, 1:].any()
    return masked.filled()[:, 0, 0]


one, two = filled(1), filled(2)
print("one band:", one, "- two bands:", two)
assert np.isnan(one).all() and (two == np.float32(1e20)).all(), "the behaviour has changed"
PY
