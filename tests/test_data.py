"""Standardisation: statistics of the training part alone, missing values at the channel's mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.planning.split import folds
from benchmark.training import data as data_module
from benchmark.training.data import channel_statistics, fold_data
from datasets.common.packed import Packed, pack
from tests.problems import dataset, protocol_values

CPU = torch.device("cpu")


@pytest.mark.parametrize("kinds", [("series", "vector"), ("image", "series")])
def test_training_inputs_have_mean_0_and_deviation_1(kinds):
    data = dataset("multiclass", kinds, samples=300, groups=None)
    fold = folds(data, protocol_values())[0]
    ready = fold_data(data, fold, "training", CPU)
    for x in ready.train.batch(torch.arange(len(ready.train))).x.values():
        flat = x.reshape(-1, x.shape[-1])
        assert torch.allclose(flat.mean(0), torch.zeros(flat.shape[1]), atol=1e-4)
        assert torch.allclose(flat.std(0), torch.ones(flat.shape[1]), atol=1e-2)


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_test_rows_move_nothing_that_training_sees(kind):
    data = dataset(kind)
    fold = folds(data, protocol_values())[0]
    y = data.y.copy()
    y[fold.test] = y[fold.test][::-1] * (1 if kind == "multiclass" else 7)
    x = {m: a.copy() for m, a in data.x.items()}
    for a in x.values():
        a[fold.test] = 1e6
    clean = fold_data(data, fold, "training", CPU)
    corrupt = fold_data(replace(data, x=x, y=y), fold, "training", CPU)
    assert clean.task == corrupt.task
    for ours, theirs in ((clean.train, corrupt.train), (clean.val, corrupt.val)):
        a, b = (part.batch(torch.arange(len(part))) for part in (ours, theirs))
        assert torch.equal(a.y, b.y)
        assert all(torch.equal(a.x[m], b.x[m]) for m in a.x)


def test_missing_values_become_the_channel_mean_and_do_not_enter_it():
    array = np.array([[[1.0, 5.0]], [[3.0, np.nan]], [[np.nan, 7.0]]], dtype=np.float32)
    mean, std = channel_statistics(array, np.arange(3))
    assert mean == pytest.approx([2, 6]) and std == pytest.approx([1, 1])
    x = data_module.StandardisedModality(array, mean, std, CPU)[torch.arange(3)]
    assert x.tolist() == [[[-1, -1]], [[1, 0]], [[0, 1]]]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_channel_without_two_values_in_the_training_part_is_0_everywhere(dtype):
    """Where others have other values, too: no weight was ever trained for them."""
    array = np.array([[[7, 3, 0.1]], [[7, 5, 0.1]], [[9, 4, 300.0]]]).astype(dtype)
    mean, std = channel_statistics(array, np.arange(2))
    x = data_module.StandardisedModality(array, mean, std, CPU)
    assert x.constant.tolist() == [0, 2]
    assert x[torch.arange(3)].tolist() == [[[0, -1, 0]], [[0, 1, 0]], [[0, 0, 0]]]


def test_a_fold_reads_the_arrays_of_the_dataset_and_copies_none():
    data = dataset("binary", ("image", "series"))
    for fold in folds(data, protocol_values()):
        ready = fold_data(data, fold, "training", CPU)
        for m, x in ready.train.x.items():
            assert ready.test.x[m] is x
            kept = [v for v in vars(x).values() if len(v) == len(data)]
            assert kept and all(np.shares_memory(v, data.x[m]) for v in kept)


def test_packed_arrays_are_not_unpacked_as_a_whole(tmp_path):
    data = dataset("binary", ("image", "series"))
    m = next(m for m, spec in data.modalities.items() if spec.kind == "series")
    whole = np.random.default_rng(0).integers(0, 9_999, data.x[m].shape).astype(float)
    whole[::3, :2] = np.nan
    packed = Packed(pack(whole, "here"))
    fold = folds(data, protocol_values())[0]
    unpacked = replace(data, x={**data.x, m: whole.astype(np.float32)})
    expected = fold_data(unpacked, fold, "training", CPU).train.batch(torch.arange(5))
    ready = fold_data(replace(data, x={**data.x, m: packed}), fold, "training", CPU).train
    assert any(value is packed for value in vars(ready.x[m]).values())
    assert torch.equal(ready.batch(torch.arange(5)).x[m], expected.x[m])


def test_bytes_have_the_statistics_of_the_numbers_that_they_are():
    bytes_ = np.random.default_rng(0).integers(0, 256, (40, 5, 5, 3)).astype(np.uint8)
    bytes_[..., 2] = 7
    samples = np.arange(0, 40, 2)
    mean, std = channel_statistics(bytes_, samples)
    assert mean == pytest.approx(bytes_[samples].reshape(-1, 3).mean(axis=0))
    assert std[:2] == pytest.approx(bytes_[samples].reshape(-1, 3).std(axis=0)[:2])
    assert np.isinf(std[2])


def test_values_on_a_device_give_the_same_batches():
    data = dataset("binary", ("image", "series"))
    fold = folds(data, protocol_values())[0]
    placed = {m: torch.from_numpy(array) for m, array in data.x.items()}
    mapped = fold_data(data, fold, "training", CPU)
    on_device = fold_data(data, fold, "training", CPU, placed)
    index = torch.tensor([5, 0, 3])
    a, b = mapped.train.batch(index), on_device.train.batch(index)
    assert all(torch.equal(a.x[m], b.x[m]) for m in a.x)


def test_statistics_over_all_samples_are_those_of_the_release():
    data = dataset("regression")
    fold = folds(data, protocol_values())[0]
    task = fold_data(data, fold, "all", CPU).task
    assert task.target_mean == pytest.approx(data.y.mean())
    assert task.target_std == pytest.approx(data.y.std())
