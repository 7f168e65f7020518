"""`run` and `report`."""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import protocol as protocols
from benchmark import records, submission
from benchmark.cli import PRECISIONS
from benchmark.errors import UserError, not_writable, unknown
from benchmark.writers import sweep

if TYPE_CHECKING:
    from benchmark.executors import Executor, Scale
    from benchmark.executors.slurm import Request
    from benchmark.plan import Planned
    from benchmark.protocol import Protocol
    from benchmark.records import Record, Status
    from benchmark.spec import RunSpec
    from datasets.common.contract import EODataset
    from methods.common.registry import Entry


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
    _check_writable(options.results)
    methods = choose_methods(options)
    request = submission.request(options) if options.executor == "slurm" else None
    device = _device(options, request)
    _check_arithmetic(options, device, here=_here(options))
    datasets = prepare_datasets(options, protocol)

    from benchmark import executors
    from benchmark.plan import plan

    planned = plan(
        datasets,
        methods,
        protocol,
        chosen_folds=options.folds,
        seeds=options.seeds,
        results=options.results.absolute(),
        device=device,
        plugins=tuple(plugin.resolve() for plugin in options.plugin),
        timeout=options.timeout,
        keep_features=options.keep_features,
        precision=PRECISIONS[options.precision],
        compiled=options.compile,
    )
    _notice_other_data(planned, options.results)
    waiting = submission.waiting(options) if request else set()
    todo, skipped = _compare_with_records(planned, options)
    todo = [item for item in todo if item.job.spec.id not in waiting]
    if options.dry_run:
        _list(todo, len(skipped))
    if request:
        return submission.submit(todo, request, options.results, dry_run=options.dry_run)
    if options.dry_run:
        return 0
    replicas = _replicas(options, device)
    one = device.startswith("cuda") or replicas > 1
    workers = options.workers or (1 if one else os.cpu_count() or 1)
    name = options.executor or ("serial" if workers == 1 else "processes")
    scale = executors.Scale(workers, options.dask_address, replicas)
    try:
        done = _execute(todo, executors.executor(name), scale)
    finally:
        sweep(options.results)
    _summarise(planned, skipped, done)
    report(argparse.Namespace(**{**vars(options), **REPORT_ALL}))
    return 1 if any(outcome.status == "failed" for outcome in (*skipped, *done)) else 0


MOST_REPLICAS = 32
"""With ``--replicas auto``; fewer where the memory does not hold them."""

REPORT_ALL = {"out": None, "datasets": None, "methods": None, "protocol": None}
"""`run` ends with the report over everything in its results folder."""


def report(options: argparse.Namespace) -> int:
    """Write tables, figures and leaderboard from the records of a results folder."""
    from benchmark.report import summary_text, write_report

    out = options.out or options.results
    written = write_report(
        options.results,
        out,
        datasets=options.datasets,
        methods=options.methods,
        protocol=options.protocol,
        cache=options.cache,
    )
    print(summary_text(written))
    return 0


def _check_request(options: argparse.Namespace) -> None:
    if not (options.all or options.datasets or options.methods):
        raise UserError("say what to run: --all, or --datasets and/or --methods with names")
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


def _check_writable(results: Path) -> None:
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise not_writable(results, error, "choose another --results") from error


def prepare_datasets(
    options: argparse.Namespace, protocol: Protocol
) -> list[tuple[EODataset, Path]]:
    """The chosen datasets, prepared; says on the screen for each whether it is real."""
    import datasets
    from datasets.common import prepared
    from datasets.common.contract import View

    adapters = datasets.load()
    chosen = options.datasets or tuple(adapters)
    for name in chosen:
        if name not in adapters:
            raise unknown("dataset", name, adapters)
    prepared.check_data_root(options.data_root, adapters.values())
    sweep(options.cache, "*/.*.part")
    result, problems = [], []
    for name in chosen:
        adapter = adapters[name]
        try:
            modalities = options.modalities or adapter.default_modalities
            for m in modalities:
                if m not in adapter.modalities:
                    raise unknown(f"modality of {name}", m, adapter.modalities)
            view = View(**protocol.view_for(name))
            folder, source, notice = prepared.resolve(
                adapter, options.data_root, options.cache, named=options.datasets is not None
            )
            if notice:
                print(f"{name}: {notice}")
            dataset, where = prepared.prepare(
                adapter, folder, source, modalities, view, options.cache
            )
            print(
                f"{name}: {dataset.source.upper()} data, {len(dataset)} samples, "
                f"{', '.join(modalities)} (fingerprint {dataset.fingerprint[:12]})"
            )
            result.append((dataset, where.absolute()))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return result


