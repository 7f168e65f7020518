"""Folds: groups stay whole, parts do not overlap, and what cannot be split is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.planning.split import folds
from tests.problems import dataset, protocol_values


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("name", protocol.names())
def test_every_sample_is_tested_once_and_parts_do_not_overlap(kind, name):
    data = dataset(kind, samples=120, groups=30)
    values = protocol.load(name).values_for("made_up")
    result = folds(data, values)
    assert len(result) == values["folds"]
    assert sorted(np.concatenate([fold.test for fold in result])) == list(range(120))
    for fold in result:
        assert not set(fold.train) & set(fold.test)
        assert not set(fold.train) & set(fold.val)
        if name == "paper":
            assert np.array_equal(fold.val, fold.test)
        else:
            assert not set(fold.val) & set(fold.test)
            assert len(fold.train) + len(fold.val) + len(fold.test) == 120


@given(
    groups=st.integers(8, 40),
    seed=st.integers(0, 5),
    kind=st.sampled_from(["binary", "regression"]),
)
def test_a_group_never_stands_on_two_sides(groups, seed, kind):
    data = dataset(kind, samples=120, groups=groups, seed=seed)
    for fold in folds(data, protocol_values(folds=4, split="grouped", split_seed=seed)):
        parts = [set(data.groups[part]) for part in (fold.train, fold.val, fold.test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_random_folds_ignore_groups_and_keep_the_class_balance():
    data = dataset("multiclass", samples=200, groups=4)
    for fold in folds(data, protocol_values(split="stratified", folds=5)):
        assert len(set(data.groups[fold.test])) == 4
        share = np.bincount(data.y[fold.test], minlength=4) / len(fold.test)
        assert np.allclose(share, np.bincount(data.y, minlength=4) / 200, atol=0.03)


def test_paper_folds_are_the_released_shuffle():
    data = dataset("regression", samples=23, groups=None)
    identifiers = np.arange(23)
    np.random.seed(10)
    np.random.shuffle(identifiers)
    released = np.array_split(identifiers, 10)
    ours = folds(data, protocol.load("paper").values_for("made_up"))
    assert all(np.array_equal(a.test, b) for a, b in zip(ours, released, strict=True))


def test_an_official_split_is_kept_in_every_protocol():
    data = dataset("multilabel", samples=30)
    split = np.array(["train"] * 20 + ["val"] * 5 + ["test"] * 5)
    data = replace(data, split=split)
    for name in protocol.names():
        (fold,) = folds(data, protocol.load(name).values_for("made_up"))
        assert [len(fold.train), len(fold.val), len(fold.test)] == [20, 5, 5]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"groups": np.array(["a"] * 45 + ["b"] * 45)}, "2 groups cannot be split into 3 parts"),
        ({"y": np.zeros(90, dtype=np.int64)}, "fewer than two classes in the training part"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(changes, sentence):
    data = replace(dataset("multiclass"), **changes)
    with pytest.raises(UserError, match=sentence):
        folds(data, protocol_values())
