"""What all executors have in common: how they are called, and how many workers they have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.planning.jobs import Job
    from benchmark.records import Record

TRIES = 2
"""How often the death of a worker that executes nothing but one run is put down to chance."""


@dataclass(frozen=True)
class Scale:
    """How many workers there are, and where: address of a Dask scheduler, or None.

    replicas: how many runs of a method a worker may train at once, if there is one worker.
    """

    workers: int = 1
    dask_address: str | None = None
    replicas: int = 1


def say(line: str) -> None:
    """Put a line on the screen at once, above the progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


Records = Generator["Record", None, None]
Executor = Callable[[Sequence["Job"], Scale], Records]
"""(jobs, scale) → records in the order in which they are finished. Closing it stops the work."""
