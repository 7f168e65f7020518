"""On SLURM: job arrays, submitted and left alone. Each job executes a pack of runs, and commits
every record into the shared results folder as soon as its run is finished.

    <results>/slurm/<submission>/<n>.json       the runs of pack n, as specs and paths
    <results>/slurm/<submission>/jobs.json      the SLURM job of each pack, in order
    <results>/slurm/<submission>/<job>_0_log.out, .err      what a job said

submitit hands a call to a job through a pickle in the submission's folder. What is in there is the
name of `Pack` and the path of a file of specs, nothing else, and what submitit keeps of a job's
result is never read. The job loads that pickle before any code of this project runs: it trusts
whoever can write the folder. The folder is its owner's alone, and `submit` tells if somebody else
could put another in its place.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import stopping
from benchmark.errors import UserError, unknown
from benchmark.executors.scale import Scale
from benchmark.writers import atomic, sweep

if TYPE_CHECKING:
    from submitit import DelayedSubmission, SlurmExecutor

    from benchmark.planning.jobs import Job
    from benchmark.records import Record

RUNS_PER_JOB = 10
JOBS_AT_ONCE = 20

DEFAULTS = {"job_name": "eo-colearning", "time": 60, "cpus_per_task": 1, "signal_delay_s": 90}

OURS = {
    "additional_parameters": "it is for programs",
    "array_parallelism": "use --workers",
    "map_count": "use --runs-per-job",
    "nodes": "a job is one process",
    "ntasks_per_node": "a job is one process",
    "num_gpus": "use gpus_per_node",
    "use_srun": "jobs need it",
}
"""Options of submitit that are not the user's, and why."""

LISTS = ("setup", "teardown", "srun_args")
"""Options that may be given several times."""

GPU = ("gres", "gpus_per_node", "gpus_per_task")
"""Options that ask for a GPU."""

EARLY = 120
"""Seconds by which the signal before a time limit may come early, and a job start late."""


@dataclass(frozen=True)
class Request:
    """What jobs are asked for: submitit's parameters, runs in a job, jobs at once."""

    parameters: Mapping[str, Any]
    runs_per_job: int
    at_once: int

    @property
    def asks_for_gpu(self) -> bool:
        return any(name in self.parameters for name in GPU)

    @property
    def limit(self) -> int:
        """Seconds that a job works at least until it is told that its time is up."""
        return 60 * self.parameters["time"] - self.parameters["signal_delay_s"] - EARLY


def request(options: Sequence[str], runs_per_job: int | None, at_once: int | None) -> Request:
    """Check what the user asks for; options: ``NAME=VALUE`` as sbatch has them.

    Raises `UserError` if there is no SLURM here, or an option is malformed or unknown.
    """
    try:
        from submitit import SlurmExecutor
    except ImportError as error:
        raise UserError(
            "--executor slurm needs submitit: pip install 'eo-colearning-benchmark[slurm]'"
        ) from error
    if missing := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
        raise UserError(
            f"--executor slurm: there is no SLURM here ({', '.join(missing)} not found); run it on "
            "a machine that submits to a cluster, or take another executor"
        )
    known = SlurmExecutor._valid_parameters()  # submitit has no public list of them
    given: dict[str, Any] = {}
    for text in options:
        match = re.fullmatch(r"([A-Za-z][\w-]*)=(\S|\S[^\x00-\x1f]*\S)", text)
        if not match:
            raise UserError(f"--slurm {text!r}: write NAME=VALUE, as in --slurm partition=gpu")
        name, value = match[1].replace("-", "_"), match[2]
        if name in OURS:
            raise UserError(f"--slurm {name}: cannot be set ({OURS[name]})")
        if name not in known:
            raise unknown("SLURM option", name, known - OURS.keys())
        if name in LISTS:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise UserError(f"--slurm {name}: given twice")
        else:
            given[name] = int(value) if re.fullmatch(r"0|[1-9][0-9]{0,8}", value) else value
    parameters = {**DEFAULTS, **given}
    for name, unit in (("time", "minutes"), ("signal_delay_s", "seconds")):
        if not isinstance(parameters[name], int) or parameters[name] < 1:
            raise UserError(
                f"--slurm {name}={parameters[name]}: give {unit}, a whole number above 0"
            )
    asked = Request(parameters, runs_per_job or RUNS_PER_JOB, at_once or JOBS_AT_ONCE)
    if asked.limit <= 0:
        shortest = (parameters["signal_delay_s"] + EARLY) // 60 + 1
        raise UserError(
            f"--slurm time={parameters['time']}: give at least {shortest} minutes; the end is "
            f"told {parameters['signal_delay_s']} seconds ahead, and up to {EARLY} earlier"
        )
    return asked


