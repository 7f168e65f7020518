"""One figure a dial: what is there to be gained, and what each method gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmark.report.figures.drawing import in_both_formats
from benchmark.report.figures.style import STYLE, below, colour, label, legend
from benchmark.report.statistics import Comparison
from benchmark.study.gains import Gains, Level
from benchmark.study.information import CEILING, REFERENCE, TITLES
from datasets.generated_information import BOTH, DEPLOYED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4


def drawn(found: Gains, dial: str, notes: list[str]) -> dict[str, bytes]:
    """Suffix → content of the figure of a dial; the same records give the same bytes."""
    import matplotlib
    import seaborn as sns

    matplotlib.use("Agg")
    with matplotlib.rc_context():
        sns.set_theme(style="whitegrid", rc=STYLE)
        return in_both_formats(_figure(found, dial, notes))


def _figure(found: Gains, dial: str, notes: list[str]) -> Figure:
    from matplotlib import pyplot as plt

    levels = found.levels[dial]
    methods = [m for m in found.families if m not in (REFERENCE, CEILING)]
    panels = 1 + len(methods)
    across = min(ACROSS, panels)
    down = -(-panels // across)
    figure, axes = plt.subplots(
        down, across, figsize=(1.0 + 2.1 * across, 1.6 + 1.5 * down), squeeze=False, sharex=True
    )
    places = range(len(levels))
    flat = list(axes.flat)
    _scores(flat[0], levels)
    # A net that sees all sensors gains far more, somewhere: it may leave the panels.
    ends = [0.0, *(_middle(m) for v in levels.values() if (m := v.most()) is not None)]
    for method in methods:
        for level in levels.values():
            gain = level.gain(method)
            ends += [gain.low, gain.high] if isinstance(gain, Comparison) else []
            ends += [gain] if isinstance(gain, float) else []
    margin = 0.05 * (max(ends) - min(ends)) or 0.1
    for axis, method in zip(flat[1:], methods, strict=False):
        tint = colour(found.families[method])
        _band(axis, [level.gain(method) for level in levels.values()], tint)
        for what, style in ((lambda v: v.most(), ":"), (lambda v: v.gain(CEILING), "--")):
            line = [_middle(what(level)) for level in levels.values()]
            known = [(x, y) for x, y in zip(places, line, strict=True) if y is not None]
            if known:
                axis.plot(*zip(*known, strict=True), ls=style, color="0.35", lw=1)
        axis.axhline(0, color="0.3", lw=0.8)
        axis.set_ylim(min(ends) - margin, max(ends) + margin)
        axis.set_title(label(method), fontsize=8)
    for place, axis in enumerate(flat):
        axis.set_visible(place < panels)
        axis.set_xticks(places, [f"{value:g}" for value in levels])
        axis.tick_params(labelbottom=place + across >= panels)
    handles = [
        plt.Line2D([], [], ls="--", color="0.35", label="a net that sees all sensors"),
        plt.Line2D([], [], ls=":", color="0.35", label="the best from the deployed sensor alone"),
        plt.Line2D([], [], ls="-.", color="0.6", label="the best from all sensors"),
        plt.Line2D([], [], color="0.3", label=REFERENCE),
    ]
    legend(figure, handles)
    below(figure, f"{TITLES[dial]}.", *notes)
    return figure


def _scores(axis: Axes, levels: Mapping[float, Level]) -> None:
    """RMSE of the reference and of the strong model, and the lowest that there can be."""
    lines = {
        "-": ("0.3", [level.mean(REFERENCE) for level in levels.values()]),
        "--": ("0.35", [level.mean(CEILING) for level in levels.values()]),
        ":": ("0.35", [level.mean_best(DEPLOYED) for level in levels.values()]),
        "-.": ("0.6", [level.mean_best(BOTH) for level in levels.values()]),
    }
    for style, (tint, line) in lines.items():
        known = [(x, y) for x, y in enumerate(line) if y is not None]
        if known:
            axis.plot(*zip(*known, strict=True), ls=style, color=tint, lw=1.2)
    axis.set_title("RMSE", fontsize=8)


def _band(axis: Axes, gains: list[Comparison | float | None], tint: tuple) -> None:
    """The gain at each level that has one, with its interval."""
    known = [(x, gain) for x, gain in enumerate(gains) if gain is not None]
    if not known:
        return
    axis.plot([x for x, _ in known], [_middle(g) for _, g in known], "o-", ms=3, lw=1.3, color=tint)
    whole = [(x, g) for x, g in known if isinstance(g, Comparison)]
    if whole:
        x, low, high = zip(*((x, g.low, g.high) for x, g in whole), strict=True)
        axis.fill_between(x, low, high, color=tint, alpha=0.2, lw=0)


def _middle(gain: Comparison | float | None) -> float | None:
    return gain.mean if isinstance(gain, Comparison) else gain
