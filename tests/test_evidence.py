"""What a table says of a gain: in words, by seeds, beside what is practically equal, or nothing."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.metrics import primary
from benchmark.report import summary_text, write_report
from benchmark.report.evidence import OverFolds
from benchmark.report.rows import Row, Spread
from benchmark.report.summary import Summary
from tests.made_up import run, runs, write
from tests.test_report import report, rows_of

RMSE = primary("regression")
REAL = {"protocol": "standard", "source": "real", "kind": "regression"}


def scored(method: str, scores, **options) -> list:
    """Records with an RMSE of one's own: scores (folds, seeds), NaN for no run."""
    made = []
    for fold, of_fold in enumerate(np.asarray(scores, float)):
        for seed, value in enumerate(of_fold):
            if math.isfinite(value):
                record = run(method, fold, seed=seed, **{**REAL, **options})
                for values in record.metrics.values():
                    values["rmse"] = float(value)
                made.append(record)
    return made


def summary_of(made_up, tmp_path: Path) -> Summary:
    (summary,) = report(made_up, tmp_path).summaries
    return summary


def row_of(summary: Summary, method: str, deployment: str = "S1") -> Row:
    (row,) = (row for row in summary.at(deployment) if row.method == method)
    return row


def texts(tmp_path: Path) -> dict[str, str]:
    """Everything a report writes as text, by its suffix; the leaderboard by its name."""
    out = tmp_path / "out"
    found = {path.suffix: path.read_text() for path in (out / "tables").iterdir()}
    return {**found, "leaderboard": (out / "leaderboard.md").read_text()}


FOLDS = np.linspace(30, 40, 10)[:, None]
NOISE = np.random.default_rng(0).normal(size=(10, 5))


def test_methods_with_fewer_seeds_are_compared_with_the_mean_over_the_references_seeds(tmp_path):
    single, kd = FOLDS + NOISE, FOLDS - 1
    summary = summary_of(scored("single", single) + scored("kd", kd), tmp_path)
    row = row_of(summary, "kd")
    assert row.complete and row.seeds == 1 and row_of(summary, "single").seeds == 5
    assert row.comparison.mean == pytest.approx((single.mean(axis=1) - kd[:, 0]).mean())
    text = texts(tmp_path)["leaderboard"]
    assert rows_of(text, "kd")[0][-1].startswith("10 × 1 seed")
    assert rows_of(text, "single")[0][-1].startswith("10 × 5 seeds")
    assert "1 to 5 seeds averaged within each" in text


def test_a_failed_seed_leaves_a_row_that_is_not_compared(tmp_path):
    made_up = scored("single", FOLDS + NOISE[:, :2]) + scored("kd", FOLDS + NOISE[:, 2:4])
    failed = run("kd", 3, seed=1, status="failed", reason="nan", **REAL)
    made_up = [failed if r.id == failed.id else r for r in made_up]
    summary = summary_of(made_up, tmp_path)
    assert row_of(summary, "kd").comparison is None
    assert rows_of(texts(tmp_path)["leaderboard"], "kd")[0][-1] == "10 × 2 seeds (19 of 20 runs)"


def test_the_parts_of_fold_and_seed_are_shown(tmp_path):
    made_up = scored("single", FOLDS + NOISE) + scored("kd", np.zeros((10, 1)) + NOISE)
    summary_of(made_up, tmp_path)
    text = texts(tmp_path)[".md"]
    single, kd = ([r for r in rows_of(text, m) if len(r) == 6][0] for m in ("single", "kd"))
    assert int(single[2]) > 80 and int(kd[2]) < 40 and int(kd[4]) > 40
    with next((tmp_path / "out/tables").glob("*S2.csv")).open() as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "rmse" and r["method"] == "kd"]
    parts = [float(rows[0][f"variance_{name}"]) for name in ("fold", "seed", "both")]
    assert sum(parts) == pytest.approx(1)


@pytest.mark.parametrize(
    ("made_up", "said"),
    [
        (runs({"single": 1.0, "kd": 1.0}, 3, **REAL), "One seed a fold"),
        ([run(m, 0, seed=s, **REAL) for m in ("single", "kd") for s in range(3)], "One split"),
    ],
)
def test_where_the_parts_cannot_be_known_it_is_said(made_up, said, tmp_path):
    summary_of(made_up, tmp_path)
    assert said in texts(tmp_path)[".md"] and "| fold (%)" not in texts(tmp_path)[".md"]


