"""A dataset in one picture: a sample as its sensors see it, its targets, and where it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.problem import ModalitySpec
from benchmark.report.dataset import Channel, channels, class_counts
from benchmark.report.figures.style import STYLE, below, label
from datasets.common.contract import Catalogue, EODataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (("red", "r", "b4", "b04"), ("green", "g", "b3", "b03"), ("blue", "b", "b2", "b02"))
"""What the channels of a picture in natural colours are called."""

NAMED = 12
"""Channels that a legend names."""

CLASSES = 20
"""Classes that are drawn, those with the most samples."""


def picture(dataset: EODataset, catalogue: Catalogue) -> bytes:
    """The picture as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import seaborn as sns
    from matplotlib import pyplot as plt

    sample = _telling(dataset)
    panels = [*dataset.modalities, "target"] + ["places"] * (catalogue.places is not None)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context():
        sns.set_theme(style="whitegrid", rc=STYLE)
        figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 3 * rows), squeeze=False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            if panel in dataset.modalities:
                spec = dataset.modalities[panel]
                values = np.asarray(dataset.x[panel][sample], dtype=np.float64)
                _sensor(axis, spec, values, channels(dataset, panel))
            elif panel == "target":
                _targets(axis, dataset)
            else:
                _places(axis, dataset, catalogue.places)
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        source = "" if dataset.source == "real" else " (GENERATED data)"
        below(
            figure,
            f"{dataset.name}{source}, {len(dataset):,} samples. Sensors: sample "
            f"'{dataset.ids[sample]}', series and vectors as a share of each channel's range.",
        )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None}, dpi=130)
        plt.close(figure)
    return buffer.getvalue()


def _telling(dataset: EODataset, most: int = 200) -> int:
    """The sample with the fewest missing values among the first."""
    lacking = np.zeros(min(most, len(dataset)))
    for array in dataset.x.values():
        part = array[: len(lacking)]
        if part.dtype.kind == "f":
            lacking += np.isnan(part).reshape(len(part), -1).mean(axis=1)
    return int(lacking.argmin())


def _sensor(axis: Axes, spec: ModalitySpec, values: np.ndarray, of: Sequence[Channel]) -> None:
    axis.set_title(f"{label(spec.name)} ({spec.kind}, {' × '.join(map(str, spec.shape))})")
    if spec.kind == "image":
        axis.imshow(_colours(spec, values))
        axis.set_axis_off()
        return
    low, high = (np.array([getattr(c, end) for c in of]) for end in ("low", "high"))
    share = (values - low) / np.where(high > low, high - low, 1)
    if spec.kind == "vector":
        axis.barh(range(len(share)), share, height=0.7)
        axis.set_yticks(range(len(share)), [label(c) for c in spec.channels])
        axis.set(xlim=(0, 1), xlabel="share of range")
        axis.invert_yaxis()
        return
    if share.ndim == 4:  # the middle of a window
        share = share[:, share.shape[1] // 2, share.shape[2] // 2]
    for c, name in enumerate(spec.channels):
        axis.plot(share[:, c], marker=".", linewidth=1, label=label(name))
    axis.set(ylim=(-0.02, 1.02), xlabel="time step", ylabel="share of range")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if len(spec.channels) <= NAMED:
        axis.legend(ncols=2, fontsize=6)


def _colours(spec: ModalitySpec, values: np.ndarray) -> np.ndarray:
    """(H, W, 3) between 0 and 1: natural colours by the names of channels, or the first three."""
    names = [name.lower() for name in spec.channels]
    found = [next((names.index(n) for n in same if n in names), None) for same in COLOURS]
    if None in found:
        found = [min(c, len(names) - 1) for c in range(3)]
    shown = values[..., found]
    low, high = np.nanpercentile(shown, (2, 98)) if np.isfinite(shown).any() else (0, 1)
    return np.nan_to_num(np.clip((shown - low) / max(high - low, 1e-12), 0, 1), nan=0.5)


def _targets(axis: Axes, dataset: EODataset) -> None:
    if dataset.task.kind == "regression":
        axis.hist(dataset.y, bins=40)
        axis.set(title="target", xlabel=dataset.task.unit.replace("$", r"\$"), ylabel="samples")
        return
    counts = class_counts(dataset)
    shown = sorted(counts, key=lambda name: -counts[name])[:CLASSES]
    axis.barh(range(len(shown)), [counts[name] for name in shown], height=0.7)
    axis.set_yticks(range(len(shown)), [label(name) for name in shown])
    axis.invert_yaxis()
    more = f" (the {CLASSES} largest of {len(counts)})" if len(counts) > len(shown) else ""
    axis.set(title=f"samples of each class{more}", xlabel="samples")


def _places(axis: Axes, dataset: EODataset, places: np.ndarray) -> None:
    colour = "tab:blue"
    if dataset.groups is not None:
        colour = np.unique(dataset.groups, return_inverse=True)[1] % 20
    axis.scatter(places[:, 1], places[:, 0], c=colour, s=4, cmap="tab20")
    grouped = ", coloured by group" if dataset.groups is not None else ""
    axis.set(title=f"places{grouped}", xlabel="longitude (°)", ylabel="latitude (°)")
    middle = np.clip(np.abs(places[:, 0].mean()), 0, 80)
    axis.set_aspect(1 / np.cos(np.deg2rad(middle)), adjustable="datalim")
