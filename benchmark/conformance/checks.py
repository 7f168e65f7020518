"""All checks by name, and one function that puts a method through them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from benchmark.conformance import leaks, training
from benchmark.conformance.case import Case, Found, Measured, described
from benchmark.conformance.hyperparameters import without_effect
from benchmark.conformance.images import known
from benchmark.conformance.problem import COMBINATIONS, Combination
from benchmark.errors import UserError
from methods.common.registry import Entry


@dataclass(frozen=True)
class Verdict:
    """Of one check in one place: a combination, or for hyper-parameters the name of one.

    faults: one sentence each for the method's author; None if the check does not apply.
    measured: what was compared with a bar.
    """

    check: str
    place: str
    faults: tuple[str, ...] | None
    measured: tuple[Measured, ...] = ()


Check = Callable[[Case], "Found | None"]

CHECKS: dict[str, Check] = {
    "test rows": leaks.test_rows,
    "alone": leaks.alone,
    "others NaN": leaks.others,
    "company": leaks.company,
    "seeds": training.seeds,
    "small batches": training.small_batches,
    "gradients": training.gradients,
    "frozen": training.frozen,
    "cache": training.cache,
    "state": training.state,
    "learns": training.learns,
}
"""The checks of a method on a combination where it `training.runs` at all."""

RUNS = "runs"
HYPERPARAMETERS = "hyper-parameters"
COLUMNS = (RUNS, *CHECKS, HYPERPARAMETERS)


def applicable(
    entry: Entry, combinations: Iterable[Combination] = COMBINATIONS
) -> tuple[list[Combination], dict[Combination, str]]:
    """The combinations that a method claims, and the reason for each that it does not.

    Raises `UserError` if the method's own ``applicable`` fails.
    """
    claimed, reasons = [], {}
    for combination in combinations:
        try:
            reason = entry.applicable(combination.modalities, combination.problem)
        except Exception as error:  # any error of a method is a fault of it
            raise UserError(
                f"{entry.key}: `applicable` fails on {combination}: {described(error)}; it must "
                "return a reason or None"
            ) from error
        if reason is None:
            claimed.append(combination)
        else:
            reasons[combination] = reason
    return claimed, reasons


def check(
    entry: Entry,
    combinations: Sequence[Combination],
    fresh: Executor,
    plugins: tuple[Path, ...] = (),
    checks: Container[str] = COLUMNS,
) -> list[Verdict]:
    """Put a method through checks on combinations that it claims.

    fresh and plugins: as in `benchmark.conformance.case.Case`. Where a method cannot be trained at
    all, that is its only fault, and the other checks are left out.
    """
    verdicts = []
    sound = []
    by_case = [name for name in CHECKS if name in checks]
    with known(), tempfile.TemporaryDirectory() as folder:
        for number, combination in enumerate(combinations):
            case = Case(entry, combination, Path(folder, str(number)), fresh, plugins)
            if RUNS in checks or by_case:
                verdict = _verdict(RUNS, training.runs, case)
                if RUNS in checks:
                    verdicts.append(verdict)
                if verdict.faults:
                    continue
            sound.append(case)
            verdicts += [_verdict(name, CHECKS[name], case) for name in by_case]
        if HYPERPARAMETERS in checks:
            try:
                for name, fault in without_effect(sound):
                    verdicts.append(Verdict(HYPERPARAMETERS, name, (fault,) if fault else ()))
            except (Exception, SystemExit) as error:  # as in `_verdict`
                verdicts.append(Verdict(HYPERPARAMETERS, "all", (described(error),)))
    return verdicts


def _verdict(name: str, function: Check, case: Case) -> Verdict:
    place = str(case.combination)
    try:
        return _told(name, place, function(case))
    except (Exception, SystemExit) as error:  # any error of a method is a fault of it
        return Verdict(name, place, (described(error),))


def _told(name: str, place: str, found: Found | None) -> Verdict:
    if found is None:
        return Verdict(name, place, None)
    faults = tuple(each for each in found if isinstance(each, str))
    return Verdict(name, place, faults, tuple(e for e in found if isinstance(e, Measured)))
