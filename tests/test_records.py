"""Records on disk: whole or not there, and believed only with the predictions they vouch for."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import zipfile
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from benchmark import records
from benchmark.errors import UserError
from benchmark.records import Record, record_path
from benchmark.report import summary_text, write_report
from benchmark.spec import RunSpec
from benchmark.writers import atomic
from tests import made_up
from tests.odd import ANYTHING, altered, mutated
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
    with pytest.raises(KeyboardInterrupt), atomic(tmp_path / "file") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_is_not_a_number_is_never_written(tmp_path):
    record = Record(SPEC.id, SPEC, "done", metrics={"m1": {"rmse": float("nan")}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write(record, None, tmp_path)
    assert not record.path(tmp_path).exists()


WHOLE = made_up.run("mdico")
DOCUMENT = json.loads(json.dumps({"schema": records.SCHEMA, **asdict(WHOLE)}))
CONTENT = json.dumps(DOCUMENT).encode()


@given(mutated(CONTENT) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_odd_bytes_are_a_record_or_named(tmp_path_factory, content):
    path = WHOLE.path(tmp_path_factory.getbasetemp() / "odd-bytes")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        assert records.read(path).id == records.read(path).spec.id
    except UserError as error:
        assert path.name in str(error)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def edited(change) -> bytes:
    document = json.loads(CONTENT)
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT.replace(b'"seconds": 0.5', b'"seconds": NaN'), "not JSON compliant"),
        (CONTENT.replace(b'"seconds": 0.5', b'"seconds": Infinity'), "not JSON compliant"),
        (CONTENT.replace(b'"seconds": 0.5', b'"seconds": 1e999'), "not JSON compliant"),
        (CONTENT.replace(b'"seconds": 0.5', b'"seconds": -1.5E+999'), "not JSON compliant"),
        (CONTENT.replace(b'"seconds": 0.5', b'"seconds": 1' + b"0" * 400), "'cost' cannot be"),
        (CONTENT.replace(b'"seconds": 0.5', b'"seconds": 1' + b"0" * 9999), "limit"),
        (CONTENT.replace(b'"S1"', rb'"\ud800"', 1), "surrogates not allowed"),
        (CONTENT.replace(b'"S1"', b'"\xed\xa0\x80"', 1), "can't decode"),
        (b"[" * 100_000, "recursion"),
        (b"\xff" + CONTENT, "decode"),
        (CONTENT + CONTENT, "Extra data"),
        (edited(lambda d: d.update(status="perhaps")), "status"),
        (edited(lambda d: d.update(reason=["no"])), "reason"),
        (edited(lambda d: d.update(metrics=[1])), "metrics"),
        (edited(lambda d: d.update(stages={"a": 1})), "stages"),
        (edited(lambda d: d.update(created=7)), "created"),
        (edited(lambda d: d["spec"].update(dataset=["toy"])), "dataset"),
        (edited(lambda d: d["spec"]["protocol"].update(split=None)), "'protocol' cannot be"),
        (edited(lambda d: d["spec"]["protocol"].update(split="by hand")), "'protocol' cannot be"),
        (edited(lambda d: d["spec"]["protocol"].update(folds="5")), "'protocol' cannot be"),
        (edited(lambda d: d["spec"]["protocol"].update(validation="x")), "'protocol' cannot be"),
        (edited(lambda d: d.update(extra=1)), "extra"),
        (edited(lambda d: d.update(schema=2)), "another schema"),
    ],
)
def test_what_no_run_has_written_is_refused(tmp_path, content, reason):
    path = WHOLE.path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        records.read(path)
    assert path.name in str(caught.value)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = WHOLE.path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xef\xbb\xbf" + CONTENT)
    assert records.read(path) == WHOLE


def test_letters_may_be_written_in_any_way_that_json_has(tmp_path):
    """Another program may have written the file anew; half a character is refused above."""
    reason = 'd\u00e9j\u00e0 "vu" \U0001f6f0'
    path = WHOLE.path(tmp_path)
    path.parent.mkdir(parents=True)
    for ascii_alone in (True, False):
        text = json.dumps(DOCUMENT | {"reason": reason}, ensure_ascii=ascii_alone)
        path.write_text(text, encoding="utf-8")
        assert records.read(path).reason == reason


def put(document: dict, folder: Path) -> Path:
    """An altered record where it belongs; its id fits, as whoever alters it can see to that."""
    path = WHOLE.path(folder)
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        spec = RunSpec(**document["spec"])
        document["id"] = spec.id
        path = record_path(folder, spec)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):  # there can be no such folder
        path = WHOLE.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


@given(altered(DOCUMENT, keep=("schema", "id")))
def test_odd_values_are_read_or_named(tmp_path_factory, document):
    folder = tmp_path_factory.getbasetemp() / "odd-values"
    path = put(document, folder)
    try:
        record = records.read(path)
        assert isinstance(record.reason, str | None) and str(record.spec)
    except UserError as error:
        assert path.name in str(error)
    finally:
        shutil.rmtree(folder)


@given(altered(DOCUMENT, keep=("schema", "id")))
def test_odd_values_are_reported_or_excluded(tmp_path_factory, document):
    folder = tmp_path_factory.getbasetemp() / "odd-reports"
    put(document, folder)
    try:
        report = write_report(folder, folder / "out", figures=False)
        assert f"{len(records.files(folder))} records" in summary_text(report)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("outputs", [None, 10**15, 0, "4"])
def test_a_task_without_a_number_of_outputs_is_excluded(tmp_path, outputs):
    document = json.loads(json.dumps(DOCUMENT))
    document["data"]["task"].update(outputs=outputs, class_names=[])
    if outputs is None:
        del document["data"]["task"]["outputs"]
    put(document, tmp_path)
    report = write_report(tmp_path, tmp_path / "out", figures=False)
    assert [e.status in ("invalid", "unreadable") for e in report.results.exclusions] == [True]


def test_a_record_cannot_lead_out_of_its_folder(tmp_path):
    """Names that are paths, in a record whose id fits them."""
    outside = tmp_path / "outside"
    for name in ("../outside", "..", "/etc", str(outside)):
        for field in ("dataset", "method"):
            spec = replace(WHOLE.spec, **{field: name})
            record = replace(WHOLE, id=spec.id, spec=spec)
            path = replace(WHOLE, id=spec.id).path(tmp_path).with_name(f"{spec.id}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"schema": records.SCHEMA, **asdict(record)}))
            with pytest.raises(UserError, match="its folders are not those of its spec"):
                records.read(path)
    write_report(tmp_path, tmp_path / "out", figures=False)
    assert not outside.exists() and {p.name for p in tmp_path.iterdir()} == {"records", "out"}


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


def test_a_failure_never_takes_the_place_of_a_record_that_is_done(written, tmp_path, monkeypatch):
    """Not even when another process commits that one after this has looked."""
    looked = iter([None])
    find = records.find
    monkeypatch.setattr(records, "find", lambda *given: next(looked, find(*given)))
    failed = Record(SPEC.id, SPEC, "failed", reason="two and two are five")
    assert records.write(failed, None, tmp_path) == written
    assert records.load(SPEC, tmp_path) == written
    assert len(list(written.path(tmp_path).parent.iterdir())) == 2


def test_a_done_record_that_was_moved_for_a_moment_comes_back(written, tmp_path, monkeypatch):
    """When it was committed at the last moment, and a third process fails in between."""
    is_done, calls = records._is_done, []

    def late(path, results):
        calls.append(path)
        if len(calls) == 2:
            shutil.copy(failure, written.path(tmp_path))
        return len(calls) > 1 and is_done(path, results)

    third = Record(SPEC.id, SPEC, "failed", reason="of the third")
    failure = records.write(third, None, tmp_path / "third").path(tmp_path / "third")
    monkeypatch.setattr(records, "find", lambda *given: None if not calls else written)
    monkeypatch.setattr(records, "_is_done", late)
    failed = Record(SPEC.id, SPEC, "failed", reason="two and two are five")
    assert records.write(failed, None, tmp_path) == written
    assert records.load(SPEC, tmp_path) == written
    assert len(list(written.path(tmp_path).parent.iterdir())) == 2


def test_a_failure_replaces_a_done_record_that_lost_its_predictions(written, tmp_path):
    written.path(tmp_path).with_suffix(".npz").unlink()
    failed = Record(SPEC.id, SPEC, "failed", reason="two and two are five")
    assert records.write(failed, None, tmp_path) == failed == records.load(SPEC, tmp_path)


def test_a_full_disk_keeps_the_record_that_was_to_be_replaced(tmp_path, monkeypatch):
    first = records.write(Record(SPEC.id, SPEC, "failed", reason="first"), None, tmp_path)

    def fsync(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="cannot be written to .No space left"):
        records.write(replace(first, reason="second"), None, tmp_path)
    assert records.load(SPEC, tmp_path) == first
    assert len(list(first.path(tmp_path).parent.iterdir())) == 1


def test_a_failure_gives_way_to_any_other_record(tmp_path):
    for reason in ("first", "second"):
        failed = Record(SPEC.id, SPEC, "failed", reason=reason)
        assert records.write(failed, None, tmp_path) == failed == records.load(SPEC, tmp_path)
    done = records.write(Record(SPEC.id, SPEC, "done"), PREDICTIONS, tmp_path)
    assert records.load(SPEC, tmp_path) == done


def test_folders_without_hard_links_are_written_to(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    failed = Record(SPEC.id, SPEC, "failed", reason="two and two are five")
    assert records.write(failed, None, tmp_path) == records.load(SPEC, tmp_path)
    assert len(list(failed.path(tmp_path).parent.iterdir())) == 1


def zip_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return buffer.getvalue()


HEADER = b"\x93NUMPY\x01\x00\x76\x00%-117s\n"
ODD_ARRAYS = {
    "no array": zip_of("ids", b"text"),
    "no header": zip_of("ids.npy", b"\x93NUMPY\x01\x00\xff\xff{"),
    "a foreign header": zip_of("ids.npy", HEADER % b"{'descr': 3, 'fortran_order': 0, 'shape': 1}"),
    "more than there is": zip_of(
        "ids.npy",
        HEADER % b"{'descr': '<f8', 'fortran_order': False, 'shape': (1%s,)}" % (b"0" * 15),
    ),
    "an object": (lambda b: (np.savez(b, ids=np.array([{}], dtype=object)), b.getvalue())[1])(
        io.BytesIO()
    ),
    "an encrypted member": zip_of("ids.npy", b"x" * 99).replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"
    ),
    "a broken stream": zip_of("ids.npy", bytes(range(256)) * 9)[:60] + zip_of("ids.npy", b"")[60:],
    "nothing": b"",
}


def vouched_for(content: bytes, results: Path) -> Record:
    """A record of ours beside which somebody else has put bytes, and their sha256 into it."""
    record = Record(SPEC.id, SPEC, "done", predictions_sha256=hashlib.sha256(content).hexdigest())
    path = record.path(results)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema": records.SCHEMA, **asdict(record)}))
    path.with_suffix(".npz").write_bytes(content)
    return record


@pytest.mark.parametrize("what", ODD_ARRAYS)
def test_odd_arrays_are_named_even_if_the_record_vouches_for_them(tmp_path, what):
    record = vouched_for(ODD_ARRAYS[what], tmp_path)
    with pytest.raises(UserError, match="not the predictions of its record"):
        records.read_predictions(record, tmp_path)
    with pytest.raises(UserError, match="not the predictions of its record"):
        records.load(SPEC, tmp_path)


def test_arrays_are_never_unpacked_to_more_than_a_run_predicts(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LARGEST", 1 << 20)
    record = vouched_for(zip_of("ids.npy", bytes(1 << 21)), tmp_path)
    with pytest.raises(UserError, match="it holds more than any run predicts"):
        records.read_predictions(record, tmp_path)


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
