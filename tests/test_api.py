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
from tests.shipped import packed

ROOT = Path(__file__).parents[1]


def test_the_documentation_names_every_function():
    """Its examples are executed in tests/test_docs_executed.py."""
    page = (ROOT / "docs" / "python.md").read_text()
    assert not [name for name in api.__all__ if f"`{name}(" not in page]


def test_records_are_the_rows_of_scores_csv(tmp_path):
    scores = api.records(packed("lfmc", tmp_path))
    assert tuple(scores.columns) == COLUMNS
    own = scores[(scores.dataset == "lfmc") & (scores.protocol == "standard")]
    own = own[(own.labels == 1) & (own.placebo == "") & (own.modalities == "S1+S2")]
    means = own[own.metric == "rmse"].groupby(["method", "deployment"]).value.mean()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (printed,) = re.findall(r"^single +[\d.]+ ± [\d.]+ +([\d.]+) ±", readme, re.MULTILINE)
    assert means["single", "S2"] == pytest.approx(float(printed), abs=0.005)


def test_the_leaderboard_is_that_of_the_tables(tmp_path):
    """Of records that are packed, as those that ship."""
    rows = api.leaderboard(packed("lfmc", tmp_path))
    own = rows[(rows.dataset == "lfmc") & (rows.method == "single")]
    assert {"S1", "S2"} <= set(own.deployment)
    place = ["dataset", "modalities", "protocol", "labels", "differs", "tuned", "deployment"]
    place += ["method", "metric"]
    assert not rows.duplicated(place).any() and {0.05, 1.0} <= set(own.labels)


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
        with pytest.raises(UserError, match=r"score of lfmc: a prediction of shape \(\d+,\) where"):
            api.score(dataset, fold.test, predictions[1:])
    with pytest.raises(UserError, match="score of lfmc: index .* out of bounds"):
        api.score(dataset, np.array([10**9]), np.zeros(1))
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


def test_arguments_of_another_kind_are_one_sentence(tmp_path):
    """What users mix up: each function says which argument takes what."""
    chosen = {"protocol": "quick", "cache": tmp_path}
    dataset = api.load_dataset("lfmc", **chosen)
    fold = api.folds(dataset, "quick")[0]
    training = api.train("constant", dataset, fold, **chosen)
    model, table = training.models["S2"], api.predict(training.models["S2"], dataset)
    for call, says in (
        (lambda: api.train("kd", dataset, 3, **chosen), r"fold takes one of .*\[3\], not 3$"),
        (lambda: api.train("kd", "lfmc", fold), "dataset takes a dataset, as .*, not 'lfmc'$"),
        (lambda: api.train(dataset, "kd"), "method takes the name .*, not of type EODataset$"),
        (lambda: api.train("kd", dataset, seeds=3), r"seeds takes .* \[0, 1\], not 3$"),
        (lambda: api.train("kd", dataset, seeds=[]), "seeds takes .*, not of type list$"),
        (lambda: api.train("kd", dataset, settings=["alpha"]), "settings takes values by name"),
        (lambda: api.train("kd", dataset, device="gpu", **chosen), "'gpu' cannot be used here"),
        (lambda: api.load_dataset("lfmc", modalities="S2"), "modalities takes a list .* not 'S2'$"),
        (lambda: api.folds("lfmc"), "folds: dataset takes a dataset"),
        (lambda: api.save_model(training.models, tmp_path / "m"), "model takes .* of type dict$"),
        (lambda: api.load_model(model), "load_model: path takes a path, not of type Model$"),
        (lambda: api.load_model(tmp_path), "no model is in it"),
        (lambda: api.load_model(tmp_path / "m.onnx"), "m.onnx: cannot be read"),
        (lambda: api.predict(__file__, dataset), "is a file, and no model; a model is what"),
        (lambda: api.predict(dataset, model), "predict: model takes .*, not of type EODataset$"),
        (lambda: api.predict(model, None), "S2: an array of object, not of numbers"),
        (lambda: api.score("lfmc", fold.test, table), "score: dataset takes a dataset"),
        (lambda: api.score(dataset, fold, table.prediction), "give sample numbers, as fold.test"),
        (lambda: api.score(dataset, fold.test, {"S2": table}), "an array of predictions, as"),
        (lambda: api.load_plugins(["mine.py"]), "load_plugins: files takes a path"),
        (lambda: api.records(None), "records: results takes a path, not None$"),
    ):
        with pytest.raises(UserError, match=says) as raised:
            call()
        assert "\n" not in str(raised.value)
    predicted = table.prediction[fold.test].tolist()  # lists of numbers are arrays, too
    assert api.score(dataset, fold.test.tolist(), predicted)["samples"] == len(fold.test)


def test_odd_values_are_logged(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    dataset = api.load_dataset("lfmc", protocol="quick", cache=tmp_path)
    model = api.train("constant", dataset, protocol="quick", cache=tmp_path).models["S2"]
    table = api.predict(model, np.array(dataset.x["S2"]) * 1e6)
    assert list(table.columns) == ["id", "prediction"] and table.prediction.nunique() == 1
    assert "values outside of 5 times the range" in caplog.text
