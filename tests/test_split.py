"""Folds: groups stay whole, parts do not overlap, and what cannot be split is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.planning.split import WHOLE, folds, whole
from benchmark.seeds import stream
from datasets.common.contract import EODataset
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
        ({"groups": np.array(["a"] * 90)}, "one group cannot be trained and tested on"),
        (
            {"groups": np.array(["a"] * 45 + ["b"] * 45)},
            "trains on one group alone, so that there is none for",
        ),
        ({"y": np.zeros(90, dtype=np.int64)}, "fewer than two classes in the training part"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(changes, sentence):
    data = replace(dataset("multiclass"), **changes)
    with pytest.raises(UserError, match=sentence):
        folds(data, protocol_values())


@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=25),
    kind=st.sampled_from(["binary", "multiclass", "regression"]),
    n=st.integers(2, 12),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 3),
)
def test_groups_of_any_sizes_are_split_as_was_asked(sizes, kind, n, share, seed):
    """Or it is said why not: no part is empty, and none shares a group with another."""
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    data = replace(dataset(kind, samples=len(groups), seed=seed), groups=groups)
    values = protocol_values(folds=n, validation=share, split_seed=seed)
    try:
        result = folds(data, values)
    except UserError:
        return
    assert len(result) == min(n, len(sizes))
    assert sorted(np.concatenate([fold.test for fold in result])) == list(range(len(groups)))
    for fold in result:
        parts = [set(groups[part]) for part in (fold.train, fold.val, fold.test)]
        assert all(parts)
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def unequal(kind: str = "regression") -> EODataset:
    """One place of 89 samples and 64 of one each."""
    groups = np.array(["large"] * 89 + [f"g{i}" for i in range(64)])
    return replace(dataset(kind, samples=153, groups=None), groups=groups)


def test_the_validation_part_is_the_piece_nearest_to_the_share_that_was_asked_for():
    """With the first piece a tenth became 89 of 153."""
    data = unequal()
    first, nearest = (
        [
            len(fold.val) / (153 - len(fold.test))
            for seed in range(5)
            for fold in folds(
                data, protocol_values(folds=9, split_seed=seed, validation_piece=piece)
            )
        ]
        for piece in ("first", "nearest")
    )
    assert max(first) > 0.5
    assert max(nearest) < 0.15
    assert all(abs(a - 0.1) <= abs(b - 0.1) for a, b in zip(nearest, first, strict=True))


def test_pieces_of_validation_that_nobody_uses_may_be_empty():
    """Eight blocks of 151 places: every number of folds up to eight works."""
    sizes = (60, 30, 20, 15, 10, 8, 5, 3)
    groups = np.repeat([f"block {i}" for i in range(8)], sizes)
    data = replace(dataset("binary", samples=151, groups=None), groups=groups)
    for n in range(2, 9):
        assert len(folds(data, protocol_values(folds=n))) == n


def test_fewer_groups_than_folds_are_one_fold_each():
    data = dataset("binary", samples=120, groups=8)
    result = folds(data, protocol_values(folds=10))
    assert [set(data.groups[fold.test]) for fold in result] == [{f"g{i}"} for i in range(8)]


def test_a_regression_is_stratified_by_quantiles_where_the_protocol_says_so():
    data = dataset("regression", samples=200, groups=4)
    means = {}
    for quantiles in (0, 10):
        values = protocol_values(split="stratified", folds=10, target_quantiles=quantiles)
        means[quantiles] = np.std([data.y[fold.test].mean() for fold in folds(data, values)])
    assert means[10] < means[0] / 2


@given(
    samples=st.integers(24, 60),
    pieces=st.integers(2, 10),
    different=st.integers(3, 60),
    seed=st.integers(0, 5),
)
def test_few_samples_and_targets_that_repeat_have_fewer_quantiles(samples, pieces, different, seed):
    data = dataset("regression", samples=samples, groups=None, seed=seed)
    data = replace(data, y=np.round(data.y) % different)
    values = protocol_values(split="stratified", folds=pieces, target_quantiles=10)
    tested = [sample for fold in folds(data, values) for sample in fold.test]
    assert sorted(tested) == list(range(samples))


def test_protocols_that_knew_no_quantiles_keep_their_folds():
    """Records of such protocols are there, and their ids say nothing of quantiles."""
    data = dataset("regression", samples=200, groups=4)
    values = protocol_values(split="stratified", folds=5)
    del values["target_quantiles"], values["validation_piece"]
    from sklearn.model_selection import KFold

    seed = stream("folds", values["split_seed"]) % 2**32
    plain = KFold(5, shuffle=True, random_state=seed).split(data.y)
    assert all(
        np.array_equal(fold.test, test)
        for fold, (_, test) in zip(folds(data, values), plain, strict=True)
    )


# --- Final models -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_final_model_leaves_out_a_validation_part_of_whole_groups(kind):
    data = dataset(kind, samples=120, groups=30)
    fold = whole(data, protocol_values(split="grouped"))
    assert fold.number == WHOLE and fold.title == "all samples" and not len(fold.test)
    assert sorted([*fold.train, *fold.val]) == list(range(120))
    assert 6 <= len(fold.val) <= 18
    assert not set(data.groups[fold.train]) & set(data.groups[fold.val])


def test_of_an_official_split_a_final_model_keeps_the_validation_part_alone():
    parts = np.array(["train"] * 60 + ["val"] * 10 + ["test"] * 50)
    data = replace(dataset("binary", samples=120), split=parts)
    fold = whole(data, protocol_values())
    assert list(fold.val) == list(range(60, 70)) and len(fold.train) == 110
    without = replace(data, split=np.where(parts == "val", "train", parts))
    assert 6 <= len(whole(without, protocol_values()).val) <= 18


def test_a_protocol_that_validates_on_the_test_part_has_no_final_model():
    with pytest.raises(UserError, match="validates on the test part, and a final model has none"):
        whole(dataset("binary"), protocol.load("paper").values_for("made_up"))


# --- Fewer labels -------------------------------------------------------------------------------

SHARES = (0.05, 0.1, 0.25, 0.6, 1.0)


@pytest.mark.parametrize("split", ["grouped", "stratified"])
def test_fewer_labels_are_nested_shares_of_what_trains_and_validates(split):
    data = dataset("regression", samples=400, groups=100)
    found = [folds(data, protocol_values(split=split, labels=share)) for share in SHARES]
    for at in zip(*found, strict=True):
        full = at[-1]
        for part, before in (("train", full.train), ("val", full.val)):
            parts = [getattr(fold, part) for fold in at]
            units = data.groups if split == "grouped" else data.ids
            of = [set(units[numbers]) for numbers in parts]
            assert [len(names) for names in of] == [
                max(1, round(share * len(of[-1]))) for share in SHARES
            ]
            assert all(small <= large for small, large in pairwise(of))
            for names, numbers in zip(of, parts, strict=True):  # groups stay whole
                assert np.array_equal(numbers, before[np.isin(units[before], list(names))])
        assert all(np.array_equal(fold.test, full.test) for fold in at)
    assert len({tuple(fold.train) for fold in found[0]}) == len(found[0]), "a draw for each fold"
    other = folds(data, protocol_values(split=split, labels=0.25, split_seed=1))
    assert not np.array_equal(other[0].train, found[2][0].train)


def test_all_labels_are_the_folds_as_they_were_and_in_no_id():
    data = dataset("binary", samples=120, groups=30)
    with_all, without = (folds(data, protocol_values(**v)) for v in ({"labels": 1.0}, {}))
    assert all(np.array_equal(a.train, b.train) for a, b in zip(with_all, without, strict=True))
    for name in protocol.names():
        assert "labels" not in protocol.load(name).values_for("lfmc")
    fewer = replace(protocol.load("standard"), labels=0.25).values_for("lfmc")
    assert fewer["labels"] == 0.25


def test_too_few_labels_for_two_classes_are_one_sentence():
    data = dataset("binary", samples=120, groups=None)
    rare = replace(data, y=(np.arange(120) % 40 == 0).astype(int))
    with pytest.raises(UserError, match=r"made_up fold \d: fewer than two classes"):
        folds(rare, protocol_values(split="stratified", labels=0.05))


def test_the_released_protocol_keeps_its_test_fold_for_validation():
    data = dataset("regression", samples=60, groups=None)
    values = {**protocol.load("paper").values_for("made_up"), "labels": 0.2}
    for fold in folds(data, values):
        assert np.array_equal(fold.val, fold.test) and len(fold.train) == round(0.2 * 54)


def test_an_official_split_has_fewer_labels_too():
    data = dataset("multilabel", samples=60, groups=None)
    data = replace(data, split=np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10))
    (fold,) = folds(data, protocol_values(labels=0.5))
    assert [len(fold.train), len(fold.val), len(fold.test)] == [20, 5, 10]


def test_a_final_model_has_fewer_labels_too():
    data = dataset("regression", samples=120, groups=30)
    full, half = (whole(data, protocol_values(labels=share)) for share in (1.0, 0.5))
    assert set(half.train) < set(full.train) and set(half.val) <= set(full.val)
    groups = [len(set(data.groups[fold.train])) for fold in (half, full)]
    assert groups[0] == round(0.5 * groups[1])
