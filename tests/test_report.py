"""The report: everything shown comes from records, and every record is accounted for."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import records
from benchmark.errors import UserError
from benchmark.report import summary_text, write_report
from benchmark.report.frame import collect
from benchmark.report.summary import summarise
from benchmark.report.text import decimals_for, latex, markdown, number
from benchmark.report.wording import slug
from benchmark.terms import FAMILIES
from tests.made_up import OUTPUTS, USUAL, official, run, runs, write

HOSTILE = "a|<script>_%$#&{}~^\\`*[x](y)"


def report(made_up, tmp_path: Path, **choice):
    """Write a report without figures of made-up records."""
    write(made_up, tmp_path)
    return write_report(tmp_path, tmp_path / "out", figures=False, **choice)


def rows_of(text: str, method: str) -> list[list[str]]:
    """The cells of all table rows in a Markdown text that start with a method."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] == method]


def test_tables_say_what_the_name_of_a_modality_does_not(tmp_path):
    note = "S2: Landsat-8 in fact; S2 is what the release of MDiCo calls it."
    for dataset, there in (("lfmc", True), ("toy", False)):
        (tmp_path / dataset).mkdir()
        written = report(runs(USUAL, dataset=dataset), tmp_path / dataset)
        (group,) = written.results.groups
        out = tmp_path / dataset / "out"
        assert (note in summary_text(written)) == there
        for name in ("leaderboard.md", f"tables/{slug(group)}.md", f"tables/{slug(group)}.tex"):
            assert (note in (out / name).read_text()) == there, name


@pytest.mark.parametrize("kind", OUTPUTS)
def test_tables_show_mean_and_sd_over_folds(kind, tmp_path):
    written = report(runs(USUAL, kind=kind), tmp_path)
    (group,) = written.results.groups
    values = {r.spec.fold: r.metrics["S1"] for r in group.runs if r.spec.method == "mdico"}
    name = group.primary.name
    numbers = [values[fold][name] for fold in range(3)]
    table = pd.read_csv(tmp_path / "out" / "tables" / f"{slug(group)}.csv")
    row = table.query(f"method == 'mdico' and deployment == 'S1' and metric == '{name}'").iloc[0]
    assert row["mean"] == pytest.approx(np.mean(numbers))
    assert row["sd"] == pytest.approx(np.std(numbers, ddof=1))
    assert (row["n"], row["sd_over"]) == (3, "fold")
    shown = (tmp_path / "out" / "tables" / f"{slug(group)}.md").read_text()
    decimals = 2 if kind == "regression" else 3
    text = f"{np.mean(numbers):.{decimals}f} ± {np.std(numbers, ddof=1):.{decimals}f}"
    assert text in shown
    assert text in (tmp_path / "out" / "leaderboard.md").read_text()
    assert text in summary_text(written)
    where = "Gains over single (a smoke run is no evidence): leaderboard.md\n"
    assert where in summary_text(written)
    assert text.replace("±", r"$\pm$") in (tmp_path / f"out/tables/{slug(group)}.tex").read_text()


def test_the_gain_is_paired_by_fold_in_the_better_direction(tmp_path):
    written = report(runs({"single": 1.0, "kd": 2.0}, kind="regression"), tmp_path)
    (summary,) = written.summaries
    own, reference = (
        {
            r.spec.fold: r.metrics["S2"]["rmse"]
            for r in summary.group.runs
            if r.spec.method == method
        }
        for method in ("kd", "single")
    )
    (row,) = (r for r in summary.at("S2") if r.method == "kd")
    assert row.gain.mean == pytest.approx(np.mean([reference[f] - own[f] for f in range(3)]))
    assert row.gain.mean > 0  # more skill, less error