def choose_methods(options: argparse.Namespace) -> list[Entry]:
    """Entries by name or pattern, in the order of the registry's families."""
    import methods
    from methods.common.registry import FAMILIES

    registry = methods.load(options.plugin)
    wanted: Sequence[str] = options.methods or ("*",)
    for pattern in wanted:
        if not fnmatch.filter(registry, pattern):
            raise unknown("method", pattern, registry)
    chosen = [e for e in registry.values() if any(fnmatch.fnmatch(e.key, p) for p in wanted)]
    return sorted(chosen, key=lambda e: (FAMILIES.index(e.family), e.key))


def _device(options: argparse.Namespace, request: Request | None) -> str:
    """The device that runs are executed on; it is tried where that is this machine."""
    import torch

    name = options.device
    if name == "auto":
        if request is not None:
            return "cuda" if request.asks_for_gpu else "cpu"
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if _here(options):
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name}: cannot be used here ({reason})") from error
    return name


def _here(options: argparse.Namespace) -> bool:
    """Whether runs are executed on this machine, so that it shows what is possible there."""
    return options.executor != "slurm" and options.dask_address is None


def _check_arithmetic(options: argparse.Namespace, device: str, *, here: bool) -> None:
    """Raise `UserError` for a precision or a compiler that the device or the machine lacks."""
    import torch

    cuda = torch.device(device).type == "cuda"
    if options.precision == "tf32" and not (
        cuda and (not here or torch.cuda.get_device_capability(device) >= (8, 0))
    ):
        raise UserError(f"--precision tf32: '{device}' has none (NVIDIA GPUs from Ampere on have)")
    if (
        options.compile
        and here
        and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++")))
    ):
        raise UserError("--compile: there is no C++ compiler on this machine (c++, g++ or $CXX)")


def _replicas(options: argparse.Namespace, device: str) -> int:
    """How many runs are trained at once."""
    if options.replicas is None:
        return MOST_REPLICAS if device.startswith("cuda") else 1
    return options.replicas


def _compare_with_records(
    planned: Sequence[Planned], options: argparse.Namespace
) -> tuple[list[Planned], list[Outcome]]:
    """What is to be done, and the outcomes of what is recorded.

    To be done is also what is recorded as failed and to be tried again, and what did not apply
    when it was recorded and does now; their records give way when there are others. A damaged
    record is named and moved aside.
    """
    sweep(options.results)
    todo, skipped = [], []
    for item in planned:
        record = _whole_record(item.job.spec, options)
        if record is None:
            todo.append(item)
        elif (record.status == "failed" and options.retry == "failed") or (
            record.status == "not applicable" and not item.not_applicable
        ):
            todo.append(replace(item, job=replace(item.job, replaces=record.created)))
        else:
            skipped.append(Outcome(item.job.spec, record.status, record.reason))
    return todo, skipped


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
        return spec.dataset, spec.source, spec.modalities, json.dumps(spec.protocol, sort_keys=True)

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


def _list(todo: Sequence[Planned], skipped: int) -> None:
    for item in todo:
        reason = f"  not applicable: {item.not_applicable}" if item.not_applicable else ""
        print(f"{item.job.spec.id}  {item.job.spec}{reason}")
    print(f"{len(todo)} runs to do, {skipped} recorded already")


def _execute(todo: Sequence[Planned], executor: Executor, scale: Scale) -> list[Outcome]:
    """Execute what applies, with one progress bar, one line a finished run."""
    from tqdm import tqdm

    from benchmark.execute import not_applicable

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
    with bar, closing(executor(jobs, scale)) as finished:
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
    scores = ", ".join(f"{m} {s[metric.name]:.3f}" for m, s in record.metrics.items())
    at_once = max((stage.get("replicas", 1) for stage in record.stages), default=1)
    share = f", its share of {at_once} at once" if at_once > 1 else ""
    return f"{record.spec}: {metric.label} {scores} ({record.cost['seconds']:.1f} s{share})"


def _summarise(
    planned: Sequence[Planned], skipped: Sequence[Outcome], done: Sequence[Outcome]
) -> None:
    counts = Counter(outcome.status for outcome in (*skipped, *done))
    parts = [f"{n} {status}" for status, n in sorted(counts.items())]
    print(f"\n{len(planned)} runs: {', '.join(parts)}; {len(skipped)} were recorded already")
    for outcome in (*skipped, *done):
        if outcome.status == "failed":
            print(f"failed: {outcome.spec}: {outcome.reason} (run again with --retry failed)")
