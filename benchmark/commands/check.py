"""`check`: methods through all checks, in parallel processes, as a table and sentences."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.machine import cores, no_processes
from benchmark.stopping import end_with

if TYPE_CHECKING:
    from benchmark.conformance.case import Measured
    from benchmark.conformance.checks import Verdict
    from benchmark.conformance.problem import Combination
    from methods.common.registry import Entry

Job = tuple[str, str, "Sequence[Combination]", Sequence[str], tuple[Path, ...]]
"""Key of a method, where it is checked, combinations, checks, and the files that the user named."""


def check(options: argparse.Namespace) -> int:
    """Check the chosen methods and print what was found. Returns 1 if one does not conform."""
    if not (options.all or options.methods):
        raise UserError("say what to check: names or patterns of methods, or --all")
    if options.workers is not None and options.workers < 1:
        raise UserError("--workers must be at least 1")
    if why := no_processes():
        raise UserError(f"{why}: `check` compares what fresh ones compute; try another machine")
    started = time.perf_counter()
    print("loading the methods ...", file=sys.stderr, flush=True)  # torch takes seconds
    # Idle OpenMP threads that spin would slow every worker down many times on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from tabulate import tabulate

    from benchmark.commands.choosing import choose_methods

    entries = choose_methods(options)
    jobs = list(_jobs(entries, tuple(plugin.resolve() for plugin in options.plugin)))
    workers = max(1, min(options.workers or cores(), len(jobs)))
    verdicts: dict[str, list[Verdict]] = {entry.key: [] for entry in entries}
    for key, found in _checked(jobs, workers):
        verdicts[key] += found
    print(tabulate(_rows(verdicts), headers="keys", tablefmt="simple"))
    for line in (*_remarks(entries), *_nearest(verdicts)):
        print(line)
    for line in _faults(verdicts, options.verbose):
        print("\n" + line)
    failed = {key for key in verdicts if any(v.faults for v in verdicts[key]) or not verdicts[key]}
    seconds = time.perf_counter() - started
    print(
        f"\n{len(entries) - len(failed)} of {len(entries)} methods conform ({seconds:.0f} s)"
        + (f"; not: {', '.join(sorted(failed))}" if failed else "")
    )
    return 1 if failed else 0


def _jobs(entries: Sequence[Entry], plugins: tuple[Path, ...]) -> Iterator[Job]:
    """The work in pieces; of each method the longest first."""
    from benchmark.conformance.checks import COLUMNS, HYPERPARAMETERS, applicable

    for entry in entries:
        claimed = applicable(entry)[0]
        few = _one_a_task(claimed)
        if few and entry.hyperparameters:
            yield entry.key, HYPERPARAMETERS, few, (HYPERPARAMETERS,), plugins
        for combination in claimed:
            yield entry.key, str(combination), [combination], COLUMNS[:-1], plugins


def _one_a_task(combinations: Sequence[Combination]) -> list[Combination]:
    """For each task and number of modalities the combination with the fewest images, the slowest.

    That is enough for hyper-parameters, which need not matter everywhere.
    """
    by_images = sorted(combinations, key=lambda c: c.kinds.count("image"))
    first = {(c.task, len(c.kinds)): c for c in reversed(by_images)}
    return [c for c in by_images if first[c.task, len(c.kinds)] == c]


# --- In parallel --------------------------------------------------------------------------------


def _checked(jobs: Sequence[Job], workers: int) -> Iterator[tuple[str, list[Verdict]]]:
    """Do the jobs and show at which of them it is."""
    from tqdm import tqdm

    waiting = deque(jobs)
    at_hand = {}
    with _pool(workers) as pool, tqdm(total=len(jobs)) as bar:
        while waiting or at_hand:
            while waiting and len(at_hand) < workers:
                job = waiting.popleft()
                at_hand[pool.submit(_work, job)] = job
                bar.set_description(f"{job[0]}, {job[1]}")
            for future in wait(at_hand, return_when=FIRST_COMPLETED).done:
                if isinstance(future.exception(), BrokenProcessPool):
                    places = "; ".join(f"{job[0]}, {job[1]}" for job in at_hand.values())
                    raise UserError(
                        f"a process was killed that checked one of: {places}; if there was memory "
                        "enough, see what the method does to its process"
                    )
                del at_hand[future]
                yield future.result()
                bar.update()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are gone at the end, at once.

    They are forks of this one, which has imported everything and trained nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        pool = ProcessPoolExecutor(
            workers, get_context("fork"), _begin, (os.getpid(), folder, True)
        )
        pool.submit(int).result()  # forks, before there are other threads
        processes = list(pool._processes.values())  # there is no public list of them
        try:
            yield pool
        finally:
            for process in processes:
                process.kill()  # what is at hand, if anything, is of no use to anyone
            pool.shutdown(cancel_futures=True)


_fresh: ProcessPoolExecutor | None = None
"""Of a worker: a process in which nothing is ever trained."""


def _begin(parent: int, folder: str, trains: bool) -> None:
    """Make this process a worker, or the fresh process of one."""
    global _fresh
    from benchmark.training.process import reproducible

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tempfile.tempdir = folder  # below that of the parent, who removes it
    reproducible("cpu")
    if trains:
        arguments = (os.getpid(), folder, False)
        _fresh = ProcessPoolExecutor(1, get_context("fork"), _begin, arguments)
        _fresh.submit(int).result()
    end_with(parent)


def _work(job: Job) -> tuple[str, list[Verdict]]:
    """In a worker process."""
    from benchmark.conformance import checks
    from methods.common.registry import REGISTRY

    key, _, combinations, names, plugins = job
    return key, checks.check(REGISTRY[key], combinations, _fresh, plugins, names)


# --- What is said -------------------------------------------------------------------------------


def _rows(verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[dict[str, str]]:
    """One row a method: how often it passes each check, or "-" where one never applies."""
    from benchmark.conformance.checks import COLUMNS

    for key, found in verdicts.items():
        cells = {}
        for name in COLUMNS:
            results = [v.faults for v in found if v.check == name and v.faults is not None]
            passed = results.count(())
            cells[name] = str(passed) if passed == len(results) else f"{passed} of {len(results)}"
            if not results:
                cells[name] = "-"
        yield {"method": key, **cells}


def _remarks(entries: Sequence[Entry]) -> Iterator[str]:
    """What methods do not claim, with the first reason that they give."""
    from benchmark.conformance.checks import applicable
    from benchmark.conformance.problem import COMBINATIONS

    for entry in entries:
        claimed, reasons = applicable(entry)
        if reasons:
            combination, reason = next(iter(reasons.items()))
            yield (
                f"\n{entry.key} applies to {len(claimed)} of {len(COMBINATIONS)} combinations; "
                f"not to {combination}: {reason}"
            )


def _nearest(verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[str]:
    """Of each check that measures something, what came nearest to its bar; the nearest last."""
    nearest: dict[str, tuple[float, str, str, Measured]] = {}
    for key, found in verdicts.items():
        for verdict in found:
            for measured in verdict.measured:
                candidate = (measured.value / measured.bar, key, verdict.place, measured)
                if verdict.check not in nearest or candidate[0] > nearest[verdict.check][0]:
                    nearest[verdict.check] = candidate
    if nearest:
        yield "\nNearest to a bar (what is not named here is equal bit by bit, or is not):"
    for name, (_, key, place, measured) in sorted(nearest.items(), key=lambda item: item[1][0]):
        yield f"  {name}: {measured} ({key}, {place})"


def _faults(verdicts: Mapping[str, Sequence[Verdict]], verbose: bool) -> Iterator[str]:
    """A sentence for each check that a method fails: the first fault, and how many more."""
    from benchmark.conformance.checks import COLUMNS

    for key, found in verdicts.items():
        if not found:
            yield f"{key}: it applies to none of the combinations; correct its `applicable`"
        for name in COLUMNS:
            faults = [(v.place, f) for v in found if v.check == name for f in v.faults or ()]
            for place, fault in faults if verbose else faults[:1]:
                more = f" (and {len(faults) - 1} more: -v)" if faults[1:] and not verbose else ""
                yield f"{key}, {name}, {place}{more}: {fault}"