def test_a_table_says_whose_defaults_are_its_authors_own_for_this_dataset(tmp_path):
    authors = {"defaults_from": "these datasets"}
    entries = {
        "mdico": {**authors, "defaults_for": ["lfmc", "toy"]},
        "com_avg": {**authors, "defaults_for": ["cropharvest_multi"]},
        "variant": {**authors, "defaults_for": []},
        "older": authors,
        "kd": {"defaults_from": "elsewhere"},
        "single": {"defaults_from": "this benchmark"},
    }
    made_up = [run(m, f, entry=entry) for m, entry in entries.items() for f in range(2)]
    of_mdico = next(record for record in made_up if record.spec.method == "mdico")
    spec = replace(of_mdico.spec, differs={"w_con": 4})
    report([*made_up, replace(of_mdico, id=spec.id, spec=spec)], tmp_path)
    said = (
        "Defaults taken from their authors' configurations: mdico; taken from their authors' "
        "configurations (for which datasets is not recorded): older; carried over from elsewhere: "
        "kd, com_avg, variant; all others chosen here."
    )
    assert said in (tmp_path / "out/leaderboard.md").read_text()
    assert any(said in path.read_text() for path in (tmp_path / "out/tables").glob("*"))


def test_without_single_there_is_no_gain(tmp_path):
    report(runs({"kd": 1.0}), tmp_path)
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert "gain" not in text.split("## How to read")[0]
    assert rows_of(text, "kd")


def test_seeds_are_averaged_within_a_fold(tmp_path):
    made_up = [r for seed in (0, 1) for r in runs({"single": 1.0}, seed=seed)]
    (summary,) = report(made_up, tmp_path).summaries
    spread = summary.at("S1")[0].metric("macro_f1")
    expected = [
        np.mean([r.metrics["S1"]["macro_f1"] for r in made_up if r.spec.fold == fold])
        for fold in range(3)
    ]
    assert list(spread.values.values()) == pytest.approx(expected)
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert "standard deviation over 3 folds, 2 seeds averaged within each" in text


@pytest.mark.parametrize(("groups", "said"), [(36, "2 of the 3 folds"), (2, "2 folds")])
def test_a_spread_over_some_of_the_folds_says_of_how_many(groups, said, tmp_path):
    """Of fewer groups than folds each is a fold of its own."""
    made_up = [replace(r, data={**r.data, "groups": groups}) for r in runs({"single": 1.0}, 2)]
    report(made_up, tmp_path)
    for path in ("leaderboard.md", "report.html"):
        assert f"is the standard deviation over {said}" in (tmp_path / "out" / path).read_text()


def test_an_official_split_has_its_spread_over_seeds(tmp_path):
    made_up = [run("single", 0, seed=seed) for seed in range(3)]
    (summary,) = report(made_up, tmp_path).summaries
    assert summary.at("S1")[0].metric("macro_f1").n == 3
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert "standard deviation over 3 seeds on one split" in text


def test_one_fold_has_no_spread_and_says_so(tmp_path):
    written = report(runs(USUAL, folds=1), tmp_path)
    assert "no spread is known" in summary_text(written)
    assert "±" not in (tmp_path / "out/leaderboard.md").read_text()


def test_bounds_stand_apart_and_have_no_gain(tmp_path):
    (summary,) = report(runs(USUAL), tmp_path).summaries
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert not rows_of(text, "fusion_concat")
    assert "not ranked: fusion_concat" in text
    (bound,) = summary.at("all")
    assert bound.gain is None


def test_a_smoke_run_has_no_marks_and_no_order_by_score(tmp_path):
    report(runs({"mdico": 9.0, "kd": 1.0, "single": 1.0, "another": 5.0}), tmp_path)
    out = tmp_path / "out"
    for path in [out / "leaderboard.md", *(out / "tables").glob("*")]:
        tables = path.read_text().split("## How to read")[0]
        assert not re.search(r"\*\*|textbf|▲|▼|n\.s\.|†", tables)
    text = (out / "leaderboard.md").read_text()
    assert "SMOKE RUN" in text
    order = [row[0] for line in text.splitlines() for row in [line.strip("| ").split(" ")]]
    assert order.index("single") < order.index("kd") < order.index("mdico")
    assert order.index("mdico") < order.index("another")  # an unknown family goes last


