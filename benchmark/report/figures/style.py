"""What all figures have in common: type, colours, captions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmark.report.frame import Group
from benchmark.report.text import one_line, shortened
from benchmark.report.wording import title
from benchmark.terms import FAMILIES

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = {
    "svg.hashsalt": "eo-colearning-benchmark",
    "figure.constrained_layout.use": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "font.size": 9,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "0.7",
    "axes.linewidth": 0.8,
    "legend.fontsize": 8,
    "savefig.dpi": 150,
    "text.hinting": "none",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
NAME_LENGTH = 28
"""Longer names of methods are cut in figures; tables have them whole."""


def colour(family: str) -> tuple[float, float, float]:
    """The colour of a family, told apart also by the colour-blind; pink for unknown ones."""
    import seaborn as sns

    palette = sns.color_palette("colorblind", 10)
    greys = {"control": (0.3, 0.3, 0.3), "bound": (0.6, 0.6, 0.6)}
    others = [family for family in FAMILIES if family not in greys]
    places = dict(zip(others, (0, 5, 1, 2, 4, 9, 3), strict=True))
    return greys.get(family) or palette[places.get(family, 6)]


def label(name: str) -> str:
    """A foreign name as matplotlib shows it: short, and its dollars are no formulas."""
    return shortened(name, NAME_LENGTH).replace("$", r"\$")


@contextmanager
def undrawn(figure: Figure) -> Iterator[None]:
    """While seaborn puts something into it, which draws all of a figure to see how labels turn out.

    Here it is said how they are. What it writes into panels takes no room beside them.
    """
    figure.set_visible(False)
    try:
        yield
    finally:
        figure.set_visible(True)
        for text in (text for axes in figure.axes for text in axes.texts):
            text.set_in_layout(False)


def caption(figure: Figure, group: Group, *lines: str) -> None:
    """What the figure is of, below it."""
    below(figure, title(group), *lines)


def below(figure: Figure, *lines: str) -> None:
    """Lines of text below a figure."""
    width = min(110, int(15 * figure.get_figwidth()))  # characters of this size that fit
    text = "\n".join(textwrap.fill(one_line(line), width) for line in lines)
    figure.supxlabel(text.replace("$", r"\$"), fontsize=8, x=0.01, ha="left", color="0.3")


def marker(family: str) -> str:
    """The shape of a family's points where colour alone would have to tell them apart in print."""
    return dict(zip(FAMILIES, "os^pDvPX*", strict=True)).get(family, "h")


def in_family_order(families: Iterable[str]) -> list[str]:
    """Each family once, as tables have them; unknown ones go last."""
    known = {family: place for place, family in enumerate(FAMILIES)}
    return sorted(set(families), key=lambda family: (known.get(family, len(known)), family))


def head(axis: Axes, text: str, **style: Any) -> None:
    """The title of a panel that has its limits.

    Where it stands takes long to find out, but is known if no power of ten is above the axis.
    """
    formatter = axis.yaxis.get_major_formatter()
    formatter.format_ticks(axis.get_yticks())
    axis.set_title(text, y=None if formatter.get_offset() else 1.0, **style)


def at_edge(axis: Axes, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    """Mark points that lie outside the axes at the edge beyond which they are.

    The axes must have their final limits; points inside are not drawn.
    """
    import numpy as np

    (left, right), (bottom, top) = sorted(axis.get_xlim()), sorted(axis.get_ylim())
    x, y = np.asarray(x, float), np.asarray(y, float)
    beyond = {"<": x < left, ">": x > right, "v": y < bottom, "^": y > top}
    for shape, those in beyond.items():
        if shape in "v^":
            those &= (x >= left) & (x <= right)  # a corner is one point
        if those.any():
            axis.scatter(
                np.clip(x[those], left, right),
                np.clip(y[those], bottom, top),
                marker=shape,
                clip_on=False,
                zorder=4,
                **style,
            )


def legend(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend above the panels, in as many columns as the figure is wide enough for."""
    longest = max((len(handle.get_label()) for handle in handles), default=0)
    columns = int(figure.get_figwidth() / (0.45 + 0.075 * longest))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(max(1, columns), 5),
        frameon=False,
    )


def family_legend(figure: Figure, families: Iterable[str], *, shapes: bool = False) -> None:
    """What the colours are, above the panels; shapes: points have the `marker` of their family."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            marker=marker(family) if shapes else "o",
            linestyle="",
            color=colour(family),
            label=label(family),
        )
        for family in in_family_order(families)
    ]
    legend(figure, handles)
