"""Planning: what a spec states is what will be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import benchmark.plan
from benchmark import protocol
from benchmark.plan import plan
from methods.common.registry import REGISTRY
from tests import problems


@pytest.mark.parametrize("problem", [None, "the hub cannot be reached"])
def test_pretrained_weights_are_in_the_spec_only_where_they_can_be_had(
    monkeypatch, caplog, tmp_path, problem
):
    monkeypatch.setattr(benchmark.plan, "pretrained_problem", lambda model: problem)
    data = problems.dataset(kinds=("series", "image"))
    standard = replace(protocol.load("standard"), folds=3)
    (first, *_) = plan(
        [(data, Path("prepared"))],
        [REGISTRY["single"]],
        standard,
        chosen_folds=None,
        seeds=None,
        results=tmp_path,
        device="cpu",
        plugins=(),
    )
    image = first.job.spec.encoders["options"]["image"]
    assert image["pretrained"] is (problem is None)
    assert caplog.messages == (
        [f"made_up: images are encoded from random weights: {problem}"] if problem else []
    )
    assert standard.encoders["image"]["pretrained"] is True
