"""Executors: ways to get jobs executed. Each yields the records as they are finished.

Only specs and paths travel to where a job is executed, and `benchmark.execute` commits its record
there, so that nothing is lost with the process that waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.execute import Job
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


Records = Generator["Record", None, None]
Executor = Callable[[Sequence["Job"], Scale], Records]
"""(jobs, scale) → records in the order in which they are finished. Closing it stops the work."""


def executor(name: str) -> Executor:
    """An executor by its name."""
    from benchmark.executors import dask, local

    return {"serial": local.serial, "processes": local.processes, "dask": dask.run}[name]
