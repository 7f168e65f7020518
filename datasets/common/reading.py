"""What text files say, read by one rule for every adapter: missing values, names, numbers, truths.

The functions of a single value give None where it is missing, and raise ValueError with a phrase
that says what is wrong with it; the adapter adds where it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

from benchmark.errors import UserError

NOTHING = frozenset({"", "nan", "none", "null", "<na>"})
"""What programs write for no value, in any case and between any spaces."""

NO_NUMBER = NOTHING | {"na", "n/a", "#n/a"}
"""The same for a number. A name may be NA: a country's code, a site's initials."""

TRUTHS = {
    **dict.fromkeys((True, "true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys((False, "false", "f", "no", "n", "0", "0.0"), False),
}
"""By what they are written as; True is also 1 and 1.0, False 0 and 0.0."""


def read_text(path: Path) -> str:
    """A file of UTF-8 text, without its byte-order mark; `UserError` for anything else."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8 ({error}); save it in that encoding") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_unique_json(path: Path) -> Any:
    """A JSON document in which no object has a key twice; `UserError`, or ValueError if it isn't.

    Of a key that stands twice, a JSON parser keeps the last and says nothing.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if (twice := repeated(key for key, _ in pairs)) is not None:
            raise ValueError(f"'{twice}' stands twice")
        return dict(pairs)

    return json.loads(read_text(path), object_pairs_hook=unique)


def is_missing(value: Any) -> bool:
    """Whether a value of any type says that there is none: null, NaN, or text for either."""
    if isinstance(value, str):
        return value.strip().lower() in NOTHING
    return value is None or (isinstance(value, float) and math.isnan(value))


def name(value: Any) -> str | None:
    """Text, or a number as text: 12.0, which a column with holes has made of 12, is "12"."""
    if is_missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r:.80} is not a name")
    text = str(value).strip()
    if not text.isprintable():
        raise ValueError(f"{text!r:.80} has signs that cannot be printed")
    return text


def number(value: Any) -> float | None:
    """A finite or infinite number; text has a decimal point, and a truth is no number."""
    if is_missing(value) or (isinstance(value, str) and value.strip().lower() in NO_NUMBER):
        return None
    wrong = f"{value!r:.80} is not a number"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(wrong)
    if isinstance(value, str) and "_" in value:  # which Python takes for a separator
        raise ValueError(wrong)
    try:
        found = float(value)
    except (ValueError, OverflowError) as error:
        comma = isinstance(value, str) and "," in value
        raise ValueError(wrong + " (decimals are written with a point)" * comma) from error
    return None if math.isnan(found) else found


def whole(value: Any) -> int | None:
    """A whole number, also where it is written as 12.0."""
    found = number(value)
    if found is None:
        return None
    if isinstance(value, int):
        return value
    if not found.is_integer():
        raise ValueError(f"{value!r:.80} is not a whole number")
    return int(found)


def truth(value: Any) -> bool | None:
    """True or False, also where it is written as 1, 0.0, "False" or "yes"."""
    if is_missing(value):
        return None
    if isinstance(value, str | int | float):
        found = TRUTHS.get(value.strip().lower() if isinstance(value, str) else value)
        if found is not None:
            return found
    raise ValueError(f"{value!r:.80} is neither true nor false (0 or 1)")


def repeated(values: Iterable[Hashable]) -> Any:
    """The first of some values that has stood before, or None."""
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
