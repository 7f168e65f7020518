#!/usr/bin/env bash
# ONNX Runtime on a CPU: a NaN counts in a maximum only if it comes first, so that a missing date can be lost on export.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11 (November 2026).
# Behaviour: ReduceMax, ReduceMin and ArgMax over [nan, 1, 2] give nan, nan, 0; over [1, nan, 2] they give 2, 1, 2, and over [1, 2, nan]
#   2, 1, 1. MaxPool over all three gives 2 wherever the NaN stands. numpy and PyTorch give NaN (and its place) for every order. Relu,
#   Sigmoid and Softmax pass NaN on, so that a net is wrong only where it pools.
# Expected: the same answer for every order of the same values.
# Seen: max [nan, 2, 2], min [nan, 1, 1], argmax [0, 2, 1], pooled [2, 2, 2].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def run(operator, x, rank, kind=TensorProto.FLOAT, axes=None, **attributes):
    """One operator over x as a model of its own."""
    inputs, constants = ["x"], []
    if axes is not None:
        inputs.append("axes")
        constants.append(helper.make_tensor("axes", TensorProto.INT64, [1], [axes]))
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", kind, [None] * rank)],
        constants,
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0].ravel()[0]


nan = np.nan
found = {"max": [], "min": [], "argmax": [], "pooled": []}
for row in ([nan, 1, 2], [1, nan, 2], [1, 2, nan]):
    x = np.array([row], np.float32)
    assert np.isnan(x.max())
    found["max"].append(run("ReduceMax", x, 1, axes=1, keepdims=0))
    found["min"].append(run("ReduceMin", x, 1, axes=1, keepdims=0))
    found["argmax"].append(run("ArgMax", x, 1, TensorProto.INT64, axis=1, keepdims=0))
    found["pooled"].append(run("MaxPool", x[:, None], 3, kernel_shape=[3]))
print(found)
expected = {"max": [nan, 2, 2], "min": [nan, 1, 1], "argmax": [0, 2, 1], "pooled": [2, 2, 2]}
for name, values in expected.items():
    assert np.array_equal(np.array(found[name], float), values, equal_nan=True), "changed: " + name
PY
