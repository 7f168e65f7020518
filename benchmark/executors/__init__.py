"""Executors: ways to get jobs executed. Each yields the records as they are finished.

Only specs and paths travel to where a job is executed, and `benchmark.training.execute` commits its
record there, so that nothing is lost with the process that waits for it.
"""

from __future__ import annotations

from benchmark.executors.scale import Executor


def executor(name: str) -> Executor:
    """An executor by its name."""
    from benchmark.executors import dask, local

    return {"serial": local.serial, "processes": local.processes, "dask": dask.run}[name]