def test_seeds_needed_or_that_no_number_would_do(tmp_path):
    # Most of the spread is the seeds'; a gain of 1 needs more of them, but not with other folds.
    single, kd = FOLDS + 2 * np.random.default_rng(8).normal(size=(2, 10, 4))
    kd += single.mean() - kd.mean() - 1
    made_up = scored("single", single) + scored("kd", kd)
    made_up += scored("zeta", kd + 30 * (NOISE[:, :1] - NOISE[:, 0].mean()))
    summary = summary_of(made_up, tmp_path)
    kd, zeta = row_of(summary, "kd"), row_of(summary, "zeta")
    assert zeta.seeds_needed == math.inf
    text = texts(tmp_path)["leaderboard"]
    assert re.search(r"Seeds needed for the gain that was seen \(80 % power.*S1: kd \d+", text)
    assert "more seeds cannot do it for zeta" in text
    # So many, and not one less, make the gain a detectable one.
    evidence, single = summary.evidence, row_of(summary, "single")
    level = summary.levels["S1"]

    def detectable(n: float) -> float:
        error, df = evidence.anticipated(kd, single, n)
        return replace(kd.comparison, error=error, df=df).detectable(level)

    assert detectable(kd.seeds_needed) <= kd.gain.mean < detectable(kd.seeds_needed - 1)
    assert evidence.anticipated(kd, single, 4)[0] == pytest.approx(kd.comparison.error)


def test_what_more_seeds_do_is_what_a_test_with_more_seeds_has():
    rng = np.random.default_rng(0)
    errors = {2: [], 8: []}
    for _ in range(60):
        fold = rng.normal(0, 1, (2, 10, 1))
        values = 30 + fold + rng.normal(0, 2, (2, 10, 8))
        for seeds in errors:
            rows = [_row(name, v[:, :seeds]) for name, v in zip("ab", values, strict=True)]
            errors[seeds].append(OverFolds(RMSE, 10, 0.1).anticipated(*rows, 8)[0] ** 2)
    assert np.mean(errors[2]) == pytest.approx(np.mean(errors[8]), rel=0.1)


def _row(method: str, values: np.ndarray) -> Row:
    by_seed = {f: dict(enumerate(v.tolist())) for f, v in enumerate(values)}
    spread = Spread({f: float(v.mean()) for f, v in enumerate(values)})
    return Row(method, {"role": "method"}, "S1", {"rmse": spread}, None, by_seed, values.size)


def test_practical_equality_is_shown_everywhere(tmp_path):
    single = FOLDS
    again = FOLDS + NOISE[:, :1]
    made_up = scored("single", single) + scored("kd", single + 0.01 * NOISE[:, 1:2])
    made_up += scored("single_again", again, entry={"role": "control"})
    made_up += scored("mdico", single - 5 + 0.1 * NOISE[:, 2:3])
    summary = summary_of(made_up, tmp_path)
    assert summary.ropes["S1"] == pytest.approx(np.std(NOISE[:, 0], ddof=1) / 2)
    assert row_of(summary, "kd").practical.equal > 0.999
    assert row_of(summary, "mdico").practical.better > 0.999
    found = texts(tmp_path)
    assert "0/100/0" in found[".md"] and "100/0/0" in found[".tex"]
    assert "p_equal" in found[".csv"].splitlines()[0] or "p_equal" in csv_of(tmp_path)
    assert "Corani and Benavoli 2015" in found["leaderboard"]
    assert "kd is practically equal to it" in found["leaderboard"]
    assert "0/100/0" in (tmp_path / "out/report.html").read_text()


def csv_of(tmp_path: Path) -> str:
    return next((tmp_path / "out/tables").glob("*S2.csv")).read_text()


def test_without_single_again_it_is_said_that_equality_is_not_known(tmp_path):
    summary_of(runs({"single": 1.0, "kd": 1.0}, 4, **REAL), tmp_path)
    assert "What is practically equal is not known" in texts(tmp_path)["leaderboard"]