def test_sources_protocols_and_modalities_never_mix(tmp_path):
    made_up = [
        *runs({"single": 1.0}),
        *runs({"single": 1.0}, source="real"),
        *runs({"single": 1.0}, protocol="random"),
        *runs({"single": 1.0}, modalities=("S1", "S2", "weather")),
        *runs({"single": 1.0}, dataset="other"),
    ]
    # The id of a run does not hold the source, so these would lie in one file otherwise.
    for i, record in enumerate(made_up):
        write([record], tmp_path / str(i // 3))
    for i in range(1, 5):
        shutil.copytree(tmp_path / str(i) / "records", tmp_path / "0" / "records" / str(i))
    written = write_report(tmp_path / "0", tmp_path / "out", figures=False)
    assert len(written.summaries) == len(list((tmp_path / "out/tables").glob("*.md"))) == 5
    for summary in written.summaries:
        specs = [record.spec for record in summary.group.runs]
        heads = {(s.dataset, s.source, s.protocol["name"], s.modalities) for s in specs}
        assert len(heads) == 1
        head = (tmp_path / f"out/tables/{slug(summary.group)}.md").read_text().split("##")[0]
        assert summary.group.spec.fingerprint in head
        assert ("GENERATED" in head) == (summary.group.source == "generated")


def everything(tmp_path: Path) -> Path:
    """A results folder with records of every fate."""
    made_up = [
        *runs(USUAL),
        *runs({"kd": 1.0}, dataset="other", kind="regression", fingerprint="f1"),
        *runs({"single": 1.0}, fingerprint="old", created="2029"),
        *runs({"mdico": 1.0}, version=0, created="2029"),
        *(run("isensd", f, status="not applicable", reason="time grids differ") for f in range(3)),
        run("broken", 0, status="failed", reason="loss term 'a' became nan"),
    ]
    write(made_up, tmp_path)
    folder = tmp_path / "records/toy/single"
    shutil.copy(folder / f"{run('single', 0).id}.json", folder / "copy.json")
    path = write_one(run("poisoned", 0), tmp_path)
    path.write_text(path.read_text().replace('"macro_f1"', '"micro_f1"', 1))
    path = write_one(run("cut", 0), tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "records/notes.txt").write_text("mine")
    (tmp_path / "records/foreign.json").write_text("[1, 2]")
    return tmp_path


def write_one(record, results: Path) -> Path:
    write([record], results)
    return record.path(results)


def test_every_record_is_in_a_table_or_excluded_with_a_reason(tmp_path):
    results = everything(tmp_path)
    written = write_report(results, tmp_path / "out", figures=False)
    found = written.results
    assert found.files == found.shown + len(found.exclusions)
    assert all(exclusion.reason for exclusion in found.exclusions)
    fates = pd.read_csv(tmp_path / "out/exclusions.csv")["status"].value_counts().to_dict()
    assert fates == {
        "superseded": 6,
        "not applicable": 3,
        "failed": 1,
        "duplicate": 1,
        "invalid": 1,
        "unreadable": 2,
    }
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    assert scores["run"].nunique() == found.shown
    in_tables = pd.concat([pd.read_csv(p) for p in (tmp_path / "out/tables").glob("*.csv")])
    for place, part in scores.groupby(["dataset", "method"]):
        table = in_tables.set_index(["dataset", "method"]).loc[[place]]
        table = table[table["metric"] != "r2_pooled"]  # one value over all folds
        assert set(table["n"]) == {part["fold"].nunique()}


def test_what_is_excluded_is_named(tmp_path):
    results = everything(tmp_path)
    written = write_report(results, tmp_path / "out", figures=False)
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert "records/foreign.json" in text
    assert f"records/toy/cut/{run('cut', 0).id}.json" in text
    assert "no macro_f1 for S1" in text
    assert "another version of the method" in text
    assert "another fingerprint of the data" in text
    assert rows_of(text, "isensd")[1][1:] == ["not applicable", "3 of 3", "time grids differ"]
    assert rows_of(text, "broken")[1][1] == "failed"
    assert rows_of(text, "broken")[0][1:] == ["–", "–", "–", "–", "0 of 3"]
    assert "1 failed, 3 not applicable, 2 unreadable" in summary_text(written)


def test_the_newest_version_is_shown(tmp_path):
    """Whatever the clocks of the machines said that made the records."""
    old = runs({"mdico": 0.1}, version=1, created="2030-01-03")
    new = runs({"mdico": 9.0}, version=2, created="2030-01-02", folds=2)
    written = report([*old, *new, *runs({"single": 1.0})], tmp_path)
    (group,) = written.results.groups
    assert {r.spec.version for r in group.runs if r.spec.method == "mdico"} == {2}
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert rows_of(text, "mdico")[0][-1].startswith("2 of 3")
    assert "not comparable" in text


def test_a_choice_hides_rows_but_changes_no_number(tmp_path):
    made_up = [*runs(USUAL), *runs({"kd": 1.0}, dataset="other")]
    report(made_up, tmp_path)
    full = rows_of((tmp_path / "out/leaderboard.md").read_text(), "mdico")
    written = report([], tmp_path, methods=["mdico"], datasets=["toy"], protocol="quick")
    text = (tmp_path / "out/leaderboard.md").read_text()
    few = rows_of(text, "mdico")
    assert [c.strip() for c in few[0]] == [c.strip() for c in full[0]]
    assert not rows_of(text, "kd")
    assert "15 not asked for" in summary_text(written)
    assert len(list((tmp_path / "out/tables").glob("*.md"))) == 1  # that of `other` is gone


@pytest.mark.parametrize("choice", [{"datasets": ["tox"]}, {"methods": ["kdd"]}])
def test_an_unknown_choice_names_the_nearest(choice, tmp_path):
    with pytest.raises(UserError, match="did you mean (toy|kd)"):
        report(runs(USUAL), tmp_path, **choice)


def test_no_records_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no records"):
        write_report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        report(runs({"single": 1.0}), tmp_path)


def test_all_runs_failed(tmp_path):
    made_up = [run("kd", f, status="failed", reason="no memory") for f in range(3)]
    written = report(made_up, tmp_path)
    assert "no memory" in (tmp_path / "out/leaderboard.md").read_text()
    assert "3 failed" in summary_text(written)


def test_predictions_that_a_record_does_not_vouch_for_exclude_it(tmp_path):
    official(tmp_path, {"single": 1.0})
    path = next((tmp_path / "records").rglob("*.npz"))
    path.write_bytes(path.read_bytes() + b" ")
    written = write_report(tmp_path, tmp_path / "out", figures=False)
    (exclusion,) = written.results.exclusions
    assert exclusion.what == path.with_suffix(".json").relative_to(tmp_path).as_posix()
    assert "sha256" in exclusion.reason
    assert written.results.shown == 4


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("data", {}, "invalid"),
        ("metrics", {"S1": {}}, "invalid"),
        ("metrics", {"S1": {"macro_f1": 0.5, "confusion_matrix": [[1, 2], [3]]}}, "invalid"),
        ("metrics", {}, "invalid"),
        ("metrics", {"S1": {"macro_f1": "high"}}, "unreadable"),
        ("metrics", {"S1": {"macro_f1": 0.5, "f1_per_class": "all"}}, "unreadable"),
        ("status", "finished", "unreadable"),
        ("entry", {"family": 3}, "unreadable"),
        ("created", 17, "unreadable"),
    ],
)
def test_a_record_with_foreign_content_is_excluded(field, value, status, tmp_path):
    path = write_one(run("kd", 0), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    written = report(runs({"single": 1.0}), tmp_path)
    (exclusion,) = written.results.exclusions
    assert exclusion.status == status and "kd" in (exclusion.method, *exclusion.what.split("/"))


def test_undefined_scores_are_missing_not_zero(tmp_path):
    made_up = runs({"single": 1.0, "kd": 1.0}, kind="regression")
    for record in made_up[:3]:
        record.metrics["S1"]["r2"] = None
    (summary,) = report(made_up, tmp_path).summaries
    row = next(r for r in summary.at("S1") if r.method == "single")
    assert row.metric("r2").mean is None
    assert rows_of((tmp_path / "out/leaderboard.md").read_text(), "single")[0][2] == "–"


@pytest.mark.parametrize("name", [HOSTILE, "x" * 80, "two\nlines", "_private_", "ünïcödé 数"])
def test_names_cannot_break_a_table(name, tmp_path):
    made_up = runs({name.replace("/", ""): 1.0, "single": 1.0}, dataset="d|<b>")
    report(made_up, tmp_path)
    for path in (tmp_path / "out").rglob("*.md"):
        text = path.read_text()
        assert "<script>" not in text and "<b>" not in text
        tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
        for table in tables:
            columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
            assert len(set(columns)) == 1
    (tex,) = (tmp_path / "out/tables").glob("*.tex")
    body = [line for line in tex.read_text().splitlines() if not line.startswith("%")]
    assert not re.search(r"(?<!\\)[#%_]", "\n".join(body))
    stripped = re.sub(r"\\.", "", "\n".join(body))
    assert stripped.count("{") == stripped.count("}")
    assert stripped.count("$") % 2 == 0
    with (tmp_path / "out/scores.csv").open(newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} == {name, "single"}


def test_the_leaderboard_is_the_same_wherever_it_is_made(tmp_path):
    first = everything(tmp_path / "here")
    write_report(first, tmp_path / "one", figures=False)
    # Copied in another order, to another place.
    for path in sorted((first / "records").rglob("*.*"), reverse=True):
        target = tmp_path / "there" / path.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    write_report(tmp_path / "there", tmp_path / "two", figures=False)
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*")]
    assert Path("leaderboard.md") in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    text = (tmp_path / "one/leaderboard.md").read_text()
    assert str(tmp_path) not in text
    assert not re.search(r"\d{4}-\d\d-\d\d", text)


def test_figures_are_drawn_and_the_same_again(tmp_path):
    write(runs({**USUAL, HOSTILE: 1.0}, folds=2, kind="regression"), tmp_path)
    first = write_report(tmp_path, tmp_path / "out")
    figures = [p for p in first.paths if p.parent.name == "figures"]
    assert {p.stem for p in figures if p.suffix == ".png"} == {p.stem for p in figures}
    assert len(figures) == 2 * 5
    before = {p: p.read_bytes() for p in figures}
    assert all(content.startswith((b"\x89PNG", b"<?xml")) for content in before.values())
    write_report(tmp_path, tmp_path / "out")
    assert before == {p: p.read_bytes() for p in figures}


def test_what_trains_no_network_has_no_learning_curve_and_the_caption_says_so(tmp_path):
    from benchmark.report.figures.scores import learning_curves

    made_up = [*runs({"single": 1.0, "kd": 1.0}), *runs({"forest": 1.0}, epochs=1)]
    made_up += runs({"theirs": 1.0}, entry={"family": "external"})
    made_up = [
        replace(r, cost={**r.cost, "steps": 0})
        if r.spec.method == "forest"  # fitted at once: one validation loss, and no step
        else replace(r, stages=[], cost={})
        if r.spec.method == "theirs"
        else r
        for r in made_up
    ]
    (summary,) = report(made_up, tmp_path).summaries
    figure = learning_curves(summary)
    shown = [axis.get_title() for axis in figure.axes if axis.get_visible()]
    assert shown == ["single", "kd"]
    said = " ".join(figure.get_supxlabel().split())
    assert "Without a curve: forest (no network was trained); theirs (was trained elsew" in said


def test_runs_without_curves_have_no_learning_curves(tmp_path):
    write(runs({"single": 1.0}, epochs=0), tmp_path)
    written = write_report(tmp_path, tmp_path / "out")
    assert not any("learning" in p.name for p in written.paths)


def test_the_next_report_takes_away_what_it_does_not_renew_and_nothing_else(tmp_path):
    report([*runs({"single": 1.0}), *runs({"single": 1.0}, dataset="other")], tmp_path)
    mine = tmp_path / "out/tables/mine.md"
    mine.write_text("my notes")
    shutil.rmtree(tmp_path / "records/other")
    report([], tmp_path)
    names = {p.name.split("-")[0] for p in (tmp_path / "out/tables").iterdir()}
    assert names == {"toy", "mine.md"}


def test_a_group_reads_back_from_its_records(tmp_path):
    made_up = runs(USUAL)
    write(made_up, tmp_path)
    (group,) = collect(tmp_path).groups
    assert {r.id for r in group.runs} == {r.id for r in made_up}
    assert len(records.files(tmp_path)) == len(made_up)
    assert not any(row.metric("samples").sd for row in summarise(group).rows)


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0001, "0.000"), (-1.5, "−1.500"), (None, "–"), (0.5, "+0.500")]
)
def test_numbers(value, text):
    assert number(value, 3, signed=True) == text