def with_gpu(request: Request) -> Request:
    """The same request, with a GPU for each job."""
    if request.asks_for_gpu:
        return request
    return replace(request, parameters={**request.parameters, "gpus_per_node": 1})


def pack(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Packs of at most ``size`` runs, each for one SLURM job.

    Runs on a fold stand together, and those that build on the same artefacts are not parted where
    they fit into one pack: what a job has trained, its next runs find.
    """
    together: dict[str, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: (str(job.prepared), job.spec.fold, job.spec.seed)):
        alone = None if job.spec.artefacts else job.spec.id
        shared = [str(job.prepared), job.spec.fold, job.spec.seed, job.spec.placebo]
        shared += [dict(job.spec.artefacts), alone]
        together.setdefault(json.dumps(shared, sort_keys=True, allow_nan=False), []).append(job)
    packs: list[list[Job]] = [[]]
    for group in together.values():
        for start in range(0, len(group), size):
            part = group[start : start + size]
            if len(packs[-1]) + len(part) > size:
                packs.append([])
            packs[-1] += part
    return [jobs for jobs in packs if jobs]


def script(packs: Sequence[Sequence[Job]], request: Request, folder: Path) -> list[str]:
    """The options of sbatch, as they stand in the script that would be submitted."""
    executor = _executor(folder, request)
    if len(packs) > 1:
        executor.parameters["map_count"] = len(packs)
    text = executor._make_submission_file_text("", "")  # submitit shows it nowhere else
    return [line for line in text.splitlines() if line.startswith("#SBATCH")]


def new_folder(results: Path) -> Path:
    """The name of a submission's folder, which begins with the time in UTC; it is not made."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return results.absolute() / "slurm" / f"{now}-{uuid.uuid4().hex[:8]}"


def submit(packs: Sequence[Sequence[Job]], request: Request, folder: Path) -> list[str]:
    """Submit one SLURM job a pack, as an array; returns their ids. Nothing waits for them.

    Raises `UserError` with what sbatch says if it refuses; nothing is submitted then.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    for exposed in _writable_by_others(folder):
        print(
            f"{exposed}: others can write there, and could have other code executed by these jobs; "
            "take --results in a folder of your own if you do not trust them",
            file=sys.stderr,
        )
    try:
        calls = []
        for number, jobs in enumerate(packs):
            path = folder / f"{number}.json"
            with atomic(path) as file:
                file.write(as_text(jobs).encode())
            calls.append(Pack(str(path), request.limit))
        with stopping.finishing():  # what sbatch has taken is known by jobs.json
            submitted = _executor(folder, request).submit_array(calls)
            ids = [job.job_id for job in submitted]
            with atomic(folder / "jobs.json") as file:
                file.write(json.dumps(ids, allow_nan=False).encode())
    except (FailedJobError, FailedSubmissionError) as error:
        shutil.rmtree(folder)
        said = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise UserError(f"sbatch refused the jobs, nothing is submitted: {said}") from error
    return ids


def as_text(jobs: Sequence[Job]) -> str:
    """Jobs as JSON: specs, paths and settings."""
    return json.dumps([asdict(job) for job in jobs], default=os.fspath, allow_nan=False)


def from_text(text: str) -> list[Job]:
    """What `as_text` was given. Raises what Python does for other text."""
    from benchmark.planning.jobs import Job
    from benchmark.records import check_types
    from benchmark.spec import RunSpec

    jobs = [
        Job(
            **{
                **values,
                "spec": RunSpec(**values["spec"]),
                "prepared": Path(values["prepared"]),
                "results": Path(values["results"]),
                "plugins": tuple(map(Path, values["plugins"])),
            }
        )
        for values in json.loads(text)
    ]
    for job in jobs:
        check_types(job.spec)
    return jobs


@dataclass(frozen=True)
class Pack:
    """What submitit calls in a job: execute the runs of a file that are not recorded yet.

    limit: seconds after which SIGUSR2 means that the job's time is up.

    Runs are executed in a process beside, so that one that dies costs no other. At SIGUSR2, which
    comes before the time limit, and at SIGTERM, by which a job is preempted or cancelled, the run
    at hand is stopped and the job queued again, unless SLURM has ended it; it goes on with what is
    missing. A run that had the whole time of a job for itself is recorded as failed.
    """

    path: str
    limit: int

    def __call__(self) -> None:
        from benchmark.executors.local import processes
        from benchmark.training.execute import lost

        began = time.monotonic()
        missing = before = self._missing()
        try:
            with stopping.interruptible((*stopping.SIGNALS, signal.SIGUSR2)):
                for record in processes(missing, Scale(workers=1)):
                    print(_line(record), flush=True)
            return
        except stopping.Interrupted as interrupted:
            number = interrupted.number
        finally:
            for results in {job.results for job in before}:
                sweep(results)
        missing = self._missing()
        if number == signal.SIGTERM and not _still_runs():
            sys.exit(128 + number)
        out_of_time = number == signal.SIGUSR2 and time.monotonic() - began > self.limit
        if out_of_time and missing == before:
            too_long = "took longer than a whole SLURM job may (--slurm time=MINUTES)"
            print(_line(lost(missing.pop(0), too_long)), flush=True)
        if missing and shutil.which("scontrol") is None:
            sys.exit(
                f"this node has no scontrol to queue the job again: {len(missing)} runs are left, "
                "which `run --executor slurm`, as it was given, submits again"
            )
        if missing:
            signal.raise_signal(signal.SIGUSR2)  # submitit's handler queues the job again

    def checkpoint(self) -> DelayedSubmission:
        """What submitit calls when the job is queued again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _missing(self) -> list[Job]:
        from benchmark.training.execute import recorded

        return [job for job in from_text(Path(self.path).read_text()) if recorded(job) is None]


def _line(record: Record) -> str:
    return f"{record.spec}: {record.status}" + (f": {record.reason}" if record.reason else "")


def _still_runs() -> bool:
    """Whether SLURM has not ended this job: it has one that was cancelled, or is queued again.

    Where it cannot be asked (a node without squeue), it is taken to have: what a job leaves is
    queued again by SLURM itself after a preemption, and else submitted again by the same command.
    """
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={os.environ['SLURM_JOB_ID']}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"told to end; SLURM cannot be asked why ({error})", file=sys.stderr)
        return False
    return asked.stdout.strip() == "RUNNING"


def _executor(folder: Path, request: Request) -> SlurmExecutor:
    from submitit import SlurmExecutor

    # Whenever a job reaches its time limit, it has recorded a run at least; submitit also counts
    # that short jobs are preempted.
    executor = SlurmExecutor(folder, max_num_timeout=request.runs_per_job + 10)
    executor.update_parameters(
        **request.parameters,
        array_parallelism=request.at_once,
        additional_parameters={"requeue": True},
    )
    return executor


def _writable_by_others(folder: Path) -> list[Path]:
    """The folders above one in which somebody else could put another in its place."""
    exposed = []
    for above in folder.parents:
        with contextlib.suppress(OSError):
            found = above.stat()
            open_to_all = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if found.st_uid not in (0, os.getuid()) or (
                open_to_all and not found.st_mode & stat.S_ISVTX
            ):
                exposed.append(above)
    return exposed
