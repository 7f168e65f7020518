"""The pages of results/: their numbers are those of the records, and they have no others."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.commands.main import main
from benchmark.planning import protocol as protocols
from benchmark.report import answers
from tests.made_up import official, runs, write
from tests.shipped import shipped
from tests.test_labels import with_labels

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "results" / "README.md", ROOT / "results" / "answers.md"]
EVIDENCE = {"source": "real", "kind": "regression"}
SKILLS = {"single": 1.0, "single_wide": 1.0, "kd": 1.1, "mdico": 3.0}
CONTROL = {"family": "control", "role": "control"}


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def asked(
    results: Path, *question: str, protocol: str | None = None, cache: Path | None = None
) -> str:
    return answers.answer(question, answers.evidence_of(results, cache), "R", protocol)


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture(scope="module")
def found() -> answers.Evidence:
    return answers.evidence_of(shipped(), None)


@each_page
def test_its_numbers_are_those_of_the_shipped_records(page, found):
    text = page.read_text(encoding="utf-8")
    now = answers.rewritten(text, found, "results/reference")
    assert now == text, f"`make reference` writes the numbers of {page.name} anew"


@each_page
def test_it_has_no_number_beside_its_answers(page):
    """Names apart: those of sensors, files, and what an interval is called."""
    prose = answers.BLOCK.sub("", page.read_text(encoding="utf-8"))
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", "", prose)
    assert not re.findall(r"(?<!\w)[+−-]?\d[\d.,]*", prose)


@each_page
def test_every_answer_names_a_command_that_is_understood(page):
    from benchmark.commands.parser import parser

    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^`python -m benchmark (.*)`$", text, re.MULTILINE)
    options = [parser().parse_args(shlex.split(command)) for command in commands]
    assert [(" ".join(each.question), each.protocol) for each in options] == [
        (block[1], block[2] or None) for block in answers.BLOCK.findall(text)
    ]


def test_one_page_has_every_answer():
    questions = {block[1].split()[0] for block in answers.BLOCK.findall(PAGES[1].read_text())}
    assert questions == answers.QUESTIONS.keys()


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Ten folds of two seeds, a usual protocol, another encoder, fewer labels, and a placebo."""
    folder = tmp_path_factory.mktemp("answers")
    made_up = []
    for method, skill in SKILLS.items():
        options = {**EVIDENCE, "entry": CONTROL if method == "single_wide" else None}
        for seed in (0, 1):
            own = {**options, "protocol": "standard", "seed": seed}
            made_up += runs({method: skill}, 10, **own)
        made_up += runs({method: skill + 1}, 10, protocol="random", **options)
    made_up += with_labels(
        runs({"single": 0.5, "mdico": 0.6}, 10, protocol="standard", **EVIDENCE), 0.25
    )
    made_up += runs({"mdico": 1.0}, 10, protocol="standard", placebo="S1", **EVIDENCE)
    for record in runs({"single": 4.0, "mdico": 4.0}, 10, protocol="standard", **EVIDENCE):
        encoders = {**record.spec.encoders, "dim": 4}
        values = {**record.spec.protocol, "name": "pretrained"}
        spec = replace(record.spec, encoders=encoders, protocol=values)
        standing = protocols.load("standard").standing_for(spec.dataset)
        made_up.append(replace(record, spec=spec, id=spec.id, standing=standing))
    return write(made_up, folder)


def test_a_method_is_held_against_each_control(results):
    text = asked(results, "versus", "mdico")
    assert "mdico against single, protocol standard: shown to be better in 2 of 2 lines" in text
    assert "`python -m benchmark answer versus mdico --results R`" in text
    header, _, *body = rows(text)
    assert header[3:7] == ["seeds", "mdico", "it has", "gain"]
    places = {(row[0], row[1], row[2]) for row in body}
    assert ("toy (S1 + S2), standard", "S2", "single_wide") in places
    assert not any(row[2] == "single_ensemble" for row in body), "what was not run is not there"
    gain = next(r for r in body if r[:3] == ["toy (S1 + S2), standard", "S1", "single"])
    own, other = float(gain[4]), float(gain[5])
    assert float(gain[6].replace("−", "-")) == pytest.approx(other - own, abs=0.011)
    low, high = (float(end.replace("−", "-")) for end in gain[7].split(" to "))
    assert 0 < low < other - own < high
    assert gain[3] == "2 and 2"
    usual = next(r for r in body if r[:3] == ["toy (S1 + S2), random", "S1", "single"])
    assert usual[3] == "1 and 1"


