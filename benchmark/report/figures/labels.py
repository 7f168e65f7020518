"""Names beside points, where they cover neither other points nor one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
DISTANCES = (6, 12, 20, 30)
"""Points between a name and what it names; a far one gets a line."""


def name_points(
    axis: Axes,
    points: Sequence[tuple[float, float]],
    names: Mapping[int, str],
    avoid: Sequence[tuple[float, float]] = (),
) -> None:
    """Write names (place among ``points`` → text) beside points of a figure that is laid out.

    Each in turn, from the left, gets the place that covers the fewest points, names and places to
    ``avoid``, the nearest of such.
    """
    pixels = axis.transData.transform([*points, *avoid])
    frame = axis.get_window_extent()
    taken: list[np.ndarray] = []
    for i in sorted(names, key=lambda i: tuple(pixels[i])):
        places = []
        for far, distance in enumerate(DISTANCES):
            for dx, dy in DIRECTIONS:
                note = axis.annotate(
                    names[i],
                    points[i],
                    xytext=(distance * dx, distance * dy),
                    textcoords="offset points",
                    ha=("center", "left", "right")[dx],
                    va=("center", "bottom", "top")[dy],
                    fontsize=7.5,
                    zorder=5,
                    arrowprops={"arrowstyle": "-", "color": "0.5", "lw": 0.6} if far else None,
                    annotation_clip=False,
                )
                note.set_in_layout(False)
                box = note.get_window_extent()
                box = np.array([[box.x0, box.y0], [box.x1, box.y1]])
                covered = np.all((pixels > box[0] - 5) & (pixels < box[1] + 5), axis=1).sum()
                covered += sum(np.all((box[0] < b[1]) & (b[0] < box[1])) for b in taken)
                leaves = np.any(box[0] < frame.min) or np.any(box[1] > frame.max)
                places.append((covered + 100 * leaves, len(places), note, box))
        *_, best, box = min(places, key=lambda place: place[:2])
        taken.append(box)
        for *_, note, _ in places:
            if note is not best:
                note.remove()
