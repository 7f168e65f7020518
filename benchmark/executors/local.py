"""On this machine: in this process, or in parallel ones."""

from __future__ import annotations

import os
import re
import signal
import threading
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from benchmark import stopping
from benchmark.executors.scale import TRIES, Records, Scale, say
from benchmark.machine import fork_server, no_processes, without_main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from multiprocessing.context import ForkServerContext

    from joblib.externals.loky import ProcessPoolExecutor

    from benchmark.planning.jobs import Job
    from benchmark.records import Record

PATIENCE = 3.0
"""Seconds that workers have to finish writing, and to end, when the run is interrupted."""

REPLACED = "A worker stopped while some jobs were given to the executor"
"""How loky's warning begins that it has started another worker in the place of one."""


def serial(jobs: Sequence[Job], scale: Scale) -> Records:
    """One job after the other in this process, or one group of replicas after the other."""
    from benchmark.training.execute import execute_together, replica_groups

    for group in replica_groups(jobs, scale.replicas):
        yield from execute_together(group)


def processes(jobs: Sequence[Job], scale: Scale) -> Records:
    """Parallel processes on this machine, one torch thread each (joblib's loky).

    When a worker is killed, all die with it. The jobs that were at hand then, and have left no
    record, are executed again one at a time: the one that kills its worker every time is recorded
    as failed. Where no processes can be started, jobs are executed in this one, and that is said.
    """
    if jobs and (why := no_processes()):
        say(f"{why}: runs are executed one after the other in this process")
        yield from serial(jobs, scale)
        return
    waiting = deque(jobs)
    while waiting:
        at_hand = yield from _in_parallel(waiting, scale.workers)
        for job in at_hand:
            yield _alone(job)


def _in_parallel(waiting: deque[Job], workers: int) -> Generator[Record, None, list[Job]]:
    """Execute jobs until there are no more, or a worker dies; returns what was at hand then."""
    from concurrent.futures import FIRST_COMPLETED, wait

    workers = min(workers, len(waiting))
    say(f"{workers} worker process{'es' * (workers > 1)}")
    with _pool(workers) as pool:
        futures = {}
        while waiting or futures:
            while waiting and len(futures) < 2 * workers:  # one is ready when one ends
                job = waiting.popleft()
                futures[_submit(pool, job)] = job
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                if _worker_died(future):
                    return list(futures.values())
                del futures[future]
                yield future.result()
    return []


def _alone(job: Job) -> Record:
    """Execute a job in a process of its own, again if that dies."""
    from benchmark.training.execute import lost, recorded

    causes, tries = [], 0
    while tries < TRIES:
        if found := recorded(job):
            return found
        with _pool(1) as pool:
            future = _submit(pool, job)
            if not _worker_died(future):
                return future.result()
            tries += 1
            causes += re.findall(r"SIG\w+|EXIT\(\d+\)", str(future.exception()))[-1:]
    return lost(job, f"its process died {TRIES} times ({', '.join(causes)}); out of memory?")


def _submit(pool: ProcessPoolExecutor, job: Job) -> Future[Record]:
    from concurrent.futures import Future
    from concurrent.futures.process import BrokenProcessPool

    try:
        with without_main():
            return pool.submit(_work, job)
    except BrokenProcessPool as error:
        future: Future[Record] = Future()
        future.set_exception(error)
        return future


def _worker_died(future: Future[Record]) -> bool:
    """Whether its worker was killed, or told to stop by someone else than this process."""
    from concurrent.futures.process import BrokenProcessPool

    return isinstance(future.exception(), (BrokenProcessPool, stopping.Interrupted))


def _work(job: Job) -> Record:
    """In a worker process."""
    from benchmark.training.execute import execute

    with stopping.working():
        return execute(job)


def begin() -> ForkServerContext:
    """Have all imported, beside this process, that worker processes need: it takes seconds."""
    return fork_server("benchmark.executors.worker")


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that are gone at the end, at once if it is not the usual one."""
    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers, context=begin(), initializer=stopping.become_worker)
    try:
        with warnings.catch_warnings():
            # A worker whose memory has grown ends between two jobs, and another one takes its
            # place: no job is lost, and there is nothing to do about it.
            warnings.filterwarnings("ignore", message=REPLACED)
            yield pool
            pool.shutdown()
    except BaseException:
        own = list(pool._processes.values())  # loky has no public list of them
        for process in own:
            process.terminate()
        late = threading.Timer(PATIENCE, _kill, [[process.pid for process in own]])
        late.start()
        pool.shutdown()  # what is at hand ends with what it is writing, and nothing else begins
        late.cancel()
        raise


def _kill(processes: Sequence[int]) -> None:
    """loky's processes have no method for it."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
