"""`predict`: a kept model on new samples, or on a map."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError, number_of

if TYPE_CHECKING:
    from benchmark.deployment.inputs import Samples
    from benchmark.deployment.model import Model

DESCRIPTIONS = (".yaml", ".yml")

OF_FILES = ("columns", "steps", "key", "ids")
"""Options that say what stands where in a table or a file of arrays."""


def predict(options: argparse.Namespace) -> int:
    """Predict all samples of a table, of arrays, of a dataset or of its raw files, or a map."""
    from benchmark.deployment import inputs, loading, predictions, unlabelled

    rasters = [path for path in options.input if path.suffix.lower() in inputs.RASTERS]
    if rasters and len(rasters) < len(options.input):
        raise UserError("give GeoTIFFs, or one other input, not both")
    if not rasters and len(options.input) > 1:
        raise UserError("of tables, arrays and datasets give one; only GeoTIFFs may be several")
    _check_options(options, bool(rasters))
    model = loading.load(options.model)
    if model.about["dataset"]["source"] == "generated":
        print("the model was trained on generated data: of real ones it knows nothing")
    of_map = bool(options.bands or options.probabilities)
    samples = None if of_map else unlabelled.of_native_files(options.input, model)
    if rasters and samples is None:
        return _map(options, model, rasters)
    predictions.check_out(options.out)
    samples = _samples(options, model) if samples is None else samples
    found, said = predictions.predict(model, samples)
    predictions.write(options.out, samples.ids, found, model.task)
    for sentence in said:
        print(sentence)
    told = number_of(len(found), "sample")
    print(f"wrote {options.out}: {model.about['row']} on {model.modality}, {told}")
    return 0


def _check_options(options: argparse.Namespace, rasters: bool) -> None:
    """Raise `UserError` for options that are for another kind of input."""
    of_maps = {"--bands": bool(options.bands), "--probabilities": options.probabilities}
    of_files = {f"--{name}": getattr(options, name) for name in OF_FILES}
    what = "a map" if rasters else "what is no GeoTIFF"
    for name, given in (of_files if rasters else of_maps).items():
        if given:
            raise UserError(f"{name} is not for {what}")


def _map(options: argparse.Namespace, model: Model, rasters: Sequence[Path]) -> int:
    from benchmark.deployment.maps import predict_map

    done = predict_map(
        model,
        rasters,
        options.out,
        options.bands or (),
        probabilities=options.probabilities,
        workers=options.workers,
    )
    for sentence in done.notices:
        print(sentence)
    named = ", ".join(map(str, done.paths))
    told = number_of(done.pixels, "pixel")
    print(f"wrote {named}: {model.about['row']} on {model.modality}, {told}")
    return 0


def _samples(options: argparse.Namespace, model: Model) -> Samples:
    """The samples of the one input that is no GeoTIFF."""
    from benchmark.deployment import inputs

    (path,) = options.input
    if path.is_dir():
        raise UserError(
            f"{path}: is a folder; give a file, or a dataset by its name and --data-root (a folder "
            "of raw exports is for models of CropHarvest)"
        )
    if path.suffix in DESCRIPTIONS or not path.suffix and not path.exists():
        for name in OF_FILES:
            if getattr(options, name):
                raise UserError(f"--{name} is not for a dataset: its description says it")
        return inputs.of_dataset(_dataset(options, str(path), model), model)
    return inputs.of_file(
        path,
        model,
        columns=options.columns,
        steps=options.steps or (),
        key=options.key,
        ids=options.ids or "",
    )


def _dataset(options: argparse.Namespace, name: str, model: Model):
    """All samples of a dataset, seen as in training, so with the same dates and sizes of images."""
    import datasets
    from benchmark.planning.data import prepare
    from datasets.common import prepared

    (adapter,) = datasets.choose([name])
    if adapter.root is None:
        prepared.check_data_root(options.data_root, datasets.load().values())
    view = {k: v for k, v in model.about.get("view", {}).items() if k != "samples"}
    modalities = tuple(model.modalities)
    given = (adapter, modalities, view, options.data_root, options.cache)
    return prepare(*given, named=True, say=print)[0]
