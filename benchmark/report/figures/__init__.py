"""Figures, each as PNG and SVG. Colours are those of families, the same in every figure."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.across import Across
from benchmark.report.figures.colearning import ablation_bars, cost_against_score, gap_bars
from benchmark.report.figures.predictions import confusion_matrices, predicted_against_true
from benchmark.report.figures.representations import feature_space
from benchmark.report.figures.scores import (
    critical_difference,
    distributions,
    gain_map,
    learning_curves,
)
from benchmark.report.figures.style import STYLE
from benchmark.report.frame import Group
from benchmark.report.summary import Summary
from benchmark.report.wording import file_name, slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Save = Callable[[str, bytes], None]

TITLES = {
    "scores": "Scores of every fold or seed",
    "gains": "Gain over single",
    "gap": "Share of the multi-modal gap that is closed",
    "ablations": "Ablations",
    "cost": "Cost of training and score",
    "confusion": "Confusion matrices",
    "predicted": "Predicted against true values",
    "features": "Feature space",
    "learning-curves": "Learning curves",
    "ranks": "Average ranks across datasets",
}
"""Kinds of figures, in the order in which the page shows them."""


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn: of one group, or of all groups of a source and protocol (None).

    name: of its files, without folder and suffix. kind: one of `TITLES`. size: width and height
    in inches.
    """

    name: str
    kind: str
    source: str
    protocol: str
    group: Group | None = None
    size: tuple[float, float] = (0.0, 0.0)


def draw_all(
    summaries: Sequence[Summary],
    comparisons: Sequence[Across],
    save: Save,
    *,
    results: Path,
    cache: Path | None,
) -> list[Drawn]:
    """Draw every figure that the groups give; ``save`` gets its name and content.

    results, cache: where predictions and features lie, and the targets of the test samples.
    """
    import matplotlib

    matplotlib.use("Agg")
    import seaborn as sns

    with_scores = [s for s in summaries if any(row.runs for row in s.rows)]
    drawn: list[Drawn] = []

    def keep(figure: Figure | None, what: Drawn) -> None:
        if figure is not None:
            _save(figure, what.name, save)
            drawn.append(replace(what, size=tuple(figure.get_size_inches())))

    with matplotlib.rc_context():
        sns.set_theme(style="whitegrid", rc=STYLE)
        for summary in with_scores:
            name, group = slug(summary.group), summary.group
            for kind, figure in _of_group(summary, results, cache):
                keep(figure, Drawn(f"{name}-{kind}", kind, *_comparable(group), group))
        for same in dict.fromkeys(_comparable(s.group) for s in with_scores):
            figure = gain_map([s for s in with_scores if _comparable(s.group) == same])
            keep(figure, Drawn(file_name("gains", *same), "gains", *same))
        for comparison in comparisons:
            if comparison.ranks:
                same = comparison.source, comparison.protocol
                figure = critical_difference(comparison)
                keep(figure, Drawn(file_name("ranks", *same), "ranks", *same))
    return drawn


def _of_group(
    summary: Summary, results: Path, cache: Path | None
) -> Iterator[tuple[str, Figure | None]]:
    yield "scores", distributions(summary)
    yield "gap", gap_bars(summary)
    yield "ablations", ablation_bars(summary)
    yield "cost", cost_against_score(summary)
    yield "confusion", confusion_matrices(summary)
    yield "predicted", predicted_against_true(summary, results, cache)
    yield "features", feature_space(summary, results)
    yield "learning-curves", learning_curves(summary)


def _comparable(group: Group) -> tuple[str, str]:
    return group.source, group.protocol_title


def lay_out(figure: Figure) -> None:
    """Decide where everything is, once, for both formats; the figure grows until all fits in."""
    for attempt in range(4):  # panels of a fixed shape find their place in the second pass
        figure.draw_without_rendering()
        box, size = figure.get_tightbbox(), figure.get_size_inches()
        beyond = [max(0.0, -box.x0, box.x1 - size[0]), max(0.0, -box.y0, box.y1 - size[1])]
        if max(beyond) > 0.01:  # a legend or a colour bar that the layout has no room for
            figure.set_size_inches(*(size + 1.05 * np.array(beyond)))
        elif attempt:
            break
    figure.set_layout_engine("none")


def _save(figure: Figure, name: str, save: Save) -> None:
    """Both formats of a figure, without dates, so that the same records give the same bytes."""
    from matplotlib import pyplot as plt

    lay_out(figure)
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=metadata)
        save(f"figures/{name}.{suffix}", buffer.getvalue())
    plt.close(figure)
