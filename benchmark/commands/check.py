"""`check`: methods through all checks, in parallel processes, as a table and sentences."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from benchmark.commands.choosing import choose_methods
from benchmark.conformance import checks
from benchmark.conformance.checks import COLUMNS, HYPERPARAMETERS, Verdict, applicable
from benchmark.conformance.problem import COMBINATIONS, Combination
from benchmark.errors import UserError
from benchmark.machine import cores, no_processes
from benchmark.stopping import end_with
from methods.common.registry import Entry

Job = tuple[str, Sequence[Combination], Sequence[str], tuple[Path, ...]]
"""Key of a method, combinations, checks, and the files that the user named."""


def check(options: argparse.Namespace) -> int:
    """Check the chosen methods and print what was found. Returns 1 if one does not conform."""
    import joblib
    from tqdm import tqdm

    if not (options.all or options.methods):
        raise UserError("say what to check: names or patterns of methods, or --all")
    if options.workers is not None and options.workers < 1:
        raise UserError("--workers must be at least 1")
    if why := no_processes():
        raise UserError(f"{why}: `check` compares what fresh ones compute; try another machine")
    started = time.perf_counter()
    entries = choose_methods(options)
    workers = options.workers or cores()
    workers = min(workers, len(entries) * len(COMBINATIONS))
    jobs = list(_jobs(entries, workers, tuple(plugin.resolve() for plugin in options.plugin)))
    verdicts: dict[str, list[Verdict]] = {entry.key: [] for entry in entries}
    # Idle OpenMP threads that spin would slow every worker down many times on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    ending = {"initializer": end_with, "initargs": (os.getpid(),)}
    loky = joblib.parallel_config("loky", inner_max_num_threads=1, **ending)
    with loky, tqdm(total=len(jobs)) as bar:
        parallel = joblib.Parallel(workers, return_as="generator_unordered")
        for key, found in parallel(joblib.delayed(_work)(job) for job in jobs):
            verdicts[key] += found
            bar.update()
    print(tabulate(_rows(verdicts), headers="keys", tablefmt="simple"))
    for line in _remarks(entries):
        print(line)
    faults = list(_faults(verdicts))
    for line in faults:
        print("\n" + line)
    failed = {key for key in verdicts if any(v.faults for v in verdicts[key]) or not verdicts[key]}
    seconds = time.perf_counter() - started
    print(
        f"\n{len(entries) - len(failed)} of {len(entries)} methods conform ({seconds:.0f} s)"
        + (f"; not: {', '.join(sorted(failed))}" if failed else "")
    )
    return 1 if failed else 0


def _jobs(entries: Sequence[Entry], workers: int, plugins: tuple[Path, ...]) -> Iterator[Job]:
    """The work in pieces: a method as a whole if there are many, the longest first."""
    for entry in entries:
        claimed = applicable(entry)[0]
        pieces = -(-workers // len(entries))
        for i in range(pieces):
            yield entry.key, claimed[i::pieces], COLUMNS[:-1], plugins
        yield entry.key, _one_a_task(claimed), (HYPERPARAMETERS,), plugins


def _work(job: Job) -> tuple[str, list[Verdict]]:
    """In a worker process."""
    import torch
    from joblib.externals.loky import ProcessPoolExecutor

    import methods

    key, combinations, names, plugins = job
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    entry = methods.load(plugins)[key]
    with ProcessPoolExecutor(1, initializer=end_with, initargs=(os.getpid(),)) as fresh:
        return key, checks.check(entry, combinations, fresh, plugins, names)


def _one_a_task(combinations: Sequence[Combination]) -> list[Combination]:
    """For each task and number of modalities the combination with the fewest images, the slowest.

    That is enough for hyper-parameters, which need not matter everywhere.
    """
    by_images = sorted(combinations, key=lambda c: c.kinds.count("image"))
    first = {(c.task, len(c.kinds)): c for c in reversed(by_images)}
    return [c for c in by_images if first[c.task, len(c.kinds)] == c]


def _rows(verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[dict[str, str]]:
    """One row a method: how often it passes each check, or "-" where one never applies."""
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
    for entry in entries:
        claimed, reasons = applicable(entry)
        if reasons:
            combination, reason = next(iter(reasons.items()))
            yield (
                f"\n{entry.key} applies to {len(claimed)} of {len(COMBINATIONS)} combinations; "
                f"not to {combination}: {reason}"
            )


def _faults(verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[str]:
    """One paragraph for each check that a method fails: the first fault and where else."""
    for key, found in verdicts.items():
        if not found:
            yield f"{key}: it applies to none of the combinations; correct its `applicable`"
        for name in COLUMNS:
            failed = [v for v in found if v.check == name and v.faults]
            if failed:
                first, *more = failed
                elsewhere = f" (and {len(more)} more: {more[0].place}, ...)" if more else ""
                yield f"{key}, {name}, {first.place}{elsewhere}: {'; '.join(first.faults)}"
