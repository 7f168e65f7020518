"""What is odd about a single fold: refused or recorded, and shown, never passed over."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import records
from benchmark.executors.local import serial
from benchmark.executors.scale import Scale
from benchmark.planning.jobs import Job
from benchmark.report import write_report
from benchmark.report.frame import collect
from benchmark.report.remarks import fold_remarks
from benchmark.training import execute
from benchmark.training.fit import FitStage
from methods.common.registry import REGISTRY
from tests.made_up import run, write
from tests.problems import dataset, run_spec


def divided(data, **parts):
    """``data`` with one fold: the last samples of these numbers for val and test."""
    split = np.array(["train"] * len(data), dtype="<U5")
    split[-parts["val"] - parts["test"] :] = "val"
    split[-parts["test"] :] = "test"
    return replace(data, name="lfmc", groups=None, split=split)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Runs a method on a dataset in memory; gives the record, read back from the disk."""

    numbers = itertools.count()

    def call(data, method, **job):
        number = next(numbers)
        data = replace(data, fingerprint=f"{number:064x}")
        monkeypatch.setattr(execute, "reopen", lambda folder: data)
        spec = run_spec(method, data)
        prepared = tmp_path / f"prepared-{number}"
        (record,) = serial([Job(spec, prepared, tmp_path / "results", **job)], Scale())
        assert records.load(spec, tmp_path / "results") == record
        return record

    return call


def test_a_validation_part_with_no_class_of_the_training_part_is_refused(recorded):
    data = dataset("multiclass", samples=60)
    y = np.array([0, 1] * 20 + [2, 3] * 5 + [0, 1] * 5)
    record = recorded(divided(replace(data, y=y), val=10, test=10), "single")
    assert record.status == "failed" and not record.metrics
    assert record.reason.startswith(
        "lfmc fold 0: the validation part (10 samples) has no class that the training part has, so "
        "that it cannot tell which epoch is best"
    )
    assert record.data["unseen"] == {"val": 10}


def test_samples_of_classes_that_the_training_part_lacks_are_counted(recorded):
    data = dataset("multiclass", samples=60)
    y = np.array([0, 1] * 20 + [2, 0] * 5 + [0, 3, 1, 1, 3] * 2)
    record = recorded(divided(replace(data, y=y), val=10, test=10), "single")
    assert record.status == "done" and record.data["unseen"] == {"val": 5, "test": 4}
    assert recorded(divided(dataset("binary"), val=10, test=10), "single").data["unseen"] == {}
    assert recorded(divided(dataset("regression"), val=9, test=9), "single").data["unseen"] == {}


@pytest.mark.parametrize("value", [np.nan, 287.0])
def test_a_channel_without_two_values_in_the_training_part_is_0_for_all_methods(recorded, value):
    """As it was given: 301.6 K after nothing that any weight was trained for."""
    data = dataset("regression", ("series", "vector"))
    x = {m: a.copy() for m, a in data.x.items()}
    x["m1"][:70, :, 2] = value
    other = {m: a.copy() for m, a in x.items()}
    x["m1"][70:, :, 2], other["m1"][70:, :, 2] = 301.6, np.nan
    first = recorded(divided(replace(data, x=x), val=10, test=10), "single")
    assert first.status == "done" and first.data["constant_channels"] == {"m1": ["c2"]}
    second = recorded(divided(replace(data, x=other), val=10, test=10), "single")
    assert second.metrics == first.metrics
    assert [s["validation"] for s in second.stages] == [s["validation"] for s in first.stages]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda d: replace(d, y=np.where(np.arange(90) == 80, 7, d.y)),
            "lfmc: sample 's80' is of class 7, and the task has classes 0 to 3; correct the "
            "adapter, and prepare the data again",
        ),
        (
            lambda d: replace(d, x={**d.x, "m1": d.x["m1"][:, :4]}),
            "lfmc: m1 is an array of shape (90, 4, 3) where its specification says (90, 6, 3); "
            "correct the adapter, and prepare the data again",
        ),
        (
            lambda d: replace(d, x={**d.x, "m2": d.x["m2"][:70]}),
            "lfmc: m2 is an array of shape (70, 6, 3) where its specification says (90, 6, 3); "
            "correct the adapter, and prepare the data again",
        ),
    ],
)
def test_arrays_that_are_not_what_the_specs_say_are_one_sentence(recorded, change, sentence):
    record = recorded(divided(change(dataset("multiclass")), val=10, test=10), "single")
    assert (record.status, record.reason) == ("failed", sentence)


def test_an_error_inside_torch_names_the_line_that_led_there(recorded, monkeypatch):
    """Not that of torch's own, of which the author of a method knows nothing."""
    entry = REGISTRY["single_wide"]

    class Wrong(entry.method):
        def losses(self, batch):
            return {"task": torch.nn.functional.cross_entropy(torch.zeros(1, 2), torch.tensor([7]))}

    monkeypatch.setitem(REGISTRY, "single_wide", replace(entry, method=Wrong))
    monkeypatch.setattr("methods.load", lambda plugins: REGISTRY)
    here = (Path(__file__),)
    record = recorded(divided(dataset(), val=10, test=10), "single_wide", plugins=here)
    said = r"IndexError: Target 7 is out of bounds\. \(test_fold_checks\.py:\d+\)"
    assert re.fullmatch(said, record.reason)


def test_a_fitted_stage_whose_validation_is_infinite_is_a_failed_run(recorded, monkeypatch):
    entry = REGISTRY["constant"]

    class Far(entry.method):
        def stages(self):
            (stage,) = super().stages()

            def fit(batches):
                stage.fit(batches)
                for parameter in (*self.parameters(), *self.buffers()):
                    parameter.fill_(1e30)

            return [FitStage(stage.name, stage.modules, fit, stage.predictors)]

    monkeypatch.setitem(REGISTRY, "constant", replace(entry, method=Far))
    record = recorded(divided(dataset("regression"), val=10, test=10), "constant")
    assert record.status == "failed"
    assert "the validation loss of 'm1' is inf after" in record.reason


def test_tables_say_what_training_parts_lack(tmp_path):
    odd = {"unseen": {"test": 4, "val": 3}, "constant_channels": {"S1": ["vv", "angle"]}}
    made_up = [run("single", 0), *(run(m, 2) for m in ("single", "kd"))]
    made_up = [replace(r, data={**r.data, **(odd if r.spec.fold else {})}) for r in made_up]
    write(made_up, tmp_path)
    (group,) = collect(tmp_path).groups
    sentences = fold_remarks(group)
    assert sentences == [
        "Some test samples are of a class that the training part lacks, and no method can get them "
        "right: 4 of 60 in fold 2.",
        "Some validation samples are of a class that the training part lacks, and they weigh "
        "nothing when epochs are compared: 3 of 60 in fold 2.",
        "Channels without two different values in the training part are 0 in all parts: S1 vv "
        "(fold 2), S1 angle (fold 2).",
    ]
    write_report(tmp_path, tmp_path / "out", figures=False)
    shown = (tmp_path / "out/leaderboard.md").read_text()
    assert all(sentence in shown for sentence in sentences)
