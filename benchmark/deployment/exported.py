"""An exported ONNX file as a model again: what onnxruntime computes, by what the file says.

The last of its metadata_props, `DIGEST`, is the sha256 of all bytes before it: a file that is not
as `export` wrote it is found out, be it by one bit of a weight.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.deployment.deployed import Input
from benchmark.deployment.model import Model
from benchmark.errors import UserError

OUTPUT = "prediction"
"""What the output of a graph is called; inputs are called as the modalities."""


DIGEST = "sha256"
"""Of the metadata_props, the one that says whether the file is whole, as JSON."""


def sealed(content: bytes) -> bytes:
    """An ONNX model with one more of metadata_props: `DIGEST`, by what its bytes are."""
    return content + _seal(content)


def is_sealed(content: bytes) -> bool:
    """Whether a file is, to the bit, what `sealed` has made."""
    end = len(content) - len(_seal(b""))
    return content[end:] == _seal(memoryview(content)[:end])


def _seal(content: bytes | memoryview) -> bytes:
    """`DIGEST` as protobuf has it; what is appended to a message is merged with it."""
    digest = hashlib.sha256(content).hexdigest()
    entry = _field(1, DIGEST.encode()) + _field(2, json.dumps(digest, allow_nan=False).encode())
    return _field(14, entry)  # of ModelProto: metadata_props


def _field(number: int, content: bytes) -> bytes:
    """A field of protobuf of less than 128 bytes, its length before it."""
    return bytes([number << 3 | 2, len(content)]) + content


class OnnxNet(nn.Module):
    """A graph, called as `benchmark.deployment.deployed.Deployed` is; on one thread of the CPU.

    Raises what onnxruntime does for content that is no ONNX model, or one that it cannot run.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def forward(self, x: Input) -> Tensor:
        if isinstance(x, Tensor):
            x = {self.session.get_inputs()[0].name: x}
        (found,) = self.session.run([OUTPUT], {m: values.numpy() for m, values in x.items()})
        return torch.from_numpy(found)

    @property
    def properties(self) -> dict[str, str]:
        """Its metadata_props."""
        return self.session.get_modelmeta().custom_metadata_map


def as_properties(about: Mapping[str, Any]) -> dict[str, str]:
    """`Model.about` as metadata_props: each field as JSON."""
    return {key: json.dumps(v, ensure_ascii=False, allow_nan=False) for key, v in about.items()}


FOREIGN = "an ONNX model, but none that `export` of this version wrote"
AGAIN = "export the model again"


def load_onnx(file: Path) -> Model:
    """The model that `benchmark.deployment.export.to_onnx` wrote.

    Raises `UserError`, naming the file, if it cannot be read, if it is damaged or no ONNX model, if
    `export` of this version did not write it, and if onnxruntime is not installed.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(f"{file}: needs onnxruntime: pip install 'eo-colearning-benchmark[export]'")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    try:
        net = OnnxNet(content)
    except Exception as error:  # of as many classes as onnxruntime has codes
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{file}: is no ONNX model, or damaged ({reason:.200})") from error
    if DIGEST in net.properties and not is_sealed(content):
        raise UserError(
            f"{file}: not the content that its '{DIGEST}' vouches for: damaged, or changed since "
            f"`export` wrote it; {AGAIN}"
        )
    try:
        about = {key: json.loads(text) for key, text in net.properties.items()}
        del about[DIGEST]
        model = Model(net, about)
        inputs = {given.name: given.shape[1:] for given in net.session.get_inputs()}
        said = {m: list(spec.shape) for m, spec in model.modalities.items()}
        if inputs != said or model.ranges.keys() != said.keys():
            raise ValueError(f"its inputs are {inputs}, and it says {said}")
        for known in (model.task.kind, model.about["row"], model.about["dataset"]["name"]):
            if not isinstance(known, str):
                raise TypeError(f"{known!r:.60} is no name")
        return model
    except KeyError as error:
        raise UserError(f"{file}: {FOREIGN} (it does not say {error}); {AGAIN}") from error
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UserError(f"{file}: {FOREIGN} ({error}); {AGAIN}") from error
