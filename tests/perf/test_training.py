"""What the training loop adds to the arithmetic of a method, and what others add.

The loops take turns in one process, about a second each. Process time is measured, not wall time:
with one thread they are the same, and other processes on the machine do not count.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from benchmark.planning.jobs import Job
from benchmark.training.execute import prepare_process
from tests.perf.loops import bare_loop, lightning_loop, problem, project_loop

pytestmark = pytest.mark.perf

ROUNDS = 11


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("shapes", ["lfmc", "cropharvest"])
@pytest.mark.parametrize("method", ["single", "mdico"])
def test_training_costs_what_its_arithmetic_costs(method, shapes, benchmark, report):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    given = problem(shapes, method)
    prepare_process(Job(given[0], Path(), Path()))
    bare: list[float] = []
    lightning: list[float] = []

    def others() -> None:
        for loop, seconds in ((bare_loop, bare), (lightning_loop, lightning)):
            started = time.process_time()
            loop(*given)
            seconds.append(time.process_time() - started)

    benchmark.pedantic(project_loop, given, setup=others, rounds=ROUNDS, warmup_rounds=1)
    ours = benchmark.stats.stats.data
    of = f"{method} on {shapes} shapes"
    target = "at most 1.05; missed above 1.10"
    added = report(f"project / bare loop, {of}", target, ours, bare[1:])
    report(f"Lightning / project, {of}", "above 1.1 expected", lightning[1:], ours)
    assert added <= 1.10
