"""`run`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import records
from benchmark.commands import submission
from benchmark.commands.choosing import (
    check_arithmetic,
    choose_device,
    choose_methods,
    choose_replicas,
    choose_variants,
    is_here,
    prepare_datasets,
    with_yardsticks,
)
from benchmark.commands.report import report_all
from benchmark.errors import UserError, not_writable
from benchmark.machine import cores, no_processes
from benchmark.merging import check_not_packed
from benchmark.planning import protocol as protocols
from benchmark.planning.code import changed
from benchmark.records import models_path
from benchmark.spec import PRECISIONS
from benchmark.writers import sweep

if TYPE_CHECKING:
    from benchmark.executors.scale import Executor, Scale
    from benchmark.executors.slurm import Request
    from benchmark.planning.plan import Planned
    from benchmark.records import Record, Status
    from benchmark.spec import RunSpec


@dataclass(frozen=True)
class Outcome:
    """What `run` keeps of a record until its end: there may be very many."""

    spec: RunSpec
    status: Status
    reason: str | None


def run(options: argparse.Namespace) -> int:
    """Plan, execute what is not recorded yet, then report. Returns 1 if a run failed."""
    protocol = protocols.load(options.protocol)
    _check_request(options)
    check_work(options)
    begin_workers(options)
    variants = choose_variants(options, protocol)
    methods = choose_methods(options)
    if not options.hparams:
        methods = with_yardsticks(methods, protocol)
    request = submission.request(options) if options.executor == "slurm" else None
    device = choose_device(options, request)
    check_arithmetic(options, device, here=is_here(options))
    datasets = prepare_datasets(options, protocol)

    from benchmark.planning.plan import plan

    planned = [
        item
        for share in options.labels or (protocol.labels,)
        for item in plan(
            datasets,
            methods,
            replace(protocol, labels=share),
            chosen_folds=options.folds,
            seeds=options.seeds,
            results=options.results.absolute(),
            device=device,
            plugins=tuple(plugin.resolve() for plugin in options.plugin),
            timeout=options.timeout,
            keep_features=options.keep_features,
            keep_models={d.name: d.origin for d, _ in datasets} if options.keep_models else None,
            precision=PRECISIONS[options.precision],
            compiled=options.compile,
            placebo=options.placebo,
            variants=variants,
        )
    ]
    if options.placebo:
        print(_placebo_notice(planned))
    _notice_other_data(planned, options.results)
    outcomes = carry_out(planned, options, device, request)
    if outcomes is None:
        return 0
    report_all(options, {item.job.spec.id for item in planned})
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def carry_out(
    planned: Sequence[Planned],
    options: argparse.Namespace,
    device: str,
    request: Request | None,
) -> list[Outcome] | None:
    """Execute what is not recorded yet, and say what has become of all; or submit it to SLURM.

    Returns None where it was submitted, or would be, or is only listed.
    """
    from benchmark.executors import executor
    from benchmark.executors.scale import Scale

    waiting = submission.waiting(options) if request else set()
    todo, skipped = _compare_with_records(planned, options)
    todo = [item for item in todo if item.job.spec.id not in waiting]
    if options.dry_run:
        _list(todo, len(skipped))
    if request:
        submission.submit(todo, request, options.results, dry_run=options.dry_run)
    if request or options.dry_run:
        return None
    replicas = choose_replicas(options, device)
    one = device != "cpu" or replicas > 1
    workers = options.workers or (1 if one else cores())
    name = options.executor or ("serial" if workers == 1 else "processes")
    scale = Scale(workers, options.dask_address, replicas)
    try:
        done = _execute(todo, executor(name), scale)
    finally:
        sweep(options.results)
    _summarise(planned, skipped, done)
    return [*skipped, *done]


def _check_request(options: argparse.Namespace) -> None:
    named = options.datasets or options.methods or options.set or options.hparams
    if not (options.all or named):
        raise UserError("say what to run: --all, or --datasets and/or --methods with names")
    if options.hparams and options.set:
        raise UserError("--set and --hparams: give values by hand, or those of a file, not both")


def check_work(options: argparse.Namespace) -> None:
    """Raise `UserError` for options that do not go together, or results that cannot be written."""
    if options.modalities is not None and len(options.modalities) < 2:
        raise UserError("--modalities: co-learning needs at least two modalities")
    if options.workers is not None and options.workers < 1:
        raise UserError("--workers must be at least 1")
    if options.dask_address and options.executor != "dask":
        raise UserError("--dask-address is for --executor dask")
    if (options.slurm or options.runs_per_job is not None) and options.executor != "slurm":
        raise UserError("--slurm and --runs-per-job are for --executor slurm")
    if options.runs_per_job is not None and options.runs_per_job < 1:
        raise UserError("--runs-per-job must be at least 1")
    if options.executor == "slurm" and options.device.startswith("cuda:"):
        raise UserError(
            f"--device {options.device}: SLURM gives each job cards of its own; say --device cuda"
        )
    one_by_one = {
        "--workers": (options.workers or 1) > 1,
        "--executor": options.executor not in (None, "serial"),
        "--timeout": options.timeout is not None,
        "--precision": options.precision != "fp32",
        "--compile": options.compile,
    }
    if options.replicas != 1 and any(one_by_one.values()):
        named = " and ".join(name for name, given in one_by_one.items() if given)
        raise UserError(f"--replicas: one process trains them, in full precision; not with {named}")
    if options.timeout is not None and not 0 < options.timeout < threading.TIMEOUT_MAX:
        raise UserError("--timeout must be a number of seconds above 0")
    check_not_packed(options.results)
    _check_writable(options.results)


def begin_workers(options: argparse.Namespace) -> None:
    """Have worker processes import what they need while this one does, and looks at the data."""
    wanted = options.executor or ("processes" if options.device in ("auto", "cpu") else "serial")
    several = options.executor or (options.replicas == 1 and (options.workers or cores()) > 1)
    if wanted == "processes" and several and not options.dry_run and not no_processes():
        from benchmark.executors import local

        print("starting workers: importing torch ...", flush=True)
        local.begin()


def _check_writable(results: Path) -> None:
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise not_writable(results, error, "choose another --results") from error


def _compare_with_records(
    planned: Sequence[Planned], options: argparse.Namespace
) -> tuple[list[Planned], list[Outcome]]:
    """What is to be done, and the outcomes of what is recorded.

    To be done is also what --retry says, and what did not apply when it was recorded and does now;
    their records give way when there are others. A damaged record is named and moved aside; so is
    named what is not run again though its code, or what its protocol says of itself, has changed.
    """
    sweep(options.results)
    todo, skipped = [], []
    edited: dict[str, list[Record]] = {}
    restated = without = 0
    for item in planned:
        record = _whole_record(item.job.spec, options)
        if record is None:
            todo.append(item)
        elif _again(item, record, options.retry):
            todo.append(replace(item, job=replace(item.job, replaces=record.created)))
        else:
            skipped.append(Outcome(item.job.spec, record.status, record.reason))
            if changed(record.code):
                edited.setdefault(record.spec.method, []).append(record)
            restated += bool(record.standing) and record.standing != item.job.standing
            without += (
                record.status == "done"
                and item.job.keeps_models
                and not models_path(options.results, record.spec).is_dir()
            )
    for method, its in edited.items():
        modules = dict.fromkeys(module for record in its for module in changed(record.code))
        print(
            f"{method}: its code ({', '.join(modules)}) has changed since {len(its)} recorded runs "
            "and its version has not: what they say is of the old code; --retry changed runs them "
            "again"
        )
    if restated:
        print(
            f"{restated} recorded runs have another title, evidence, flags, rope or view of the "
            "protocol than its file now: tables go by the records; --retry all runs them again"
        )
    if without:
        print(
            f"{without} recorded runs have no kept model: what was trained is gone; --retry all "
            "runs them again and keeps one"
        )
    return todo, skipped


def _again(item: Planned, record: Record, retry: str | None) -> bool:
    """Whether a run that is recorded is to be run again."""
    if record.status == "not applicable" and not item.not_applicable:
        return True
    if retry == "changed":
        return bool(changed(record.code))
    return retry == "all" or retry == record.status == "failed"


def _whole_record(spec: RunSpec, options: argparse.Namespace) -> Record | None:
    try:
        return records.load(spec, options.results)
    except UserError as error:
        if options.dry_run:
            print(f"{error}: would be moved aside", file=sys.stderr)
            return None
        path = records.record_path(options.results, spec)
        aside = path.with_suffix(".damaged")
        print(f"{error}: moved to {aside.name}, run again", file=sys.stderr)
        with suppress(FileNotFoundError):  # another process was quicker
            path.replace(aside)
        return None


def _notice_other_data(planned: Sequence[Planned], results: Path) -> None:
    """Say which datasets are not what they were when runs of the same kind were recorded."""

    def kind(spec: RunSpec) -> tuple[object, ...]:
        values = json.dumps(spec.protocol, sort_keys=True, allow_nan=False)
        return spec.dataset, spec.source, spec.modalities, values

    now = {kind(item.job.spec): item.job.spec.fingerprint for item in planned}
    others = Counter(
        record.spec.dataset
        for record in records.read_all(results)[0]
        if now.get(kind(record.spec), record.spec.fingerprint) != record.spec.fingerprint
    )
    for dataset, n in others.items():
        print(
            f"{dataset}: its data have changed since {n} recorded runs; those stay, and are not "
            "shown together with runs on the data as they are now"
        )


def _placebo_notice(planned: Sequence[Planned]) -> str:
    """Which methods are also run with a wrong partner, which are not, and why."""
    from benchmark.planning.plan import no_placebo
    from methods.common.registry import REGISTRY

    specs = [item.job.spec for item in planned]
    n = sum(bool(spec.placebo) for spec in specs)
    twins = dict.fromkeys(spec.method for spec in specs if spec.placebo)
    without: dict[str, list[str]] = {}
    for method in dict.fromkeys(spec.method for spec in specs if spec.method not in twins):
        reason = no_placebo(REGISTRY[method]) or "does not apply"
        without.setdefault(reason, []).append(method)
    lines = [f"placebo: {n} runs more, with wrong partners, of {', '.join(twins) or 'no method'}"]
    lines += [f"no placebo of {', '.join(m)}: {reason}" for reason, m in without.items()]
    return "\n".join(lines)


def _list(todo: Sequence[Planned], skipped: int) -> None:
    for item in todo:
        reason = f"  not applicable: {item.not_applicable}" if item.not_applicable else ""
        print(f"{item.job.spec.id}  {item.job.spec}{reason}")
    print(f"{len(todo)} runs to do, {skipped} recorded already")


def _execute(todo: Sequence[Planned], execute: Executor, scale: Scale) -> list[Outcome]:
    """Execute what applies, with one progress bar, one line a finished run."""
    from tqdm import tqdm

    from benchmark.training.execute import not_applicable

    specs = {item.job.spec.id: item.job.spec for item in todo}
    done = []

    def keep(record: Record) -> None:
        done.append(Outcome(specs[record.id], record.status, record.reason))

    for item in todo:
        if item.not_applicable:
            keep(not_applicable(item.job, item.not_applicable))
    jobs = [item.job for item in todo if not item.not_applicable]
    bar = tqdm(total=len(jobs), unit="run", disable=not jobs)
    refused: dict[tuple[str, str], str] = {}
    with bar, closing(execute(jobs, scale)) as finished:
        for record in finished:
            keep(record)
            for stage in record.stages:
                if stage.get("refused"):
                    refused[stage["method"], stage["stage"]] = stage["refused"]
            tqdm.write(_line(record), file=sys.stdout)
            bar.update()
    for (method, stage), reason in refused.items():
        print(f"no replicas: {method}, stage '{stage}' was trained one by one: {reason}")
    return done


def _line(record: Record) -> str:
    """One finished run: its scores by deployment, or why it failed."""
    from benchmark.metrics import primary

    if record.status != "done":
        return f"{record.spec}: {record.status.upper()}: {record.reason}"
    metric = primary(record.data["task"]["kind"])
    found = {m: s[metric.name] for m, s in record.metrics.items()}
    scores = ", ".join(f"{m} {'–' if v is None else f'{v:.3f}'}" for m, v in found.items())
    label = f"validation {metric.label}" if record.spec.trial else metric.label
    at_once = max((stage.get("replicas", 1) for stage in record.stages), default=1)
    share = f", its share of {at_once} at once" if at_once > 1 else ""
    return f"{record.spec}: {label} {scores} ({record.cost['seconds']:.1f} s{share})"


def _summarise(
    planned: Sequence[Planned], skipped: Sequence[Outcome], done: Sequence[Outcome]
) -> None:
    counts = Counter(outcome.status for outcome in (*skipped, *done))
    parts = [f"{n} {status}" for status, n in sorted(counts.items())]
    print(f"\n{len(planned)} runs: {', '.join(parts)}; {len(skipped)} were recorded already")
    for outcome in (*skipped, *done):
        if outcome.status == "failed":
            print(f"failed: {outcome.spec}: {outcome.reason} (run again with --retry failed)")
