"""What `report` makes of bad input, as its user sees it: told, counted, and nothing else lost."""

from __future__ import annotations

import csv
import json
import re
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import records
from benchmark.commands import main as cli
from benchmark.report import write_report
from benchmark.report.frame import collect
from benchmark.spec import RunSpec
from tests.made_up import USUAL, official, run, runs, write

EVIDENCE = {"protocol": "standard", "source": "real"}


@pytest.fixture
def report(tmp_path, capsys, monkeypatch):
    """`python -m benchmark report`, without figures: what it prints, and the leaderboard."""

    monkeypatch.setattr("benchmark.report.figures.Drawing._ask", lambda *a: lambda: None)

    def call(*made_up, arguments=()) -> tuple[str, str]:
        write(made_up, tmp_path)
        folders = ["--results", str(tmp_path), "--cache", str(tmp_path / "cache")]
        code = cli.main(["report", *folders, "--out", str(tmp_path / "out"), *arguments])
        captured = capsys.readouterr()
        assert code == 0 and not captured.err
        return captured.out, (tmp_path / "out/leaderboard.md").read_text()

    return call


def test_one_method_alone_has_scores_and_no_test(report):
    out, text = report(*runs({"mdico": 1.0}, folds=3, **EVIDENCE))
    assert "mdico" in out and "No test: no other method and single have all runs." in text
    assert not re.search("▲|▼|n\\.s\\.|\\*\\*", text.split("## How to read")[0])


def test_one_fold_has_scores_and_no_test(report):
    out, text = report(*runs(USUAL, folds=1, **EVIDENCE))
    assert "no spread is known" in out and "No test: it takes at least two folds." in text
    assert not re.search("▲|▼|n\\.s\\.|±", text.split("## How to read")[0])


def test_a_truncated_record_is_named_skipped_and_counted(report, tmp_path):
    write(runs(USUAL, **EVIDENCE), tmp_path)
    path = run("kd", 1, skill=USUAL["kd"], **EVIDENCE).path(tmp_path)
    path.write_bytes(path.read_bytes()[:-300])
    out, text = report()
    assert "15 records; not shown: 1 unreadable" in out
    assert f"records/toy/kd/{path.name}" in text
    assert " 2 of 3 |" in next(line for line in text.splitlines() if line.startswith("| kd "))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_predictions_of_another_hash_are_named_and_counted(report, tmp_path, damage):
    official(tmp_path, {"single": 1.0, "kd": 2.0, "zeta": 2.0}, "binary")
    path, other = sorted((tmp_path / "records/toy/kd").glob("*.npz"))[:2]
    path.write_bytes(other.read_bytes() if damage is None else damage)
    out, text = report()
    assert "15 records; not shown: 1 unreadable" in out
    assert f"{path.name} is not the file that it vouches for by sha256" in text
    row = next(line for line in text.splitlines() if line.startswith("| kd "))
    assert " 4 of 5 |" in row and not re.search("▲|n\\.s\\.", row)


def test_metrics_that_are_not_finite_are_named_and_counted(report, tmp_path):
    write(runs(USUAL, **EVIDENCE), tmp_path)
    for fold, word in enumerate(("NaN", "Infinity")):
        record = run("kd", fold, skill=USUAL["kd"], **EVIDENCE)
        document = json.loads(record.path(tmp_path).read_text())
        document["metrics"]["S1"]["macro_f1"] = float(word)
        record.path(tmp_path).write_text(json.dumps(document))
    out, text = report()
    assert "not shown: 2 unreadable" in out
    assert "(NaN is not JSON compliant)" in text and "(Infinity is not JSON compliant)" in text


def test_foreign_files_are_left_alone_and_told_where_they_stand_for_records(report, tmp_path):
    write(runs({"single": 1.0}), tmp_path)
    foreign = {
        "records/toy/single/notes.txt": b"mine",
        "records/toy/single/broken.npz": b"mine",
        "records/toy/readme.json": b'{"schema": 1}',
        "records/latin.json": b"\xff\xfe",
        "tables/mine.csv": b"a,b",
        "model.pt": b"\x80",
    }
    for name, content in foreign.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "records/folder.json").mkdir()
    (tmp_path / "records/gone.json").symlink_to("nowhere")
    out, text = report(arguments=["--out", str(tmp_path / "out")])
    assert "7 records; not shown: 4 unreadable" in out
    for name in ("toy/readme", "latin", "folder", "gone"):
        assert f"records/{name}.json" in text
    assert all((tmp_path / name).read_bytes() == content for name, content in foreign.items())