def test_a_sentence_answers_above_each_table_and_on_the_console(tmp_path):
    made_up = scored("single", FOLDS) + scored("kd", FOLDS - 3 + 0.1 * NOISE[:, :1])
    made_up += scored("mdico", FOLDS + NOISE[:, 1:2]) + scored("zeta", FOLDS + 9 + NOISE[:, 2:3])
    write(made_up, tmp_path)
    written = write_report(tmp_path, tmp_path / "out", figures=False)
    said = re.compile(
        r"On S1, kd is better than single \(3 compared; a gain of [\d.]+ would have had a mark in "
        r"80 % of cases\); zeta is worse; the best set holds kd\."
    )
    found = texts(tmp_path)
    assert said.search(found[".md"]) and said.search(found["leaderboard"])
    assert said.search(summary_text(written))
    largest = (
        r"\nS1: largest gain over single of 3 methods: kd \+3\.\d+ ▲ \(95 % interval \+2\.\d+ to"
    )
    assert re.search(largest, summary_text(written))
    assert "On S1, kd is better than single" in found[".tex"]
    assert "On S2, kd is better than single" in (tmp_path / "out/report.html").read_text()
    head, table = found["leaderboard"].index("On S1, kd is"), found["leaderboard"].index("| single")
    assert head < table


def test_no_method_is_better_in_words(tmp_path):
    made_up = scored("single", FOLDS) + scored("kd", FOLDS + NOISE[:, :1])
    made_up += scored("mdico", FOLDS + NOISE[:, 1:2])
    summary_of(made_up, tmp_path)
    said = "On S1, no method is better than single (2 compared; a gain of "
    assert said in texts(tmp_path)["leaderboard"]


@pytest.mark.parametrize("options", [REAL, {**REAL, "protocol": "quick"}])
def test_where_the_reference_does_not_beat_a_constant_gains_mean_nothing(options, tmp_path):
    made_up = scored("single", FOLDS + 8, **options)
    made_up += scored("constant", FOLDS, entry={"role": "control"}, **options)
    made_up += scored("kd", FOLDS + 5, **options)
    summary_of(made_up, tmp_path)
    said = (
        "On S1, single does not beat constant (RMSE 43.00 against 35.00): gains over it mean "
        "nothing."
    )
    assert said in texts(tmp_path)["leaderboard"] and said in texts(tmp_path)[".md"]


def test_a_reference_that_is_not_shown_to_beat_a_constant(tmp_path):
    made_up = scored("single", FOLDS - 0.1)
    noise = NOISE[:, :1] - NOISE[:, 0].mean()
    made_up += scored("constant", FOLDS + noise, entry={"role": "control"})
    summary_of(made_up + scored("kd", FOLDS), tmp_path)
    assert "is not shown to beat constant" in texts(tmp_path)["leaderboard"]


@pytest.mark.parametrize("protocol", ["standard", "random", "quick"])
def test_generated_data_have_no_bold_mark_test_or_order(protocol, tmp_path):
    options = {"source": "generated", "protocol": protocol}
    made_up = scored("single", FOLDS, **options) + scored("kd", FOLDS + NOISE[:, :1], **options)
    made_up += scored("mdico", FOLDS - 9, **options)
    summary = summary_of(made_up, tmp_path)
    assert not summary.tested and not any(row.best or row.mark for row in summary.rows)
    for name, text in texts(tmp_path).items():
        shown = text.split("## How to read")[0]
        assert not re.search(r"\*\*|textbf|▲|▼|n\.s\.|blacktriangle", shown), name
    text = texts(tmp_path)["leaderboard"]
    assert text.index("| kd") < text.index("| mdico")
    assert ("simulated data are no evidence" in text) == (protocol != "quick")


def test_the_sentence_of_a_few_methods_is_that_of_all(tmp_path):
    made_up = scored("single", FOLDS) + scored("kd", FOLDS - 3 + 0.1 * NOISE[:, :1])
    report(made_up + scored("mdico", FOLDS + NOISE[:, 1:2]), tmp_path)
    said = [s for s in texts(tmp_path)["leaderboard"].splitlines() if s.startswith("On S1")]
    report([], tmp_path, methods=["mdico"])
    few = [s for s in texts(tmp_path)["leaderboard"].splitlines() if s.startswith("On S1")]
    assert said == few and "kd is better" in said[0]


