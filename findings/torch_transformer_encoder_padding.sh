#!/usr/bin/env bash
# torch's TransformerEncoder: what stands at padded steps depends on gradients, on an option and on export, and so may what is pooled from it.
#
# Versions: torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: in eval mode, with a `src_key_padding_mask`, padded steps are 0 without gradients (nested tensors) and other numbers with
#   gradients, with the fast path off, and in ONNX. A series of padding alone is 0 without gradients if another one is in the batch, and
#   RuntimeError if none is; a number with gradients; NaN without gradients with `enable_nested_tensor=False`; NaN in ONNX.
#   Steps that are not padded agree to 1e-6.
# Expected: the same input gives the same output, whatever else is in the batch and however it is run.
# Seen: the table below.
# For users: give no series without a step, pool over the steps that are there alone, and compare an export with the net on such input.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import warnings

import onnxruntime
import torch
from torch import nn

warnings.simplefilter("ignore")
torch.set_num_threads(1)
torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, **options):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, **options)

    def forward(self, x, padded):
        return self.encoder(x, src_key_padding_mask=padded)


net, other = Net().eval(), Net(enable_nested_tensor=False).eval()
other.load_state_dict(net.state_dict())
x = torch.randn(3, 4, 8)
padded = torch.zeros(3, 4, dtype=torch.bool)
padded[1, 2:] = True  # two of four steps
padded[2] = True  # all of them


def kinds(z):
    """What stands at steps that are padded, and in a series of padding alone."""
    found = []
    for part in (z[1, 2:], z[2]):
        found.append("NaN" if part.isnan().any() else "0" if (part == 0).all() else "numbers")
    return found


found = {"with gradients": net(x, padded).detach()}
with torch.no_grad():
    found["without gradients"] = net(x, padded)
    found["not nested, without gradients"] = other(x, padded)
    try:
        net(x[2:], padded[2:])
    except RuntimeError as error:
        print("padding alone in a batch:", error)
    else:
        raise SystemExit("the behaviour has changed: no error for a batch of padding alone")
    torch.backends.mha.set_fastpath_enabled(False)
    found["fast path off"] = net(x, padded)
    program = torch.onnx.export(net, (x, padded), dynamo=True, verbose=False)
session = onnxruntime.InferenceSession(
    program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
)
names = [given.name for given in session.get_inputs()]
values = dict(zip(names, (x.numpy(), padded.numpy()), strict=True))
found["ONNX"] = torch.from_numpy(session.run(None, values)[0])

EXPECTED = {
    "with gradients": ["numbers", "numbers"],
    "without gradients": ["0", "0"],
    "not nested, without gradients": ["numbers", "NaN"],
    "fast path off": ["numbers", "numbers"],
    "ONNX": ["numbers", "NaN"],
}
print(f"{'':30} padded steps, padding alone")
for name, z in found.items():
    print(f"{name:30} {kinds(z)}")
    assert kinds(z) == EXPECTED[name], "the behaviour has changed"
    assert torch.allclose(z[:2][~padded[:2]], found["with gradients"][:2][~padded[:2]], atol=1e-5)
PY
