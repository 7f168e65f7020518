"""A run as work to be done: what executors carry to where it is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.records import Standing
from benchmark.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """A run and where it finds its data and leaves its record; none of that enters the id.

    prepared: folder of the prepared dataset. plugins: method files that the user named. timeout:
    seconds that the run may take. keep_features: whether the features of the test part are kept
    beside the predictions. keep_models: what kept models say of where the data come from
    (`EODataset.origin`); None if none are kept. replaces: when the record was made that is to give
    way to that of this job, for one that is tried again. standing: what the protocol says of its
    tables.
    """

    spec: RunSpec
    prepared: Path
    results: Path
    device: str = "cpu"
    plugins: tuple[Path, ...] = ()
    timeout: float | None = None
    keep_features: bool = False
    replaces: str | None = None
    standing: Standing = field(default_factory=Standing)
    keep_models: Mapping[str, str] | None = None

    @property
    def keeps_models(self) -> bool:
        """Whether models are kept of it: of a placebo, or of a trial, nobody has a use for them."""
        return not (self.keep_models is None or self.spec.placebo or self.spec.trial)
