"""Figures, each as PNG and SVG. Colours are those of families, the same in every figure.

They are drawn in processes beside this one, and kept for the next report (`benchmark.report.kept`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.machine import cores, fork_server, no_processes, without_main
from benchmark.report.across import Across
from benchmark.report.figures.picture import Picture, from_bytes
from benchmark.report.kept import Kept, key_of
from benchmark.report.wording import file_name
from benchmark.stopping import end_with_starter

if TYPE_CHECKING:
    from benchmark.report.outline import Outline
    from benchmark.report.shares import LabelCurve
    from benchmark.report.summary import Summary

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
    "tuned": "Default and tuned",
    "trials": "Validation score against trials",
    "labels": "Scores against the share of the labels",
    "ranks": "Average ranks across datasets",
}
"""Kinds of figures, in the order in which the page shows them."""


OF_GROUP = (
    *("scores", "gap", "ablations", "cost", "confusion", "predicted", "features"),
    *("learning-curves", "tuned", "trials"),
)
"""Those of one group, in the order of their files."""


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn: of one group, or of all groups of a source and protocol (None).

    name: of its files, without folder and suffix. kind: one of `TITLES`. group: its place among
    those that are shown.
    """

    name: str
    kind: str
    source: str
    protocol: str
    group: int | None = None


class Drawing:
    """The figures of one report: asked for as groups come, taken at its end.

    results, cache: where predictions and features lie, and the targets of the test samples.
    """

    def __init__(self, kept: Kept, results: Path, cache: Path | None) -> None:
        self.kept, self.where = kept, (results, cache)
        self.asked: list[tuple[Drawn, Callable[[], Picture | None]]] = []
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            for process in list(self.pool._processes.values()):  # there is no public list of them
                process.kill()  # what is at hand, if anything, is of no use to anyone
            self.pool.shutdown(cancel_futures=True)

    def group(
        self,
        place: int,
        name: str,
        outline: Outline,
        of: Sequence[Any],
        summary: Callable[[], Summary],
    ) -> None:
        """Ask for the figures of the group at a place; of: all that they depend on."""
        own = [
            Drawn(f"{name}-{kind}", kind, outline.source, outline.protocol, place)
            for kind in OF_GROUP
        ]
        ask = {what: self._ask(what.kind, of, summary) for what in reversed(own)}  # longest first
        self.asked += [(what, ask[what]) for what in own]

    def across(
        self,
        outlines: Sequence[Outline],
        comparisons: Sequence[Across],
        curves: Sequence[LabelCurve],
    ) -> None:
        """Ask for the figures of all groups of each source and protocol, and of label curves."""
        of: dict[tuple[str, str], list[Outline]] = {}
        for outline in outlines:
            if outline.has_scores:
                of.setdefault((outline.source, outline.protocol), []).append(outline)
        for same, own in of.items():
            self._ask_across("gains", same, own)
        for comparison in comparisons:
            if comparison.ranks:
                self._ask_across("ranks", (comparison.source, comparison.protocol), comparison)

        for curve in curves:
            names = curve.dataset, *curve.modalities, "to", curve.modality
            self._ask_across("labels", (curve.source, curve.protocols[-1]), curve, names)

    def _ask_across(
        self, kind: str, same: tuple[str, str], subject: Any, names: Sequence[str] = ()
    ) -> None:
        what = Drawn(file_name(kind, *names, *same), kind, *same)
        self.asked.append((what, self._ask(kind, repr(subject), lambda: subject)))

    def _ask(self, kind: str, of: Any, subject: Callable[[], Any]) -> Callable[[], Picture | None]:
        """What gives the figure when it is needed; it is begun to be drawn unless it is kept."""
        key = key_of("figure", kind, of)
        if found := self.kept.get(key):
            return lambda: from_bytes(found)
        begun = self._begin(kind, subject())

        def finished() -> Picture | None:
            try:
                picture = begun.result()
            except BrokenProcessPool:  # killed, for want of memory perhaps
                picture = _draw(kind, subject(), *self.where)
            self.kept.put(key, picture.to_bytes() if picture else NO_FIGURE)
            return picture

        return finished

    def _begin(self, kind: str, subject: Any) -> Future[Picture | None]:
        if self.pool is None:
            self.pool = _pool()
        if self.pool is not None:
            try:
                with without_main():
                    return self.pool.submit(_draw, kind, subject, *self.where)
            except BrokenProcessPool as error:
                begun: Future[Picture | None] = Future()
                begun.set_exception(error)
                return begun
        begun = Future()
        begun.set_result(_draw(kind, subject, *self.where))
        return begun

    def finish(self, save: Callable[[str, bytes], None]) -> list[tuple[Drawn, Picture]]:
        """All figures that there are; ``save`` gets the name and the content of each file."""
        drawn = []
        for what, finished in self.asked:
            if picture := finished():
                save(f"figures/{what.name}.png", picture.png)
                save(f"figures/{what.name}.svg", picture.svg)
                drawn.append((what, replace(picture, png=b"", svg=b"")))
        return drawn


NO_FIGURE = b"null"
"""What is kept where a group gives no figure of a kind."""


def _pool() -> ProcessPoolExecutor | None:
    """As many processes as there are cores; None where one is all, or no others can be started."""
    if cores() == 1 or no_processes():
        return None
    context = fork_server("benchmark.report.figures.drawing")
    return ProcessPoolExecutor(cores(), context, _become_drawer)


def _become_drawer() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_starter()


def _draw(kind: str, subject: Any, results: Path, cache: Path | None) -> Picture | None:
    from benchmark.report.figures.drawing import draw

    return draw(kind, subject, results, cache)
