"""How many more runs an hour replicas give than runs one after the other, in one process.

On a GPU if there is one, where the target is 8 for MDiCo on CropHarvest shapes; else on the CPU,
where replicas are off by default and the ratio is only told.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.execute import Job, prepare_process
from benchmark.fit import fit
from benchmark.replicas import fit_together
from tests.perf.loops import problem

pytestmark = pytest.mark.perf

ROUNDS = 3


@pytest.mark.parametrize("shapes", ["lfmc", "cropharvest"])
@pytest.mark.parametrize("method", ["single", "mdico"])
def test_replicas_give_more_runs_an_hour(method, shapes, report):
    cuda = torch.cuda.is_available()
    device, clock = ("cuda", time.perf_counter) if cuda else ("cpu", time.process_time)
    spec, data, ready = problem(shapes, method, device)
    prepare_process(Job(spec, Path(), Path(), device))
    aimed_at = cuda and (method, shapes) == ("mdico", "cropharvest")

    def seconds(replicas: int) -> float:
        """Of one run of so many at once; of a run one by one for 0."""
        started = clock()
        if not replicas:
            fit(spec, data.modalities, ready, lambda _, __, train: train())
            return clock() - started
        specs = [replace(spec, seed=seed) for seed in range(replicas)]
        found = fit_together(
            specs, data.modalities, [ready] * replicas, lambda _, __, train: train()
        )
        assert all(trained.stages[0].replicas == replicas for trained in found)
        return (clock() - started) / replicas

    ratios = []
    for replicas in (8, 16, 32) if cuda else (4,):
        seconds(0)
        alone, together = zip(
            *((seconds(0), seconds(replicas)) for _ in range(ROUNDS)), strict=True
        )
        figure = f"{replicas} replicas / one by one, runs an hour, {method} on {shapes}, {device}"
        target = "at least 8" if aimed_at else "none"
        ratios.append(report(figure, target, alone, together))
    assert not aimed_at or max(ratios) >= 8
