#!/usr/bin/env bash
# scikit-posthocs: one missing score takes its whole dataset out of a comparison, for every method, without a word.
#
# Versions: scikit-posthocs 0.17.1, pandas 3.1.1, numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: `posthoc_nemenyi_friedman` of 12 datasets × 4 methods, of which method A lacks one score, gives for C against D, which
#   have all their scores, the p-value of 11 datasets. It equals that of the table without the row; no warning is given.
# Expected: an error or a warning, or a gap for the pairs of A alone. (scipy's `friedmanchisquare` gives NaN for the same table.)
# Seen: p(C, D) of all 12: 0.8587787670204389; with the gap in A: 0.9118421646140071; without the row: 0.9118421646140071.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-posthocs==0.17.1 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import pandas as pd
import scikit_posthocs

scores = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 4)), columns=list("ABCD"))
gap = scores.copy()
gap.loc[3, "A"] = np.nan
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    tables = scores, gap, scores.drop(index=3)
    whole, one_missing, one_row_less = (
        scikit_posthocs.posthoc_nemenyi_friedman(table).loc["C", "D"] for table in tables
    )
print("p(C, D):", whole, one_missing, one_row_less, "warnings:", len(heard))
assert one_missing == one_row_less != whole, "the behaviour has changed"
assert not heard, "it is said now"
PY
