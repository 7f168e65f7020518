"""Kept models: a folder with weights and all that is known of them.

    <folder>/model.safetensors    the state of the net, encoders and statistics included
    <folder>/model.json           what it takes and gives, and what it was made of and by

Loading executes nothing but this project's code and the plug-ins that the user names. It builds the
method that the JSON describes, puts the weights into it, and lets it predict what it predicted when
it was kept: code or a library that makes other predictions of the same weights is found out. What
no prediction shows, such as the order of the channels, a digest vouches for: model.json has that of
the weights and, as `DIGEST`, that of itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import nn

from benchmark.deployment.deployed import Deployed, Ensemble, FrozenFeatures, OnFrozen
from benchmark.errors import UserError, not_writable, unknown
from benchmark.planning.building import build
from benchmark.planning.code import edited_plugins
from benchmark.planning.encoders import as_features, without_weights
from benchmark.problem import ModalitySpec, TaskSpec
from benchmark.records import check_types
from benchmark.spec import RunSpec
from benchmark.terms import ALL
from benchmark.writers import part_of, sync
from datasets.common.contract import View
from methods.common.encoders import FROZEN, Statistics, build_backbone
from methods.common.registry import REGISTRY

FORM = 1
"""Of model.json; raised when another reader is needed."""

WEIGHTS, ABOUT = "model.safetensors", "model.json"

DIGEST = "sha256"
"""Of model.json, the field that says whether the others are as they were written (`_digest`)."""

ELEMENTS = 1 << 24
"""Numbers that are predicted from at once at most; of an image a batch has few."""

PROBES = 2
"""Made-up samples whose predictions are kept with a model."""

OFF = 1e-3
"""How far a prediction of a probe may lie from what it was, as a probability or in standard
deviations of the target: other processors round otherwise, by 1e-5."""

Arrays = np.ndarray | Mapping[str, np.ndarray]


def as_array(m: str, values: Any) -> np.ndarray:
    """What is given of a modality. Raises `UserError` for what is no array of numbers."""
    try:
        found = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise UserError(f"{m}: not an array of numbers ({error})") from error
    if found.dtype.kind not in "biuf":
        raise UserError(f"{m}: an array of {found.dtype}, not of numbers")
    return found


@dataclass(frozen=True)
class Model:
    """A kept model.

    net: `Deployed`, or an `Ensemble` of several seeds. about: what model.json says, but for what
    `save` adds.
    """

    net: nn.Module
    about: Mapping[str, Any]

    @property
    def modality(self) -> str:
        """What is deployed: the name of a modality, or "all" of a bound."""
        return self.about["modality"]

    @cached_property
    def modalities(self) -> dict[str, ModalitySpec]:
        """What it sees, by name."""
        known = {spec["name"]: _spec(ModalitySpec, spec) for spec in self.about["modalities"]}
        return {one["name"]: known[one["name"]] for one in self.about["inputs"]}

    @property
    def spec(self) -> ModalitySpec:
        """The one modality that it sees. Raises `UserError` for a bound, which sees several."""
        if self.modality == ALL:
            raise UserError(
                f"{self.about['method']} is a bound: it needs {' + '.join(self.modalities)} at "
                "inference; take the model of one modality"
            )
        return self.modalities[self.modality]

    @cached_property
    def task(self) -> TaskSpec:
        """What it predicts, with the scale of the target in training."""
        return _spec(TaskSpec, self.about["task"])

    @property
    def ranges(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Modality → least and largest value (C,) of each channel in training; NaN of none."""
        return {
            one["name"]: (_numbers(one["low"], np.nan), _numbers(one["high"], np.nan))
            for one in self.about["inputs"]
        }

    @property
    def sizes(self) -> dict[str, np.ndarray]:
        """Modality → root mean square (C,) of each channel in training; NaN of a constant one."""
        return {
            one["name"]: np.hypot(_numbers(one["mean"], np.nan), _numbers(one["std"], np.nan))
            for one in self.about["inputs"]
        }

    def predict(self, x: Arrays, batch: int = 4096) -> np.ndarray:
        """Predictions of samples: class probabilities (N, C), or target values (N,); float32.

        x: (N, *spec.shape) in physical units, NaN where a value is missing; of a bound, such
        arrays by modality. batch: samples at once, fewer where they are large. Raises `UserError`
        for other modalities or shapes, for what is no array of numbers, and if a prediction is not
        finite.
        """
        given = x if isinstance(x, Mapping) else {self.spec.name: x}
        given = {m: as_array(m, values) for m, values in given.items()}
        samples = self._check(given)
        size = max(len(array[0].reshape(-1)) for array in given.values()) if samples else 1
        step = max(1, min(batch, ELEMENTS // max(size, 1)))
        found = []
        with torch.inference_mode():
            for start in range(0, samples, step):
                rows = slice(start, start + step)
                tensors = {
                    m: torch.from_numpy(np.array(x[rows], dtype=np.float32))
                    for m, x in given.items()
                }
                predicted = self.net(tensors if self.modality == ALL else tensors[self.modality])
                found.append(predicted.float().cpu().numpy())
        wide = () if self.task.kind == "regression" else (self.task.outputs,)
        result = np.concatenate(found) if found else np.zeros((0, *wide), np.float32)
        if bad := int((~np.isfinite(result)).sum()):
            raise UserError(f"{bad} of {result.size} predicted values are not finite")
        return result

    def _check(self, given: Mapping[str, np.ndarray]) -> int:
        """The number of samples. Raises `UserError` for what the model is not made for."""
        if given.keys() != self.modalities.keys():
            named = " + ".join(map(str, given)) or "nothing"
            raise UserError(f"the model sees {' + '.join(self.modalities)}, not {named}")
        for m, x in given.items():
            shape = self.modalities[m].shape
            if tuple(x.shape[1:]) != shape:
                raise UserError(
                    f"{m}: an array of shape {tuple(x.shape)} where (N, "
                    f"{', '.join(map(str, shape))}) is needed"
                )
        if len({len(x) for x in given.values()}) > 1:
            numbers = " and ".join(f"{len(x)} of {m}" for m, x in given.items())
            raise UserError(f"the modalities have different numbers of samples: {numbers}")
        return len(next(iter(given.values())))


Files = Mapping[str, bytes]
"""A model as files, by their names."""


def save(model: Model, folder: Path) -> None:
    """Keep a model as a folder. Raises as `write`."""
    write(packed(model), folder)


def packed(model: Model) -> Files:
    """A model as the files that it is kept in. Raises `UserError` if it predicts no numbers."""
    # Copies: safetensors refuse memory that is shared.
    state = {name: value.detach().cpu().clone() for name, value in model.net.state_dict().items()}
    weights = to_bytes({name: value.contiguous() for name, value in state.items()})
    about = {
        "form": FORM,
        **model.about,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "probe": _probed(model).tolist(),
    }
    about[DIGEST] = _digest(about)
    text = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False)
    return {WEIGHTS: weights, ABOUT: f"{text}\n".encode()}


def _digest(about: Mapping[str, Any]) -> str:
    """sha256 over all fields but `DIGEST`, as JSON with sorted keys: layout does not count."""
    rest = {key: value for key, value in about.items() if key != DIGEST}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write(files: Files, folder: Path) -> None:
    """Write a model's folder, which appears when it is complete and takes the place of another.

    Raises `NotWritableError`, naming the folder above.
    """
    part = folder.with_name(part_of(folder.name))
    aside = folder.with_name(part_of(folder.name))
    try:
        part.mkdir(parents=True)
        for name, content in files.items():
            (part / name).write_bytes(content)
            sync(part / name)
        with suppress(FileNotFoundError):
            folder.rename(aside)
        part.rename(folder)
        sync(folder.parent)
    except OSError as error:
        raise not_writable(folder.parent, error) from error
    finally:
        for left in (part, aside):
            shutil.rmtree(left, ignore_errors=True)


def load(folder: Path) -> Model:
    """The model that a folder keeps.

    Raises `UserError`, naming the folder, if there is none, if it is damaged or of another project,
    if the method, its plug-ins or its encoders are not here as they were, and if the code at hand
    makes other predictions.
    """
    about = _read_about(folder)
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise UserError(f"{folder / WEIGHTS}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(weights).hexdigest() != about["weights_sha256"]:
        raise UserError(
            f"{folder / WEIGHTS}: not the weights that {ABOUT} vouches for: damaged, or of another "
            "model"
        )
    for run in about["runs"]:
        _check_code(folder, RunSpec(**run["spec"]))
    try:
        net = _net(about)
        net.load_state_dict(from_bytes(weights))
        found = Model(net, {k: v for k, v in about.items() if k not in ADDED})
        expected = np.array(about["probe"], dtype=np.float64)
        apart = np.abs(_probed(found) - expected).max()
    except Exception as error:  # whatever methods and torch make of what is not theirs
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{folder}: its weights do not fit the method that {ABOUT} describes ({reason:.200})"
        ) from error
    unit = found.task.target_std if found.task.kind == "regression" else 1.0
    if not apart <= OFF * unit:
        raise UserError(
            f"{folder}: the code at hand makes other predictions of these weights, by {apart:.2g}: "
            f"the model was kept with version {about['version']} of {about['method']} and "
            f"{_versions(about)}"
        )
    return found


ADDED = ("form", "weights_sha256", "probe", DIGEST)
"""What `save` says beside `Model.about`."""

NEEDED: Mapping[str, type] = {
    **dict.fromkeys(("method", "row", "modality", "weights_sha256", DIGEST), str),
    **dict.fromkeys(("version",), int),
    **dict.fromkeys(("modalities", "inputs", "runs", "probe"), list),
    **dict.fromkeys(("task", "dataset", "view", "frozen", "libraries"), dict),
}
"""Fields of model.json without which no model can be built, and what they are."""


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    below = sorted(p.parent.name for p in folder.glob(f"*/{ABOUT}"))
    if not below and not os.path.lexists(path):
        what = "there is no such folder"
        if os.path.lexists(folder):
            what = "no model is in it" if folder.is_dir() else "is a file, and no model"
        raise UserError(
            f"{folder}: {what}; a model is what `train` or `run --keep-models` writes, a folder "
            f"with {ABOUT} and {WEIGHTS} (to predict, the .onnx that `export` writes is one, too)"
        )
    try:
        about = json.loads(path.read_bytes())
        if about["form"] != FORM:
            raise ValueError(f"form {about['form']}, where this version reads {FORM}")
        for name, kind in NEEDED.items():
            if type(about[name]) is not kind:
                raise TypeError(f"'{name}' cannot be {about[name]!r:.60}")
        if about[DIGEST] != _digest(about):
            raise UserError(
                f"{path}: not the content that its '{DIGEST}' vouches for: damaged, or changed "
                "since the model was kept; copy the model again, or train it again"
            )
        _check_parts(about)
        return about
    except OSError as error:
        hint = f"; it holds the models {', '.join(below)}: name one of them" if below else ""
        raise UserError(f"{path}: cannot be read ({error.strerror}){hint}") from error
    except KeyError as error:
        raise UserError(
            f"{path}: describes no model of this benchmark, or one of an earlier version ({error} "
            "is missing): train it again"
        ) from error
    except (ValueError, TypeError, AttributeError, RecursionError, IndexError) as error:
        raise UserError(f"{path}: describes no model of this benchmark ({error})") from error


def _check_parts(about: Mapping[str, Any]) -> None:
    """Raise what Python does for fields that are not what `describe` has written."""
    known = {spec["name"]: _spec(ModalitySpec, spec) for spec in about["modalities"]}
    _spec(TaskSpec, about["task"])
    check_types(View(**about["view"]))
    for name in ("name", "source", "fingerprint"):
        if not isinstance(about["dataset"][name], str):
            raise TypeError(f"the {name} of 'dataset' is no text")
    for run in about["runs"]:
        spec = RunSpec(**run["spec"])
        check_types(spec)
        if spec.id != run["id"]:
            raise ValueError("its id is not that of its spec")
        if spec.method != about["method"] or list(spec.modalities) != list(known):
            raise ValueError("its runs are of another method or on other modalities")
    if not about["runs"] or not about["inputs"]:
        raise ValueError("no runs, or no inputs")
    for one in about["inputs"]:
        channels = known[one["name"]].shape[-1]
        for name in ("mean", "std", "low", "high"):
            if len(one[name]) != channels:
                raise ValueError(f"{name} of {one['name']} is not one number a channel")
            _numbers(one[name], np.nan)


def _check_code(folder: Path, spec: RunSpec) -> None:
    """Raise `UserError` if what the model is made of is not here, or not as it was."""
    for method in (spec.method, *_methods(spec.artefacts)):
        if method not in REGISTRY:
            raise UserError(
                f"{folder}: {unknown('method', method, REGISTRY)} (--plugin names the file of one "
                "of your own)"
            )
    if other := edited_plugins(spec):
        raise UserError(
            f"{folder}: the code of {' and '.join(other)} is not what the model was trained with; "
            "name the plug-in as it was then, or train again"
        )


def _methods(artefacts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The methods of all artefacts, all the way down."""
    own = [artefact["method"] for artefact in artefacts.values()]
    return own + [m for artefact in artefacts.values() for m in _methods(artefact["artefacts"])]


def _net(about: Mapping[str, Any]) -> Deployed | Ensemble:
    """The net that a description is of, its weights still to be loaded."""
    model = Model(nn.Identity(), about)
    modalities = {spec["name"]: _spec(ModalitySpec, spec) for spec in about["modalities"]}
    widths = about["frozen"]
    seen = {
        m: as_features(spec, widths[m]) if m in widths else spec for m, spec in modalities.items()
    }
    specs = [RunSpec(**run["spec"]) for run in about["runs"]]
    with torch.random.fork_rng(devices=[]):
        members = [_member(model, spec, modalities, seen) for spec in specs]
    return members[0] if len(members) == 1 else Ensemble(members)


def _member(
    model: Model,
    spec: RunSpec,
    modalities: Mapping[str, ModalitySpec],
    seen: Mapping[str, ModalitySpec],
) -> Deployed:
    encoders = without_weights(spec.encoders_used, modalities)
    method = build(replace(spec, encoders=encoders), seen, model.task)
    empty = {m: _empty(each) for m, each in modalities.items()}
    frozen = {
        m: (build_backbone(modalities[m], options), _empty(seen[m]))
        for m, options in encoders.get("modalities", {}).items()
        if options.get(FROZEN) and m in model.modalities
    }
    return deployed(method.predictor(model.modality), model.modality, model.task, empty, frozen)


def _empty(spec: ModalitySpec) -> Statistics:
    """In place of statistics that are to be loaded."""
    return np.zeros(spec.shape[-1]), np.ones(spec.shape[-1])


def deployed(
    predictor: nn.Module,
    m: str,
    task: TaskSpec,
    statistics: Mapping[str, Statistics],
    frozen: Mapping[str, tuple[nn.Module, Statistics]],
) -> Deployed:
    """What is deployed of a method's predictor, with all that stands before it.

    m: a modality, or "all". statistics: modality → mean and std of its channels. frozen: modality →
    encoder, and mean and std of its features.
    """
    features = {name: FrozenFeatures(net, *own) for name, (net, own) in frozen.items()}
    if m == ALL:
        whole = OnFrozen(features, predictor) if features else predictor
        mean, std = ({name: own[i] for name, own in statistics.items()} for i in (0, 1))
        return Deployed(whole, mean, std, task)
    whole = OnFrozen(features[m], predictor) if m in features else predictor
    return Deployed(whole, *statistics[m], task)


def _probed(model: Model) -> np.ndarray:
    """Predictions of samples that every machine makes up alike from a model's description."""
    x = {}
    for one in model.about["inputs"]:
        mean, std = _numbers(one["mean"], 0.0), _numbers(one["std"], 0.0)
        shape = (PROBES, *model.modalities[one["name"]].shape)
        number = np.arange(math.prod(shape)).reshape(shape)
        values = mean + std * (number * 7919 % 41 / 20 - 1)
        values[-1][number[-1] % 13 == 0] = np.nan
        x[one["name"]] = values.astype(np.float32)
    return model.predict(x if model.modality == ALL else x[model.modality])


def _versions(about: Mapping[str, Any]) -> str:
    known = about["libraries"]
    named = ("python", "torch", "timm", "numpy", "eo-colearning-benchmark")
    return ", ".join(f"{name} {known[name]}" for name in named if known.get(name))


def _spec(kind: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """A spec from JSON, whose lists were tuples."""
    found = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    check_types(found)
    return found


def _numbers(values: Sequence[float | None], none: float) -> np.ndarray:
    """Numbers of a JSON, in which those that are not finite are null."""
    return np.array([none if v is None else float(v) for v in values], dtype=np.float64)


def numbers(values: np.ndarray) -> list[float | None]:
    """Numbers as a JSON has them."""
    return [float(v) if np.isfinite(v) else None for v in values]


def describe(
    specs: Sequence[RunSpec],
    m: str,
    modalities: Mapping[str, ModalitySpec],
    task: TaskSpec,
    statistics: Mapping[str, Statistics],
    ranges: Mapping[str, Statistics],
    frozen: Mapping[str, int],
    origin: Mapping[str, str],
    view: Mapping[str, Any],
    libraries: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """What model.json says of a model; ``more`` is added as it is.

    specs: of its members. modalities: all that it was trained with. task: fitted to its training
    part. statistics, ranges: mean and std, least and largest value of each channel. frozen:
    modality → number of features. origin: where the data come from. view: what was looked at of
    them. libraries: versions.
    """
    spec = specs[0]
    seen = modalities if m == ALL else {m: modalities[m]}
    about = {
        "method": spec.method,
        "row": spec.row,
        "version": spec.version,
        "modality": m,
        "inputs": [
            {
                "name": name,
                "kind": one.kind,
                "shape": list(one.shape),
                "channels": list(one.channels),
                "units": one.units,
                "mean": numbers(statistics[name][0]),
                "std": numbers(statistics[name][1]),
                "low": numbers(ranges[name][0]),
                "high": numbers(ranges[name][1]),
            }
            for name, one in seen.items()
        ],
        "missing": "NaN; it becomes the channel's mean, as does every value of a channel whose "
        "std is null: it was constant in training",
        "output": OUTPUT[task.kind],
        "task": asdict(task),
        "dataset": {
            "name": spec.dataset,
            "source": spec.source,
            "fingerprint": spec.fingerprint,
            **origin,
        },
        "protocol": spec.protocol["name"],
        **more,
        "view": dict(view),
        "libraries": dict(libraries),
        "modalities": [asdict(one) for one in modalities.values()],
        "frozen": dict(frozen),
        "runs": [{"id": spec.id, "spec": asdict(spec)} for spec in specs],
    }
    return json.loads(json.dumps(about, allow_nan=False))  # as it will be read


OUTPUT = {
    "binary": "probabilities of the classes, which add up to 1",
    "multiclass": "probabilities of the classes, which add up to 1",
    "multilabel": "a probability for each class by itself",
    "regression": "the value of the target, in its unit",
}
