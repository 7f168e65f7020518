"""What has become of the runs that were submitted to SLURM."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import NotWritableError, UserError
from benchmark.executors import slurm

if TYPE_CHECKING:
    from benchmark.planning.jobs import Job
    from benchmark.records import Record

ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
}
"""States of a SLURM job that does nothing any more; in all others it is queued or running."""

FORGOTTEN = "forgotten by SLURM"


@dataclass(frozen=True)
class Submitted:
    """A run, the SLURM job that executes it, and what that job writes to its stderr.

    log: its path from the results folder.
    """

    run: Job
    number: str
    log: Path


@dataclass(frozen=True)
class Lost:
    """A run without a record whose job has ended.

    guilty: whether the job died of it; others that were in the same job are not.
    """

    submitted: Submitted
    state: str
    guilty: bool

    def __str__(self) -> str:
        each = self.submitted
        return f"{_job(each.number)} as {self.state}; its log is {each.log} among the results"


def _job(number: str) -> str:
    return f"SLURM job {number} ended"


@dataclass(frozen=True)
class Survey:
    """Of all that was submitted: what is recorded, what is waited for (with its state), lost."""

    recorded: list[Record]
    waiting: list[tuple[Submitted, str]]
    lost: list[Lost]


def survey(results: Path) -> Survey:
    """Look for the records of what was submitted, and ask SLURM about the rest.

    A run that was submitted several times is waited for as long as one of its jobs may still
    execute it: no clock, of which each machine has its own, decides which of them counts. Raises
    `UserError` if SLURM does not answer.
    """
    runs = submitted(results)
    found = _records(runs)
    numbers = {each.number for key, several in runs.items() if not found[key] for each in several}
    states = ask(numbers) if numbers else {}
    # Looked for once more: a job that has ended since then has committed its records before.
    found = _records(runs)
    result = Survey([record for record in found.values() if record], [], [])
    # A job dies of one run: once that is recorded, the others of that job are never blamed.
    reasons = [record.reason for record in result.recorded if record.reason]
    explained = {n for n in numbers if any(_job(n) in reason for reason in reasons)}
    for key, several in runs.items():
        if found[key]:
            continue
        ends = []
        for each in several:
            state = states.get(each.number, FORGOTTEN)
            if state != FORGOTTEN and state.split()[0] not in ENDED:
                result.waiting.append((each, state))
                break
            guilty = state == "OUT_OF_MEMORY" and each.number not in explained
            ends.append(Lost(each, state, guilty))
        else:
            lost = next((end for end in ends if end.guilty), ends[-1])
            if lost.guilty:
                explained.add(lost.submitted.number)
            result.lost.append(lost)
    return result


def _records(runs: Mapping[str, Sequence[Submitted]]) -> dict[str, Record | None]:
    """The record of each run, if there is one that gives way to none of its submissions."""
    from benchmark.training.execute import recorded

    found = {}
    for key, several in runs.items():
        each = [recorded(one.run) for one in several]
        found[key] = None if None in each else each[0]
    return found


def submitted(results: Path) -> dict[str, list[Submitted]]:
    """All runs that were submitted from a results folder by their ids, in the order of their jobs.

    What belongs to another user, or could be written by one, is left aside and named, and so is
    what cannot be read.
    """
    found: dict[str, list[Submitted]] = {}
    for folder in sorted((results / "slurm").glob("*")):
        try:
            owner = folder.stat()
            if owner.st_uid != os.getuid() or owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                print(f"{folder}: not yours alone, left aside", file=sys.stderr)
                continue
            runs = _runs_of(folder)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            print(f"{folder}: not a whole submission, left aside ({reason})", file=sys.stderr)
            continue
        for each in runs:
            found.setdefault(each.run.spec.id, []).append(each)
    for several in found.values():
        several.sort(key=lambda each: [int(n) for n in re.findall(r"\d+", each.number)])
    return found


def _runs_of(folder: Path) -> list[Submitted]:
    jobs = folder / "jobs.json"
    if not jobs.exists():  # being submitted, or sbatch was never reached
        return []
    numbers = json.loads(jobs.read_bytes())
    if not isinstance(numbers, list) or not all(isinstance(number, str) for number in numbers):
        raise ValueError("jobs.json is not a list of numbers of jobs")
    return [
        Submitted(run, number, Path("slurm", folder.name, f"{number}_0_log.err"))
        for pack, number in enumerate(numbers)
        for run in slurm.from_text((folder / f"{pack}.json").read_text())
    ]


def ask(numbers: Iterable[str]) -> dict[str, str]:
    """The states of SLURM jobs by their ids, those that are waiting with the reason.

    squeue knows of jobs that are queued or running or have ended some minutes ago, sacct of all
    where the cluster keeps accounts. A job that neither knows is not in the result.
    """
    wanted = set(numbers)
    listed = _output("squeue", "--me", "--states=all", "--array", "--noheader", "--format=%i|%T|%r")
    states = {}
    for line in listed.splitlines():
        number, state, reason = line.split("|", 2)
        states[number] = f"{state} ({reason})" if state == "PENDING" else state
    unknown = sorted(wanted - states.keys())
    if unknown and shutil.which("sacct"):
        options = ("--allocations", "--parsable2", "--noheader", "--format=JobID,State")
        try:
            listed = _output("sacct", *options, f"--jobs={','.join(unknown)}")
        except UserError:  # no accounts are kept here
            listed = ""
        for line in listed.splitlines():
            number, state = line.split("|", 1)
            states[number] = state.split()[0]  # CANCELLED by somebody
    return {number: states[number] for number in wanted & states.keys()}


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no SLURM here ({command[0]} not found), and runs that were submitted are "
            "not recorded yet; give the command on a machine of the cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{command[0]} does not answer; try again later") from error
    if done.returncode:
        said = "; ".join(line for line in done.stderr.splitlines() if line)
        raise UserError(f"{command[0]} does not answer ({said}); try again later")
    return done.stdout


def record_guilty(found: Survey) -> Survey:
    """Record the runs that their job died of as failed; without their data they stay lost."""
    from benchmark.training.execute import lost

    result = Survey(list(found.recorded), found.waiting, [])
    for each in found.lost:
        try:
            if each.guilty:
                result.recorded.append(lost(each.submitted.run, str(each)))
                continue
        except NotWritableError:
            raise
        except UserError as error:
            print(f"{each.submitted.run.spec}: not recorded as failed: {error}", file=sys.stderr)
        result.lost.append(each)
    return result
