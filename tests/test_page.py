"""The report page as a file: everything is in it, nothing of it can run, the bytes are the same."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmark.report import write_report
from benchmark.report.figures import Drawn
from benchmark.report.figures.picture import in_page
from benchmark.report.page.document import document, figure, picture
from tests.made_up import USUAL, official, run, runs
from tests.test_report import HOSTILE, everything, report, rows_of

NAMES = (HOSTILE, "<script>alert(1)<script>", "<!--", "50%_of_it", "ä line", "n" * 80)


class Parsed(HTMLParser):
    """The elements of a page, and the text of its scripts and styles by id or tag."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, str] = {}
        self.inside = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id", tag) if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data

    def data(self, name: str):
        return json.loads(self.texts[name])

    @property
    def groups(self) -> list[dict]:
        return [self.data(f"group-{i}") for i in range(len(self.data("index")["groups"]))]


def page(made_up, tmp_path: Path, **choice) -> Parsed:
    report(made_up, tmp_path, **choice)
    return Parsed(tmp_path / "out/report.html")


def test_every_record_is_behind_a_number_or_among_the_exclusions(tmp_path):
    results = everything(tmp_path)
    written = write_report(results, tmp_path / "out", figures=False)
    parsed = Parsed(tmp_path / "out/report.html")
    shown = [run_id for group in parsed.groups for run_id in group["runs"]["id"]]
    excluded = [what for e in parsed.data("exclusions") for what in e["what"]]
    assert set(shown) == {r.id for group in written.results.groups for r in group.runs}
    assert len(shown) + len(excluded) == written.results.files
    assert {e["status"] for e in parsed.data("exclusions")} == {
        *("failed", "not applicable", "unreadable", "invalid", "superseded", "duplicate")
    }
    assert all(e["reason"] for e in parsed.data("exclusions"))
    assert f"{written.results.files} records" in parsed.data("index")["counts"]


def test_the_value_of_a_run_is_that_of_its_record(tmp_path):
    (group,) = page(runs(USUAL), tmp_path).groups
    for record in runs(USUAL):
        place = group["runs"]["id"].index(record.id)
        spec = record.spec
        assert group["methods"][group["runs"]["method"][place]]["name"] == spec.method
        assert (group["runs"]["fold"][place], group["runs"]["seed"][place]) == (spec.fold, 0)
        for deployment, values in record.metrics.items():
            for name in ("macro_f1", "ece", "samples"):
                assert group["values"][deployment][name][place] == pytest.approx(values[name], 1e-5)


def test_its_numbers_and_footnotes_are_those_of_the_leaderboard(tmp_path):
    (group,) = page(
        runs(USUAL, folds=5, protocol="standard", source="real", kind="regression"), tmp_path
    ).groups
    text = (tmp_path / "out/leaderboard.md").read_text()
    for row in group["rows"]["S1"]["rows"]:
        cells = rows_of(text, group["methods"][row["method"]]["name"])[0]
        assert cells[1].strip("*") == row["texts"][0]
        assert cells[1].startswith("**") == row.get("best", False)
        gain = row.get("gain")
        assert cells[3] == (f"{gain['text']} {gain['mark']}".strip() if gain else "–")
        assert cells[-1] == row["coverage"]
    assert len(group["notes"]) > 3
    table = next((tmp_path / "out/tables").glob("*.md")).read_text()
    (worse,) = (note for note in group["notes"] if note.startswith("Worse in: "))
    assert worse in table and " worse in |" in table  # what a table explains it has as a column
    assert "worse in" not in text.lower()
    assert all(note.split(":")[0] in text for note in group["notes"] if note != worse)
    for row in group["rows"]["S1"]["rows"]:
        if row.get("gain"):
            assert row["gain"]["interval"] in table and row["gain"]["detectable"] in table


def test_a_smoke_run_has_no_mark_no_best_set_and_no_test(tmp_path):
    (group,) = page(runs({"mdico": 9.0, "kd": 1.0, "single": 1.0}), tmp_path).groups
    assert "smoke run" in group["whyNot"] and "SMOKE RUN" in group["flags"][0]
    rows = [row for d in group["rows"].values() for row in d["rows"]]
    assert not any(row.get("best") for row in rows)
    assert not any(row["gain"]["mark"] or "p" in row["gain"] for row in rows if row.get("gain"))
    order = [group["methods"][row["method"]]["name"] for row in group["rows"]["S1"]["rows"]]
    assert order == ["single", "kd", "mdico"]


def test_missing_cells_and_what_is_not_asked_for(tmp_path):
    made_up = [*runs({"single": 1.0, "kd": 1.0}), run("mdico", 0, status="failed", reason="nan")]
    (group,) = page(made_up, tmp_path, methods=["mdico"]).groups
    assert [method["name"] for method in group["methods"]] == ["mdico"]
    (row,) = group["rows"]["S1"]["rows"]
    assert (row["texts"][0], row["coverage"]) == ("–", "0 of 3")
    assert not group["runs"]["id"]


