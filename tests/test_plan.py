"""Planning: what a spec states is what will be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.planning.plan import plan
from methods.common import encoders as encoders_module
from methods.common.registry import REGISTRY
from tests import problems


def planned(data, protocol, results, folds=None):
    """The runs of one method."""
    where = {"results": results, "device": "cpu", "plugins": ()}
    chosen = {"chosen_folds": folds, "seeds": None}
    return plan([(data, Path("prepared"))], [REGISTRY["single"]], protocol, **chosen, **where)


@pytest.mark.parametrize("problem", [None, "the hub cannot be reached"])
def test_pretrained_weights_are_in_the_spec_only_where_they_can_be_had(
    monkeypatch, caplog, tmp_path, problem
):
    monkeypatch.setattr(encoders_module, "pretrained_problem", lambda model: problem)
    monkeypatch.setattr(encoders_module, "_cached_weights", lambda repository: None)
    data = problems.dataset(kinds=("series", "image"))
    standard = replace(protocol.load("standard"), folds=3)
    (first, *_) = planned(data, standard, tmp_path)
    image = first.job.spec.encoders["options"]["image"]
    assert image["pretrained"] is (problem is None)
    assert caplog.messages == (
        [f"made_up: images are encoded from random weights: {problem}"] if problem else []
    )
    assert standard.encoders["image"]["pretrained"] is True


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("series", {"widht": 32}, "unknown setting 'widht': did you mean width"),
        ("series", {"kernel": 4}, "shapes cannot be multiplied"),
        ("series", {"dropout": 3}, "dropout probability has to be between 0 and 1"),
        ("vector", {"layers": "two"}, "'str' object cannot be interpreted as an integer"),
        ("image", {"pretrained": True}, "missing 1 required keyword-only argument: 'model'"),
        ("image", {"model": "test_resnot"}, "unknown timm model 'test_resnot': did you mean"),
        ("image", {"model": "efficientformer_l1"}, "does not encode 32 × 32 images"),
    ],
)
def test_encoders_that_cannot_be_built_are_told_before_anything_runs(
    tmp_path, kind, options, reason
):
    quick = protocol.load("quick")
    odd = replace(quick, encoders={**quick.encoders, kind: options})
    with pytest.raises(UserError, match=f"protocol 'quick', encoders.{kind}") as told:
        planned(problems.dataset(kinds=("series", kind)), odd, tmp_path)
    assert reason in str(told.value) and "\n" not in str(told.value)


def test_folds_of_a_published_split_cannot_be_chosen_and_that_is_said(tmp_path, caplog):
    data = problems.dataset()
    split = np.resize(["train", "train", "val", "test"], len(data))
    published = replace(data, split=split)
    quick = protocol.load("quick")
    assert planned(published, quick, tmp_path, (0,)) and not caplog.messages
    assert len(planned(published, quick, tmp_path, (0, 1))) == quick.repetitions
    assert caplog.messages == ["made_up: has one split, its publishers'; --folds does not apply"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"methods": ("single", "mdcio*")}, "methods: unknown method 'mdcio*': did you mean mdico"),
        ({"vector": {"layrs": 2}}, "encoders.vector: unknown setting 'layrs': did you mean layers"),
    ],
)
def test_names_that_no_method_and_no_encoder_has_are_errors(tmp_path, changes, sentence):
    """Also of encoders that no modality of the dataset has."""
    quick = protocol.load("quick")
    if "vector" in changes:
        changes = {"encoders": {**quick.encoders, **changes}}
    with pytest.raises(UserError) as told:
        planned(problems.dataset(), replace(quick, **changes), tmp_path)
    assert sentence in str(told.value)