def test_decimals_follow_the_size_of_the_values():
    assert [decimals_for([v]) for v in (34.65, 0.5, 1234.0, 0.0)] == [2, 4, 0, 3]


def test_escaping():
    assert markdown("mdico_no_con") == "mdico_no_con"
    assert markdown("a|b<c>") == r"a\|b&lt;c&gt;"
    assert latex("50 % of a_b & $x") == r"50 \% of a\_b \& \$x"


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("κ λ Σ ς", r"$\kappa$ $\lambda$ $\Sigma$ $\varsigma$"),
        ("Α ο ΐ", r"$\mathrm{A}$ $\mathrm{o}$ $\iota$"),
        ("é ů Ş ß ø", r"\'{e} \r{u} \c{S} \ss{} \o{}"),
        ("m² CO₂ µm 12°", r"m\textsuperscript{2} CO\textsubscript{2} $\mu$m 12\textdegree{}"),
        ("数 ϗ", "[U+6570] [U+03D7]"),
    ],
)
def test_what_is_not_ascii_in_latex(text, tex):
    assert latex(text) == tex


@pytest.mark.parametrize("start", [0x80, 0x370, 0x2000, 0x2190, 0x4E00, 0x1D400, 0x1F300])
def test_any_text_is_ascii_with_balanced_braces_and_dollars_in_latex(start):
    found = latex("".join(map(chr, range(start, start + 0x180))))
    assert found.isascii()
    assert re.sub(r"\\[{}]", "", found).count("{") == re.sub(r"\\[{}]", "", found).count("}")
    assert found.replace(r"\$", "").count("$") % 2 == 0


