"""How many more runs an hour replicas give than runs one after the other: on a GPU, on
CropHarvest shapes. Without one they are off by default, and gain nothing.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.planning.jobs import Job
from benchmark.training.execute import prepare_process
from benchmark.training.fit import fit
from benchmark.training.replicas import fit_together
from tests.perf.loops import problem

pytestmark = pytest.mark.perf

ROUNDS = 3
SAMPLES, EPOCHS = 40_960, 2
"""As many as a fold of CropHarvest trains on; a step or two of each epoch are taken one by one."""

TARGET = 8.0
"""For MDiCo, with the best number of replicas."""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="replicas are for a GPU")
@pytest.mark.parametrize("method", ["single", "mdico"])
def test_replicas_give_more_runs_an_hour(method, report):
    spec, data, ready = problem("cropharvest", method, "cuda", SAMPLES, EPOCHS)
    prepare_process(Job(spec, Path(), Path(), "cuda"))

    def seconds(replicas: int) -> float:
        """Of one run of so many at once; of a run one by one for 0."""
        started = time.perf_counter()
        if not replicas:
            fit(spec, data.modalities, ready, lambda _, __, train: train())
            return time.perf_counter() - started
        specs = [replace(spec, seed=seed) for seed in range(replicas)]
        found = fit_together(
            specs, data.modalities, [ready] * replicas, lambda _, __, train: train()
        )
        assert all(trained.stages[0].replicas == replicas for trained in found)
        return (time.perf_counter() - started) / replicas

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
