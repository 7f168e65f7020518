"""One rule for what text files say: missing values, names, numbers, truths."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from benchmark.errors import UserError
from datasets.common import reading
from tests.odd import SCALARS

MISSING = (None, math.nan, "", "  ", "None", "null", "NULL", "nan", "NaN", "<NA>")
PARSERS = (reading.name, reading.number, reading.whole, reading.truth)


@pytest.mark.parametrize("value", MISSING)
@pytest.mark.parametrize("parse", PARSERS)
def test_what_is_missing_is_so_for_every_kind_of_value(parse, value):
    assert reading.is_missing(value) and parse(value) is None


@pytest.mark.parametrize("value", ["NA", "n/a", "N/A"])
def test_an_abbreviation_is_a_name_but_no_number(value):
    assert reading.name(value) == value and reading.number(value) is None


READ = [
    (reading.name, 12.0, "12"),
    (reading.name, 12, "12"),
    (reading.name, 0.5, "0.5"),
    (reading.name, " maize\n", "maize"),
    (reading.number, " -1.5e3 ", -1500.0),
    (reading.number, 7, 7.0),
    (reading.whole, 12.0, 12),
    (reading.whole, "12.0", 12),
    (reading.whole, 2**60 + 1, 2**60 + 1),
    (reading.truth, "False", False),
    (reading.truth, "0", False),
    (reading.truth, 0.0, False),
    (reading.truth, -0.0, False),
    (reading.truth, "TRUE", True),
    (reading.truth, 1, True),
    (reading.truth, True, True),
]


@pytest.mark.parametrize(("parse", "value", "expected"), READ)
def test_values_are_read_however_they_are_written(parse, value, expected):
    found = parse(value)
    assert found == expected and type(found) is type(expected)


WRONG = [
    (reading.name, ["maize"], "is not a name"),
    (reading.name, "a\x00b", "signs that cannot be printed"),
    (reading.number, "12,5", "decimals are written with a point"),
    (reading.number, "1_000", "is not a number"),
    (reading.number, True, "is not a number"),
    (reading.number, 10**400, "is not a number"),
    (reading.whole, 4.5, "is not a whole number"),
    (reading.whole, math.inf, "is not a whole number"),
    (reading.truth, 2, "neither true nor false"),
    (reading.truth, "maybe", "neither true nor false"),
    (reading.truth, {}, "neither true nor false"),
]


@pytest.mark.parametrize(("parse", "value", "message"), WRONG)
def test_what_cannot_be_read_is_told(parse, value, message):
    with pytest.raises(ValueError, match=message):
        parse(value)


@given(SCALARS)
def test_any_value_is_read_or_told(value):
    for parse in PARSERS:
        try:
            found = parse(value)
        except ValueError as error:
            assert len(str(error)) < 200
        else:
            assert (found is None) or not reading.is_missing(found)


def test_text_is_utf_8_with_or_without_a_mark(tmp_path):
    path = tmp_path / "list.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text("Fläche\n", encoding=encoding)
        assert reading.read_text(path) == "Fläche\n"
    path.write_text("Fläche\n", encoding="utf-16")
    with pytest.raises(UserError, match="list.txt: not text in UTF-8"):
        reading.read_text(path)


def test_a_key_that_stands_twice_is_told(tmp_path):
    (tmp_path / "a.json").write_text('{"x": {"y": 1, "y": 2}}')
    with pytest.raises(ValueError, match="'y' stands twice"):
        reading.read_unique_json(tmp_path / "a.json")
