"""`report --compare`: the same runs in two folders, and whether they differ as seeds do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark import records
from benchmark.commands import main as cli
from benchmark.report.compare import NOISE, OTHER, SAME, UNKNOWN, compare
from tests.made_up import run, write
from tests.test_evidence import FOLDS, REAL, scored
from tests.test_evidence import NOISE as SEEDS


def folders(tmp_path: Path, here, there) -> tuple[Path, Path]:
    return write(here, tmp_path / "here"), write(there, tmp_path / "there")


def verdicts(tmp_path: Path, here, there) -> dict[str, str]:
    found = compare(*folders(tmp_path, here, there))
    return {method.method: method.verdict for method in found.methods}


def yardstick() -> list:
    return scored("single", FOLDS) + scored("single_again", FOLDS + SEEDS[:, :1])


def test_the_same_records_are_the_same_bit_for_bit(tmp_path):
    made_up = yardstick() + scored("kd", FOLDS)
    assert set(verdicts(tmp_path, made_up, made_up).values()) == {SAME}


def test_what_moves_as_a_seed_does_is_noise_and_what_moves_more_is_other(tmp_path):
    there = yardstick() + scored("kd", FOLDS + SEEDS[:, 1:2]) + scored("mdico", FOLDS + 4)
    here = yardstick() + scored("kd", FOLDS) + scored("mdico", FOLDS)
    found = verdicts(tmp_path, here, there)
    assert found == {"single": SAME, "single_again": SAME, "kd": NOISE, "mdico": OTHER}


def test_a_methods_own_seeds_are_its_noise(tmp_path):
    here = scored("kd", FOLDS + 5 * SEEDS[:, :2]) + scored("mdico", FOLDS + 0.1 * SEEDS[:, :2])
    moved = SEEDS[:, 2:4]
    there = scored("kd", FOLDS + 5 * SEEDS[:, :2] + moved)
    there += scored("mdico", FOLDS + 0.1 * SEEDS[:, :2] + moved)
    assert verdicts(tmp_path, here, there) == {"kd": NOISE, "mdico": OTHER}


def test_without_a_yardstick_it_says_that_the_noise_is_not_known(tmp_path):
    assert verdicts(tmp_path, scored("kd", FOLDS), scored("kd", FOLDS + 1)) == {"kd": UNKNOWN}


def test_a_run_that_failed_in_one_folder_only_is_other(tmp_path):
    here = yardstick() + scored("kd", FOLDS)
    failed = run("kd", 3, status="failed", reason="nan", **REAL)
    there = [failed if record.id == failed.id else record for record in here]
    assert verdicts(tmp_path, here, there)["kd"] == OTHER


def test_seed_noise_is_called_other_about_as_rarely_as_the_level_says(tmp_path):
    from benchmark.report.compare import _beyond

    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 2, 10)).tolist()
    assert np.mean([_beyond(a, b) for a, b in draws]) == pytest.approx(0.01, abs=0.007)
    assert _beyond([0.0], []) is False and _beyond([1.0], [0.0]) is True


def test_predictions_that_moved_are_measured(tmp_path):
    ids = np.array([f"s{i}" for i in range(5)])
    moved = {"here": 0.0, "there": 0.25}
    for name, by in moved.items():
        record = run("kd", 0, **REAL)
        value = {m: np.full(5, 1.0 + by, np.float32) for m in ("S1", "S2")}
        records.write(record, {"ids": ids, **value}, tmp_path / name)
    (found,) = compare(tmp_path / "here", tmp_path / "there").methods
    assert found.predictions == (0.25, 0.25) and found.same == 0
    assert found.verdict == NOISE  # the scores are the same


def test_on_the_screen(tmp_path, capsys):
    here = yardstick() + scored("kd", FOLDS) + scored("mdico", FOLDS[:4])
    there = yardstick() + scored("kd", FOLDS + 9)
    a, b = folders(tmp_path, here, there)
    assert cli.main(["report", "--results", str(a), "--compare", str(b)]) == 1
    text = capsys.readouterr().out
    lines = {line.split()[2]: line for line in text.splitlines() if line.startswith("toy")}
    assert lines["kd"].endswith(OTHER) and "0 of 10" in lines["kd"] and "9.0000" in lines["kd"]
    assert lines["single"].endswith(SAME) and "10 of 10" in lines["single"]
    assert "4 here, 0 there" in text
    assert not (a / "leaderboard.md").exists()
    assert cli.main(["report", "--results", str(a), "--compare", str(a)]) == 0


@pytest.mark.parametrize("there", [[], scored("zeta", FOLDS)])
def test_nothing_to_compare_is_one_sentence(there, tmp_path, capsys):
    a, b = folders(tmp_path, yardstick(), there)
    assert cli.main(["report", "--results", str(a), "--compare", str(b)]) == 2
    said = capsys.readouterr().err
    assert "no records there to compare" in said or "have no run in common" in said
    assert "Traceback" not in said
