#!/usr/bin/env bash
# numpy: a .npy file of text may hold numbers that are no characters; it loads without a word, and using the text is a SystemError.
#
# Versions: numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: text ('<U1') is stored as four bytes a character. `np.load(..., allow_pickle=False)` takes any number for one, also those
#   above 1,114,111 (0x10FFFF), the last of Unicode. Shapes and dtype are as expected; tolist(), or a string method on an element, raises
#   SystemError, which Python raises for faults of its own and nobody catches.
# Expected: ValueError from np.load, as for a header that is damaged.
# Seen: one changed byte in a file of ids: np.load says nothing; tolist(): "SystemError: invalid maximum character passed to PyUnicode_New".
# For users: view the array as uint32 and compare with sys.maxunicode before using text from files of others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np

np.save("ids.npy", np.array(["a", "b", "c"]))
content = bytearray(open("ids.npy", "rb").read())
content[-2] = 0x11  # of the last character: 0x63 becomes 0x110063
open("ids.npy", "wb").write(content)

ids = np.load("ids.npy", allow_pickle=False)
print("loaded:", ids.dtype, ids.shape)
try:
    ids.tolist()
except SystemError as error:
    print("tolist: SystemError:", error)
else:
    raise SystemExit("the behaviour has changed: tolist() raises nothing")
PY