def drawn(made_up, tmp_path, **choice) -> set[str]:
    """The kinds of the figures that a report of made-up records has."""
    write(made_up, tmp_path)
    written = write_report(tmp_path, tmp_path / "out", **choice)
    pngs = [p.stem for p in written.paths if p.suffix == ".png"]
    return {stem.removeprefix(f"{slug(written.summaries[0].group)}-") for stem in pngs}


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_what_figures_there_are(kind, tmp_path):
    made_up = runs(USUAL, folds=5, kind=kind, protocol="standard", source="real", samples=200)
    found = drawn(made_up, tmp_path)
    assert found >= {"scores", "gap", "ablations", "cost", "learning-curves"}
    assert ("confusion" in found) == (kind == "binary")


def test_predictions_are_drawn_against_targets_from_the_cache(tmp_path):
    cache = official(tmp_path, {"single": 1.0, "mdico": 2.0}, "regression")
    assert "predicted" in drawn([], tmp_path, cache=cache)
    assert "predicted" not in drawn([], tmp_path, cache=None)


def test_features_that_runs_kept_are_drawn(tmp_path):
    record = run("mdico", 0)
    rng = np.random.default_rng(0)
    parts = ("shared", "specific", "unused")
    features = {f"{m}/{part}": rng.normal(size=(12, 4)) for m in ("S1", "S2") for part in parts}
    predictions = {"ids": np.arange(12).astype(str), **{m: np.zeros(12) for m in ("S1", "S2")}}
    kept = records.write(record, predictions, tmp_path, features)
    assert kept.features_sha256
    back = records.read_features(records.read(record.path(tmp_path)), tmp_path)
    assert back.keys() == features.keys()
    write(runs({"single": 1.0}), tmp_path)
    assert "features" in drawn([], tmp_path)
    path = record.path(tmp_path).with_suffix(".features.npz")
    content = path.read_bytes()
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="not the features of its record"):
        records.read_features(kept, tmp_path)
    assert "features" not in drawn([], tmp_path)
    (exclusion,) = collect(tmp_path).exclusions
    assert "sha256" in exclusion.reason and path.name in exclusion.reason
    path.unlink()  # elsewhere: features are large
    assert not collect(tmp_path).exclusions
    path.write_bytes(content)
    assert not collect(tmp_path).exclusions


