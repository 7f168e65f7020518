#!/usr/bin/env bash
# torchgeo: Sentinel-1 of BigEarthNet v2 comes as (VH, VV), which its documentation calls (VV, VH), and in whole decibels.
#
# Versions: torchgeo 0.8.1, torch 2.14.1, torchvision 0.29.1, rasterio 1.4.4, pandas 3.1.1, pyarrow 26.0.1, Python 3.11 (November 2026).
# Behaviour: `BigEarthNetV2(bands="s1")` sorts the files of a patch by name, so that ..._VH.tif comes before ..._VV.tif; the docstring and
#   the title of its plot say VV first. Values are read as int32: -10.7 dB becomes -10 or -11 dB.
# Expected: channels in the documented order, and the backscatter that the files hold.
# Seen: a patch of VV -10.7 dB and VH -17.3 dB everywhere: channel 0 is -17, channel 1 is -11.
# For users: take the second channel for VV; read the files yourself where a tenth of a decibel counts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torchgeo==0.8.1 torch==2.14.1 torchvision==0.29.1 rasterio==1.4.4 pandas==3.1.1 pyarrow==26.0.1 requests==2.34.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from torchgeo.datasets import BigEarthNetV2

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
S1 = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_26_57"
S2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"


def write(path, value, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"count": 1, "width": 120, "height": 120, "dtype": dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape) as file:
        file.write(np.full((1, 120, 120), value, dtype))


root = Path("bigearthnet")
s1 = root / "BigEarthNet-S1" / S1.rsplit("_", 3)[0] / S1
for polarisation, decibels in (("VV", -10.7), ("VH", -17.3)):
    write(s1 / f"{S1}_{polarisation}.tif", decibels, "float32")
s2 = S2.rsplit("_", 2)[0]
write(root / "Reference_Maps" / s2 / S2 / f"{S2}_reference_map.tif", 312, "uint16")
(root / "BigEarthNet-S2" / s2 / S2).mkdir(parents=True)
row = {"patch_id": S2, "s1_name": S1, "labels": ["Coniferous forest"], "split": "train"}
pd.DataFrame([row]).to_parquet(root / "metadata.parquet")

image = BigEarthNetV2(root, split="train", bands="s1")[0]["image"]
found = [channel.unique().tolist() for channel in image]
print("VV is -10.7 dB, VH is -17.3 dB; the channels are", found)
assert found[0] == [-17], "the behaviour has changed: channel 0 is " + str(found[0])
assert found[1] in ([-10], [-11]), "the behaviour has changed: channel 1 is " + str(found[1])
PY
