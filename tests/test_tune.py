"""`tune`: the same number of trials for every method, chosen without any test part."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import methods
from benchmark import plugins, records
from benchmark.commands.main import main
from benchmark.executors.slurm import as_text, from_text
from benchmark.planning.jobs import Job
from benchmark.planning.split import folds
from benchmark.planning.trials import point
from benchmark.ranges import Range
from benchmark.report import write_report
from benchmark.report.figures.tuning import default_and_tuned, validation_against_trials
from benchmark.report.tuning import pairs
from datasets.common import prepared
from methods.common.registry import REGISTRY
from tests import made_up
from tests.survival import PLUGIN, comparable, wait_until

methods.load()
METHODS = "single,forest,dml,constant"
FOLDS = ("--folds", "0,1")


@pytest.fixture
def tune(place, run):
    """`tune` in this process, as the fixture `run` is `run`."""

    def call(results: str, *more: str, methods: str = METHODS, executor: str = "serial") -> int:
        arguments = ("--executor", executor, *more)
        return main(place.arguments(results, *arguments, methods=methods, command="tune"))

    return call


@pytest.fixture(scope="module")
def study(place):
    """A study that is done: its results folder and the file of chosen values."""
    more = ("--executor", "serial", "--trials", "3", *FOLDS)
    assert main(place.arguments("study", *more, methods=METHODS, command="tune")) == 0
    plugins.unload([PLUGIN], REGISTRY)
    return place.folder / "study", place.folder / "study" / "tuned.json"


ALL_OF_DML = ("lam", "learning_rate", "weight_decay", "encoder_dropout")


def trials_of(results) -> list[records.Record]:
    found, unreadable = records.read_all(results, records.TRIALS)
    assert not unreadable
    return found


SPANS = {"T": Range(1, 20, log=True), "alpha": Range(0.1, 0.9), "learning_rate": Range(0.1, 1)}


def test_points_depend_on_method_dataset_and_number_alone():
    kd, points = REGISTRY["kd"], {}
    for trial in (5, 1, 9, 2):  # in any order, and however many there are
        points[trial] = point(kd, "lfmc", SPANS, trial)
        assert point(kd, "lfmc", SPANS, trial) == points[trial]
    assert points[1] == {} and len({str(values) for values in points.values()}) == 4
    assert point(REGISTRY["dml"], "lfmc", SPANS, 5) != points[5]
    assert point(kd, "other", SPANS, 5) != points[5]
    for values in (values for trial, values in points.items() if trial > 1):
        assert all(values[name] in span for name, span in SPANS.items())


def test_points_fill_every_range_evenly_and_whole_numbers_stay_whole():
    spans = {"trees": Range(1, 1000), "max_features": Range(0.0, 1.0)}
    drawn = [point(REGISTRY["forest"], "lfmc", spans, trial) for trial in range(2, 34)]
    assert {type(values["trees"]) for values in drawn} == {int}
    for name, top in (("trees", 1000), ("max_features", 1)):
        counts = np.histogram([values[name] for values in drawn], bins=4, range=(0, top))[0]
        assert counts.min() >= 6  # of 8 each


def test_every_method_has_the_same_trials_in_each_fold_and_no_run_is_made(study):
    results, _ = study
    found = trials_of(results)
    counts = Counter((r.spec.method, r.spec.fold) for r in found)
    assert counts == {(m, f): 3 for m in ("single", "forest", "dml") for f in (0, 1)}
    assert not (results / "records").exists()
    by_number = {(r.spec.method, r.spec.trial): set() for r in found}
    for record in found:
        by_number[record.spec.method, record.spec.trial].add(json.dumps(record.spec.differs))
    assert all(len(values) == 1 for values in by_number.values())  # the fold decides nothing
    assert by_number["dml", 1] == {"{}"}
    assert list(json.loads(next(iter(by_number["dml", 3])))) == list(ALL_OF_DML)


def test_trials_are_scored_on_the_validation_part_alone(study, place):
    results, _ = study
    for record in trials_of(results):
        data = prepared.find(place.folder / "cache", record.spec.fingerprint)
        fold = folds(data, record.spec.protocol)[record.spec.fold]
        ids, _ = records.read_predictions(record, results)
        assert sorted(ids) == sorted(data.ids[fold.val])
        assert not set(ids) & set(data.ids[fold.test])


def test_what_is_chosen_is_the_best_on_validation_and_the_file_says_of_what(study):
    results, path = study
    scores = {}
    for record in trials_of(results):
        mean = np.mean([values["rmse"] for values in record.metrics.values()])
        scores.setdefault((record.spec.method, record.spec.fold), []).append(
            (mean, record.spec.trial, dict(record.spec.differs))
        )
    chosen = {c["method"]: c for c in json.loads(path.read_text())["chosen"]}
    assert set(chosen) == {"single", "forest", "dml", "constant"}
    for (method, fold), found in scores.items():
        mean, trial, values = min(found, key=lambda one: one[:2])
        own = chosen[method]["folds"][str(fold)]
        assert (own["trial"], own["values"]) == (trial, values)
        assert own["validation"] == pytest.approx(mean)
    assert chosen["dml"]["on"] == "in each fold" and chosen["dml"]["trials"] == 3
    assert chosen["dml"]["space"]["lam"] == [0.1, 10, "log"]
    assert chosen["constant"]["space"] == {} == chosen["constant"]["folds"]["0"]["values"]


def test_the_same_study_again_trains_nothing_and_a_larger_one_only_what_is_new(study, tune, capsys):
    before = study[1].read_bytes()
    assert tune("study", "--trials", "3", *FOLDS) == 0
    assert "18 were recorded already" in capsys.readouterr().out
    assert study[1].read_bytes() == before
    assert tune("study", "--trials", "4", *FOLDS, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "6 runs to do, 18 recorded already" in shown
    assert "lfmc dml (trial 4: lam=" in shown and "lfmc constant: nothing to tune" in shown


def test_a_report_of_trials_alone_says_what_makes_runs(study, tmp_path, capsys):
    shutil.copytree(study[0] / "trials", tmp_path / "trials")
    for command in ("report", "verify"):
        assert main([command, "--results", str(tmp_path)]) == 2
        (sentence,) = capsys.readouterr().err.splitlines()
        assert "there are trials of `tune` and no runs; `run --hparams FILE`, with" in sentence


def test_what_a_file_takes_the_place_of_is_said(study, tune, capsys, tmp_path):
    own = tmp_path / "own.json"
    shutil.copy(study[1], own)
    for trials, place in (
        ("3", f"chosen values: {own}\n"),
        (
            "2",
            "(in the place of what 3 trials in each fold chose: constant, forest, single, dml",
        ),
        ("3", "(in the place of what 2 trials in each fold chose: "),
    ):
        assert tune("study", "--trials", trials, *FOLDS, "--out", str(own)) == 0
        assert place in capsys.readouterr().out
    own.write_text("[]")
    assert tune("study", "--trials", "3", *FOLDS, "--out", str(own)) == 0
    assert "in the place of a file that held no choices" in capsys.readouterr().out


def test_tuned_runs_are_a_table_of_their_own_beside_the_defaults(study, run, place):
    results, path = study
    assert run("study", *FOLDS, methods="single,dml") == 0
    assert run("study", "--hparams", str(path), *FOLDS, methods=METHODS) == 0
    out = results / "out"
    written = write_report(results, out, figures=False)
    plain, tuned = written.results.groups
    assert (plain.budget, tuned.budget) == ("", "3 trials in each fold")
    assert set(tuned.entries) == {"single", "forest", "dml", "constant"}
    assert not written.results.exclusions  # a method has other values in every fold
    (table,) = out.glob("tables/*-tuned-3-trials-in-each-fold.md")
    text = table.read_text()
    assert "Tuned with 3 trials in each fold, the same number for every method" in text
    assert "Nothing to tune: constant." in text and "untuned" not in text
    assert "untuned" in next(out.glob("tables/*-S1-S2.md")).read_text()
    section = text.split("## Default and tuned")[1].split("\n## ")[0]
    both = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")]
    assert ["dml", "S1"] in [[cell.strip() for cell in cells] for cells in both]
    seconds = sum(r.cost["seconds"] for r in trials_of(results) if r.spec.method == "dml")
    costs = (line for line in section.splitlines() if f" {seconds:.1f} |" in line)
    (cost,) = (line for line in costs if "| dml " in line)
    assert cost.split("|")[2].strip() == "6"
    assert "Default and tuned:" in (out / "leaderboard.md").read_text()
    page = (out / "report.html").read_text()
    assert "by default \\u2192 tuned" in page and "Tuning took 18 trials" in page
    for draw in (default_and_tuned, validation_against_trials):
        assert [draw(summary) is not None for summary in written.summaries] == [False, True]


def test_what_is_kept_of_a_tuned_table_goes_with_its_trials_and_its_defaults(tmp_path):
    tuned = {"space": {}, "trials": 2, "on": "in each fold"}
    made_up.write(made_up.runs({"single": 1.0, "kd": 2.0}, tuned=tuned), tmp_path)

    def section() -> str:
        write_report(tmp_path, tmp_path / "out", cache=tmp_path / "cache", figures=False)
        (table,) = tmp_path.glob("out/tables/*-tuned-2-trials-in-each-fold.md")
        return table.read_text().split("## Default and tuned")[1].split("\n## ")[0]

    assert "No method was also run by default" in section()
    assert "what tuning cost is not known here" in section()
    made_up.write(made_up.runs({"single": 1.0}), tmp_path)
    assert "| single " in section() and "what tuning cost is not known here" in section()
    trial = made_up.run("kd", tuned={"space": {}})
    spec = replace(trial.spec, trial=1)
    made_up.write([replace(trial, id=spec.id, spec=spec)], tmp_path)
    assert "what tuning cost is not known here" not in section()


def test_the_figure_of_trials_shows_each_and_ticks_trials_that_exist(tmp_path):
    space = {"space": {"alpha": [0.1, 0.9]}}
    made_up.write(
        made_up.runs({"single": 1.0}, tuned={**space, "trials": 5, "on": "in each fold"}), tmp_path
    )
    for fold, trial in ((fold, trial) for fold in range(3) for trial in range(1, 6)):
        record = made_up.run("single", fold, skill=trial % 3, tuned=space)
        spec = replace(record.spec, trial=trial)
        made_up.write([replace(record, id=spec.id, spec=spec)], tmp_path)
    (summary,) = write_report(tmp_path, tmp_path / "out", figures=False).summaries
    (axis,) = validation_against_trials(summary).axes
    assert list(axis.get_xticks()) == [1, 2, 3, 4, 5] and axis.get_xlim()[1] < 6
    points = np.concatenate(
        [own.get_offsets() for own in axis.collections if len(own.get_offsets())]
    )
    assert {1, 2, 3, 4, 5} <= set(points[:, 0])  # those beyond the edge stand at it
    scores = [t.score for t in summary.tuning.trials["single"] if t.number == 2]
    assert np.isclose(points[points[:, 0] == 2, 1], np.mean(scores)).any()


def test_trials_are_in_no_table_wherever_they_lie(tmp_path):
    trial = made_up.run("kd")
    spec = replace(trial.spec, trial=2, tuned={"space": {}}, differs={"alpha": 0.3})
    trial = replace(trial, id=spec.id, spec=spec)
    made_up.write(made_up.runs({"single": 1.0}), tmp_path)
    path = tmp_path / "records" / "toy" / "kd" / f"{spec.id}.json"
    made_up.write([trial], tmp_path / "other")
    path.parent.mkdir(parents=True)
    trial.path(tmp_path / "other").rename(path)
    written = write_report(tmp_path, tmp_path / "out", figures=False)
    (excluded,) = written.results.exclusions
    assert excluded.status == "invalid" and "a trial, which no table shows" in excluded.reason
    assert all(set(group.entries) == {"single"} for group in written.results.groups)


def test_default_and_tuned_are_compared_on_an_official_split_as_well(tmp_path):
    """Both have rows of the same name; what is compared is not one of them with itself."""
    tuned = {"space": {}, "trials": 2, "on": "in each fold"}
    cache = made_up.official(tmp_path, {"single": 1.0, "kd": 1.0})
    made_up.official(tmp_path / "other", {"single": 1.0, "kd": 3.0}, tuned=tuned)
    shutil.copytree(tmp_path / "other/records", tmp_path / "records", dirs_exist_ok=True)
    written = write_report(tmp_path, tmp_path / "out", cache=cache, figures=False)
    (summary,) = (s for s in written.summaries if s.group.budget)
    found = {(p.tuned.method, p.tuned.deployment): p for p in pairs(summary)}
    assert found["kd", "S1"].comparison.low > 0
    assert found["single", "S1"].comparison.mean == 0  # the same predictions in both
    for pair in found.values():
        assert pair.comparison.mean == pytest.approx(pair.difference.mean)


def test_once_on_fold_0_is_said_and_flagged(tune, run, place):
    results = place.folder / "once"
    assert tune("once", "--trials", "2", "--tune-on", "fold-0", methods="single,constant") == 0
    assert {r.spec.fold for r in trials_of(results)} == {0}
    assert run("once", "--hparams", str(results / "tuned.json"), methods="single,constant") == 0
    found, _ = records.read_all(results)
    assert {r.spec.tuned["on"] for r in found} == {"once, on fold 0"}
    assert {r.spec.fold for r in found} == {0, 1, 2}
    write_report(results, results / "out", figures=False)
    text = (results / "out" / "leaderboard.md").read_text()
    assert "FLAG: values were chosen on fold 0, whose training part has test samples" in text


def test_a_killed_study_goes_on_where_it_was(place, tune):
    """Killed while it trains: nothing is drawn or trained twice, and the numbers are the same."""
    more = ("--trials", "3", "--folds", "0", "--executor", "serial")
    place.log.unlink(missing_ok=True)
    process = place.start("killed", *more, pause=0.05, command="tune")
    wait_until(lambda: place.records("killed", "trials"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 0 < len(place.records("killed", "trials")) < 3
    for results in ("killed", "undisturbed"):
        assert tune(results, *more[:4], methods="steady") == 0
    folders = [place.folder / name for name in ("killed", "undisturbed")]
    assert comparable(folders[0], "trials") == comparable(folders[1], "trials") != {}
    assert len({(folder / "tuned.json").read_bytes() for folder in folders}) == 1


def test_a_trial_and_its_settings_survive_the_way_to_a_queue(study, tmp_path):
    for record in trials_of(study[0]):
        (job,) = from_text(as_text([Job(record.spec, tmp_path, tmp_path)]))
        assert job.spec == record.spec and job.spec.id == record.id


@pytest.mark.parametrize("executor", ["processes"])
def test_executors_carry_trials(study, tune, place, executor):
    assert tune(executor, "--trials", "2", *FOLDS, "--workers", "2", executor=executor) == 0
    found = {r.id: r.metrics for r in trials_of(place.folder / executor)}
    assert len(found) == 12
    same = {r.id: r.metrics for r in trials_of(study[0]) if r.id in found}
    assert same == found


def test_a_trial_that_fails_counts_and_is_never_chosen(tune, place, capsys):
    assert tune("failing", "--trials", "2", "--folds", "0", methods="diverges,steady") == 1
    shown = capsys.readouterr().out
    assert "diverges on lfmc, fold 0: no trial has a score, and nothing was chosen" in shown
    chosen = json.loads((place.folder / "failing" / "tuned.json").read_text())["chosen"]
    assert [c["method"] for c in chosen] == ["steady"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--trials", "0"), "--trials must be at least 1, not 0"),
        (("--protocol", "paper"), "protocol 'paper' validates on the test fold"),
        (("--methods", "singel"), "unknown method 'singel': did you mean single"),
        (("--tune-on", "fold-0", "--folds", "0,1"), "--tune-on fold-0 has trials on fold 0 alone"),
    ],
)
def test_a_study_that_cannot_be_is_one_sentence(tune, capsys, more, said):
    assert tune("bad", *more) == 2
    assert said in capsys.readouterr().err


def altered(path, tmp_path, change) -> str:
    document = json.loads(path.read_text())
    change({c["method"]: c for c in document["chosen"]})
    own = tmp_path / "own.json"
    own.write_text(json.dumps(document))
    return str(own)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["dml"].update(method="dlm"), "unknown method 'dlm': did you mean dml"),
        (lambda c: c["dml"]["folds"]["0"]["values"].update(lam=99.0), "lam=99 lies outside 0.1"),
        (lambda c: c["dml"]["folds"]["0"]["values"].update(lamb=1.0), "did you mean lam?"),
        (lambda c: c["dml"]["space"].update(lam=[3, 1]), "3 to 1 is no range"),
        (lambda c: c["dml"].update(trials=0), "trials is a number from 1"),
        (lambda c: c["dml"].update(trials=7), "not all methods have the same number of trials"),
        (lambda c: c["dml"].pop("code"), "that `tune` has chosen (code is missing)"),
        (lambda c: c["dml"].update(codes={}), "that `tune` has chosen ('codes' is not known there"),
        (lambda c: c["dml"].update(folds=[]), "'folds' cannot be []"),
        (lambda c: c["dml"]["folds"].update({"1": 3}), "3 stands where an object with trial, "),
        (lambda c: c["dml"].update(fingerprint="00"), "dml on lfmc were chosen on other data (f"),
        (lambda c: c["dml"]["code"].update({"methods.dml": "0"}), "dml on lfmc were chosen by oth"),
        (lambda c: c["dml"].update(protocol="standard"), "chosen under protocol 'standard', not"),
        (lambda c: c["dml"].update(modalities=["S1", "static"]), "with the modalities S1,static, "),
        (lambda c: c["dml"].update(setup="0"), "with other values of protocol, encoders"),
        (lambda c: c["dml"]["folds"].pop("1"), "no values of dml for fold 1 of lfmc; --folds 0 ru"),
        (lambda c: c["dml"].update(dataset="other"), "no values of dml on lfmc"),
        (
            lambda c: c["dml"]["space"].update(lam=[0.01, 10, "log"]),
            "in other ranges than method and protocol declare (lam: 0.01 to 10, log in place of",
        ),
        (
            lambda c: (
                c["dml"]["space"].update(lam=[0.1, 99]),
                c["dml"]["folds"]["0"]["values"].update(lam=98.0),
            ),
            "edited; `tune` again",
        ),
        (
            lambda c: [c[m]["space"].update(learning_rate=[1e-9, 1]) for m in ("single", "dml")],
            "values of single, dml on lfmc were chosen in other ranges than method and protocol",
        ),
    ],
)
def test_values_of_something_else_are_refused(study, run, capsys, tmp_path, change, said):
    path = altered(study[1], tmp_path, change)
    assert run("refused", "--hparams", path, *FOLDS, methods="single,dml") == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert said in sentence


def test_narrower_ranges_of_a_protocol_of_ones_own_run(tune, run, place, capsys, tmp_path):
    own, text = tmp_path / "own.yaml", (place.folder / "tiny.yaml").read_text()
    own.write_text(text.replace("[0.0001, 0.01, log]", "[0.0005, 0.002, log]"))
    more = ("--protocol", str(own), "--folds", "0")
    assert tune("narrow", *more, "--trials", "1", methods="single") == 0
    hparams = ("--hparams", str(place.folder / "narrow" / "tuned.json"))
    assert run("narrow", *hparams, *more, methods="single") == 0
    own.write_text(text)
    assert run("narrow", *hparams, *more, methods="single") == 2
    assert "learning_rate: 0.0005 to 0.002, log in place of 0.0001 to" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"chosen": {}}', '{"chosen": [3]}', "{"])
def test_a_file_of_something_else_is_one_sentence(run, capsys, tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    assert run("refused", "--hparams", str(path)) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "not a file of values that `tune` has chosen (" in sentence
    assert "indices" not in sentence and "subscriptable" not in sentence


def test_what_differs_is_told_once_and_the_cause_before_its_consequences(
    study, run, place, capsys, tmp_path
):
    """Another protocol has other folds and other samples; all methods that run have that in common,
    and those that came along go last."""
    (tmp_path / "other.yaml").write_text(
        (place.folder / "tiny.yaml").read_text().replace("samples: 600", "samples: 500")
    )
    other = ("--hparams", str(study[1]), "--protocol", str(tmp_path / "other.yaml"))
    assert run("refused", *other, methods=METHODS) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert (
        "the values of single, dml, constant, forest on lfmc were chosen under protocol 'tiny', "
        "not 'other': --protocol tiny runs them so, or `tune` under 'other'"
    ) in sentence
    assert main([*place.arguments("refused", command="train")[:1], "dml", "lfmc", *other[:4],
                 "--data-root", str(place.folder / "data"), "--cache", str(place.folder / "cache"),
                 "--out", str(tmp_path / "model")]) == 2  # fmt: skip
    assert "values of dml on lfmc were chosen under protocol 'tiny'" in capsys.readouterr().err
    assert run("refused", "--hparams", str(study[1]), methods=METHODS) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "no values of single, dml, constant, forest for fold 2 of lfmc; --folds 0,1" in sentence


def test_methods_without_values_are_counted_not_listed(study, run, capsys):
    hparams = ("--hparams", str(study[1]))
    assert run("refused", *hparams, *FOLDS, methods="*") == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert re.search(r"no values of \d\d methods \((\w+, ){4}…\) on lfmc: `tune` them", sentence)
    assert main(["run", *hparams, "--datasets", "fuel_moisture"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "no method has values on fuel_moisture; values there are of lfmc:" in sentence


def test_trials_of_other_code_are_not_mixed_in(study, tune, capsys, monkeypatch):
    monkeypatch.setattr("benchmark.planning.code.changed", lambda code: ["methods.dml"])
    assert tune("study", "--trials", "3", *FOLDS, methods="dml") == 2
    said = capsys.readouterr().err
    assert "trials were made by other code than there is now" in said and "6 of dml" in said


def test_values_by_hand_and_of_a_file_do_not_go_together(study, run, capsys):
    assert run("both", "--hparams", str(study[1]), "--set", "dml.lam=2", methods="dml") == 2
    assert "give values by hand, or those of a file, not both" in capsys.readouterr().err