def test_holm_counts_methods_with_the_same_predictions_once(tmp_path):
    made_up = []
    for method, column in (("kd_cross", 0), ("gen_distill", 0), ("kd", 1)):
        for record in scored(method, FOLDS + NOISE[:, [column]]):
            digest = f"{column} {record.spec.fold}"
            made_up.append(replace(record, predictions_sha256=digest))
    summary = summary_of(scored("single", FOLDS) + made_up, tmp_path)
    assert summary.levels["S1"] == 0.05 / 2
    twin = [row_of(summary, method) for method in ("kd_cross", "gen_distill")]
    assert twin[0].p_holm == twin[1].p_holm
    assert twin[0].p_holm <= 2 * twin[0].comparison.p + 1e-12


def test_a_mean_over_fewer_folds_is_marked_with_its_n_wherever_it_is(tmp_path):
    made_up = scored("single", FOLDS) + scored("mdico", FOLDS[:9] - 1)
    made_up += scored("mdico_no_con", FOLDS[:8], entry={"role": "ablation"})
    made_up += scored("fusion_concat", FOLDS[:7], entry={"role": "bound"})
    write(made_up, tmp_path)
    written = write_report(tmp_path, tmp_path / "out", figures=False)
    found = texts(tmp_path)
    for name in (".md", ".tex", "leaderboard"):
        for n in (9, 8, 7):
            assert f"(n = {n})" in found[name], (name, n)
    assert "(n = 9)" in rows_of(found["leaderboard"], "mdico")[0][3]  # the gain
    tables = found[".md"].split("## All metrics")
    assert all("(n = 9)" in part for part in tables)
    assert all(f"(n = {n})" in summary_text(written) for n in (9, 8, 7))
    assert "(n = 9)" in (tmp_path / "out/report.html").read_text()
    with next((tmp_path / "out/tables").glob("*S2.csv")).open() as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "rmse"]
    assert {(r["method"], r["n"], r["gain_n"]) for r in rows} >= {("mdico", "9", "9.0")}


def test_a_class_that_few_test_parts_have_is_marked_with_its_n(tmp_path):
    made_up = runs({"single": 1.0}, folds=3)
    made_up[0].metrics["S1"]["f1_per_class"][1] = None
    report(made_up, tmp_path)
    text = texts(tmp_path)[".md"]
    (row,) = (r for r in rows_of(text.split("by class: S1")[1].split("##")[0], "single"))
    assert [("(n = 2)" in cell) for cell in row] == [False, False, True, False, False]
    path = next((tmp_path / "out/tables").glob("*.classes.csv"))
    with path.open() as file:
        ns = {
            (r["deployment"], r["class"]): r["n"]
            for r in csv.DictReader(file)
            if r["metric"] == "f1_per_class"
        }
    assert ns["S1", "class 1"] == "2" and ns["S2", "class 1"] == "3"


def test_a_mean_over_fewer_folds_is_marked_in_figures(tmp_path):
    from benchmark.report.figures.colearning import ablation_bars, cost_against_score
    from benchmark.report.figures.scores import distributions, gain_map, learning_curves
    from benchmark.report.outline import outline_of

    made_up = scored("single", FOLDS) + scored("mdico", FOLDS[:9] - 1)
    made_up += scored("mdico_no_con", FOLDS[:8], entry={"role": "ablation"})
    summary = summary_of(made_up, tmp_path)
    drawn = {f.__name__: f(summary) for f in (distributions, ablation_bars, cost_against_score)}
    drawn |= {
        "gain_map": gain_map([outline_of(summary)]),
        "learning_curves": learning_curves(summary),
    }
    for name, figure in drawn.items():
        shown = [t.get_text() for axis in figure.axes for t in axis.texts]
        shown += [axis.get_title(loc) for axis in figure.axes for loc in ("left", "center")]
        assert any("(n = 8)" in text for text in shown), name
        assert any("(n = 9)" in text for text in shown) or name == "ablation_bars", name