def test_each_question_has_its_answer(results):
    assert "real data of 1: toy" in asked(results, "runs")
    placebo = rows(asked(results, "placebo"))[2]
    assert placebo[:2] == ["mdico", "S1"]
    assert " to " in placebo[-1], "whole with the one seed that it has, of the method's two"
    best = rows(asked(results, "baseline"))[2]
    assert best[2].startswith("single") and best[3].startswith("mdico")
    folds = rows(asked(results, "folds"))
    assert {row[1] for row in folds[2:]} == {"random"} and len(folds) == 2 + 2 * len(SKILLS)
    encoders = rows(asked(results, "encoders"))
    assert encoders[0] == ["sensor", "method", "standard", "pretrained"]
    assert [row[:2] for row in encoders[2:4]] == [["S1", "single"], ["S1", "mdico"]]
    assert len(encoders) == 2 + 2 * 2 and all(float(r[2]) > float(r[3]) for r in encoders[2:])
    seeds = rows(asked(results, "seeds"))
    assert seeds[2][2] == str(len(SKILLS))
    assert sum(int(cell) for cell in seeds[2][3:]) == pytest.approx(100, abs=30)
    assert [row[1] for row in rows(asked(results, "labels"))][0] == "25 %"
    assert rows(asked(results, "power"))[2][2] == "2", "methods in the family of tests"


def test_an_answer_is_of_one_protocol_where_one_is_named(results):
    whole, part = (asked(results, "versus", "mdico", protocol=p) for p in (None, "standard"))
    places = [{row[0] for row in rows(text)[2:]} for text in (whole, part)]
    assert len(places[0]) > 1 and places[1] == {"toy (S1 + S2), standard"}
    assert [r for r in rows(whole) if r[0] in places[1]] == rows(part)[2:]
    fewer = asked(results, "power", protocol="standard, 25 % of the labels")
    assert "answer power --protocol 'standard, 25 % of the labels' --results R`" in fewer
    assert len(rows(fewer)) == 2 + 2


def test_encoders_are_asked_of_all_methods_or_of_some(results):
    some = rows(asked(results, "encoders", "mdico"))
    assert [row[:2] for row in some[2:]] == [["S1", "mdico"], ["S2", "mdico"]]
    assert set(map(tuple, some)) < set(map(tuple, rows(asked(results, "encoders"))))
    assert asked(results, "encoders", "kd").startswith("The records do not say."), "of one encoder"


def test_smoke_runs_and_simulations_answer_nothing(tmp_path):
    write(runs(SKILLS, 10, kind="regression"), tmp_path)
    assert asked(tmp_path, "versus", "mdico").startswith("The records do not say.")
    assert "40 runs with scores; real data of 0" in asked(tmp_path, "runs")


def test_another_split_of_a_dataset_is_none_of_its_own(tmp_path):
    made_up = runs(SKILLS, 2, protocol="standard", **EVIDENCE)
    for record in runs(SKILLS, 2, dataset="again", protocol="standard", **EVIDENCE):
        made_up.append(replace(record, data={**record.data, "split_of": "toy"}))
    text = asked(write(made_up, tmp_path), "runs")
    assert "16 runs with scores; real data of 1: toy." in text and "again (S1 + S2)" in text


def test_an_official_split_is_compared_over_its_samples(tmp_path):
    cache = official(tmp_path, {"single": 1.0, "mdico": 3.0})
    text = asked(tmp_path, "versus", "mdico", cache=cache)
    assert len(rows(text)) == 2 + 2 and "better in 2 of 2 lines" in text


def test_a_document_is_filled_in_and_its_prose_stays(results, tmp_path, capsys):
    path = tmp_path / "page.md"
    path.write_text(
        "A\n\n<!-- answer: runs -->\nold 17\n<!-- end -->\n\n"
        "B <!-- answer: seeds --protocol standard, 25 % of the labels -->\n<!-- end -->"
    )
    command = ["answer", "--into", str(path), "--results", str(results)]
    assert main(command) == 0
    text = path.read_text()
    assert "old 17" not in text and text.startswith("A\n") and "\nB <" in text
    assert "runs with scores" in text and "answer seeds --protocol 'standard, 25 % of" in text
    assert main(command) == 0
    assert "as it was" in capsys.readouterr().out and path.read_text() == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["verses", "mdico"], "unknown question 'verses': did you mean versus"),
        (["versus", "mdicoo"], "unknown method 'mdicoo': did you mean mdico"),
        (["runs", "mdico"], "runs: it is asked of all methods at once"),
        (["versus", "a", "b"], "versus: it is asked of one method"),
        ([], "name a question"),
        (["runs", "--protocol", "standrad"], "unknown protocol 'standrad': did you mean standard"),
        (["--into", "none.md", "--protocol", "standard"], "--protocol: not with --into"),
        (["--into", "none.md"], "none.md: cannot be read"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(results, words, told, capsys):
    assert main(["answer", *words, "--results", str(results)]) == 2
    assert told in capsys.readouterr().err


@each_page
def test_its_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    assert links and all((page.parent / link).exists() for link in links)
