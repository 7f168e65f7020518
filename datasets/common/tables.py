"""Columns of text files (.csv, .tsv, .txt, also gzipped) and of .parquet files."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError, unknown
from datasets.common import reading

if TYPE_CHECKING:
    import pandas as pd

TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
SUFFIXES = (*TEXT, ".parquet")

FIRST_ROW = 2
"""Number of a table's first row of values, as a spreadsheet shows it: the header is row 1."""

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "spaces"}
"""The first of them that stands outside quotes in a header is that of the file."""


@dataclass(frozen=True)
class Header:
    """What the first line of a text file says, and how its cells are separated.

    ends: whether the last line has an end. An empty line is a missing value in a table of one
    column, and in others nothing.
    """

    columns: tuple[str, ...]
    separator: str
    rows: int
    ends: bool


def columns(path: str) -> tuple[str, ...]:
    """Names of a table's columns; `UserError` for a file that is no whole table."""
    if path.endswith(".parquet"):
        return tuple(map(str, _parquet(path).columns))
    return _header(path, _stamp(path)).columns


def rows(path: str) -> int:
    """Number of a table's rows, without its header."""
    if path.endswith(".parquet"):
        return len(_parquet(path))
    return _header(path, _stamp(path)).rows


def may_be_cut(path: str) -> bool:
    """Whether a text file stops within a line: the last cell may have lost some of its digits."""
    return path.endswith(TEXT) and not _header(path, _stamp(path)).ends


def numbers(path: str, wanted: Iterable[str]) -> np.ndarray:
    """Columns as (n, columns) float64, NaN where there is no value; `UserError` for a word."""
    wanted = list(wanted)
    table = _table(path, wanted, as_text=False)
    result = np.empty((len(table), len(wanted)))
    for k, column in enumerate(wanted):
        cells = table[column]
        if getattr(cells.dtype, "kind", "O") not in "iuf":
            cells = _parsed(path, column, cells.tolist(), reading.number)
        result[:, k] = np.array(cells, dtype=np.float64)  # None is NaN
    return result


def values(path: str, column: str) -> list[Any]:
    """A column as what is written there, text in text files; None where .parquet has nothing."""
    cells = _table(path, [column], as_text=True)[column]
    return cells.astype(object).where(cells.notna(), None).tolist()


def _parsed(path: str, column: str, cells: list[Any], parse: Callable[[Any], Any]) -> list[Any]:
    result = []
    for row, cell in enumerate(cells, start=FIRST_ROW):
        try:
            result.append(parse(cell))
        except ValueError as error:
            raise UserError(f"{path}: row {row}, column '{column}': {error}") from error
    return result


def _table(path: str, wanted: list[str], *, as_text: bool) -> pd.DataFrame:
    """Some columns. In text files only a column of numbers alone is one of numbers."""
    import pandas as pd

    have = columns(path)
    for column in wanted:
        if column not in have:
            raise UserError(f"{path}: {unknown('column', column, have)}")
        if have.count(column) > 1:
            raise UserError(f"{path}: the column '{column}' stands twice; rename one")
    if path.endswith(".parquet"):
        return _parquet(path)[wanted]
    header = _header(path, _stamp(path))
    places = {have.index(column): column for column in wanted}
    try:
        table = pd.read_csv(
            io.StringIO(_text(path)),
            sep=r"\s+" if header.separator == " " else header.separator,
            header=None,
            skiprows=1,
            usecols=list(places),
            dtype=str if as_text else None,
            skip_blank_lines=len(have) > 1,
            nrows=header.rows,
            keep_default_na=False,
            na_values=None if as_text else [""],
            low_memory=False,
        )
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from error
    return table.rename(columns=places)


def _stamp(path: str) -> tuple[int, int]:
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=64)
def _header(path: str, stamp: tuple[int, int]) -> Header:
    """The header, once every row was seen to have as many cells: what lacks is not "missing"."""
    text = _text(path)
    first = text.partition("\n")[0]
    bare = re.sub(r'"[^"]*"', "", first).strip().lstrip("# ")
    separator = next((each for each in SEPARATORS if each in bare), ",")
    names = first.removeprefix("#").strip(" \r\n") if separator == " " else first
    header, widths = (), []
    try:
        if separator == " ":
            header = tuple(names.split())
            widths = [len(line.split()) for line in text.splitlines()[1:] if line.strip()]
        else:
            lines = csv.reader(io.StringIO(text), delimiter=separator)
            header = tuple(cell.strip() for cell in next(lines, ()))
            header = (header[0].lstrip("# "), *header[1:]) if header else ()
            widths = [len(row) for row in lines]
            while widths and not widths[-1]:
                widths.pop()
            widths = [width or 1 for width in widths if width or len(header) == 1]
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from error
    if not header or not widths:
        raise UserError(f"{path}: has no rows under a header of column names")
    for row, width in enumerate(widths, start=FIRST_ROW):
        if width != len(header):
            raise UserError(
                f"{path}: row {row} has {width} cells and the header {len(header)}, separated by "
                f"{SEPARATORS[separator]}; is the file whole?"
            )
    return Header(header, separator, len(widths), text.endswith(("\n", "\r")))


@lru_cache(maxsize=2)
def _read(path: str, stamp: tuple[int, int]) -> str:
    if not path.endswith(".gz"):
        return reading.read_text(Path(path))
    try:
        with gzip.open(path) as file:
            return file.read().decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not whole gzipped text in UTF-8 ({error}); save it in that encoding, or "
            "fetch it again"
        ) from error


def _text(path: str) -> str:
    return _read(path, _stamp(path))


def _parquet(path: str) -> pd.DataFrame:
    return _read_parquet(path, _stamp(path))


@lru_cache(maxsize=2)
def _read_parquet(path: str, stamp: tuple[int, int]) -> pd.DataFrame:
    """All columns, those among them that pandas has made its index of when it wrote them."""
    import pandas as pd

    try:
        table = pd.read_parquet(path)
        named = [name for name in table.index.names if name not in (None, *table.columns)]
        return table.reset_index(level=named) if named else table
    except ImportError as error:
        raise UserError(
            f"{path}: .parquet files are read with pyarrow; `pip install pyarrow`, or save it as "
            ".csv"
        ) from error
    except Exception as error:  # whatever pyarrow makes of a file that is not whole
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: cannot be read as .parquet ({reason})") from error