@pytest.mark.parametrize("modalities", [("S1",), ("S1", "S2")])
def test_nothing_of_a_figure_is_cut_off(modalities, tmp_path, monkeypatch):
    from benchmark.report.figures import drawing

    cut = []

    def check(figure):
        lay_out(figure)
        box, size = figure.get_tightbbox(), figure.get_size_inches()
        cut.append(max(-box.x0, -box.y0, *(np.array([box.x1, box.y1]) - size)))

    lay_out = drawing.lay_out
    monkeypatch.setattr(drawing, "lay_out", check)
    monkeypatch.setattr("benchmark.report.figures.cores", lambda: 1)  # drawn in this process
    options = {"protocol": "standard", "source": "real", "modalities": modalities}
    made_up = runs({"single": 1.0, "fusion_concat": 9.0}, folds=5, **options)
    for family in (*FAMILIES, "a family of one's own with a very long name"):
        method = f"a method of {family}"
        made_up += [run(method, f, entry={"family": family}, **options) for f in range(5)]
    assert "gap" in drawn(made_up, tmp_path)
    assert max(cut) < 0.02 and len(cut) >= 5


@pytest.mark.parametrize("modalities", [("S1", "S2"), tuple("ABCD"), tuple("ABCDEFGHIJKLMNOPQR")])
def test_learning_curves_of_one_method_alone_have_room(modalities, tmp_path, recwarn):
    """Where legend and caption leave none to the panel, matplotlib warns and gives up."""
    from benchmark.report.figures import drawing

    (summary,) = report(runs({"single": 1.0}, modalities=modalities), tmp_path).summaries
    with drawing.matplotlib.rc_context(drawing.STYLE):
        figure = drawing.learning_curves(summary)
        drawing.lay_out(figure)
    drawing.plt.close(figure)
    assert not recwarn.list
    inches = figure.axes[0].get_position().height * figure.get_figheight()
    assert inches > (0.5 if len(modalities) < 5 else 0.1)


