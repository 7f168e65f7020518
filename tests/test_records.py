"""Records on disk: whole or not there, and believed only with the predictions they vouch for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import records
from benchmark.errors import UserError
from benchmark.records import Record
from tests.problems import dataset, run_spec

SPEC = run_spec("single", dataset())
PREDICTIONS = {
    "ids": np.array(["a", "b"]),
    "m1": np.array([[0.25, 0.75], [1, 0]], dtype=np.float32),
    "m2": np.array([[0.5, 0.5], [0, 1]], dtype=np.float32),
}


@pytest.fixture
def written(tmp_path):
    record = Record(SPEC.id, SPEC, "done", metrics={"m1": {"macro_f1": 0.5, "f1": [0.5, None]}})
    return records.write(record, PREDICTIONS, tmp_path)


def test_a_record_and_its_predictions_come_back_as_written(written, tmp_path):
    path = written.path(tmp_path)
    assert records.read(path) == written
    ids, predictions = records.read_predictions(written, tmp_path)
    assert ids.tolist() == ["a", "b"]
    assert all(np.array_equal(predictions[m], PREDICTIONS[m]) for m in ("m1", "m2"))
    assert {p.name for p in path.parent.iterdir()} == {f"{SPEC.id}.json", f"{SPEC.id}.npz"}


def test_the_same_predictions_are_the_same_bytes(written, tmp_path):
    again = records.write(written, PREDICTIONS, tmp_path / "again")
    assert again.predictions_sha256 == written.predictions_sha256


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), records.atomic(tmp_path / "file") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_is_not_a_number_is_never_written(tmp_path):
    record = Record(SPEC.id, SPEC, "done", metrics={"m1": {"rmse": float("nan")}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write(record, None, tmp_path)
    assert not record.path(tmp_path).exists()


@given(cut=st.integers(0, 400))
@settings(max_examples=30, deadline=None)
def test_a_truncated_record_is_named(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("r")
    path = records.write(Record(SPEC.id, SPEC, "done"), None, folder).path(folder)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=path.name):
        records.read(path)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    ).map(lambda value: json.dumps(value).encode())
)
@settings(max_examples=200, deadline=None)
def test_a_foreign_file_is_named(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "foreign.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="foreign.json"):
        records.read(path)


def test_a_record_whose_spec_was_edited_is_refused(written, tmp_path):
    path = written.path(tmp_path)
    document = json.loads(path.read_bytes())
    document["spec"]["seed"] = 7
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="its id is not that of its spec"):
        records.read(path)


def test_reading_all_names_what_is_unreadable_and_goes_on(written, tmp_path):
    (tmp_path / "records" / "notes.json").write_text("{}")
    found, unreadable = records.read_all(tmp_path)
    assert found == [written]
    assert len(unreadable) == 1 and "notes.json" in unreadable[0]


@pytest.mark.parametrize("damage", ["missing", "changed", "truncated"])
def test_predictions_that_the_record_does_not_vouch_for_are_refused(written, tmp_path, damage):
    path = written.path(tmp_path).with_suffix(".npz")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        np.savez_compressed(path, ids=PREDICTIONS["ids"], m1=PREDICTIONS["m1"] + 1)
    else:
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=path.name):
        records.read_predictions(written, tmp_path)
