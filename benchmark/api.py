"""The benchmark from Python: the functions that the command line is made of, without its screen.

    from benchmark import api

    dataset = api.load_dataset("lfmc", data_root="DIR")
    fold = api.folds(dataset)[0]
    models = api.train("kd", dataset, fold).models

All raise `benchmark.errors.UserError` for bad input, with a sentence that says what to do. Nothing
heavy is imported before it is used.
"""

from __future__ import annotations

import functools
import inspect
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.errors import UserError, unknown
from benchmark.folders import default_cache, default_data_root

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from benchmark.deployment.model import Model
    from benchmark.planning.split import Fold
    from benchmark.training.direct import Training
    from datasets.common.contract import EODataset

__all__ = [
    *("folds", "leaderboard", "load_dataset", "load_model", "load_plugins", "predict", "records"),
    *("save_model", "score", "train"),
]

log = logging.getLogger(__name__)

RESULTS = Path("results/runs")

WANTED = {
    **dict.fromkeys(("files", "folder", "path", "results", "data_root", "cache"), "a path"),
    "name": "the name of a dataset, or the path of a description",
    "modalities": "a list of names, as ['S1', 'S2']",
    "protocol": "the name of a protocol, or the path of its file, as text",
    "dataset": "a dataset, as `load_dataset` gives it",
    "fold": "one of those that `folds` gives, as folds(dataset)[3]",
    "method": "the name of a method",
    "seeds": "a list of whole numbers, as [0, 1]",
    "settings": "values by name, as {'alpha': 0.3}",
    "device": "text, as 'cpu' or 'cuda'",
    "model": "a model, as train(...).models['S2'] or `load_model` gives it",
}
"""What arguments are, by their names; what is not among them may be whatever makes an array."""

F = TypeVar("F", bound=Callable[..., Any])


