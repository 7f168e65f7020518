#!/usr/bin/env bash
# torch's ONNX exporter writes graphs that ONNX Runtime refuses: an index of 32 bits, and a squeeze of an axis longer than 1.
#
# Versions: torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: torch takes int32 tensors as indices, and squeezing an axis that is longer than 1 leaves a tensor as it is. `torch.onnx.export(dynamo=True)`
#   writes the first as GatherND with int32 indices, which ONNX does not have, and the second as Squeeze, which ONNX forbids there. Both exports
#   succeed; ONNX Runtime says INVALID_GRAPH, and ShapeInferenceError. torchgeo's Panopticon (0.8.1) does both.
# Expected: a Cast before the first, nothing for the second, or an error when it is exported.
# Seen: the two lines below.
# For users: run an exported graph once before it is shipped; `.long()` and `.squeeze` of axes of length 1 alone avoid both.
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


class Indexed(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.register_buffer("table", torch.arange(12.0).reshape(4, 3))

    def forward(self, x):
        return self.table[(x[:, 0] > 0).to(self.kind)]


class Squeezed(nn.Module):
    def forward(self, x):
        return x.squeeze(1) + 1


def outcome(net, x):
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        net.eval(), (x,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    try:
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    except Exception as error:
        return next(word for word in ("INVALID_GRAPH", "ShapeInferenceError") if word in str(error))
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert abs(found - net(x).numpy()).max() < 1e-6
    return "equal"


seen = {
    "index of 64 bits": outcome(Indexed(torch.int64), torch.randn(5, 3)),
    "index of 32 bits": outcome(Indexed(torch.int32), torch.randn(5, 3)),
    "squeeze of an axis of 1": outcome(Squeezed(), torch.randn(5, 1, 3)),
    "squeeze of an axis of 2": outcome(Squeezed(), torch.randn(5, 2, 3)),
}
for what, result in seen.items():
    print(f"{what}: {result}")
assert list(seen.values()) == ["equal", "INVALID_GRAPH", "equal", "ShapeInferenceError"], seen
PY
