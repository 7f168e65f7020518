"""From what was trained to models that can be kept."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.deployment.deployed import Ensemble
from benchmark.deployment.model import Model, deployed, describe
from benchmark.planning.context import with_context
from benchmark.spec import RunSpec
from benchmark.training.data import FoldData, channel_ranges
from benchmark.training.fit import Trained
from benchmark.training.frozen import encoder, frozen_options, statistics_of
from datasets.common.contract import EODataset
from methods.common.contract import ALL

Ranges = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Modality → least and largest value (C,) of each channel."""


def models(
    specs: Sequence[RunSpec],
    trained: Sequence[Trained],
    dataset: EODataset,
    data: FoldData,
    ranges: Ranges,
    **more: Any,
) -> dict[str, Model]:
    """Deployment → model, of runs that differ in their seed alone: their mean, if they are several.

    dataset: as it was prepared. data: the fold as methods see it. ranges: of each channel in the
    training part (`ranges_of`). more: what models say beside, for
    `benchmark.deployment.model.describe`.
    """
    spec = specs[0]
    dataset = with_context(dataset, spec.encoders_used)
    modalities = {m: dataset.modalities[m] for m in spec.modalities}
    samples = data.train.samples.cpu().numpy()
    statistics = {m: data.train.x[m].statistics for m in modalities}
    frozen, widths = {}, {}
    for m, options in frozen_options(spec.encoders_used).items():
        if m in modalities:
            net = encoder(modalities[m], options)
            frozen[m] = net, statistics[m]
            widths[m] = len(statistics[m][0])
            everywhere = spec.protocol["statistics"] == "all"
            given = np.arange(len(dataset)) if everywhere else samples
            statistics[m] = statistics_of(modalities[m], options, dataset.x[m], given)
    more = {"samples": {"training": len(samples), "validation": len(data.val)}, **more}
    found = {}
    for m in trained[0].predictors:
        members = [
            deployed(_on_cpu(each.predictors[m]), m, data.task, statistics, _seen_by(m, frozen))
            for each in trained
        ]
        net = members[0] if len(members) == 1 else Ensemble(members)
        about = describe(specs, m, modalities, data.task, statistics, ranges, widths, **more)
        found[m] = Model(net, about)
    return found


def ranges_of(dataset: EODataset, samples: np.ndarray) -> Ranges:
    """Those of a dataset over some samples."""
    return {m: channel_ranges(x, samples) for m, x in dataset.x.items()}


def _on_cpu(predictor: Any) -> Any:
    return copy.deepcopy(predictor).cpu()


def _seen_by(m: str, frozen: Mapping[str, Any]) -> Mapping[str, Any]:
    return frozen if m == ALL else {name: own for name, own in frozen.items() if name == m}
