"""The public Python API: as printed in its documentation, and the same numbers as `run`."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark import api
from benchmark.errors import UserError
from benchmark.records import read, read_predictions
from benchmark.report.frame import COLUMNS

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


def test_the_examples_of_the_documentation_run_as_printed(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reference").symlink_to(ROOT / "results" / "reference")
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "python.md", "exec"), names)
    assert "GENERATED" in caplog.text
    assert len(names["table"]) == len(names["dataset"]) == 600
    assert names["predictions"].shape == names["fold"].test.shape
    assert names["final"].about["samples"] == {"training": 540, "validation": 60}
    assert names["means"]["single", "S2"] == pytest.approx(33.07, abs=0.005)  # as README prints it
    board = names["board"]
    assert set(board.source) == {"real"} and {"low", "high", "p"} <= set(board.columns)
    assert tuple(names["scores"].columns) == COLUMNS
    page = (ROOT / "docs" / "python.md").read_text()
    assert not [name for name in api.__all__ if f"`{name}(" not in page]


def test_training_gives_the_numbers_of_run(run, place, caplog):
    run("api", "--folds", "1", methods="kd")
    record = next(r for r in map(read, place.records("api")) if r.spec.method == "kd")
    ids, expected = read_predictions(record, place.folder / "api")
    protocol = str(place.folder / "tiny.yaml")
    dataset = api.load_dataset(
        "lfmc",
        protocol=protocol,
        data_root=place.folder / "data",
        cache=place.folder / "cache",
    )
    assert dataset.source == "real" and not caplog.records
    fold = api.folds(dataset, protocol)[1]
    assert dataset.ids[fold.test].tolist() == ids.tolist()
    found = api.train("kd", dataset, fold, protocol=protocol, cache=place.folder / "cache")
    for m, predictions in expected.items():
        np.testing.assert_allclose(found.models[m].predict(dataset.x[m][fold.test]), predictions)
        scores = api.score(dataset, fold.test, predictions)
        assert scores["rmse"] == pytest.approx(record.metrics[m]["rmse"])
    assert [log.stage for log in found.logs[0]] == [stage["stage"] for stage in record.stages]


def test_importing_it_imports_nothing_heavy():
    code = "import sys; from benchmark import api; print({'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr


def test_training_leaves_the_process_as_it_was(tmp_path):
    import torch

    torch.manual_seed(7)
    before = torch.get_rng_state(), torch.get_deterministic_debug_mode()
    dataset = api.load_dataset("lfmc", protocol="quick", cache=tmp_path)
    api.train("constant", dataset, protocol="quick", cache=tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_deterministic_debug_mode() == before[1]


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'lfmk': did you mean lfmc"):
        api.load_dataset("lfmk")
    dataset = api.load_dataset("lfmc", protocol="quick", cache=tmp_path)
    with pytest.raises(UserError, match="unknown method 'kdd': did you mean kd"):
        api.train("kdd", dataset)
    with pytest.raises(UserError, match="unknown hyper-parameter of kd 'alfa': did you mean alpha"):
        api.train("kd", dataset, protocol="quick", settings={"alfa": 1})
    with pytest.raises(UserError, match="was not loaded under protocol 'standard'"):
        api.train("kd", dataset)
    with pytest.raises(UserError, match="no records there"):
        api.records(tmp_path)


def test_odd_values_are_logged(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    dataset = api.load_dataset("lfmc", protocol="quick", cache=tmp_path)
    model = api.train("constant", dataset, protocol="quick", cache=tmp_path).models["S2"]
    table = api.predict(model, np.array(dataset.x["S2"]) * 1e6)
    assert list(table.columns) == ["id", "prediction"] and table.prediction.nunique() == 1
    assert "values lie outside of 5 times the range" in caplog.text
