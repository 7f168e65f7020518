"""Statistics of the report: published worked examples, other implementations, and simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scikit_posthocs as sp
from scipy import stats

from benchmark import metrics
from benchmark.metrics import primary
from benchmark.report import write_report
from benchmark.report.evidence import resampled_scores
from benchmark.report.statistics import (
    Practical,
    best_set,
    components,
    corrected_t_test,
    fold_draws,
    friedman_nemenyi,
    hierarchical_interval,
    holm,
    nested_test,
)
from tests.made_up import (
    OUTPUTS,
    USUAL,
    official,
    prediction,
    run,
    runs,
    target,
    task,
    write,
)

DEMSAR_TABLE_6 = np.array(
    [
        [4, 3, 2, 1],
        [1, 2, 3, 4],
        [4, 1, 2, 3],
        [4, 1, 3, 2],
        [4, 2, 3, 1],
        [1, 2.5, 4, 2.5],
        [3, 2, 4, 1],
        [2.5, 2.5, 4, 1],
        [4, 3, 2, 1],
        [2.5, 2.5, 2.5, 2.5],
        [4, 2.5, 1, 2.5],
        [3, 2, 4, 1],
        [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)
"""Ranks of four variants of C4.5 on 14 datasets, as printed in Demšar 2006."""


def test_friedman_and_nemenyi_of_demsars_example():
    ranks = friedman_nemenyi(-DEMSAR_TABLE_6)
    assert ranks.average == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    # Printed there without the correction for ties, as 9.28: three pairs and one row of four.
    assert ranks.chi2 == pytest.approx(9.28 / (1 - (3 * 6 + 60) / (14 * 60)), abs=0.006)
    assert ranks.critical_difference == pytest.approx(1.25, abs=0.005)
    assert ranks.p < 0.05


ROUNDING_TIMES = """
    5.40 5.50 5.55  5.85 5.70 5.75  5.20 5.60 5.50  5.55 5.50 5.40  5.90 5.85 5.70  5.45 5.55 5.60
    5.40 5.40 5.35  5.45 5.50 5.35  5.25 5.15 5.00  5.85 5.80 5.70  5.25 5.20 5.10  5.65 5.55 5.45
    5.60 5.35 5.45  5.05 5.00 4.95  5.50 5.50 5.40  5.45 5.55 5.50  5.55 5.55 5.35  5.45 5.50 5.55
    5.50 5.45 5.25  5.65 5.60 5.40  5.70 5.65 5.55  6.30 6.30 6.25
