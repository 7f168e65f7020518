"""Draws one figure. Importing this is what takes long: a process that draws does so once."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.ticker import FixedLocator

from benchmark.report.figures.colearning import ablation_bars, cost_against_score, gap_bars
from benchmark.report.figures.picture import Picture, in_page
from benchmark.report.figures.predictions import confusion_matrices, predicted_against_true
from benchmark.report.figures.representations import feature_space
from benchmark.report.figures.scores import (
    critical_difference,
    distributions,
    gain_map,
    learning_curves,
)
from benchmark.report.figures.shares import against_labels
from benchmark.report.figures.style import STYLE
from benchmark.report.figures.tuning import default_and_tuned, validation_against_trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES: dict[str, Callable[[Any, Path, Path | None], Figure | None]] = {
    "scores": lambda summary, results, cache: distributions(summary),
    "gains": lambda outlines, results, cache: gain_map(outlines),
    "gap": lambda summary, results, cache: gap_bars(summary),
    "ablations": lambda summary, results, cache: ablation_bars(summary),
    "cost": lambda summary, results, cache: cost_against_score(summary),
    "confusion": lambda summary, results, cache: confusion_matrices(summary),
    "predicted": predicted_against_true,
    "features": lambda summary, results, cache: feature_space(summary, results),
    "learning-curves": lambda summary, results, cache: learning_curves(summary),
    "tuned": lambda summary, results, cache: default_and_tuned(summary),
    "trials": lambda summary, results, cache: validation_against_trials(summary),
    "labels": lambda curve, results, cache: against_labels(curve),
    "ranks": lambda comparison, results, cache: critical_difference(comparison),
}
"""Kind of figure → what makes it; results, cache: as in `benchmark.report.figures.Drawing`."""


def draw(kind: str, subject: Any, results: Path, cache: Path | None) -> Picture | None:
    """The figure of a subject, if it has one of that kind."""
    matplotlib.use("Agg")
    with matplotlib.rc_context():
        sns.set_theme(style="whitegrid", rc=STYLE)
        figure = FIGURES[kind](subject, results, cache)
        return None if figure is None else _picture(figure)


def lay_out(figure: Figure) -> None:
    """Decide where everything is, once, for both formats; the figure grows until all fits in."""
    for axes in figure.axes:
        for spine in axes.spines.values():  # no wider than the axes, and takes long to ask
            spine.set_in_layout(False)
    for attempt in range(4):
        _execute(figure)
        box, size = figure.get_tightbbox(), figure.get_size_inches()
        beyond = [max(0.0, -box.x0, box.x1 - size[0]), max(0.0, -box.y0, box.y1 - size[1])]
        if max(beyond) > 0.01:  # a legend or a colour bar that the layout has no room for
            figure.set_size_inches(*(size + 1.05 * np.array(beyond)))
        elif attempt or not any(map(_has_a_shape, figure.axes)):
            break  # panels of a fixed shape find their place in the second pass
    figure.set_layout_engine("none")
    for axes in figure.axes:
        _settle(axes)


def _has_a_shape(axes: Axes) -> bool:
    return axes.get_aspect() != "auto" or axes.get_box_aspect() is not None


def _settle(axes: Axes) -> None:
    """Leave ticks and labels where they are, so that no drawing has to find it out again."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(axis.get_majorticklocs()))
    to_axes = axes.transAxes.inverted().transform
    (x, below), (beside, y) = axes.xaxis.label.get_position(), axes.yaxis.label.get_position()
    axes.xaxis.set_label_coords(x, to_axes((0, below))[1])
    axes.yaxis.set_label_coords(to_axes((beside, 0))[0], y)


def _execute(figure: Figure) -> None:
    """Let the layout find places, without drawing anything; the figure grows until panels have one.

    Where legend and caption leave nothing to them, matplotlib warns and gives up.
    """
    for _ in range(8):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="constrained_layout not applied")
            try:
                figure.get_layout_engine().execute(figure)
                return
            except UserWarning:
                figure.set_size_inches(*(figure.get_size_inches() + 1))


def _picture(figure: Figure) -> Picture:
    content = in_both_formats(figure)
    size = tuple(map(float, figure.get_size_inches()))
    return Picture(**content, size=size, shorter=in_page(**content))


def in_both_formats(figure: Figure) -> dict[str, bytes]:
    """Suffix → content, without dates, so that the same records give the same bytes.

    `savefig` would draw all of it twice for each format, once to lay it out.
    """
    canvas = FigureCanvasAgg(figure)  # one for layout and drawing: texts are measured once
    figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
    lay_out(figure)
    png, svg = io.BytesIO(), io.BytesIO()
    packed = {"compress_level": 3}  # 7 % larger than usual, in three quarters of the time
    canvas.print_png(png, metadata={"Software": None}, pil_kwargs=packed)
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    plt.close(figure)
    return {"png": png.getvalue(), "svg": svg.getvalue()}
