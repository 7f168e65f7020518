"""A kept model as one file for other programs: ONNX, or a program of `torch.export`.

Raw channels go in, NaN where a value is missing; probabilities or values in the target's unit come
out. Standardisation, missing values and the output's transform are in the graph: NaN is gone before
anything that a runtime may see it in otherwise (a maximum, a pooling). The first axis is of any
size. What `Model.about` says stands in the file. Nothing of this project is needed to run it.

Every file is held against the model before it gets its name: graphs may differ from the net that
they were traced from, without an error.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.deployment.exported import OUTPUT, OnnxNet, as_properties, sealed
from benchmark.deployment.model import ABOUT, OFF, Model
from benchmark.errors import UserError
from benchmark.terms import ALL
from benchmark.writers import atomic

SAMPLES, GAPS = 8, 0.2
"""Made-up samples by which a file is held against the model, and how much of them is missing."""

MOST = 2**31 - 2**24
"""Bytes of weights that an ONNX file holds, which is one message of at most 2 GiB."""

Values = Mapping[str, np.ndarray]
"""Modality → (B, *shape), in physical units."""


def to_onnx(model: Model, file: Path) -> float:
    """Write a model as ONNX; returns how far its predictions lie from the model's at most.

    Inputs are called as the modalities, (batch, *shape) float32, and the output "prediction", as
    `Model.predict` gives it. ``metadata_props`` holds each field of `Model.about` as JSON,
    and a digest of the file (`benchmark.deployment.exported.sealed`).

    Raises `UserError` if a package of the extra "export" is missing, and if the model cannot be
    exported or the graph predicts something else; `NotWritableError` if ``file`` cannot be written.
    """
    _need("onnx", "onnxscript", "onnxruntime")
    size = sum(t.nbytes for t in model.net.state_dict().values())
    if size > MOST:
        raise UserError(
            f"{_name(model)} has {size / 1e9:.1f} GB of weights, and an ONNX file holds 2 GB at "
            "most: give --format torch"
        )
    return _commit(model, _made(model, _onnx), OnnxNet, file)


def to_torch(model: Model, file: Path) -> float:
    """Write a model as a program of `torch.export`; returns what `to_onnx` does.

    ``torch.export.load(file).module()`` takes what the net takes: x (batch, *shape) float32, or of
    a bound a dict of such by modality. The extra file "model.json" holds `Model.about`. Raises as
    `to_onnx`.
    """
    return _commit(model, _made(model, _torch), _read_torch, file)


def made_up(model: Model) -> dict[str, np.ndarray]:
    """Samples within the training range, by modality (SAMPLES, *shape): the same with every call.

    The first has no value at all, the last has all, others have gaps; of a series the second has
    dates without any value.
    """
    chance = np.random.default_rng(0)
    found = {}
    for m, (low, high) in model.ranges.items():
        spec = model.modalities[m]
        shape = (SAMPLES, *spec.shape)
        x = chance.uniform(np.nan_to_num(low), np.nan_to_num(high), shape).astype(np.float32)
        gaps = chance.random(shape) < GAPS
        gaps[0], gaps[-1] = True, False
        if spec.kind == "series":
            gaps[1, chance.permutation(spec.shape[0]) % 2 == 0] = True
        x[gaps] = np.nan
        found[m] = x
    return found


def _need(*packages: str) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"ONNX needs {' and '.join(missing)}: pip install 'eo-colearning-benchmark[export]'"
        )


def _name(model: Model) -> str:
    return f"{model.about['method']} on {model.modality}"


def _tensors(model: Model, x: Values) -> Any:
    """As the net takes them."""
    tensors = {m: torch.from_numpy(np.ascontiguousarray(values)) for m, values in x.items()}
    return tensors if model.modality == ALL else tensors[model.modality]


def _made(model: Model, make: Callable[[Model, Any, Any], bytes]) -> bytes:
    """A file's content from ``make``, given an example and its dynamic axes."""
    batch = torch.export.Dim("batch")
    example = {m: np.zeros((2, *s.shape), np.float32) for m, s in model.modalities.items()}
    axes: Any = {m: {0: batch} for m in example}
    try:
        with torch.no_grad(), _quietly():
            return make(
                *(model, _tensors(model, example)),
                axes if model.modality == ALL else axes[model.modality],
            )
    except Exception as error:  # whatever torch makes of a net that it cannot trace
        raise UserError(
            f"{_name(model)} cannot be exported ({_reason(error)}): write its net without steps "
            "that depend on the values of its input, and with operators that the format has"
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch and onnxscript warn of, log and print: of a net without graph its code."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """The first line of what was wrong in the first place."""
    while error.__cause__:
        error = error.__cause__
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]


def _traced(net: nn.Module, example: Any, axes: Any) -> torch.export.ExportedProgram:
    """The net as a graph. Raises whatever torch does for one that has none."""
    try:
        return torch.export.export(net, (example,), dynamic_shapes=(axes,))
    except Exception:
        # len(x) is a number to what only follows tensors; to what reads the code it is an axis.
        with suppress(Exception):
            return torch.export.export(net, (example,), dynamic_shapes=(axes,), strict=True)
        raise


def _program(model: Model, example: Any, axes: Any) -> torch.export.ExportedProgram:
    program = _traced(model.net, example, axes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _torch(model: Model, example: Any, axes: Any) -> bytes:
    buffer = io.BytesIO()
    about = {ABOUT: json.dumps(model.about, allow_nan=False)}
    torch.export.save(_program(model, example, axes), buffer, extra_files=about)
    return buffer.getvalue()


def _read_torch(content: bytes) -> nn.Module:
    return torch.export.load(io.BytesIO(content)).module()


def _onnx(model: Model, example: Any, axes: Any) -> bytes:
    program = torch.onnx.export(
        _program(model, example, axes),
        dynamo=True,
        input_names=list(model.modalities),
        output_names=[OUTPUT],
        dynamic_shapes=(axes,),  # else the axis is not called "batch"
        external_data=False,
        verbose=False,
    )
    graph = program.model.graph
    _mend(graph)
    # Where in which module a node was made: more than the graph itself, and nobody's business.
    for part in (graph, *graph.all_nodes(), *graph.inputs, *graph.outputs):
        part.metadata_props.clear()
    program.model.metadata_props.clear()
    program.model.metadata_props.update(as_properties(model.about))
    return sealed(program.model_proto.SerializeToString(deterministic=True))


def _mend(graph: Any) -> None:
    """Say in ONNX's way what torch 2.14's exporter leaves in torch's, as in torchgeo's Panopticon.

    GatherND takes indices of 64 bits alone, and Squeeze no axis that is longer than 1.
    """
    import onnx_ir

    for node in list(graph.all_nodes()):
        if node.op_type == "GatherND" and node.inputs[1].dtype == onnx_ir.DataType.INT32:
            wide = onnx_ir.node("Cast", [node.inputs[1]], {"to": onnx_ir.DataType.INT64})
            node.graph.insert_before(node, wide)
            node.replace_input_with(1, wide.outputs[0])
        elif node.op_type == "Squeeze" and len(node.inputs[0].shape) == len(node.outputs[0].shape):
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            node.graph.remove(node, safe=True)


def _commit(model: Model, content: bytes, read: Callable[[bytes], nn.Module], file: Path) -> float:
    """Write what predicts as the model does, one sample alone and several at once."""
    x = made_up(model)
    parts = [{m: each[rows] for m, each in x.items()} for rows in (slice(0, 1), slice(1, None))]
    try:
        with torch.no_grad():
            net = read(content)
            found = [net(_tensors(model, part)).numpy() for part in parts]
            expected = [model.predict(part) for part in parts]
        apart = max(float(np.abs(f - e).max()) for f, e in zip(found, expected, strict=True))
    except Exception as error:  # whatever a runtime makes of a graph
        raise UserError(
            f"{_name(model)} cannot be exported: its graph does not run ({_reason(error)})"
        ) from error
    unit = model.task.target_std if model.task.kind == "regression" else 1.0
    for f, e in zip(found, expected, strict=True):
        if f.shape != e.shape or not np.allclose(f, e, rtol=1e-5, atol=OFF * unit):
            raise UserError(
                f"{_name(model)} cannot be exported: its graph predicts something else, by up to "
                f"{apart:.2g} on made-up samples with missing values; look for what treats such "
                "samples otherwise when it is traced, as torch's TransformerEncoder does"
            )
    with atomic(file) as out:
        out.write(content)
    return apart