def test_foreign_text_stays_text(tmp_path):
    reason = "</script><img src=x onerror=alert(1)><!-- \u2028 ]]> &lt;"
    made_up = [*runs(USUAL, folds=2), run("bad", 0, status="failed", reason=reason)]
    made_up += [run(name, fold) for name in NAMES for fold in range(2)]
    parsed = page(made_up, tmp_path)
    (group,) = parsed.groups
    assert {method["name"] for method in group["methods"]} >= set(NAMES)
    assert [e["reason"] for e in parsed.data("exclusions")] == [reason]
    assert not any(tag == "img" or name.startswith("on") for tag, a in parsed.tags for name in a)
    kinds = [a.get("type") for tag, a in parsed.tags if tag == "script"]
    assert kinds == ["application/json"] * 3 + [None]
    text = (tmp_path / "out/report.html").read_text("utf-8")
    assert "\u2028" not in text and "alert(1)>" not in text


def test_nothing_but_its_own_style_and_script_is_allowed(tmp_path):
    parsed = page(runs(USUAL), tmp_path)
    (policy,) = (a["content"] for _, a in parsed.tags if a.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for tag in ("script", "style"):
        digest = hashlib.sha256(parsed.texts[tag].encode()).digest()
        assert rules[f"{tag}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert not any({"src", "href", "style"} & a.keys() for _, a in parsed.tags)
    script = parsed.texts["script"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|fetch", script)


def test_the_page_is_the_same_wherever_it_is_made(tmp_path):
    first = everything(tmp_path / "here")
    write_report(first, tmp_path / "one", figures=False)
    for path in sorted((first / "records").rglob("*.*"), reverse=True):
        target = tmp_path / "there" / path.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    write_report(tmp_path / "there", tmp_path / "two", figures=False)
    made = (tmp_path / "one/report.html").read_bytes()
    assert made == (tmp_path / "two/report.html").read_bytes()
    assert str(tmp_path).encode() not in made


def test_real_and_generated_data_are_never_one_table(tmp_path):
    made_up = [*runs(USUAL), *runs(USUAL, source="real", fingerprint="f1")]
    parsed = page(made_up, tmp_path)
    assert [g["source"] for g in parsed.data("index")["groups"]] == ["real", "generated"]
    ids = [set(group["runs"]["id"]) for group in parsed.groups]
    assert len(ids[0]) == len(ids[1]) == len(made_up) / 2 and not ids[0] & ids[1]
    assert "GENERATED" in parsed.groups[1]["title"]


def test_repeated_seeds_and_an_official_split(tmp_path):
    cache = official(tmp_path, {"single": 1.0, "kd": 2.0, "mdico": 1.0})
    write_report(tmp_path, tmp_path / "out", cache=cache, figures=False)
    (group,) = Parsed(tmp_path / "out/report.html").groups
    assert group["unit"] == "seed" and "bootstrap" in group["test"]
    gains = [row["gain"] for row in group["rows"]["S1"]["rows"] if row.get("gain")]
    assert all(len(gain["by"]) == 5 and gain["interval"] for gain in gains)


def test_ranks_across_datasets_are_there_with_their_warning(tmp_path):
    skills = {"single": 1.0, "kd": 1.5, "mdico": 2.0}
    made_up = [
        r
        for d in "abc"
        for r in runs(skills, folds=3, protocol="standard", source="real", dataset=d)
    ]
    (shown,) = page(made_up, tmp_path).data("index")["across"]
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert "Warning: N < 10" in shown["before"][1]
    assert shown["rows"] == [rows_of(text, row[0])[-1] for row in shown["rows"]]


def test_figures_are_in_the_page_in_their_shorter_form(tmp_path):
    svg, png = b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 50, b"\x89PNG" + b"x" * 30
    first = figure(Drawn("one", "scores", "generated", "quick", 0), (4.0, 2.0))
    second = figure(Drawn("two", "gains", "generated", "quick"), (1.0, 1.0))
    blocks = [picture("figure-0", in_page(png * 50, svg)), picture("figure-1", in_page(png, svg))]
    path = tmp_path / "page.html"
    path.write_text(document({"figures": [first, second]}, blocks), "utf-8")
    parsed = Parsed(path)
    first, second = parsed.data("index")["figures"]
    assert (first["group"], first["width"], first["height"]) == (0, 384, 192)
    assert second["group"] is None
    assert gzip.decompress(base64.b64decode(parsed.texts["figure-0"])) == svg
    assert base64.b64decode(parsed.texts["figure-1"]) == png


def test_records_without_any_group_still_make_a_page(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records/foreign.json").write_text("[1, 2]")
    write_report(tmp_path, tmp_path / "out", figures=False)
    parsed = Parsed(tmp_path / "out/report.html")
    assert parsed.groups == []
    assert parsed.data("exclusions")[0]["what"] == [["records/foreign.json", ""]]
