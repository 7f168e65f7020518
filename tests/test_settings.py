"""Settings: hyper-parameters by hand, what may be set, and what it changes."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import methods
from benchmark import records
from benchmark.commands.main import main
from benchmark.errors import UserError
from benchmark.planning import code, protocol
from benchmark.planning.building import artefact_spec, build
from benchmark.planning.settings import Settings, apply, read
from benchmark.ranges import Range
from benchmark.report import write_report
from benchmark.spec import setting_text, settings_text
from benchmark.training.optimiser import Adam
from methods.common.registry import REGISTRY, Entry
from tests import problems
from tests.survival import ROOT

methods.load()
TUNED = sorted(key for key, entry in REGISTRY.items() if entry.tuning)


@pytest.mark.parametrize(
    ("assigned", "said"),
    [
        ("kd.alhpa=0.1", "unknown hyper-parameter of kd 'alhpa': did you mean alpha?"),
        ("kdd.alpha=0.1", "unknown method 'kdd': did you mean kd"),
        ("kd.alpha=much", "kd.alpha is a finite number, not 'much'"),
        ("kd.alpha=inf", "kd.alpha is a finite number, not 'inf'"),
        ("kd.alpha", "write METHOD.NAME=VALUE, as in --set kd.alpha=0.1"),
        ("kd.alpha=3", "kd (alpha=3) on lfmc: kd: T must be above 0 and alpha in [0, 1]"),
        ("kd.learning_rate=-1", "learning_rate lies between 1e-09 and 10, not at -1"),
        ("forest.learning_rate=0.1", "forest has no network: learning_rate has no effect"),
        ("forest.trees=1.5", "forest.trees is a whole number, not '1.5'"),
        ("mdico.split=maybe", "mdico.split is true or false, not 'maybe'"),
        ("mdico.mod_on=all", "mdico.mod_on is unused or shared, not 'all'"),
        ("dml.lam=2", "dml is not among the methods that run; add it to --methods"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(place, capsys, assigned, said):
    assert main(place.arguments("bad", "--set", assigned, methods="kd,forest,mdico")) == 2
    assert said in capsys.readouterr().err and not place.records("bad")


def test_a_value_that_is_given_twice_is_refused(place, capsys):
    twice = ("--set", "kd.alpha=0.1", "--set", "kd.alpha=0.2")
    assert main(place.arguments("bad", *twice, methods="kd")) == 2
    assert "kd.alpha is given twice" in capsys.readouterr().err


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans())
def test_a_value_is_read_as_it_is_written(value):
    kind = type(value)

    def method(self, *, x=value): ...

    method.__annotations__["x"] = kind
    made = type("Made", (nn.Module,), {"__init__": method})
    entry = Entry("made", made, "control", "", "", None, "this benchmark")
    if kind is int and abs(value) >= 10**18:
        return
    assert read(entry, "x", setting_text(value)) == value


def test_set_values_have_an_id_and_a_row_of_their_own(run, place):
    more = ("--folds", "0,1")
    assert run("set", *more, methods="dml") == 0
    own = ("--set", "dml.lam=4", "--set", "dml.learning_rate=0.002")
    assert run("set", *more, *own, methods="dml") == 0
    assert run("set", *more, "--set", "dml.lam=1", methods="dml") == 0  # the default: no other run
    found = [r for r in records.read_all(place.folder / "set")[0] if r.spec.method == "dml"]
    title = "dml (lam=4, learning_rate=0.002)"
    assert sorted(r.spec.row for r in found) == ["dml"] * 2 + [title] * 2
    assert len({r.id for r in found}) == 4
    written = write_report(place.folder / "set", place.folder / "set/out", figures=False)
    (group,) = written.results.groups
    assert {"dml", title} <= set(group.entries) and not written.results.exclusions
    board = (place.folder / "set/out/leaderboard.md").read_text()
    assert f"| {title} " in board and f"Set by hand: {title}." in board
    assert title in (place.folder / "set/out/report.html").read_text()
    with (place.folder / "set/out/scores.csv").open() as file:
        rows = {(row["method"], row["differs"]) for row in csv.DictReader(file)}
    assert {("dml", ""), (title, "lam=4, learning_rate=0.002")} <= rows


def test_settings_without_methods_run_what_is_set(place, capsys):
    arguments = place.arguments("only", "--set", "dml.lam=4", "--folds", "0", "--dry-run")
    at = arguments.index("--methods")
    assert main([*arguments[:at], *arguments[at + 2 :]]) == 0
    shown = capsys.readouterr().out
    assert "lfmc dml (lam=4) fold 0 seed 0" in shown and "3 runs to do" in shown


def test_what_has_no_effect_is_said(run, caplog):
    assert run("idle", "--set", "kd.T=2", "--folds", "0", "--dry-run", methods="kd") == 0
    assert "lfmc: kd.T has no effect on a regression task" in caplog.text


def test_a_set_value_reaches_what_it_is_for():
    data = problems.dataset()
    spec = problems.run_spec("kd", data)
    values = {"alpha": 0.2, "learning_rate": 0.5, "encoder_dropout": 0.45}
    own = apply(spec, REGISTRY["kd"], Settings(values), data)
    assert own.hyperparameters["alpha"] == 0.2 and own.differs == values
    assert own.training == {"learning_rate": 0.5, "encoder_dropout": 0.45}
    assert own.protocol == spec.protocol and own.encoders == spec.encoders
    rates = {m.p for m in build(own, data.modalities, data.task).modules() if _drops(m)}
    assert rates == {0.45}
    teacher = artefact_spec(replace(own, trial=3, tuned={"space": {}}), "teacher")
    plain = artefact_spec(spec, "teacher")
    # A teacher is trained as the protocol says, or as its student's run does: it is no trial.
    assert teacher.id == replace(plain, training=own.training).id != plain.id


def _drops(module):
    return isinstance(module, nn.Dropout)


def test_a_method_may_be_given_the_protocols_own_value():
    data = problems.dataset()
    spec = problems.run_spec("single", data)
    same = Settings({"learning_rate": spec.protocol["learning_rate"], "weight_decay": 0.0})
    assert apply(spec, REGISTRY["single"], same, data).id == spec.id


def test_weight_decay_is_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2))] for _ in "12")
    steps = (
        Adam(ours, lr=0.1, weight_decay=0.3),
        torch.optim.Adam(theirs, lr=0.1, weight_decay=0.3, fused=True),
    )
    for _ in range(3):
        for parameters, optimiser in zip((ours, theirs), steps, strict=True):
            for parameter in parameters:
                parameter.grad = parameter.detach().sin()
            optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("key", TUNED)
def test_a_method_takes_both_ends_of_its_ranges_on_every_task(key):
    entry = REGISTRY[key]
    for kind in ("binary", "multilabel", "regression"):
        data = problems.dataset(kind)
        if entry.applicable(data.modalities, data.task):
            continue
        spec = problems.run_spec(key, data)
        for end in (0.0, 1.0):
            values = {
                name: type(entry.hyperparameters[name])(span.at(end))
                for name, span in entry.tuning.items()
            }
            build(apply(spec, entry, Settings(values), data), data.modalities, data.task)


def test_ranges_hold_all_loss_weights_and_temperatures_of_published_methods():
    """What is a number and is never tuned says so by standing here."""
    fixed = {
        "crd": {"momentum", "negatives", "dim"},
        "dis2": {"warm_up"},
        "dkd": {"warm_up"},
        "dsensd_plus": {"w_main"},
        "forest": {"trees"},
        "gmc": {"w_sup"},
        "mdico": {"w_main", "w_adv"},
        "mmanet": {"warm_up"},
        "mst_distill": {"k", "mask_width", "mask_heads"},
        "tram": {"width"},
    }
    for key, entry in REGISTRY.items():
        if not entry.overrides and entry.plugin is None and entry.role == "method":
            numbers = {n for n, v in entry.hyperparameters.items() if type(v) in (int, float)}
            assert numbers - entry.tuning.keys() == fixed.get(key, set()), key


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tuning": {"lamda": Range(0, 1)}}, "unknown hyper-parameter 'lamda': did you mean lam?"),
        ({"tuning": {"lam": (0, 1)}}, "lam needs a Range"),
        ({"tuning": {"lam": Range(2, 3)}}, "the default of lam, 1.0, lies outside 2 to 3"),
        ({"tuning": {"lam": Range(0, 1, idle_on=("classes",))}}, "unknown word 'classes'"),
    ],
)
def test_a_range_that_cannot_be_is_refused_by_the_entry(changes, said):
    with pytest.raises(UserError, match="method 'dml', tuning") as caught:
        replace(REGISTRY["dml"], **changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(("ends", "log"), [((1, 1), False), ((0, 1), True), (("a", 1), False)])
def test_ends_that_are_no_range_are_refused(ends, log):
    with pytest.raises(UserError, match="is no range"):
        Range(*ends, log=log)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tuning: {momentum: [0.1, 0.9]}", "unknown range 'momentum'"),
        ("tuning: {learning_rate: [0.1, 0.01]}", "is no range"),
        ("tuning: {learning_rate: 0.1}", "expected ranges such as"),
        ("weight_decay: -1", "weight_decay must not be negative"),
    ],
)
def test_a_protocol_with_a_range_that_cannot_be_is_refused(tmp_path, line, said):
    quick = (protocol.FOLDER / "quick.yaml").read_text()
    head, _, rest = quick.partition("\ntuning:")
    path = tmp_path / "own.yaml"
    path.write_text(f"{head}\n{line}\n\nencoders:{rest.partition('encoders:')[2]}")
    with pytest.raises(UserError, match="own.yaml") as caught:
        protocol.load(str(path))
    assert said in str(caught.value)


def test_what_a_protocol_decays_by_is_in_the_id_and_ranges_are_not():
    quick = protocol.load("quick")
    values = quick.values_for("lfmc")
    assert replace(quick, tuning={}).values_for("lfmc") == values
    assert replace(quick, weight_decay=0.1).values_for("lfmc") == {**values, "weight_decay": 0.1}


def test_ranges_are_no_code_of_a_method(tmp_path):
    """Another range is tried; no run that was made is another by it."""
    path = tmp_path / "kd.py"
    shutil.copy(ROOT / "methods" / "kd.py", path)
    before, text = code.file_code(path), path.read_text()
    assert 'alpha": Range(0.1, 0.9)' in text
    path.write_text(text.replace("Range(0.1, 0.9)", "Range(0.2, 0.8)"))
    assert code.file_code(path) == before
    path.write_text(text.replace("alpha: float = 0.5", "alpha: float = 0.4"))
    assert code.file_code(path) != before


def test_describe_says_type_default_origin_range_and_where_it_does_nothing(capsys):
    assert main(["describe", "kd"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "T=4.0: float; default from elsewhere; tuned from 1 to 20, log; no effect on regression "
        "tasks alpha=0.5: float; default from this benchmark; tuned from 0.1 to 0.9" in text
    )
    assert "learning_rate: 0.001 in protocol 'standard'; tuned from 0.0001 to 0.01, log" in text
    assert main(["describe", "forest"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "trees=100: int; default from this benchmark; never tuned" in text
    assert "no network: learning_rate, weight_decay, encoder_dropout have no effect" in text


@given(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1), max_size=3))
def test_other_values_are_another_row(values):
    spec = problems.run_spec("single", problems.dataset())
    row = replace(spec, differs=values).row
    assert row == (f"single ({settings_text(values)})" if values else "single")
    assert all(float(part.partition("=")[2]) == values[part[0]] for part in _parts(row))


def _parts(row: str) -> list[str]:
    return row.partition(" (")[2].rstrip(")").split(", ") if "(" in row else []
