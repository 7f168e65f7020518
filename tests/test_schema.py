"""The JSON Schema that ships is that of the code, and holds for records of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from benchmark import records, schema
from tests.made_up import official, runs, write
from tests.shipped import shipped

VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema.SHIPPED.read_text()))


def faults(path: Path) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(json.loads(path.read_bytes()))]


def test_what_ships_is_what_the_code_says(tmp_path):
    schema.write(tmp_path / "schema.json")
    told = "python -c 'from benchmark import schema; schema.write()' renews it"
    assert (tmp_path / "schema.json").read_text() == schema.SHIPPED.read_text(), told
    jsonschema.Draft202012Validator.check_schema(schema.record_schema())


def test_records_have_its_form(tmp_path):
    official(tmp_path / "a", {"single": 1.0, "kd": 1.0}, "multiclass")
    write(runs({"single": 1.0}, kind="regression"), tmp_path / "b")
    paths = [*records.files(tmp_path / "a"), *records.files(tmp_path / "b")]
    paths += records.files(shipped())[::20]
    assert len(paths) > 15 and not any(map(faults, paths))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("spec"), "'spec' is a required property"),
        (lambda d: d.update(extra=1), "'extra' was unexpected"),
        (lambda d: d.update(status="perhaps"), "'perhaps' is not one of"),
        (lambda d: d["spec"].update(fold="0"), "'0' is not of type 'integer'"),
        (lambda d: d["spec"]["protocol"].update(split="by hand"), "'by hand' is not one of"),
        (lambda d: d.update(schema=2), "1 was expected"),
    ],
)
def test_what_is_no_record_is_told(tmp_path, change, told):
    (record, *_) = runs({"single": 1.0})
    write([record], tmp_path)
    path = record.path(tmp_path)
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    assert any(told in fault for fault in faults(path))