NAMES = ("a|b", "<script>alert(1)<script>", "_under_score_", "100%", "x" * 80, "$a^2\\frac{1}$ #&~")


def test_names_that_could_break_something_break_nothing(report, tmp_path):
    methods = {**dict.fromkeys(NAMES, 1.0), "single": 1.0, "mdico": 1.0, "mdico_%|_<b>": 1.0}
    made_up = runs(methods, folds=3, **EVIDENCE)
    made_up += [run("fusion_$%_|", f, entry={"role": "bound"}, **EVIDENCE) for f in range(3)]
    out, text = report(*made_up)
    assert all(name in out for name in methods)
    assert "<script>" not in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    for lines in (table.splitlines() for table in tables):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    (tex,) = (tmp_path / "out/tables").glob("*.tex")
    for line in tex.read_text().splitlines():
        unescaped = re.sub(r"\\.", "", line.lstrip("%"))
        assert not re.search(r"[#%_&]", unescaped.replace(" & ", "")) or r"\label" in line
    with (tmp_path / "out/scores.csv").open(newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} >= methods.keys()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--datasets", "tox"], "did you mean toy?"),
        (["--methods", "kdd"], "did you mean kd?"),
        (["--protocol", "quik"], "did you mean quick?"),
        (["--out", "FILE"], "cannot be written"),
        (["--results", "FILE"], "cannot be unpacked, it is damaged, or no archive"),
    ],
)
def test_a_bad_option_is_one_sentence_and_writes_nothing(arguments, sentence, tmp_path, capsys):
    write(runs({"single": 1.0, "kd": 1.0}, folds=1), tmp_path)
    (tmp_path / "file").touch()
    given_ = [str(tmp_path / "file") if a == "FILE" else a for a in arguments]
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["report", "--results", str(tmp_path), *given_]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and sentence in said
    assert sorted(tmp_path.rglob("*")) == before


def test_options_choose_what_is_shown(report):
    made_up = [
        *runs({"single": 1.0, "kd": 1.0}),
        *runs({"kd": 1.0}, dataset="other", fingerprint="f1"),
        *runs({"kd": 1.0}, protocol="random"),
    ]
    chosen = ["--datasets", "toy", "--methods", "k*", "--protocol", "quick"]
    out, text = report(*made_up, arguments=chosen)
    assert "9 not asked for" in out
    assert [line for line in text.splitlines() if line.startswith("## toy")]
    assert "## other" not in text and "protocol random" not in text
    assert "| single " not in text and "| kd " in text


ODD = st.sampled_from(
    [None, "x", -1, 0, 3.5, float("nan"), float("inf"), [], {}, [1, [2]], ["a"], True, 10**30]
    + [{"S1": None}, [None], "../..", "\ud800"]
)


def places(value, path=()):
    """The paths to everything within a JSON document."""
    if not isinstance(value, dict | list):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(document: dict, path: tuple, odd: object) -> dict:
    """The document with another value in one place, and the id that its spec then has."""
    document = deepcopy(document)
    *outer, last = path
    inner = document
    for key in outer:
        inner = inner[key]
    inner[last] = odd
    if path[0] == "spec":
        with suppress(TypeError, ValueError, AttributeError):
            document["id"] = RunSpec(**document["spec"]).id
    return document


def check_odd_value(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    """Every record is shown or excluded with a reason, whatever stands in one of them."""
    made_up = runs({"single": 1.0, "kd": 1.0, "fusion_concat": 2.0}, 2, kind=kind, **EVIDENCE)
    write(made_up, tmp_path)
    path = data.draw(st.sampled_from(records.files(tmp_path)))
    before = path.read_bytes()
    document = json.loads(before)
    where = data.draw(st.sampled_from(list(places(document))))
    path.write_text(json.dumps(changed(document, where, data.draw(ODD))))
    try:
        found = write_report(tmp_path, tmp_path / "out", figures=False).results
        assert found.files == found.shown + len(found.exclusions) == len(made_up)
        assert all(exclusion.reason for exclusion in found.exclusions)
    finally:
        path.write_bytes(before)
    assert not collect(tmp_path).exclusions


@given(kind=st.sampled_from(["binary", "multiclass", "multilabel", "regression"]), data=st.data())
def test_an_odd_value_anywhere_in_a_record_costs_that_record_at_most(kind, data, tmp_path_factory):
    check_odd_value(tmp_path_factory.mktemp("results"), kind, data)