def _checked(function: F) -> F:
    """Raise `UserError` for an argument of `WANTED` that is not what its annotation says."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: Any, **named: Any) -> Any:
        for name, given in signature.bind(*args, **named).arguments.items():
            parameter = signature.parameters[name]
            kinds = parameter.annotation.split(" | ")
            for one in given if parameter.kind is parameter.VAR_POSITIONAL else (given,):
                if name in WANTED and not any(_is(one, kind) for kind in kinds):
                    plain = one is None or isinstance(one, str | int | float)
                    shown = f"{one!r:.60}" if plain else f"of type {type(one).__name__}"
                    raise UserError(
                        f"{function.__name__}: {name} takes {WANTED[name]}, not {shown}"
                    )
        return function(*args, **named)

    return checked


def _is(value: Any, kind: str) -> bool:
    """Whether a value is what an annotation says; by names of classes, which import nothing."""
    kind, _, of = kind.rstrip("]").partition("[")
    if kind == "Mapping":
        return isinstance(value, Mapping)
    if kind == "Sequence":
        whole = isinstance(value, Sequence) and not isinstance(value, str)
        return whole and len(value) > 0 and all(_is(each, of) for each in value)
    names = {each.__name__ for each in type(value).__mro__}
    return kind in names or (kind == "None" and value is None)


@_checked
def load_plugins(*files: str | Path) -> None:
    """Make the methods, datasets and encoders of your own Python files known."""
    import datasets
    import methods

    datasets.load()
    methods.load([Path(file) for file in files])


@_checked
def load_dataset(
    name: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    protocol: str = "standard",
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
) -> EODataset:
    """A dataset, prepared: x by modality (N, ...), y, ids, groups and an official split, if any.

    name: as in `list datasets`, or the path of a description (YAML). modalities: None for the
    published choice. protocol: says how much of it is looked at; "quick" at a part. data_root,
    cache: folders; None for $EO_COLEARN_DATA and $EO_COLEARN_CACHE, as on the command line. Data
    that are not there are generated; `EODataset.source` says so, and a warning is logged.
    """
    import datasets
    from benchmark.planning import protocol as protocols
    from benchmark.planning.data import prepare
    from datasets.common import prepared

    chosen = protocols.load(protocol)
    (adapter,) = datasets.choose([str(name)])
    protocols.check_modalities(chosen, adapter.name, adapter.modalities)
    root = default_data_root() if data_root is None else Path(data_root)
    if adapter.root is None:
        prepared.check_data_root(root, datasets.load().values())
    view, place = chosen.view_for(adapter.name), default_cache() if cache is None else Path(cache)
    said: list[str] = []
    dataset, _ = prepare(adapter, modalities, view, root, place, named=True, say=said.append)
    for sentence in said:
        log.log(logging.INFO if dataset.source == "real" else logging.WARNING, "%s", sentence)
    return dataset


@_checked
def folds(dataset: EODataset, protocol: str = "standard") -> list[Fold]:
    """The folds of a dataset: numbers of the samples that train, validate and test.

    They are those of `run`; an official split is one fold.
    """
    from benchmark.planning import protocol as protocols
    from benchmark.planning.split import folds

    return folds(dataset, protocols.load(protocol).values_for(dataset.name))


@_checked
def train(
    method: str,
    dataset: EODataset,
    fold: Fold | None = None,
    *,
    protocol: str = "standard",
    seeds: Sequence[int] = (0,),
    settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
    cache: str | Path | None = None,
) -> Training:
    """Train a method with all modalities of a dataset: ``.models`` by modality, ``.logs`` by seed.

    fold: None for a final model, which is trained on all samples but a validation part. protocol:
    the one that the dataset was loaded with. seeds: of several, a model is the mean of their
    predictions. settings: hyper-parameters by name, and learning_rate, weight_decay,
    encoder_dropout. On a fold, with one seed, the models are those of a run of `run`: the same
    numbers. Nothing is recorded; `save_model` keeps a model.
    """
    import torch

    import methods
    from benchmark.planning import protocol as protocols
    from benchmark.planning.plan import plan_one
    from benchmark.planning.settings import Settings, check
    from benchmark.planning.split import whole
    from benchmark.training import direct
    from benchmark.training.fit import TrainingError
    from benchmark.training.process import as_in_runs
    from datasets.common.contract import View

    chosen, registry = protocols.load(protocol), methods.load()
    if method not in registry:
        raise unknown("method", method, registry)
    entry = registry[method]
    view = chosen.view_for(dataset.name)
    if dataset.view not in (None, View(**view)):
        raise UserError(
            f"{dataset.name} was not loaded under protocol '{chosen.name}', which looks at it "
            "otherwise: give the same protocol to load_dataset, folds and train"
        )
    values = {name: check(entry, name, value) for name, value in (settings or {}).items()}
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # as torch says that it has none such
        reason = str(error).partition("\n")[0]
        raise UserError(f"train: device '{device}' cannot be used here ({reason})") from error
    with as_in_runs(device):
        spec = plan_one(dataset, entry, chosen, Settings(values))
    try:
        return direct.train(
            spec,
            dataset,
            whole(dataset, spec.protocol) if fold is None else fold,
            seeds=seeds,
            device=device,
            cache=default_cache() if cache is None else Path(cache),
            view=view,
        )
    except TrainingError as error:
        raise UserError(f"{method} on {dataset.name}: {error}") from error


@_checked
def save_model(model: Model, folder: str | Path) -> None:
    """Keep a model as a folder, in the place of another one there."""
    from benchmark.deployment.model import save

    save(model, Path(folder))


@_checked
def load_model(path: str | Path) -> Model:
    """A kept model, by its folder, or an exported one, by its .onnx file.

    ``.predict(x)`` takes and gives arrays; ``.about`` says all that is known.
    """
    from benchmark.deployment import loading

    return loading.load(Path(path))


@_checked
def predict(
    model: Model | str | Path,
    data: np.ndarray | Mapping[str, np.ndarray] | EODataset | str | Path,
) -> pd.DataFrame:
    """Predictions of samples, as `predict` writes them: a row a sample.

    model: one at hand, or the path of one, as `load_model` takes it. data: an array (N, ...) of the
    model's modality, arrays by modality, a prepared dataset, or the path of a table, of arrays or
    of raw exports of CropHarvest. What is odd about the data is logged as a warning.
    """
    from benchmark.deployment import inputs, predictions, unlabelled
    from datasets.common.contract import EODataset

    if isinstance(model, str | Path):
        model = load_model(model)
    if isinstance(data, str | Path):
        path = Path(data)
        samples = unlabelled.of_native_files([path], model)
        samples = inputs.of_file(path, model) if samples is None else samples
    elif isinstance(data, EODataset):
        samples = inputs.of_dataset(data, model)
    else:
        samples = inputs.of_arrays(data, model)
    found, said = predictions.predict(model, samples)
    for sentence in said:
        log.warning("%s", sentence)
    return predictions.table(samples.ids, found, model.task)


@_checked
def score(dataset: EODataset, samples: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """Metrics of predictions, by name.

    samples: numbers (n,) in the dataset. predictions: (n, C) probabilities, or (n,) values of the
    target, as `Model.predict` gives them.
    """
    from benchmark.metrics import score

    try:
        return score(dataset.task, dataset.y[samples], predictions)
    except ValueError as error:
        raise UserError(f"score of {dataset.name}: {error}") from error
    except (IndexError, TypeError) as error:
        raise UserError(
            f"score of {dataset.name}: {error}; give sample numbers, as fold.test, and an array of "
            "predictions, as `Model.predict` gives it"
        ) from error


@_checked
def records(results: str | Path = RESULTS) -> pd.DataFrame:
    """All scores of the runs below a results folder that a report shows, as in `scores.csv`."""
    import pandas as pd

    from benchmark.merging import merged
    from benchmark.report.frame import COLUMNS, collect, scores_csv

    texts: list[str] = []
    with merged([Path(results)]) as folder:
        collect(folder, show=lambda head: texts.append(scores_csv(head.group)))
    return pd.read_csv(
        io.StringIO("".join(texts)),
        names=COLUMNS,
        keep_default_na=False,
        na_values={"value": [""]},
        dtype=dict.fromkeys(("differs", "tuned", "placebo", "run", "fingerprint"), str),
    )


@_checked
def leaderboard(results: str | Path = RESULTS, cache: str | Path | None = None) -> pd.DataFrame:
    """All tables of a report: a row for each method, deployment and metric, with what it gains.

    The columns are those of ``tables/<group>.csv``. cache: where data are prepared; the evidence of
    an official split needs its targets.
    """
    import pandas as pd

    from benchmark.merging import merged
    from benchmark.report.tables import as_csv
    from benchmark.report.write import summaries

    place = default_cache() if cache is None else Path(cache)
    with merged([Path(results)]) as folder:
        texts = [as_csv(each) for each in summaries(folder, place)]
    tables = [
        pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""]) for text in texts
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
