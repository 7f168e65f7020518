"""Runs that are submitted to SLURM now, and collected later."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import records
from benchmark.commands.report import report_all
from benchmark.errors import UserError, number_of
from benchmark.executors import queue, slurm

if TYPE_CHECKING:
    from benchmark.executors.slurm import Request
    from benchmark.planning.plan import Planned


def request(options: argparse.Namespace) -> Request:
    """What jobs are asked for; raises `UserError` if it cannot be, or there is no SLURM."""
    asked = slurm.request(options.slurm, options.runs_per_job, options.workers)
    return slurm.with_gpu(asked) if options.device.startswith("cuda") else asked


def waiting(options: argparse.Namespace) -> set[str]:
    """The ids of runs that SLURM has queued or executes; what a job died of is recorded."""
    found = queue.survey(options.results)
    if not options.dry_run:
        queue.record_guilty(found)
    if found.waiting:
        told = number_of(len(found.waiting), "run")
        print(f"{told} queued or running in SLURM: not submitted again")
    return {each.run.spec.id for each, _ in found.waiting}


def submit(todo: Sequence[Planned], request: Request, results: Path, *, dry_run: bool) -> int:
    """Submit what applies, or say what would be submitted. Returns 0 without waiting for it."""
    from benchmark.training.execute import not_applicable

    packs = slurm.pack([p.job for p in todo if not p.not_applicable], request.runs_per_job)
    folder = slurm.new_folder(results)
    jobs = f"{number_of(len(packs), 'SLURM job')}, at most {request.at_once} at once"
    if dry_run:
        print(f"{jobs}; runs in each: {', '.join(str(len(pack)) for pack in packs) or 'none'}")
        print("\n".join(slurm.script(packs, request, folder) if packs else ()))
        return 0
    for item in todo:
        if item.not_applicable:
            not_applicable(item.job, item.not_applicable)
    if not packs:
        print("nothing to submit: all that was asked for is recorded, queued or running")
        return 0
    ids = slurm.submit(packs, request, folder)
    print(
        f"submitted {number_of(sum(map(len, packs)), 'run')} in {jobs}: {ids[0]} to {ids[-1]}\n"
        f"logs: {folder}\n"
        f"how far they are, and the report: python -m benchmark collect --results {results}"
    )
    return 0


def collect(options: argparse.Namespace) -> int:
    """Say how far the submitted runs are, record those their job died of, then report.

    Returns 1 if a run failed or is lost.
    """
    found = queue.record_guilty(queue.survey(options.results))
    counts = Counter(record.status for record in found.recorded)
    total = sum(counts.values()) + len(found.waiting) + len(found.lost)
    if not total:
        raise UserError(
            f"nothing was submitted from {options.results}: `run --executor slurm` does, --results "
            "names another folder"
        )
    print(
        f"{number_of(total, 'run')}: {counts['done']} done, {counts['failed']} failed, "
        f"{len(found.waiting)} queued or running, {len(found.lost)} lost"
    )
    for state, n in sorted(Counter(state for _, state in found.waiting).items()):
        numbers = {each.number for each, its in found.waiting if its == state}
        print(f"{state}: {number_of(n, 'run')} in {number_of(len(numbers), 'job')}")
    for record in found.recorded:
        if record.status == "failed":
            print(f"failed: {record.spec}: {record.reason} (run again with --retry failed)")
    for told, n in Counter(str(each) for each in found.lost).items():
        print(f"lost: {number_of(n, 'run')} without a new record: {told}")
    if found.lost:
        print("`run --executor slurm`, as it was given, submits again what is lost")
    if records.files(options.results):
        report_all(options)
    return 1 if counts["failed"] or found.lost else 0
