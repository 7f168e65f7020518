"""When and where: what a dataset knows of samples beside their inputs, for encoders that use it.

An encoder that was trained with the month and the place (`Backbone.context`) is given them as
channels of its modality, as far as the dataset knows them (`EODataset.months`, ``places``) and its
files have no such channels. ``context: false`` among an encoder's settings keeps them from it. They
are no part of the data's fingerprint: a hash of them is one of the encoder's settings, and with
them of the run's id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from benchmark.problem import CONTEXT as CHANNELS
from benchmark.problem import LATITUDE, LONGITUDE, MONTH, ModalitySpec
from datasets.common.contract import EODataset, Unlabelled
from methods.common.encoders import CONTEXT

Data = TypeVar("Data", EODataset, Unlabelled)


def digest(dataset: EODataset, m: str) -> str:
    """A hash of what is known of a modality's samples and not among its channels; "" if nothing."""
    known = _known(dataset, m)
    if not known:
        return ""
    text = hashlib.sha256(" ".join(known).encode())
    for values in known.values():
        text.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return text.hexdigest()[:16]


def with_context(dataset: Data, encoders: Mapping[str, Any]) -> Data:
    """The dataset with when and where as channels of the modalities whose encoders are given them.

    encoders: of a run's spec.
    """
    specs, arrays = dict(dataset.modalities), dict(dataset.x)
    for m, options in encoders.get("modalities", {}).items():
        if m in specs and isinstance(options.get(CONTEXT), str) and _known(dataset, m):
            specs[m], arrays[m] = _extended(dataset, m)
    return replace(dataset, modalities=specs, x=arrays)


def as_seen_by(dataset: Data, modalities: Mapping[str, ModalitySpec]) -> Data:
    """The dataset with when and where as channels of the modalities that have such channels here.

    modalities: as a kept model sees them.
    """
    given = {
        m: {CONTEXT: ""}
        for m, spec in modalities.items()
        if m in dataset.modalities and {*CHANNELS} & {*spec.channels}
    }
    return with_context(dataset, {"modalities": given})


def extended_spec(dataset: EODataset | Unlabelled, m: str) -> ModalitySpec:
    """The modality with its channels of when and where."""
    spec, known = dataset.modalities[m], _known(dataset, m)
    shape = (*spec.shape[:-1], spec.shape[-1] + len(known))
    return replace(spec, shape=shape, channels=(*spec.channels, *known))


def _known(dataset: EODataset | Unlabelled, m: str) -> dict[str, np.ndarray]:
    """Channel → (N, T), or (N, 1) where it is the same at all times; NaN where it is not known."""
    spec, known = dataset.modalities[m], {}
    if m in dataset.months:
        months = np.asarray(dataset.months[m], dtype=np.float64)
        known[MONTH] = np.where(months > 0, months, np.nan)
    if dataset.places is not None:
        known[LATITUDE], known[LONGITUDE] = dataset.places[:, :1], dataset.places[:, 1:]
    return {channel: values for channel, values in known.items() if channel not in spec.channels}


def _extended(dataset: EODataset | Unlabelled, m: str) -> tuple[ModalitySpec, np.ndarray]:
    """The spec, and the array (N, *shape) float32, in memory."""
    x = np.asarray(dataset.x[m][:], dtype=np.float32)
    added = []
    for values in _known(dataset, m).values():
        one = values.astype(np.float32).reshape(len(x), -1, *[1] * (x.ndim - 2))
        added.append(np.broadcast_to(one if x.ndim > 2 else one[:, :1], (*x.shape[:-1], 1)))
    return extended_spec(dataset, m), np.concatenate([x, *added], axis=-1)
