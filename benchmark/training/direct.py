"""Training in this process, on any fold, of which nothing is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.deployment.model import Model
from benchmark.planning.code import codes
from benchmark.planning.context import with_context
from benchmark.planning.split import Fold
from benchmark.spec import RunSpec
from benchmark.training import keeping
from benchmark.training.data import fold_data
from benchmark.training.execute import environment
from benchmark.training.fit import StageLog, fit
from benchmark.training.frozen import features, known_statistics, with_features
from benchmark.training.process import as_in_runs
from datasets.common.contract import EODataset


@dataclass(frozen=True)
class Training:
    """What came of it. models: deployment → model. logs: of all stages, by seed."""

    models: Mapping[str, Model]
    logs: Mapping[int, Sequence[StageLog]]


def train(
    spec: RunSpec,
    dataset: EODataset,
    fold: Fold,
    *,
    seeds: Sequence[int],
    device: str,
    cache: Path,
    view: Mapping[str, Any],
) -> Training:
    """Train a method on a fold, once a seed; of several seeds, a model is the mean.

    The numbers are those of a run of this spec, fold and seed. cache: where features of frozen
    encoders are kept. view: of the dataset, for whoever gives the models other data. Raises
    `UserError` and `benchmark.training.fit.TrainingError`.
    """
    with as_in_runs(device):
        place = torch.device(device)
        everything = spec.protocol["statistics"] == "all"
        given = np.arange(len(dataset)) if everything else fold.train
        used = spec.encoders_used
        extended = with_context(dataset, used)
        found = features(extended, used, given, cache, place)
        seen = with_features(extended, found)
        own = known_statistics(seen, used, found)
        data = fold_data(seen, fold, spec.protocol["statistics"], place, own=own)
        specs = [replace(spec, fold=fold.number, seed=seed) for seed in seeds]
        trained = [fit(one, seen.modalities, data, lambda _, __, train: train()) for one in specs]
        models = keeping.models(
            specs,
            trained,
            dataset,
            data,
            keeping.ranges_of(extended, fold.train),
            origin=dataset.origin,
            view=view,
            code=codes(spec),
            libraries=environment(device),
        )
    return Training(models, {s: each.stages for s, each in zip(seeds, trained, strict=True)})