def test_what_lies_beyond_the_axes_is_marked_at_their_edge():
    from matplotlib import pyplot as plt

    from benchmark.report.figures.style import at_edge

    _, axis = plt.subplots()
    axis.set_xlim(0, 10)
    axis.set_ylim(10, 0)
    at_edge(axis, [5, 12, -3, 5, 20], [5, 5, 5, -1, 30], color="0.2")
    marked = sorted(tuple(p) for c in axis.collections for p in c.get_offsets().tolist())
    assert marked == [(0, 5), (5, 0), (10, 5), (10, 10)]
    plt.close()


def test_methods_whose_records_state_no_operations_are_named_and_not_drawn(tmp_path):
    from benchmark.report.figures.colearning import cost_against_score

    made_up = runs({"single": 1.0, "kd": 1.0, "forest": 1.0}, folds=3)
    for record in made_up:
        if record.spec.method == "forest":
            record.cost["training_flops"] = None
            record.cost["inference_flops"] = {"S1": 0, "S2": 0}
    (summary,) = report(made_up, tmp_path).summaries
    figure = cost_against_score(summary)
    said = figure.get_supxlabel().replace("\n", " ")
    assert "Not drawn, as their records state no operations: forest." in said
    assert all(axis.get_xlabel() == "training GFLOP of a run" for axis in figure.axes)
    text = next((tmp_path / "out/tables").glob("*.md")).read_text()
    cost = rows_of(text, "forest")[-1]
    assert cost[3] == cost[6] == "–" and cost[-1] == "3"


def test_few_methods_in_a_figure_are_chosen_by_what_they_are_and_one_more_changes_one(tmp_path):
    """Reference, proposed, bound, methods, controls; the caption says so where some are left."""
    from benchmark.report.figures.predictions import confusion_matrices, featured

    external = {"entry": {"family": "external"}}
    controls = {"single": 1.0, "forest": 9.0, "constant": 0.0, "kd": 0.5}
    made_up = [
        replace(record, entry={**record.entry, "family": "control", "role": "control"})
        if record.spec.method in ("forest", "constant")
        else record
        for record in runs(controls)
    ]
    chosen = []
    for more in ([], runs({"theirs": 1.0}, **external), runs({"fusion_concat": 3.0, "mdico": 1.0})):
        made_up += more
        (summary,) = report(made_up, tmp_path).summaries
        chosen.append(featured(summary))
        drawn = confusion_matrices(summary)
        assert ("4 of" in drawn.get_supxlabel()) == (len(summary.group.entries) > 4)
    assert chosen == [
        ["single", "kd", "constant", "forest"],
        ["single", "kd", "theirs", "constant"],
        ["single", "mdico", "fusion_concat", "kd"],
    ]
