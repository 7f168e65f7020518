"""`tune`: the same number of trials for every method, and the best of them as a file."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from benchmark import records
from benchmark.commands import submission
from benchmark.commands.choosing import (
    check_arithmetic,
    choose_device,
    choose_methods,
    is_here,
    prepare_datasets,
    with_yardsticks,
)
from benchmark.commands.run import begin_workers, carry_out, check_work
from benchmark.errors import UserError, several
from benchmark.planning import protocol as protocols
from benchmark.spec import PRECISIONS, settings_text
from benchmark.terms import EACH, ONCE

if TYPE_CHECKING:
    from benchmark.planning.chosen import Choice
    from benchmark.planning.plan import Planned
    from benchmark.planning.protocol import Protocol
    from benchmark.records import Record
    from benchmark.spec import RunSpec

Place = tuple[str, str]
"""Dataset and method."""


def tune(options: argparse.Namespace) -> int:
    """Plan trials, execute those that are not recorded yet, then choose the best of each method.

    Returns 1 if a trial failed: it counts as one, and is never chosen.
    """
    from benchmark.planning import chosen
    from benchmark.planning.plan import plan
    from benchmark.planning.trials import variants

    protocol = protocols.load(options.protocol)
    _check_request(options, protocol)
    check_work(options)
    begin_workers(options)
    methods = with_yardsticks(choose_methods(options), protocol)
    request = submission.request(options) if options.executor == "slurm" else None
    device = choose_device(options, request)
    check_arithmetic(options, device, here=is_here(options))
    datasets = prepare_datasets(options, protocol)
    once = options.tune_on == "fold-0"
    on = ONCE if once else EACH
    planned = plan(
        datasets,
        methods,
        protocol,
        chosen_folds=(0,) if once else options.folds,
        seeds=(0,),
        results=options.results.absolute(),
        device=device,
        plugins=tuple(plugin.resolve() for plugin in options.plugin),
        timeout=options.timeout,
        precision=PRECISIONS[options.precision],
        compiled=options.compile,
        variants=variants(options.trials, protocol),
    )
    places: dict[Place, list[Planned]] = {}
    for item in planned:
        places.setdefault((item.job.spec.dataset, item.job.spec.method), []).append(item)
    for line in _intentions(places):
        print(line)
    trials = [item for item in planned if item.job.spec.trial and not item.not_applicable]
    _check_code(trials, options)
    outcomes = carry_out(trials, options, device, request)
    if outcomes is None:
        return 0
    choices, failures = [], []
    for its in places.values():
        if its[0].not_applicable is None:
            try:
                picked = _picked([item.job.spec for item in its], options.results)
                choices.append(_choice(its[0].job.spec, options.trials, on, picked))
            except UserError as error:
                failures.append(str(error))
    if not choices:
        raise UserError("\n".join(failures) or "nothing was tuned: no method applies")
    path = options.out or options.results / "tuned.json"
    replaced = _replaced(path, choices)
    chosen.write(path, choices)
    print(_table(choices))
    for failure in failures:
        print(failure)
    print(f"chosen values: {path}{replaced}\nrun them: {_next(path, options)}")
    failed = any(outcome.status == "failed" for outcome in outcomes)
    return 1 if failed or failures else 0


def _next(path: Path, options: argparse.Namespace) -> str:
    """The command that runs what was chosen, with what it must have in common with this one."""
    command = ["run", "--hparams", str(path), "--protocol", options.protocol]
    for name in ("datasets", "data_root", "modalities", "folds", "cache", "results"):
        value = getattr(options, name)
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            command += [f"--{name.replace('_', '-')}", text]
    command += [word for file in options.plugin for word in ("--plugin", str(file))]
    if options.precision != "fp32":
        command += ["--precision", options.precision]
    return f"python -m benchmark {shlex.join(command + ['--compile'] * options.compile)}"


def _check_request(options: argparse.Namespace, protocol: Protocol) -> None:
    if options.trials < 1:
        raise UserError(f"--trials must be at least 1, not {options.trials}")
    if protocol.validation == "test":
        raise UserError(
            f"protocol '{protocol.name}' validates on the test fold: what is tuned under it would "
            "be chosen by the samples that it is judged on; take another protocol"
        )
    if options.tune_on == "fold-0" and options.folds not in (None, (0,)):
        raise UserError("--tune-on fold-0 has trials on fold 0 alone; leave --folds out")
    if options.modalities is not None and len(options.modalities) < 2:
        raise UserError("--modalities: co-learning needs at least two modalities")


def _intentions(places: Mapping[Place, Sequence[Planned]]) -> Iterator[str]:
    """What is tuned of each method on each dataset, and what is not."""
    for (dataset, method), its in places.items():
        specs = [item.job.spec for item in its]
        space = specs[0].tuned["space"]
        if its[0].not_applicable:
            yield f"{dataset} {method}: not applicable: {its[0].not_applicable}"
        elif not space:
            yield f"{dataset} {method}: nothing to tune"
        else:
            trials, folds = len({spec.trial for spec in specs}), len({s.fold for s in specs})
            each = f"{trials} trial{'s' * (trials > 1)} in {folds} fold{'s' * (folds > 1)}"
            yield f"{dataset} {method}: {each}, of {', '.join(space)}"


def _check_code(trials: Sequence[Planned], options: argparse.Namespace) -> None:
    """Raise `UserError` where other code than there is now has made trials that are recorded."""
    from benchmark.planning.code import changed

    if options.retry in ("changed", "all"):
        return
    edited: dict[str, int] = {}
    for item in trials:
        record = records.find(item.job.spec, options.results)
        if record is not None and changed(record.code):
            edited[item.job.spec.method] = edited.get(item.job.spec.method, 0) + 1
    if edited:
        told = ", ".join(f"{n} of {method}" for method, n in edited.items())
        raise UserError(
            f"{options.results}: trials were made by other code than there is now ({told}): a "
            "study of both compares nothing; --retry changed runs them again"
        )


def _picked(specs: Sequence[RunSpec], results: Path) -> dict[int, Any]:
    """Fold → the best trial. Raises `UserError` if a fold has none that has a score."""
    from benchmark.planning.chosen import Picked
    from benchmark.planning.scoring import validation_score

    if not specs[0].trial:
        return {spec.fold: Picked(0, None, {}) for spec in specs}
    found: dict[int, list[tuple[float, int, Record]]] = {}
    for spec in specs:
        record = records.find(spec, results)
        score = validation_score(record) if record else None
        own = found.setdefault(spec.fold, [])
        if score is not None:
            own.append((-score.better, spec.trial, record))
    best = {}
    for fold, scored in found.items():
        if not scored:
            first = specs[0]
            raise UserError(
                f"{first.method} on {first.dataset}, fold {fold}: no trial has a score, and "
                "nothing was chosen"
            )
        _, trial, record = min(scored, key=lambda one: one[:2])
        value = validation_score(record).value
        best[fold] = Picked(trial, value, dict(record.spec.differs))
    return best


def _choice(spec: RunSpec, trials: int, on: str, picked: Mapping[int, Any]) -> Choice:
    from benchmark.planning.chosen import Choice, setup
    from benchmark.planning.code import codes

    return Choice(
        spec.method,
        spec.dataset,
        trials,
        on,
        spec.fingerprint,
        list(spec.modalities),
        spec.protocol["name"],
        setup(spec),
        spec.version,
        codes(spec),
        dict(spec.tuned["space"]),
        {0: picked[0]} if on == ONCE else dict(picked),
    )


def _replaced(path: Path, choices: Sequence[Choice]) -> str:
    """What new choices take the place of, in words; "" where they are the same, or the first."""
    from benchmark.planning import chosen
    from methods.common.registry import REGISTRY

    if not path.exists():
        return ""
    try:
        old = chosen.read(path, REGISTRY)
    except UserError:
        return " (in the place of a file that held no choices that can be read)"
    if old == list(choices):
        return ""
    trials = f"{old[0].trials} trial{'s' * (old[0].trials > 1)} {old[0].on}"
    what = "; ".join(
        f"{several([choice.method for choice in old if choice.dataset == dataset])} on {dataset}"
        for dataset in dict.fromkeys(choice.dataset for choice in old)
    )
    return f" (in the place of what {trials} chose: {what})"


def _table(choices: Sequence[Choice]) -> str:
    """What was chosen, by dataset, method and fold."""
    rows = []
    for choice in choices:
        for fold, own in choice.folds.items():
            score = "–" if own.validation is None else f"{own.validation:.4g}"
            values = settings_text(own.values) or "its defaults"
            rows.append([choice.dataset, choice.method, fold, own.trial or "–", score, values])
    headers = ["dataset", "method", "fold", "trial", "validation score", "chosen values"]
    return "\n" + tabulate(rows, headers=headers, disable_numparse=True)