"""
"""Three ways of rounding first base, seconds of 22 players: Hollander & Wolfe 1973, p. 140."""


def test_friedmans_test_is_corrected_for_ties():
    values = np.array(ROUNDING_TIMES.split(), float).reshape(22, 3)
    ranks = friedman_nemenyi(values)
    assert ranks.chi2 == pytest.approx(11.143, abs=5e-4)  # as printed there, with ties
    assert stats.chi2.sf(ranks.chi2, 2) == pytest.approx(0.003805, abs=5e-7)
    # Iman and Davenport's F is that of a two-way analysis of variance of the ranks.
    r = stats.rankdata(-values, axis=1)
    between = 22 * ((r.mean(axis=0) - 2) ** 2).sum() / 2
    within = ((r - r.mean(axis=0)) ** 2).sum() / (21 * 2)
    assert ranks.f == pytest.approx(between / within)
    assert friedman_nemenyi(np.ones((4, 3))).p == 1


def test_nemenyi_agrees_with_scikit_posthocs():
    values = np.random.default_rng(0).normal(size=(12, 5)) + np.arange(5)
    ranks = friedman_nemenyi(values)
    theirs = sp.posthoc_nemenyi_friedman(values).to_numpy()
    apart = np.abs(ranks.average[:, None] - ranks.average) >= ranks.critical_difference
    assert (apart == (theirs < 0.05)).all()
    assert 0 < apart.sum() < 20
    # Without ties scipy's Friedman test is the same statistic.
    assert ranks.chi2 == pytest.approx(stats.friedmanchisquare(*values.T).statistic)


def test_the_corrected_t_test_by_hand():
    # Nadeau & Bengio 2003: t = 2 / sqrt((1/3 + 1/2) · 1), two degrees of freedom.
    found = corrected_t_test([1.0, 2.0, 3.0], ratio=1 / 2)
    t = 2 / math.sqrt(5 / 6)
    assert found.mean == 2
    assert found.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))  # Student's t, 2 df, closed form
    half = 4.302653 * math.sqrt(5 / 6)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert found.effect == 2


def test_without_overlap_it_is_the_paired_t_test():
    a, b = np.random.default_rng(0).normal(size=(2, 10))
    assert corrected_t_test(a - b, 0.0).p == pytest.approx(stats.ttest_rel(a, b).pvalue)


@pytest.mark.parametrize("methods", [1, 25])
def test_the_detectable_gain_gets_its_mark_in_80_percent_of_cases(methods):
    rng = np.random.default_rng(0)
    n, sd = 10, 2.0
    # With the true spread, the gain is a fixed multiple of the standard error.
    spread = np.resize([-1.0, 1.0], n)
    spread *= sd / spread.std(ddof=1)
    gain = corrected_t_test(spread, 0.0).detectable(0.05 / methods)
    others = rng.normal(0, sd, size=(1000, methods - 1, n))
    own = rng.normal(gain, sd, size=(1000, 1, n))
    p = stats.ttest_1samp(np.concatenate([own, others], axis=1), 0, axis=2).pvalue
    found = [holm(row)[0] < 0.05 for row in p]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    # The gain that a single test detects would have been found among 25 in a quarter of cases.
    one = corrected_t_test(spread, 0.0).detectable(0.05)
    missed = stats.nct.sf(stats.t.isf(0.025 / methods, n - 1), n - 1, one / (sd / math.sqrt(n)))
    assert missed == pytest.approx(0.8 if methods == 1 else 0.24, abs=0.005)


ANNEAL = """
    2.223 1.111 2.223 1.111 1.111 1.111 1.111 0 2.247 3.37 1.111 1.111 2.222 1.111 1.111 1.111
    1.111 6.667 6.742 0 3.333 3.333 2.222 4.445 1.112 1.111 1.111 0 1.124 4.494 2.222 2.222 1.111
    4.445 0 5.556 1.111 3.333 2.247 2.247 0 1.111 2.223 1.111 3.333 1.111 4.445 0 0 5.618 3.334
    3.333 2.222 0 2.223 3.334 1.111 2.223 3.371 1.124 1.111 1.111 2.222 0 5.555 1.111 2.222 0
    2.247 1.123 0 2.222 1.111 1.111 1.111 2.222 1.111 0 1.124 3.371 1.111 1.111 1.111 2.222 3.333
    2.222 1.112 0 4.494 2.247 2.222 0 2.222 6.667 2.222 0 1.111 2.222 2.247 0
