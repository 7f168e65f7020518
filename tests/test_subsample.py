"""Choosing fewer samples of a dataset, and that a smoke run on them learns something."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmark import records
from datasets.common.subsample import strata, subsample
from tests.problems import task


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 70), st.integers(0, 3))
def test_as_many_as_asked_for_every_class_in_its_share_and_of_all_groups(n, k, wanted, seed):
    rng = np.random.default_rng(seed)
    y, groups = rng.integers(4, size=n), np.array([f"g{i}" for i in rng.integers(k, size=n)])
    chosen = subsample(task("multiclass"), y, groups, None, wanted, seed)
    assert len(chosen) == min(n, wanted) and (np.diff(chosen) > 0).all()
    for kind in np.unique(y):
        held = Counter(groups[chosen[y[chosen] == kind]])
        share = (y == kind).sum() * len(chosen) / n
        # At least one of each comes first, which takes from the others.
        assert len(chosen) < 4 or abs(held.total() - share) < 4
        for group, there in Counter(groups[y == kind]).items():
            # No group gives two more than another that has still some to give.
            assert held[group] == there or held[group] >= max(held.values(), default=0) - 1


def test_a_quarter_of_the_samples_are_of_all_sites():
    groups = np.repeat([f"site {i}" for i in range(40)], 20)
    y = np.random.default_rng(0).normal(size=800)
    chosen = subsample(task("regression"), y, groups, None, 200)
    assert len(set(groups[chosen])) == 40
    counts = np.bincount(strata(task("regression"), y)[chosen])
    assert counts.tolist() == [40] * 5


def test_parts_of_an_official_split_keep_their_proportions():
    y = np.arange(100) % 2
    split = np.repeat(["train", "val", "test"], [60, 10, 30])
    chosen = subsample(task("binary"), y, None, split, 20)
    counts = Counter(split[chosen].tolist())
    assert counts.total() == 20
    assert all(abs(counts[part] - k) <= 1 for part, k in {"train": 12, "val": 2, "test": 6}.items())
    assert np.array_equal(subsample(task("binary"), y, None, split, 100), np.arange(100))


def test_first_contact_beats_a_constant_on_every_modality(real_data, tmp_path, monkeypatch):
    """On real data, where the mean is hard to beat: with 36 whole sites it was not."""
    from benchmark.commands import main as cli

    monkeypatch.setattr("benchmark.commands.run.report_all", lambda *given: None)
    command = ["run", "--datasets", "lfmc", "--methods", "single,constant", "--workers", "1"]
    places = ["--data-root", real_data, "--results", tmp_path, "--cache", tmp_path / "cache"]
    assert cli.main([*command, *map(str, places)]) == 0
    rmse: dict[str, dict[str, list[float]]] = {}
    for record in records.read_all(tmp_path)[0]:
        for m, scores in record.metrics.items():
            rmse.setdefault(record.spec.method, {}).setdefault(m, []).append(scores["rmse"])
    for m in ("S1", "S2"):
        assert len(rmse["single"][m]) == 3
        assert np.mean(rmse["single"][m]) < 0.97 * np.mean(rmse["constant"][m])
