"""A dataset of the user's choice, prepared, and what has to be said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import unknown
from benchmark.planning.split import divided_groups
from datasets.common import prepared, releases
from datasets.common.contract import Adapter, EODataset, View


def prepare(
    adapter: Adapter,
    modalities: Sequence[str] | None,
    view: Mapping[str, Any],
    data_root: Path | None,
    cache: Path,
    *,
    named: bool,
    say: Callable[[str], object],
) -> tuple[EODataset, Path]:
    """A dataset with some modalities (None: the published choice), and the folder of its arrays.

    view: keyword arguments of `View`. named: whether the user named the dataset. say: is given a
    sentence for all that the user has to know, whether the data are real before all.
    Raises `UserError` for an unknown modality and for data that cannot be used.
    """
    name = adapter.name
    chosen = tuple(modalities or adapter.default_modalities)
    for m in chosen:
        if m not in adapter.modalities:
            raise unknown(f"modality of {name}", m, adapter.modalities)
    folder, source, notice = prepared.resolve(adapter, data_root, cache, named=named)
    if notice:
        say(f"{name}: {notice}")
    dataset, where = prepared.prepare(adapter, folder, source, chosen, View(**view), cache)
    say(
        f"{name}: {dataset.source.upper()} data, {len(dataset)} samples, "
        f"{', '.join(chosen)} (fingerprint {dataset.fingerprint[:12]})"
    )
    if source == "real" and (said := _provenance(dataset)):
        say(f"{name}: {said}")
    for found in dataset.notices:
        say(f"{name}: {found}")
    if divided := divided_groups(dataset):
        say(
            f"{name}: WARNING: official split: {divided:,} of {len(np.unique(dataset.groups)):,} "
            "groups stand in more than one part: scores may be too good"
        )
    return dataset, where.absolute()


def _provenance(dataset: EODataset) -> str:
    """Which release real data are, and in which form they were read, as far as that is known."""
    said = releases.named(dataset.name, dataset.modalities, dataset.fingerprint, len(dataset))
    form = f"read from {dataset.form}" if dataset.form else None
    return "; ".join(filter(None, [said, form]))
