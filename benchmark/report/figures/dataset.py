"""A dataset in one picture: a sample as its sensors see it, its targets, and where it is."""

from __future__ import annotations

import io
import textwrap
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

FLAT = 30
"""The whole of an axis over the range of a channel, from which on that is a flat line."""

CLASSES = 20
"""Classes that are drawn, those with the most samples."""


def picture(dataset: EODataset, catalogue: Catalogue) -> bytes:
    """The picture as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import seaborn as sns
    from matplotlib import pyplot as plt

    from benchmark.report.figures.drawing import lay_out

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
            f"'{dataset.ids[sample]}'; ranges of channels are over all samples.",
        )
        lay_out(figure)
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
    shape = " × ".join(map(str, spec.shape))
    unit = textwrap.fill(spec.units, 48).replace("$", r"\$")
    axis.set_title(f"{label(spec.name)} ({spec.kind}, {shape})\n{unit}".rstrip(), fontsize=8)
    if spec.kind == "image":
        _image(axis, spec, values)
    elif spec.kind == "vector":
        _vector(axis, values, of)
    else:
        _series(axis, values, of)


def _image(axis: Axes, spec: ModalitySpec, values: np.ndarray) -> None:
    colours, low, high = _colours(spec, values)
    axis.imshow(colours)
    axis.set(xticks=[], yticks=[], xlabel=f"dark to bright: {_values(low, high)}")
    axis.grid(visible=False)


def _vector(axis: Axes, values: np.ndarray, of: Sequence[Channel]) -> None:
    """A bar from the lowest value of a channel to that of the sample, which stands beside it."""
    shares = _shares(values, of)
    axis.barh(range(len(shares)), shares, height=0.7)
    for y, (share, value) in enumerate(zip(shares, values, strict=True)):
        text = "missing" if np.isnan(value) else _value(value)
        axis.annotate(text, (np.nan_to_num(share), y), (2, 0), textcoords="offset points",
                      va="center", fontsize=6)  # fmt: skip
    names = [f"{label(c.name)}\n{_values(c.low, c.high)}" for c in of]
    axis.set_yticks(range(len(shares)), names, fontsize=6)
    axis.set_xlim(0, 1.15)
    axis.set_xticks([0, 1], ["lowest", "highest"])
    axis.invert_yaxis()


def _series(axis: Axes, values: np.ndarray, of: Sequence[Channel]) -> None:
    """Values over time; of channels that one axis cannot show, each between its own ends."""
    from matplotlib.transforms import offset_copy

    if values.ndim == 4:  # the middle of a window
        values = values[:, values.shape[1] // 2, values.shape[2] // 2]
    together = _together(of)
    shown = values if together else _shares(values, of)
    for c, channel in enumerate(of):
        ends = "" if together else f": {_values(channel.low, channel.high)}"
        axis.plot(shown[:, c], marker=".", linewidth=1, label=f"{label(channel.name)}{ends}")
    axis.set_xlabel("time step")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if together:
        axis.set_ylabel("value")
    else:
        axis.set_ylim(-0.02, 1.02)
        axis.set_yticks([0, 1], ["lowest", "highest"], rotation=90, va="center")
    if len(of) <= NAMED:
        below_label = offset_copy(axis.transAxes, axis.figure, y=-32, units="points")
        axis.legend(ncols=2, fontsize=6, loc="upper left", bbox_to_anchor=(0, 0), frameon=False,
                    bbox_transform=below_label)  # fmt: skip


def _together(of: Sequence[Channel]) -> bool:
    """Whether one axis shows all channels: none would be a flat line on it."""
    spans = [channel.high - channel.low for channel in of if channel.high > channel.low]
    ends = [end for channel in of for end in (channel.low, channel.high) if np.isfinite(end)]
    return not spans or max(ends) - min(ends) <= FLAT * min(spans)


def _shares(values: np.ndarray, of: Sequence[Channel]) -> np.ndarray:
    """(..., C) values as shares of the range of their channels."""
    low, high = (np.array([getattr(c, end) for c in of]) for end in ("low", "high"))
    return (values - low) / np.where(high > low, high - low, 1)


def _values(low: float, high: float) -> str:
    return f"{_value(low)} to {_value(high)}"


def _value(value: float) -> str:
    """Four digits, without powers of ten as far as one reads it: 10,070."""
    return f"{float(f'{value:.4g}'):,.10g}"


def _colours(spec: ModalitySpec, values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(H, W, 3) between 0 and 1, and the values of both: natural colours by the names of channels,
    or the first three."""
    names = [name.lower() for name in spec.channels]
    found = [next((names.index(n) for n in same if n in names), None) for same in COLOURS]
    if None in found:
        found = [min(c, len(names) - 1) for c in range(3)]
    shown = values[..., found]
    low, high = np.nanpercentile(shown, (2, 98)) if np.isfinite(shown).any() else (0, 1)
    scaled = np.clip((shown - low) / max(high - low, 1e-12), 0, 1)
    return np.nan_to_num(scaled, nan=0.5), float(low), float(high)


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
