"""On a Dask cluster: that of a scheduler's address, or one of this machine's own.

A worker reads the prepared data and writes the record where the folders of this run are, if it
sees them; where it does not see the results folder, the record travels back through the client.
"""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import stopping
from benchmark.errors import UserError
from benchmark.executors.scale import Records, Scale, say
from benchmark.machine import no_processes
from benchmark.writers import part_of

if TYPE_CHECKING:
    from distributed import Client, Future

    from benchmark.planning.jobs import Job
    from benchmark.records import Record
    from benchmark.training.execute import Computed

DEATHS = 3
"""Workers of a cluster of our own that may die under a run before it is set apart."""

PATIENCE = 10
"""Seconds for which a scheduler that does not answer is asked again."""

_one_at_a_time = threading.Lock()
"""Runs share the random generators of their process; a worker may have several threads."""


def run(jobs: Sequence[Job], scale: Scale) -> Records:
    """Execute on Dask workers; a run for a GPU waits for a worker with the resource "GPU".

    Runs under which workers died more often than the scheduler allows are executed again one at a
    time, as they may have died of another: the one that kills them then is recorded as failed.
    Raises `UserError` if there is no scheduler, or it is lost.
    """
    try:
        from distributed import CancelledError
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise UserError(
            "--executor dask needs Dask: pip install 'eo-colearning-benchmark[dask]'"
        ) from error
    if not jobs:
        return
    with _client(jobs, scale) as client, _probe(jobs[0].results) as probe:

        def submit(job: Job) -> Future:
            key = f"{job.spec.method}-{job.spec.id}-{uuid.uuid4().hex[:8]}"
            return client.submit(_work, job, probe, key=key, pure=False, resources=_resources(job))

        try:
            yield from _collect(client, jobs, submit)
        except (CancelledError, CommClosedError, TimeoutError) as error:
            raise UserError(
                f"the Dask scheduler at {client.scheduler.address if client.scheduler else '?'} "
                "is lost; every run that was finished is recorded: start one, then give the same "
                "command again"
            ) from error


def _resources(job: Job) -> dict[str, int] | None:
    return {"GPU": 1} if job.device.startswith("cuda") else None


def _collect(client: Client, jobs: Sequence[Job], submit: Callable[[Job], Future]) -> Records:
    from distributed import as_completed

    from benchmark.training.execute import lost

    at_hand = {submit(job): job for job in jobs}
    suspected = []
    try:
        for future in as_completed(list(at_hand)):
            job = at_hand.pop(future)
            if _killed_workers(future):
                suspected.append(job)
            else:
                yield _committed(job, future)
            future.release()
        for job in suspected:
            future = submit(job)
            at_hand[future] = job
            if _killed_workers(future):
                yield lost(job, "every worker that executed it died; out of memory?")
            else:
                yield _committed(job, future)
            del at_hand[future]
    finally:
        if client.status == "running":
            client.cancel(list(at_hand))


def _killed_workers(future: Future) -> bool:
    from distributed import KilledWorker

    return isinstance(future.exception(), KilledWorker)


def _committed(job: Job, future: Future) -> Record:
    from benchmark.training.execute import Computed, commit

    found = future.result()
    return commit(job, found) if isinstance(found, Computed) else found


def _work(job: Job, probe: Path) -> Record | Computed:
    """On a worker: the record, or what came of the run if it could not be committed there."""
    import torch
    from distributed import get_worker

    from benchmark.training.execute import compute, execute, prepare_process

    worker = get_worker()
    if not job.prepared.exists():
        raise UserError(
            f"the worker at {worker.address} sees no {job.prepared}: put --cache into a folder "
            "that all machines see under the same path"
        )
    if job.device == "cuda" and isinstance(worker.name, int):  # one of our own cluster
        job = replace(job, device=f"cuda:{worker.name % torch.cuda.device_count()}")
    stopping.may_end_process()
    with _one_at_a_time:
        if probe.exists():
            return execute(job)
        job = replace(job, results=Path(worker.local_directory) / "results")
        prepare_process(job)
        return compute(job)


@contextmanager
def _probe(results: Path) -> Iterator[Path]:
    """A file by which a worker sees that its results folder is this one."""
    path = results / part_of("shared")
    path.touch()
    try:
        yield path.resolve()
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _client(jobs: Sequence[Job], scale: Scale) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    for name in ("distributed", "distributed.client"):  # a worker's death is told in a record
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scale.dask_address is not None:
        with _connected(scale.dask_address) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            needed = set(_resources(jobs[0]) or ())
            if not any(needed <= worker["resources"].keys() for worker in workers):
                what = "workers with the resource GPU" if needed else "workers"
                say(f"the Dask scheduler at {scale.dask_address} has no {what} yet: waiting")
            yield client
        return
    if why := no_processes():
        raise UserError(f"--executor dask: {why}; take --executor serial")
    workers = min(scale.workers, len(jobs))
    say(f"starting {workers} Dask worker{'s' * (workers > 1)}")
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.nanny.pre-spawn-environ": {
            "OMP_NUM_THREADS": 1,
            "MKL_NUM_THREADS": 1,
            "OMP_WAIT_POLICY": "PASSIVE",
        },
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            host="127.0.0.1",
            silence_logs=logging.CRITICAL,
            preload=[__name__],
            resources=_resources(jobs[0]),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def dask_setup(worker: object) -> None:
    """Dask calls it in the workers of our own cluster: SIGINT is left to the client."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _connected(address: str) -> Client:
    """A client of a scheduler, given by its address or by its scheduler file."""
    from distributed import Client

    try:
        if address.endswith(".json"):
            if not Path(address).is_file():  # for which Dask would wait
                raise FileNotFoundError("no such file")
            return Client(scheduler_file=address, timeout=PATIENCE)
        return Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"--dask-address {address}: no Dask scheduler there ({reason})") from error
