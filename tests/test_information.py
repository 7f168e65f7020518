"""The simulation of known information, and the study that turns its dials."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.commands.main import main
from benchmark.errors import UserError
from benchmark.study import information
from benchmark.study.gains import Level
from benchmark.study.information import LEVELS, design
from datasets.generated_information import BOTH, DEPLOYED, OTHER, TEST, Dials
from tests.survival import PLUGIN

SMALL = Dials(channels=(6, 5))
SEEN = (DEPLOYED, OTHER, BOTH)
CHANGES = [
    {},
    {"redundancy": 2.0},
    {"synergy": 1.0},
    {"noise": 0.7, "noise_other": 0.4},
    {"noise": 0.0},
    {"noise": 0.0, "noise_other": 0.0},
    {"unique_deployed": 0.0, "unique_other": 2.0},
    {"privileged": 1.0},
    {"label_noise": 0.0, "privileged": 0.5},
]


def open_variance(y: np.ndarray, features: np.ndarray) -> float:
    """What least squares leaves open on the half that it has not seen."""
    half = len(y) // 2
    found = np.linalg.lstsq(features[:half], y[:half], rcond=None)[0]
    return float(np.mean((y[half:] - features[half:] @ found) ** 2))


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_best_prediction_leaves_what_arithmetic_says_and_nobody_leaves_less(changes):
    dials = replace(SMALL, **changes)
    drawn = dials.simulate(1, labels=39_000)
    x = {m: values.astype(np.float64) for m, values in drawn.x.items()}
    pairs = x[DEPLOYED][:, :, None] * x[OTHER][:, None, :]
    features = {
        DEPLOYED: x[DEPLOYED],
        OTHER: x[OTHER],
        BOTH: np.concatenate([*x.values(), pairs.reshape(len(pairs), -1)], axis=1),
    }
    scale = dials.signal + dials.label_noise
    for seen in SEEN:
        left = dials.left(seen)
        reached = np.mean((drawn.y - drawn.best[seen]) ** 2)
        assert reached == pytest.approx(left, abs=0.03 * scale)
        # Least squares on all pairs of channels is the best there is, from enough samples.
        assert open_variance(drawn.y, features[seen]) == pytest.approx(left, abs=0.03 * scale)


def test_where_no_closed_form_is_known_none_is_given():
    dials = replace(SMALL, synergy=1.0, privileged=1.0)
    drawn = dials.simulate(0, labels=5)
    assert dials.left(OTHER) is dials.left(BOTH) is drawn.best[OTHER] is drawn.best[BOTH] is None
    assert dials.left(DEPLOYED) is not None and drawn.best[DEPLOYED] is not None


SAME, UP, DOWN = "same", "up", "down"
MOVES = {
    "redundancy": (UP, UP, UP),
    "unique_deployed": (UP, SAME, UP),
    "unique_other": (SAME, UP, UP),
    "synergy": (SAME, SAME, UP),
    "noise": (DOWN, SAME, DOWN),
    "labels": (SAME, SAME, SAME),
    "label_noise": (SAME, SAME, SAME),
    "privileged": (SAME, UP, UP),
}
"""Dial → what becomes of the variance that can be explained from the deployed sensor, the other
one, and both, when it is turned up."""


@pytest.mark.parametrize("dial", LEVELS)
def test_the_dials_move_the_ceilings_as_they_must(dial):
    settings = [s.dials for s in design([dial]).dials[dial].values()]
    for seen, move in zip(SEEN, MOVES[dial], strict=True):
        explained = [d.signal + d.label_noise - d.left(seen) for d in settings]
        steps = np.diff(explained)
        if move == SAME:
            assert np.allclose(steps, 0)
        else:
            assert (steps > 0).all() if move == UP else (steps < 0).all()
    noise = [d.left(BOTH) - d.label_noise for d in settings]
    assert (np.array(noise) >= 0).all(), "nobody can explain the noise of the labels"
    if dial == "label_noise":
        left = [d.left(DEPLOYED) for d in settings]
        assert np.allclose(np.diff(left), np.diff([d.label_noise for d in settings]))


def test_other_levels_have_the_same_draws_and_more_labels_the_same_test_part():
    few, many = (replace(SMALL, labels=n).simulate(3) for n in (20, 90))
    assert len(few.y) == TEST + 20 and len(many.y) == TEST + 90
    for m in few.x:
        assert np.array_equal(few.x[m], many.x[m][: len(few.y)])
    noisy = replace(SMALL, label_noise=4.0).simulate(3, labels=20)
    assert np.array_equal(noisy.x[DEPLOYED], few.x[DEPLOYED])
    assert not np.array_equal(SMALL.simulate(4, labels=20).y, few.y)


def test_the_design_runs_what_dials_share_once():
    whole = design()
    assert len(whole.settings) == 1 + sum(len(levels) - 1 for levels in LEVELS.values())
    names = {setting.name(draw) for setting in whole.settings for draw in whole.draws}
    assert len(names) == len(whole.settings) * len(whole.draws) == 33 * 5
    part = design(["labels", "noise"], [4, 0], [7])
    assert [list(own) for own in part.dials.values()] == [[200, 3200], [0, 0.7]]
    assert part.draws == (7,)
    with pytest.raises(UserError, match="unknown dial 'nose': did you mean noise"):
        design(["nose"])
    with pytest.raises(UserError, match="dials have levels 0 to 4; asked for 2, 5"):
        design(levels=[2, 5])


def test_gains_are_paired_by_draw():
    level = Level(
        {"single": {0: 2.0, 1: 3.0, 2: 4.0}, "kd": {0: 1.9, 1: 2.8}, "lone": {7: 1.0}},
        {DEPLOYED: {0: 1.5, 1: 2.5, 2: 3.5}, BOTH: None},
    )
    gain = level.gain("kd")
    assert (gain.n, gain.mean) == (2, pytest.approx(0.15))
    assert level.most().mean == pytest.approx(0.5) and level.most(BOTH) is None
    assert level.gain("lone") is None and level.gain("unknown") is None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture
def study(place, monkeypatch):
    """The command with two epochs a stage, on the lowest and highest level of one dial."""
    short = place / "information.yaml"
    short.write_text(information.PROTOCOL.read_text().replace("epochs: 60 ", "epochs: 2 "))
    monkeypatch.setattr(information, "PROTOCOL", short)
    monkeypatch.setattr("benchmark.study.gains.PROTOCOL", short)

    def call(*more: str) -> int:
        arguments = ["study", "information", "--dials", "labels", "--levels", "0,1", *more]
        arguments += ["--executor", "serial", "--device", "cpu", "--plugin", str(PLUGIN)]
        return main([*arguments, "--results", str(place / "out"), "--cache", str(place / "cache")])

    return call


def test_a_study_is_one_command_that_goes_on_where_it_was(study, place, capsys):
    assert study("--seeds", "0,1", "--methods", "kd") == 0
    said = capsys.readouterr().out
    assert "12 runs: 12 done; 0 were recorded already" in said
    page = (place / "out/information.md").read_text()
    assert "| kd " in page and "RMSE of single" in page and "fusion_concat" in page
    assert "95 % intervals by Student's t over 2 independent draws" in page
    assert re.search(r"^\| kd +\|( +[+−]?[\d.]+ \([+−\d.]+ to [+−\d.]+\) \|){2}$", page, re.M)
    with (place / "out/information.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} >= {"single", "kd", "fusion_concat"}
    assert all(row["draws"] == "2" for row in rows)
    assert (place / "out/figures/information-labels.png").stat().st_size > 10_000

    # A method of the user's joins the others; what is recorded is not run again.
    assert study("--seeds", "0,1", "--methods", "steady") == 0
    said = capsys.readouterr().out
    assert "12 runs: 12 done; 8 were recorded already" in said
    page = (place / "out/information.md").read_text()
    assert "| kd " in page and "| steady " in page


def test_part_of_the_runs_is_said_and_one_draw_has_no_interval(study, place, capsys):
    assert study("--seeds", "1,2", "--methods", "single") == 0
    page = (place / "out/information.md").read_text()
    assert "kd 2 of 4" in page, "what the folder has of these draws is shown, and what lacks said"
    assert study("--seeds", "1", "--methods", "kd") == 0
    assert "one draw: no interval is known" in (place / "out/information.md").read_text()


@pytest.mark.parametrize("more", [("--dials", "nose"), ("--levels", "9"), ("--methods", "kdd")])
def test_what_it_has_not_is_one_sentence(study, more, capsys, place):
    before = sorted(Path(place).rglob("*.json"))
    assert study(*more) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert sorted(Path(place).rglob("*.json")) == before
