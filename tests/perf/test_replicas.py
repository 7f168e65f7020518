"""How many more runs an hour replicas give than runs one after the other.

On a GPU, on CropHarvest shapes, the target is eight times as many. On a CPU they are off by
default: there the rows say whether they would pay on the machine at hand, and nothing fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.planning.jobs import Job
from benchmark.training.execute import prepare_process
from benchmark.training.fit import fit
from benchmark.training.replicas import fit_together
from tests.perf.loops import SHAPES, problem

pytestmark = pytest.mark.perf

ROUNDS = 3
SAMPLES, EPOCHS = 40_960, 2
"""As many as a fold of CropHarvest trains on; a step or two of each epoch are taken one by one."""

TARGET = 8.0
"""For MDiCo, with the best number of replicas."""

ON_CPU = 10
"""Replicas: as many as there are folds."""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a target of a GPU")
@pytest.mark.parametrize("method", ["single", "mdico"])
def test_replicas_give_more_runs_an_hour(method, report):
    seconds = seconds_of("cropharvest", method, "cuda", time.perf_counter, SAMPLES, EPOCHS)
    target = f"at least {TARGET:.0f}" if method == "mdico" else "none"
    ratios = []
    for replicas in (8, 16, 32):
        seconds(0)
        alone, together = zip(
            *((seconds(0), seconds(replicas)) for _ in range(ROUNDS)), strict=True
        )
        figure = f"{replicas} replicas / one by one, runs an hour, {method}"
        ratios.append(report(figure, target, alone, together))
    assert method != "mdico" or max(ratios) >= TARGET


@pytest.mark.parametrize(
    ("shapes", "method"),
    [
        *(("lfmc", method) for method in ("single", "mdico", "kd", "discom_kd")),
        *(("cropharvest", method) for method in ("single", "mdico")),
    ],
)
def test_whether_replicas_pay_on_a_cpu(shapes, method, report):
    """In process time, with one thread, as `tests/perf/test_training.py` measures."""
    seconds = seconds_of(shapes, method, "cpu", time.process_time, SHAPES[shapes][2], 1)
    seconds(0)
    alone, together = zip(*((seconds(0), seconds(ON_CPU)) for _ in range(ROUNDS)), strict=True)
    figure = f"{ON_CPU} replicas / one by one, runs an hour, {method} on {shapes} shapes, CPU"
    report(figure, "above 1 pays", alone, together)


def seconds_of(
    shapes: str, method: str, device: str, clock: Callable[[], float], *size: int
) -> Callable[[int], float]:
    """Measures the seconds of one run: of so many at once, or by itself for 0."""
    spec, data, ready = problem(shapes, method, device, *size)
    prepare_process(Job(spec, Path(), Path(), device))

    def seconds(replicas: int) -> float:
        started = clock()
        if not replicas:
            fit(spec, data.modalities, ready, lambda _, __, train: train())
            return clock() - started
        specs = [replace(spec, seed=seed) for seed in range(replicas)]
        found = fit_together(
            specs, data.modalities, [ready] * replicas, lambda _, __, train: train()
        )
        assert all(stage.replicas == replicas for own in found for stage in own.stages)
        return (clock() - started) / replicas

    return seconds
