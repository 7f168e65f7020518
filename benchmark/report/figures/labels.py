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

SHORT = 2
"""Points that a line ends before what is named."""

TEXT = {"fontsize": 7.5}
"""How names are written, and so how large they are."""


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
        size = _size(axis, names[i])
        places = []
        for far, distance in enumerate(DISTANCES):
            for dx, dy in DIRECTIONS:
                box = _box(axis, pixels[i], size, distance * np.array([dx, dy]), line=far > 0)
                covered = np.all((pixels > box[0] - 5) & (pixels < box[1] + 5), axis=1).sum()
                covered += sum(np.all((box[0] < b[1]) & (b[0] < box[1])) for b in taken)
                leaves = np.any(box[0] < frame.min) or np.any(box[1] > frame.max)
                places.append((covered + 100 * leaves, distance, (dx, dy), box))
        _, distance, (dx, dy), box = min(places, key=lambda place: place[0])  # the first of such
        taken.append(box)
        note = axis.annotate(
            names[i],
            points[i],
            xytext=(distance * dx, distance * dy),
            textcoords="offset points",
            ha=("center", "left", "right")[dx],
            va=("center", "bottom", "top")[dy],
            zorder=5,
            arrowprops={"arrowstyle": "-", "color": "0.5", "lw": 0.6, "shrinkB": SHORT}
            if distance > DISTANCES[0]
            else None,
            annotation_clip=False,
            **TEXT,
        )
        note.set_in_layout(False)


def _size(axis: Axes, name: str) -> np.ndarray:
    """Width and height in pixels."""
    text = axis.text(0, 0, name, **TEXT)
    size = text.get_window_extent().size
    text.remove()
    return size


def _box(
    axis: Axes, pixel: np.ndarray, size: np.ndarray, offset: np.ndarray, *, line: bool
) -> np.ndarray:
    """Lower left and upper right pixel of a name at an offset in points, and of its line."""
    point = axis.figure.dpi / 72
    start = pixel + point * offset - size * (1 - np.sign(offset)) / 2
    box = np.array([start, start + size])
    if line:
        way = pixel - box.mean(0)
        end = pixel - SHORT * point * way / np.hypot(*way)
        box = np.array([np.minimum(box[0], end), np.maximum(box[1], end)])
    return box
