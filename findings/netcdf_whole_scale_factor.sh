#!/usr/bin/env bash
# xarray and netCDF4: a scale_factor that is a whole number of the variable's own type makes the physical values wrap around.
#
# Versions: xarray 2026.9.0, netCDF4 1.7.5.1.post1, numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: an int16 variable that holds 5000, with the attribute scale_factor = 10 as int16 (which the CF conventions allow), is read
#   as -15536: both libraries multiply in int16. Written as 10.0 the same file reads 50000. No warning is given.
# Expected: unpacked values in floating point, 50000.
# Seen: [-15536, 1000] for [5000, 100] × 10 in both; [50000.0, 1000.0] with 10.0.
# For users: multiply yourself (`mask_and_scale=False`), in float64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  xarray==2026.9.0 netCDF4==1.7.5.1.post1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import netCDF4
import numpy as np
import xarray

seen = []
for factor in (np.int16(10), np.float64(10)):
    dataset = xarray.Dataset({"b4": ("pixel", np.array([5000, 100], "int16"))})
    dataset.b4.attrs["scale_factor"] = factor
    dataset.to_netcdf("b4.nc", engine="netcdf4", mode="w")
    with xarray.open_dataset("b4.nc", engine="netcdf4") as read:
        ours = read.b4.values.tolist()
    with netCDF4.Dataset("b4.nc") as read:
        theirs = np.asarray(read["b4"][:]).tolist()
    print(type(factor).__name__, "xarray", ours, "netCDF4", theirs)
    seen.append((ours, theirs))
assert seen[0] == ([-15536, 1000], [-15536, 1000]), "the behaviour has changed"
assert seen[1] == ([50000, 1000], [50000, 1000]), "the behaviour has changed"
PY
