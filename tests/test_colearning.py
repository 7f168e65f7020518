"""What co-learning asks: gaps and who closes them, ablations, negative transfer, classes, cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmark.report import write_report
from benchmark.report.colearning import ablations, gaps
from benchmark.report.evidence import SAMPLE_DRAWS, over_samples
from benchmark.report.frame import collect
from benchmark.report.statistics import ratio_interval
from benchmark.report.wording import slug
from tests.made_up import OUTPUTS, USUAL, official, run, runs, write

EVIDENCE = {"protocol": "standard", "source": "real", "samples": 200, "folds": 10}


def summary_of(made_up, tmp_path, **choice):
    write(made_up, tmp_path)
    return write_report(tmp_path, tmp_path / "out", figures=False, **choice).summaries[0]


def tables(tmp_path, summary) -> str:
    return (tmp_path / "out/tables" / f"{slug(summary.group)}.md").read_text()


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_share_is_a_ratio_of_means(kind, tmp_path):
    summary = summary_of(runs(USUAL, kind=kind, **EVIDENCE), tmp_path)
    by_modality = {gap.modality: gap for gap in gaps(summary)}
    assert by_modality.keys() == {"S1", "S2"}
    gap = by_modality["S1"]
    assert gap.bound == "fusion_concat" and gap.measurable
    name = summary.group.primary.name
    rows = {row.method: row for row in summary.at("S1")}
    (bound,) = summary.at("all")
    means = [row.metric(name).mean for row in (rows["mdico"], rows["single"], bound)]
    share, low, high = gap.shares["mdico"]
    assert share == pytest.approx((means[0] - means[1]) / (means[2] - means[1]))
    assert low < share < high
    assert "single" not in gap.shares and "fusion_concat" not in gap.shares
    text = tables(tmp_path, summary)
    assert "Share of the multi-modal gap closed" in text and "A weak sensor cannot have" in text


def test_a_share_never_changes_the_order(tmp_path):
    summary = summary_of(runs({**USUAL, "zeta": 1.1}, **EVIDENCE), tmp_path)
    means = [r.metric("macro_f1").mean for r in summary.at("S1") if r.entry["role"] == "method"]
    assert means == sorted(means, reverse=True)


def test_where_the_gap_cannot_be_told_from_none_there_is_no_share(tmp_path):
    summary = summary_of(runs({**USUAL, "fusion_concat": 1.0}, **EVIDENCE), tmp_path)
    assert all(not gap.measurable and not gap.shares for gap in gaps(summary))
    text = tables(tmp_path, summary)
    assert text.count("no measurable gap") == 2 and "share (%)" not in text


def test_the_bound_is_chosen_on_validation_not_on_the_test(tmp_path):
    made_up = runs(USUAL, **EVIDENCE)
    other = runs({"fusion_avg": 2.0}, entry={"role": "bound", "family": "bound"}, **EVIDENCE)
    for record in other:  # made_up gives it the deployments of a method
        record.metrics["all"] = record.metrics.pop("S1")
        record.metrics.pop("S2")
        curve = [0.001]
        record.stages[0]["validation"] = {"all": curve}
    summary = summary_of([*made_up, *other], tmp_path)
    test = {row.method: row.metric("macro_f1").mean for row in summary.at("all")}
    assert test["fusion_concat"] > test["fusion_avg"]
    assert {gap.bound for gap in gaps(summary)} == {"fusion_avg"}


def test_no_shares_in_a_smoke_run_or_without_a_reference_or_a_bound(tmp_path):
    for i, made_up in enumerate(
        [
            runs(USUAL),
            runs({"kd": 1.0, "fusion_concat": 3.0}, **EVIDENCE),
            runs({"single": 1.0, "kd": 1.0}, **EVIDENCE),
        ]
    ):
        assert gaps(summary_of(made_up, tmp_path / str(i))) == []


def test_shares_on_an_official_split(tmp_path):
    cache = official(tmp_path, {"single": 1.0, "kd": 1.5, "fusion_concat": 4.0})
    (summary,) = write_report(tmp_path, tmp_path / "out", cache=cache, figures=False).summaries
    for gap in gaps(summary):
        assert gap.measurable
        share, low, high = gap.shares["kd"]
        assert low < share < high


def test_the_interval_of_a_ratio_covers_the_true_one():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        folds = rng.normal([[1.0], [4.0]], 1.0, size=(2, 30))
        picks = rng.integers(30, size=(500, 30))
        low, high = ratio_interval(*folds[:, picks].mean(axis=2))
        hits += low <= 0.25 <= high
    assert hits / 200 > 0.9


def test_ablations_are_compared_with_their_whole_method(tmp_path):
    made_up = runs({"single": 1.0, "mdico": 3.0, "mdico_no_con": 1.0, "kd": 1.0}, **EVIDENCE)
    summary = summary_of(made_up, tmp_path)
    found = ablations(summary)
    assert {(a.method, a.variant, a.modality) for a in found} == {
        ("mdico", "mdico_no_con", m) for m in ("S1", "S2")
    }
    rows = {row.method: row.metric("macro_f1").mean for row in summary.at("S1")}
    assert found[0].difference == pytest.approx(rows["mdico_no_con"] - rows["mdico"])
    assert found[0].comparison.high < 0
    text = tables(tmp_path, summary)
    assert "## Ablations" in text and "(whole)" in text


def test_an_ablation_of_nothing_is_in_no_such_table(tmp_path):
    summary = summary_of(runs({"single": 1.0, "mdico_no_con": 1.0}, **EVIDENCE), tmp_path)
    assert ablations(summary) == []
    assert "## Ablations" not in tables(tmp_path, summary)


def test_negative_transfer_is_counted_in_every_protocol(tmp_path):
    summary = summary_of(runs({"single": 9.0, "kd": 0.0}), tmp_path)
    assert "3 of 3" in tables(tmp_path, summary)


def test_per_class_scores_are_means_over_runs_and_absent_classes_are_missing(tmp_path):
    made_up = runs({"single": 1.0}, folds=2)
    for record in made_up:
        record.metrics["S1"]["f1_per_class"][3] = None
    made_up[0].metrics["S1"]["f1_per_class"][2] = None
    summary = summary_of(made_up, tmp_path)
    frame = pd.read_csv(tmp_path / "out/tables" / f"{slug(summary.group)}.classes.csv")
    own = frame.query("metric == 'f1_per_class' and deployment == 'S1'").set_index("class")["mean"]
    scores = [record.metrics["S1"]["f1_per_class"] for record in made_up]
    assert own["class 0"] == pytest.approx((scores[0][0] + scores[1][0]) / 2)
    assert own["class 2"] == pytest.approx(scores[1][2])
    assert math.isnan(own["class 3"])
    assert "by class: S1" in tables(tmp_path, summary)


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_labels_and_ranges_have_their_own_scores(kind, tmp_path):
    summary = summary_of(runs({"single": 1.0}, kind=kind), tmp_path)
    text = tables(tmp_path, summary)
    assert ("AP ↑ by class: S2" if kind == "multilabel" else "by range of the target: S2") in text
    if kind == "regression":
        edges = [m["range_edges"] for r in summary.group.runs for m in r.metrics.values()]
        low, high = np.mean(edges, axis=0)[-2:]
        assert f"fifth 5 ({low:.0f} to {high:.0f})" in text


def test_training_flops_are_shown_where_records_have_them(tmp_path):
    record = run("single", 0)
    counted = replace(record, cost={**record.cost, "training_flops": 2_500_000_000})
    assert "2.5" in tables(tmp_path, summary_of([counted], tmp_path)).split("## Cost")[1]
    unknown = replace(record, cost={**record.cost, "training_flops": None})
    text = tables(tmp_path / "old", summary_of([unknown], tmp_path / "old"))
    assert " – " in text.split("## Cost")[1].splitlines()[4]


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_scores_of_an_official_split_are_its_own_and_the_draws_are_draws_alone(kind, tmp_path):
    """The test part as it is gives the score, and is not one of the bootstrap samples."""
    cache = official(tmp_path, {"single": 1.0}, kind)
    (group,) = collect(tmp_path).groups
    found = over_samples(group, tmp_path, cache)
    name = group.primary.name
    for (_, deployment, _), scores in found.scores.items():
        runs = sorted(group.runs, key=lambda r: r.spec.seed)
        assert scores == pytest.approx([r.metrics[deployment][name] for r in runs], rel=1e-5)
    for scores, resampled in zip(found.scores.values(), found.resampled.values(), strict=True):
        assert resampled.shape == (5, SAMPLE_DRAWS)
        assert not np.isclose(resampled[:, 0], scores, rtol=1e-9).all()
