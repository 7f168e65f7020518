"""Scores against the share of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.figures.style import below, colour, label, legend
from benchmark.report.outline import OutlineRow
from benchmark.report.shares import LabelCurve, label_notes, per_cent
from benchmark.report.summary import REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHAPES = "osD^vPX*<>"
APART = 0.02
"""Decades between the points of two methods at one share."""


def against_labels(curve: LabelCurve) -> Figure:
    """Means on the left, gains over `single` on the right, both with 95 % intervals."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.6), sharex=True)
    shares = np.array(curve.shares)
    handles = []
    families = {m: next(iter(own.values())).family for m, own in curve.methods.items()}
    for place, (method, own) in enumerate(curve.methods.items()):
        family = families[method]
        same = [m for m in families if families[m] == family]
        style = {
            "color": colour(family),
            "marker": SHAPES[same.index(method) % len(SHAPES)],
            "ls": "--" if method == REFERENCE else "-",
            "ms": 4,
            "lw": 1.2,
        }
        handles.append(plt.Line2D([], [], label=label(method), **style))
        shift = 10 ** (APART * (place - (len(curve.methods) - 1) / 2))
        _line(axes[0], own, shift, style, gain=False)
        if method != REFERENCE:
            _line(axes[1], own, shift, style, gain=True)
    axes[1].axhline(0, color="0.3", lw=1, ls="--")
    names = curve.heading.replace("$", r"\$"), f"gain over {REFERENCE}"
    for axis, name in zip(axes, names, strict=True):
        axis.set_xscale("log")
        axis.set_xticks(shares, list(map(per_cent, curve.shares)))
        axis.minorticks_off()
        axis.set_xlabel("share of the labels")
        axis.set_title(name, fontsize=9)
    legend(figure, sorted(handles, key=lambda h: h.get_label() != REFERENCE))
    below(figure, curve.title + ".", *label_notes(curve))
    return figure


def _line(
    axis: Axes, own: dict[float, OutlineRow], shift: float, style: dict, *, gain: bool
) -> None:
    """The points of a method that are there, joined, each with its interval."""
    points = []
    for share, row in sorted(own.items()):
        middle, ends = (row.gain, row.of_gain) if gain else (row.mean, row.interval)
        if middle is not None:
            points.append((share * shift, middle))
            if ends:
                axis.plot([share * shift] * 2, ends, color=style["color"], lw=0.9, alpha=0.7)
    if points:
        axis.plot(*zip(*points, strict=True), **style)
