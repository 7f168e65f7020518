#!/usr/bin/env bash
# statsmodels: one missing p-value makes every adjusted p-value of Benjamini and Hochberg NaN, beside a rejection that stays True.
#
# Versions: statsmodels 0.15.0, scipy 1.17.1, numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: `multipletests([0.001, nan, 0.2, 0.9], method="fdr_bh")` says reject = [True, False, False, False] and adjusted p =
#   [nan, nan, nan, nan], without a warning; "holm" keeps the other three, and counts the missing one into its family of four.
# Expected: an error, or NaN in its own place alone, and never a rejection beside a p-value that is not there.
# Seen: fdr_bh [True, False, False, False] [nan, nan, nan, nan]; holm [0.004, nan, 0.6, 1.0].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check statsmodels==0.15.0 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import warnings

import numpy as np
from statsmodels.stats.multitest import multipletests

p = [0.001, np.nan, 0.2, 0.9]
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    reject, adjusted = multipletests(p, method="fdr_bh")[:2]
    holm = multipletests(p, method="holm")[1]
print("fdr_bh", reject.tolist(), adjusted.tolist(), "holm", holm.tolist(), "warnings:", len(heard))
assert reject.tolist() == [True, False, False, False], "the behaviour has changed"
assert np.isnan(adjusted).all(), "the behaviour has changed"
assert np.allclose(holm, [0.004, np.nan, 0.6, 1.0], equal_nan=True), "the behaviour has changed"
assert not heard, "it is said now"
PY
