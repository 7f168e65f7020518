"""Executors: ways to get jobs executed. Each yields the records as they are finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.execute import Job
    from benchmark.records import Record

Executor = Callable[[Sequence["Job"], int], Iterator["Record"]]
"""(jobs, number of workers) → records in the order in which they are finished."""


def serial(jobs: Sequence[Job], workers: int) -> Iterator[Record]:
    """One job after the other, in this process."""
    from benchmark.execute import execute

    for job in jobs:
        yield execute(job)


def processes(jobs: Sequence[Job], workers: int) -> Iterator[Record]:
    """Parallel processes on this machine, one torch thread each (joblib's loky)."""
    import joblib

    from benchmark.execute import execute

    # Idle OpenMP threads that spin would slow every worker down many times on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            workers, return_as="generator_unordered", pre_dispatch="2*n_jobs"
        )
        yield from parallel(joblib.delayed(execute)(job) for job in jobs)


EXECUTORS: dict[str, Executor] = {"serial": serial, "processes": processes}