"""
"""Accuracy (%) of AODE minus that of naive Bayes on the data set anneal, ten times ten folds: the
data of the tutorial to Benavoli, Corani, Demšar & Zaffalon 2017, Journal of Machine Learning
Research 18(77)."""


def test_the_correlated_bayesian_t_test_of_its_authors_example():
    comparison = corrected_t_test(np.array(ANNEAL.split(), float), 1 / 9)
    found = comparison.practical(rope=1.0)
    # As printed in the tutorial: 0.95430, 0.04570, 3.035e-7.
    assert (found.better, found.equal) == pytest.approx((0.95430, 0.04570), abs=2e-5)
    assert found.worse == pytest.approx(3.035e-7, rel=0.005)


def test_practical_equality_by_its_meaning():
    none = corrected_t_test([0.5] * 5, 0.1)
    assert none.practical(1.0) == Practical(0, 1, 0)
    assert none.practical(0.1) == Practical(1, 0, 0)
    d = np.random.default_rng(0).normal(size=10)
    there, back = (corrected_t_test(sign * d, 0.1).practical(0.3) for sign in (1, -1))
    assert (there.better, there.equal) == pytest.approx((back.worse, back.equal))
    # Without a region it is the one-sided p-value of the test.
    one = corrected_t_test(d, 0.1)
    assert min(one.practical(0.0).better, one.practical(0.0).worse) == pytest.approx(one.p / 2)


def test_variance_components_by_hand_and_by_simulation():
    # Folds 1 and 3 apart by 2, seeds not at all, nothing else.
    found = components(np.array([[1.0, 1.0], [3.0, 3.0]]))
    assert (found.fold, found.seed, found.both) == (2, 0, 0) and found.shares == (1, 0, 0)
    assert components(np.ones((3, 1))) is components(np.ones((1, 3))) is None
    assert components(np.ones((3, 3))).shares is None
    rng = np.random.default_rng(0)
    fold, seed = rng.normal(0, 2, (400, 10, 1)), rng.normal(0, 1, (400, 1, 5))
    drawn = [components(values) for values in fold + seed + rng.normal(0, 0.5, (400, 10, 5))]
    means = np.mean([(c.fold, c.seed, c.both) for c in drawn], axis=0)
    assert means == pytest.approx([4, 1, 0.25], rel=0.1)


def test_equal_scores_are_no_difference():
    assert corrected_t_test([0.0] * 5, 0.1).p == 1
    assert corrected_t_test([0.3], 0.1) is None


def test_holm_on_demsars_example():
    # Three variants against C4.5, p-values from the publication.
    assert holm([0.019, 0.607, 0.016]) == pytest.approx([0.048, 0.607, 0.048])
    assert holm([]) == []


def errors(
    simulations: int, methods: int, *, repeats: int | None, planted: int = 0, seed: int = 0
) -> np.ndarray:
    """RMSE (1 + methods, simulations, splits) of ridge regressions on half of the inputs each.

    All inputs matter alike, so that every half is as good as another, the first being the
    reference; the first method sees ``planted`` inputs more. repeats: random splits with 30 % of
    the samples for testing; None: ten folds.
    """
    n, inputs = 100, 24
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(simulations, n, inputs))
    y = X.sum(axis=2) + rng.normal(scale=2, size=(simulations, n))
    seen = [rng.permutation(inputs)[: inputs // 2] for _ in range(methods + 1)]
    seen[1] = rng.permutation(inputs)[: inputs // 2 + planted]
    tests = [np.arange(n) % 10 == fold for fold in range(10)]
    if repeats:
        tests = [rng.permutation(n) < 0.3 * n for _ in range(repeats)]
    found = np.empty((methods + 1, simulations, len(tests)))
    for j, part in enumerate(seen):
        for split, test in enumerate(tests):
            A = X[:, ~test][..., part]
            At = A.transpose(0, 2, 1)
            w = np.linalg.solve(At @ A + np.eye(len(part)), At @ y[:, ~test, None])
            residual = (X[:, test][..., part] @ w)[..., 0] - y[:, test]
            found[j, :, split] = np.sqrt((residual**2).mean(axis=1))
    return found


def marked(error: np.ndarray, ratio: float) -> np.ndarray:
    """(simulations, methods): what a table would mark as different from the reference."""
    p = [
        holm([corrected_t_test(gain, ratio).p for gain in (error[0] - error[1:])[:, s]])
        for s in range(error.shape[1])
    ]
    return np.array(p) < 0.05


def best(values: np.ndarray, ratio: float) -> np.ndarray:
    """The best set of methods with values (methods, folds), higher is better."""
    return best_set(values.mean(axis=1), fold_draws(values, ratio))


@pytest.mark.parametrize(("repeats", "ratio"), [(None, 10 / 90), (15, 30 / 70)])
def test_without_an_effect_at_most_5_percent_of_tables_have_a_mark(repeats, ratio):
    error = errors(300, 4, repeats=repeats)
    assert marked(error, ratio).any(axis=1).mean() <= 0.05


def test_without_the_correction_it_would_be_far_more():
    error = errors(300, 4, repeats=15)
    assert marked(error, ratio=0.0).any(axis=1).mean() > 0.15


def test_a_planted_effect_is_found_and_is_in_the_best_set():
    error = errors(100, 4, repeats=None, planted=12)
    found = marked(error, 10 / 90)
    assert found[:, 0].mean() > 0.8
    assert found[:, 1:].mean() <= 0.05
    sets = np.array([best(-error[1:, s], 10 / 90) for s in range(100)])
    assert sets[:, 0].all()
    assert sets[:, 1:].mean() < 0.2


def test_the_best_set_holds_the_best_in_95_percent_of_cases():
    error = errors(300, 4, repeats=None)  # all are the best
    sets = np.array([best(-error[1:, s], 10 / 90) for s in range(300)])
    assert sets.mean(axis=0).min() >= 0.95


def test_the_best_set_of_clear_cases():
    folds = np.random.default_rng(0).normal(scale=0.01, size=(3, 10))
    assert best(folds + [[0.5], [0.9], [0.9]], 0.1).tolist() == [False, True, True]
    assert best(folds[:1], 0.1).tolist() == [True]


def test_the_hierarchical_interval_covers_spread_between_and_within_datasets():
    constant = [np.full(10, 2.0)] * 3
    assert hierarchical_interval(constant, [0.1] * 3) == pytest.approx([2, 2])
    apart = [np.full(10, value) for value in (1.0, 2.0, 3.0)]
    low, high = hierarchical_interval(apart, [0.1] * 3)
    # Student's interval of three values: 4.303 · 1 / √3.
    assert (low, high) == pytest.approx((2 - 2.48, 2 + 2.48), abs=0.6)
    noisy = [np.random.default_rng(i).normal(2, 1, size=10) for i in range(3)]
    plain, wider = (hierarchical_interval(noisy, [ratio] * 3) for ratio in (0.0, 0.5))
    assert np.ptp(wider) > 1.5 * np.ptp(plain)


@pytest.mark.parametrize(("datasets", "between"), [(3, 2.0), (4, 0.5), (10, 1.0)])
def test_the_hierarchical_interval_covers_the_true_mean(datasets, between):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(150):
        gains = [rng.normal(1 + between * rng.normal(), 1, size=10) for _ in range(datasets)]
        low, high = hierarchical_interval(gains, [0.0] * datasets)
        hits += low <= 1 <= high
    assert hits / 150 >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 150)


EVIDENCE = {"protocol": "standard", "samples": 200, "source": "real"}


def leaderboard(made_up, tmp_path) -> str:
    write(made_up, tmp_path)
    write_report(tmp_path, tmp_path / "out", figures=False)
    return (tmp_path / "out/leaderboard.md").read_text()


def test_a_table_of_evidence_marks_orders_and_explains(tmp_path):
    skills = {"kd": 1.0, "zeta": 3.0, "single": 1.0, "mdico_no_con": 9.0, "fusion_concat": 9.0}
    text = leaderboard(runs(skills, folds=10, **EVIDENCE), tmp_path)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "▲" in lines["zeta"] and "**" in lines["zeta"]
    assert "n.s." in lines["kd"] and "**" not in lines["kd"]
    # Ablations and bounds compete with nobody.
    assert not any(mark in lines["mdico_no_con"] for mark in ("▲", "▼", "n.s.", "**"))
    assert "fusion_concat" not in lines
    order = [name for name in lines if name in skills]
    assert order == ["single", "zeta", "kd", "mdico_no_con"]
    assert "Nadeau and Bengio" in text and "Detectable gain: S1 0." in text


def test_the_size_of_the_family_is_that_of_the_methods(tmp_path):
    write(runs({**USUAL, "forest": 1.0}, folds=10, **EVIDENCE), tmp_path)
    made_up = [run("noise", f, entry={"role": "control"}, **EVIDENCE) for f in range(10)]
    write(made_up, tmp_path)
    (summary,) = write_report(tmp_path, tmp_path / "out", figures=False).summaries
    tested = {row.method: row for row in summary.at("S1") if row.p_holm is not None}
    assert tested.keys() == {"kd", "mdico", "forest"}
    p = {method: row.comparison.p for method, row in tested.items()}
    smallest = min(p, key=p.get)
    assert tested[smallest].p_holm == pytest.approx(min(1, 3 * p[smallest]))
    assert summary.ratio == 1 / 8


def test_hiding_methods_does_not_shrink_the_family(tmp_path):
    write(runs({**USUAL, "zeta": 1.3}, folds=10, **EVIDENCE), tmp_path)
    full, few = (
        write_report(tmp_path, tmp_path / "out", figures=False, methods=methods).summaries[0]
        for methods in (None, ["kd"])
    )
    (kd,) = few.at("S1")
    assert kd == next(row for row in full.at("S1") if row.method == "kd")


@pytest.mark.parametrize(
    ("made_up", "sentence"),
    [
        (runs(USUAL, folds=1, **EVIDENCE), "takes at least two folds"),
        ([run(m, 0, seed=s, **EVIDENCE) for m in USUAL for s in range(5)], "not in the cache"),
        (runs({"single": 1.0}, folds=10, **EVIDENCE), "no other method"),
        (runs({"kd": 1.0}, folds=10, **EVIDENCE), "no other method and single"),
    ],
)
def test_where_no_test_is_possible_it_is_said(made_up, sentence, tmp_path):
    text = leaderboard(made_up, tmp_path)
    assert "No test:" in text and sentence in text
    assert "▲" not in text


def test_incomplete_methods_are_neither_tested_nor_best(tmp_path):
    made_up = [
        *runs({"single": 1.0, "kd": 1.0, "mdico": 1.0}, folds=10, **EVIDENCE),
        *runs({"zeta": 9.0}, folds=9, **EVIDENCE),
    ]
    text = leaderboard(made_up, tmp_path)
    (line,) = (line for line in text.splitlines() if line.startswith("| zeta"))
    assert "9 of 10" in line and "▲" not in line and "**" not in line


def several(datasets: int, **options) -> list:
    return [
        record
        for i in range(datasets)
        for record in runs(USUAL, 5, dataset=f"d{i}", fingerprint=f"f{i}", **options)
    ]


def test_two_datasets_are_too_few_to_compare_across(tmp_path):
    text = leaderboard(several(2, **EVIDENCE), tmp_path)
    assert "too few datasets (2)" in text and "average rank" not in text


def test_three_datasets_are_ranked_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.figures.OF_GROUP", ())  # the ranks alone
    write(several(3, **EVIDENCE), tmp_path)
    written = write_report(tmp_path, tmp_path / "out")
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert "N = 3 blocks" in text and "Warning: N < 10" in text
    assert [p for p in written.paths if p.name == "ranks-real-standard.png"]
    (comparison,) = written.comparisons
    assert comparison.methods == ("single", "mdico", "kd")  # no bounds, no ablations
    assert comparison.ranks.average == pytest.approx([3, 1, 2])
    mean, low, high = comparison.gains["mdico"]
    assert low < mean < high


def test_another_split_of_a_dataset_is_no_further_one(tmp_path):
    made_up = several(3, **EVIDENCE)
    fewer = runs(USUAL, 2, dataset="d0_split", fingerprint="f9", **EVIDENCE)
    text = leaderboard(made_up + fewer, tmp_path / "own")
    assert "N = 4 blocks" in text
    fewer = [replace(record, data={**record.data, "split_of": "d0"}) for record in fewer]
    text = leaderboard(made_up + fewer, tmp_path / "split")
    assert "N = 3 blocks" in text and "modalities: d0, d1, d2." in text


def test_generated_data_are_never_compared_across(tmp_path):
    made_up = several(2, **EVIDENCE)
    simulated = {**EVIDENCE, "source": "generated"}
    for i in range(7, 10):
        made_up += runs(USUAL, 5, dataset=f"d{i}", fingerprint=f"f{i}", **simulated)
    text = leaderboard(made_up, tmp_path)
    assert text.count("Across datasets") == 1 and "too few datasets (2)" in text


def test_protocols_are_never_compared_across_together(tmp_path):
    made_up = several(2, **EVIDENCE)
    made_up += runs(USUAL, 5, dataset="d9", fingerprint="f9", **{**EVIDENCE, "protocol": "random"})
    text = leaderboard(made_up, tmp_path)
    assert "too few datasets (2)" in text and "too few datasets (1)" in text


def test_the_rank_diagram_states_its_blocks_and_that_they_are_few(tmp_path):
    from benchmark.report.figures.scores import critical_difference

    write(several(3, **EVIDENCE), tmp_path)
    (comparison,) = write_report(tmp_path, tmp_path / "out", figures=False).comparisons
    figure = critical_difference(comparison)
    said = figure.get_supxlabel().replace("\n", " ")
    assert "N = 3 datasets (blocks)" in said and "N < 10" in said
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert f"CD = {comparison.ranks.critical_difference:.2f}" in texts
    assert {"mdico (1.00)", "(3.00) single"} <= set(texts)


def test_smoke_runs_are_not_compared_across(tmp_path):
    text = leaderboard(several(3), tmp_path)
    assert "Across datasets" not in text


@pytest.mark.parametrize("kind", OUTPUTS)
def test_resampled_scores_are_those_of_the_repeated_samples(kind):
    rng = np.random.default_rng(0)
    problem = task(kind)
    y = target(problem, rng, 60)
    guess = prediction(problem, y, 1.0, rng).round(1 if kind == "multilabel" else 6)  # with ties
    weights = rng.integers(0, 3, size=(5, 60))
    found = resampled_scores(kind, y, guess, weights)
    name = primary(kind).name
    expected = [
        metrics.score(problem, np.repeat(y, w, axis=0), np.repeat(guess, w, axis=0))[name]
        for w in weights
    ]
    assert found == pytest.approx(expected)


def test_nested_variance_by_hand():
    # Two seeds that differ by 2: s² / S = 1; draws of the mean are 1 and 3: variance 2.
    found = nested_test(np.array([1.0, 3.0]), np.array([[0.0, 2.0], [2.0, 4.0]]), blocks=100)
    df = 3**2 / (1**2 / 1 + 2**2 / 99)
    assert found.mean == 2
    assert found.p == pytest.approx(2 * stats.t.sf(2 / math.sqrt(3), df))


def nested(simulations: int, methods: int, planted: float) -> np.ndarray:
    """p-values (simulations, methods), Holm's, on one test part of 100 blocks, with five seeds."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(simulations):
        # What a seed does to a score, and what each sample's prediction is worth.
        seed = rng.normal(0, 0.05, size=(methods + 1, 5, 1))
        worth = rng.normal(0, 1, size=(methods + 1, 5, 100)) + rng.normal(0, 1, size=(1, 1, 100))
        worth += rng.normal(0, 0.5, size=(methods + 1, 1, 100)) + seed
        worth[1] += planted
        counts = rng.multinomial(100, np.full(100, 0.01), size=200) / 100
        difference = worth[1:] - worth[0]
        tests = [nested_test(d.mean(axis=1), d @ counts.T, 100).p for d in difference]
        found.append(holm(tests))
    return np.array(found)


