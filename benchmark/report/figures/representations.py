"""The feature space: where shared, specific and unused features of each modality lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import records
from benchmark.errors import UserError
from benchmark.report.figures.style import caption, label, legend
from benchmark.report.summary import Summary, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES = 80
"""Test samples in the picture: t-SNE takes the square of their number."""

PANELS = 4

PARTS = {"shared": 0, "specific": 1, "unused": 7}
"""Part of the features → its colour, the same for every method."""


def feature_space(summary: Summary, results: Path) -> Figure | None:
    """t-SNE of the features that runs kept: a panel for each method, of one of its runs.

    Colour: the part; marker: the modality. Features of all parts and modalities of a method are
    embedded together, so that what lies together is alike. None if no run kept its features.
    """
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D
    from seaborn import color_palette

    found = {}
    ablations_last = sorted(
        in_order(summary), key=lambda m: summary.group.entries[m]["role"] == "ablation"
    )
    for method in ablations_last:
        for record in summary.group.runs_of(method):
            if record.features_sha256 and len(found) < PANELS:
                try:
                    found[method] = records.read_features(record, results)
                    break
                except UserError:
                    continue  # elsewhere: features are large and may stay behind
    if not found:
        return None
    palette = color_palette("colorblind", 10)
    markers = dict(zip(summary.group.modalities, "o^sDvP*X" * 9, strict=False))
    figure, axes = plt.subplots(1, len(found), figsize=(0.6 + 2.8 * len(found), 3.9), squeeze=False)
    parts: dict[str, None] = {}
    for axis, (method, features) in zip(axes[0], found.items(), strict=True):
        for (modality, part), points in _embedded(features).items():
            parts[part] = None
            tint = palette[PARTS.get(part, 6)]
            axis.scatter(
                *points.T, s=12, marker=markers.get(modality, "o"), color=tint, alpha=0.7, lw=0
            )
        axis.set_title(label(method))
        axis.set_xticks([])
        axis.set_yticks([])
    handles = [
        Line2D([], [], marker="s", ls="", color=palette[PARTS.get(p, 6)], label=label(p))
        for p in parts
    ]
    handles += [
        Line2D([], [], marker=markers[m], ls="", color="0.4", label=label(m))
        for m in summary.group.modalities
    ]
    legend(figure, handles)
    caption(
        figure,
        summary.group,
        f"t-SNE of the features of at most {SAMPLES} test samples, one run a method. Only what "
        "lies together means something; axes and distances between groups do not.",
    )
    return figure


def _embedded(features: dict[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """(modality, part) → points (n, 2); features (n, D) narrower than others are padded."""
    from sklearn.manifold import TSNE

    kept = {tuple(name.split("/", 1)): array[:SAMPLES] for name, array in features.items()}
    width = max(array.shape[1] for array in kept.values())
    stacked = np.concatenate([np.pad(a, ((0, 0), (0, width - a.shape[1]))) for a in kept.values()])
    perplexity = min(30.0, (len(stacked) - 1) / 3)
    points = TSNE(random_state=0, perplexity=perplexity, init="pca").fit_transform(stacked)
    ends = np.cumsum([len(a) for a in kept.values()])[:-1]
    return dict(zip(kept, np.split(points, ends), strict=True))