def test_on_an_official_split_marks_are_as_rare_and_a_planted_effect_is_found():
    assert (nested(300, 4, 0.0) < 0.05).any(axis=1).mean() <= 0.05 + 2 * math.sqrt(
        0.05 * 0.95 / 300
    )
    found = nested(100, 4, 0.5) < 0.05
    assert found[:, 0].mean() > 0.8
    assert found[:, 1:].mean() <= 0.05


@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_official_split_is_tested_over_blocks_and_seeds(kind, tmp_path):
    cache = official(tmp_path, {"single": 1.0, "kd": 1.0, "zeta": 4.0}, kind)
    written = write_report(tmp_path, tmp_path / "out", cache=cache, figures=False)
    (summary,) = written.summaries
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert "paired bootstrap over 30 sites of the test part, nested in 5 seeds" in text
    rows = {row.method: row for row in summary.at("S1")}
    assert (rows["zeta"].mark, rows["zeta"].best) == ("▲", True)
    assert rows["kd"].comparison.mean == pytest.approx(rows["kd"].gain.mean)
    assert not rows["kd"].best


def test_a_method_without_its_predictions_is_not_compared_on_an_official_split(tmp_path):
    cache = official(tmp_path, {"single": 1.0, "kd": 3.0, "zeta": 4.0})
    next((tmp_path / "records/toy/kd").glob("*.npz")).unlink()
    (summary,) = write_report(tmp_path, tmp_path / "out", cache=cache, figures=False).summaries
    rows = {row.method: row for row in summary.at("S1")}
    assert rows["kd"].comparison is None and rows["zeta"].comparison
    said = "Not compared: kd (not all its predictions are there)."
    for path in (tmp_path / "out/leaderboard.md", *(tmp_path / "out/tables").glob("*.md")):
        assert said in path.read_text()


def test_without_targets_an_official_split_has_no_test_and_says_so(tmp_path):
    official(tmp_path, {"single": 1.0, "kd": 1.0})
    write_report(tmp_path, tmp_path / "out", cache=tmp_path / "elsewhere", figures=False)
    assert (
        "targets of the test samples are not in the cache"
        in (tmp_path / "out/leaderboard.md").read_text()
    )
