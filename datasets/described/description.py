"""What a description of a dataset says, read from YAML; `Description` is all that it may say.

    title: Water stress of vines, Languedoc 2023
    modalities:
      S1: {file: s1.npy, kind: series, channels: [VV, VH], units: dB}
      soil: {file: soil.csv, kind: vector, channels: [clay, sand], units: "%", no_data: -999}
    target: {file: plots.csv, column: stress, kind: multiclass, classes: [none, mild, severe]}
    ids: {file: plots.csv, column: plot}
    groups: {file: plots.csv, latitude: lat, longitude: lon, block: 0.5}

Where values lie is the same everywhere. file: relative to the description; the one at the top is
that of whatever names none; several, or one with ``{words}``, are read one after another, and the
words are columns of their samples; ``{id}`` is the sample's id, one file each. key: of an array in
.npz, .nc or .h5 (several are joined along their channels). column(s): of a table by name, of an
array by number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from benchmark.documents import read_mapping
from benchmark.errors import UserError, unknown
from benchmark.problem import ModalityKind, TaskKind
from datasets.common import tables
from datasets.common.contract import NAME
from datasets.described.files import paths

Value = TypeVar("Value")

MANY = 10_000
"""Steps or channels that a description may ask for."""


EXAMPLES = {
    "modalities": "modalities: {S1: {file: s1.npy, kind: series}, S2: …}",
    "target": "target: {file: plots.csv, column: yield, kind: regression}",
    "target.kind": "kind: regression",
    "kind": "kind: series",
    "file": "file: plots.csv",
}
"""What fields that a description needs may look like."""


@dataclass(frozen=True)
class Where:
    """Where values lie; see the module. columns: a pattern for names, or names and numbers."""

    files: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    columns: tuple[str | int, ...] | str = ()

    def __str__(self) -> str:
        columns = (self.columns,) if isinstance(self.columns, str) else self.columns
        return ", ".join(map(str, (*self.keys, *columns))) or ", ".join(self.files)


@dataclass(frozen=True)
class Modality:
    """One sensor. channels: their names, empty where they are numbered. steps: of a series whose
    steps stand beside each other in columns, all channels of the first one first. no_data: stored
    values that stand for none, beside what the file itself says. channels_first: channels go before
    rows and columns, or before time.
    """

    name: str
    where: Where
    kind: ModalityKind
    channels: tuple[str, ...]
    units: str
    steps: tuple[str, ...]
    no_data: tuple[float, ...]
    channels_first: bool

    @property
    def table_columns(self) -> list[str]:
        """The names of its columns where it lies in a table."""
        pattern = self.where.columns
        if not isinstance(pattern, str):
            return [str(column) for column in pattern or self.channels]
        steps, channels = self.steps or ("",), self.channels
        pairs = [(c, s) for s in steps for c in channels]
        if self.channels_first:
            pairs = [(c, s) for c in channels for s in steps]
        return [_filled(pattern, {"channel": c, "step": s}) for c, s in pairs]

    def sees(self, where: Where, root: Path) -> bool:
        """Whether it reads what lies there; root: of names of files."""
        shared = set(self.where.files) & set(where.files)
        shared |= paths(root, self.where.files) & paths(root, where.files)
        keys = set(self.where.keys), set(where.keys)
        if not shared or (all(keys) and keys[0].isdisjoint(keys[1])):
            return False
        wanted = {where.columns} if isinstance(where.columns, str) else {*map(str, where.columns)}
        if any(file.endswith(tables.SUFFIXES) for file in shared):
            return not wanted.isdisjoint(self.table_columns)
        return not (wanted and self.where.columns) or not wanted.isdisjoint(self.table_columns)


@dataclass(frozen=True)
class Target:
    """classes: names by what is written in the file, or in the order of their numbers, or {}.

    no_data: numbers that stand for no target.
    """

    where: Where
    kind: TaskKind
    classes: Mapping[str, str] | tuple[str, ...]
    unit: str
    no_data: tuple[float, ...]


@dataclass(frozen=True)
class Groups:
    """What must stay in one part of a split: the values of a column, or square blocks of degrees.

    by: the column, or None. places: latitude and longitude, or None; block: degrees along a side.
    """

    by: Where | None
    places: tuple[Where, Where] | None
    block: float | None


@dataclass(frozen=True)
class Description:
    """All that is said of a dataset. incomplete: whether samples that lack something are left out.

    path: of the YAML file.
    """

    path: Path
    name: str
    title: str
    modalities: Mapping[str, Modality]
    target: Target
    ids: Where | None
    groups: Groups | None
    split: Where | None
    drop_incomplete: bool
    citation: str
    licence: str
    url: str

    def wheres(self) -> Iterator[Where]:
        """All places that it names."""
        groups = self.groups
        yield self.target.where
        yield from (modality.where for modality in self.modalities.values())
        more = [self.ids, self.split, groups and groups.by]
        yield from filter(None, (*more, *((groups and groups.places) or ())))


def load(path: Path) -> Description:
    """Read a description. Raises `UserError` that lists everything that is wrong with it."""
    expected = "a description is a mapping; `data new NAME --from FILE` writes one"
    document = read_mapping(path, expected)
    problems: list[str] = []
    fields = _Fields("", document, problems)
    name = fields.take("name", _name, path.stem)
    if "name" not in document and not NAME.fullmatch(name):
        problems.append(f"'{name}' cannot be its name; add `name:` with letters, digits, '_', '-'")
    default = fields.take("file", _texts, ())
    texts = {key: fields.take(key, _text, "") for key in ("title", "citation", "licence", "url")}
    incomplete = fields.take("incomplete", _one_of("error", "drop"), "error")
    modalities = [_modality(each, default) for each in fields.mappings("modalities")]
    target = _target(fields.mapping("target"), default)
    ids = _reference(fields.mapping("ids", short="column", optional=True), default)
    groups = _groups(fields.mapping("groups", short="column", optional=True), default)
    split = _reference(fields.mapping("split", short="column", optional=True), default)
    fields.finish()
    if not problems:
        problems += [
            f"modalities.{m.name} has the target ({target.where}) among its values: nothing must "
            "see what it predicts; take it out, as with `channels:` or `columns:`"
            for m in modalities
            if m.sees(target.where, path.absolute().parent)
        ]
    if len(modalities) < 2 and not problems:
        problems.append("co-learning needs at least two modalities")
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    return Description(
        path=path,
        name=name,
        modalities={modality.name: modality for modality in modalities},
        target=target,
        ids=ids,
        groups=groups,
        split=split,
        drop_incomplete=incomplete == "drop",
        **texts,
    )


class _Fields:
    """The fields of one mapping, taken one by one; what is wrong with them is collected."""

    def __init__(self, where: str, values: Mapping[Any, Any], problems: list[str]) -> None:
        self.where, self.values, self.problems = where, values, problems
        self.known: list[str] = []

    def at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def lack(self, key: str) -> None:
        """Note a field that is not there, with what it may look like."""
        example = EXAMPLES.get(self.at(key)) or EXAMPLES.get(key)
        advice = f"as in `{example}`" if example else "leave it out, or give it fields"
        self.problems.append(f"lacks {self.at(key)}; {advice}")

    def take(
        self, key: str, parse: Callable[[Any], Value], default: Value | None = None
    ) -> Value | None:
        """A field; where it is wrong, or lacks and has no default, that is noted."""
        self.known.append(key)
        if key not in self.values:
            if default is None:
                self.lack(key)
            return default
        try:
            return parse(self.values[key])
        except ValueError as error:
            shown = f"{self.values[key]!r:.60}"
            self.problems.append(f"{self.at(key)}: {shown} cannot be read: expected {error}")
            return default

    def mapping(self, key: str, *, short: str = "", optional: bool = False) -> _Fields | None:
        """A field with fields of its own; short: which of them a single word stands for."""
        self.known.append(key)
        value = self.values.get(key)
        if value is None and optional and key not in self.values:
            return None
        if short and isinstance(value, str | int) and not isinstance(value, bool):
            value = {short: value}
        if not isinstance(value, dict):
            if value is None:
                self.lack(key)
            else:
                told = f"{self.at(key)}: {value!r:.60} cannot be read: expected fields"
                self.problems.append(told)
            return None
        return _Fields(self.at(key), value, self.problems)

    def mappings(self, key: str) -> list[_Fields]:
        """A field of names with fields each."""
        of = self.mapping(key)
        found = []
        for name in of.values if of else ():
            if isinstance(name, str) and NAME.fullmatch(name):
                found.append(of.mapping(name))
            else:
                self.problems.append(
                    f"{self.at(key)}: {name!r:.60} cannot be a name; use letters, digits, '_', '-'"
                )
        return [each for each in found if each]

    def finish(self) -> None:
        """Note the fields that nobody has asked for, with the nearest that there are."""
        for key in self.values:
            if key not in self.known:
                shown = str(key) if str(key).isprintable() else ascii(key)
                told = unknown("field", shown[:60], self.known)
                self.problems.append(f"{self.where}: {told}" if self.where else str(told))


def _filled(pattern: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        pattern = pattern.replace(f"{{{word}}}", value)
    return pattern


def _where(fields: _Fields, default: tuple[str, ...]) -> Where:
    """Takes ``file``, ``key`` and ``column`` or ``columns``."""
    columns = fields.take("columns", _columns, ())
    column = fields.take("column", _column, "")
    if columns and column != "":
        fields.problems.append(f"{fields.where}: has both column and columns")
    files = fields.take("file", _texts, ()) or default
    if not files:
        fields.lack("file")
    return Where(files, fields.take("key", _texts, ()), columns or (column,) * (column != ""))


def _reference(fields: _Fields | None, default: tuple[str, ...]) -> Where | None:
    if fields is None:
        return None
    where = _where(fields, default)
    fields.finish()
    return where


def _modality(fields: _Fields, default: tuple[str, ...]) -> Modality:
    where = _where(fields, default)
    kind = fields.take("kind", _one_of(*get_args(ModalityKind)))
    modality = Modality(
        name=fields.where.rpartition(".")[2],
        where=where,
        kind=kind,
        channels=fields.take("channels", _names, ()),
        units=fields.take("units", _text, ""),
        steps=fields.take("steps", _steps, ()),
        no_data=fields.take("no_data", _numbers, ()),
        channels_first=fields.take("channels_first", _truth, False),
    )
    fields.finish()
    if modality.steps and kind != "series":
        fields.problems.append(f"{fields.where}: a {kind} has no steps")
    if isinstance(where.columns, str):
        needed = {"series": ("{channel}", "{step}")}.get(kind, ("{channel}",))
        lacking = [word for word in needed if word not in where.columns]
        if lacking:
            fields.problems.append(
                f"{fields.where}.columns: '{where.columns}' has no {' and no '.join(lacking)} in it"
            )
        if not modality.channels or (kind == "series" and not modality.steps):
            fields.problems.append(f"{fields.where}: columns by a pattern need channels and steps")
    return modality


def _target(fields: _Fields | None, default: tuple[str, ...]) -> Target | None:
    if fields is None:
        return None
    where = _where(fields, default)
    kind = fields.take("kind", _one_of(*get_args(TaskKind)))
    target = Target(
        where=where,
        kind=kind,
        classes=fields.take("classes", _classes, ()),
        unit=fields.take("unit", _text, ""),
        no_data=fields.take("no_data", _numbers, ()),
    )
    fields.finish()
    if kind == "regression" and target.classes:
        fields.problems.append(f"{fields.where}: a regression has no classes")
    if kind == "binary" and target.classes and len(target.classes) != 2:
        fields.problems.append(f"{fields.where}.classes: a binary task has two")
    if kind == "multilabel" and isinstance(target.classes, dict):
        fields.problems.append(f"{fields.where}.classes: of several labels, expected a list")
    return target


def _groups(fields: _Fields | None, default: tuple[str, ...]) -> Groups | None:
    if fields is None:
        return None
    told = len(fields.problems)
    block = fields.take("block", _positive, 0.0) or None
    keys = fields.take("key", _texts, ())
    column = fields.take("column", _column, "")
    files = fields.take("file", _texts, ()) or default
    places = [
        _reference(fields.mapping(axis, short="column", optional=True), files)
        for axis in ("latitude", "longitude")
    ]
    fields.finish()
    by = Where(files, keys, (column,) * (column != "")) if keys or column != "" else None
    if by is None and not any(places) and files != default:
        by = Where(files)
    if by is not None and not files:
        fields.lack("file")
    if any(places) and not all(places):
        fields.problems.append(f"{fields.where}: latitude and longitude belong together")
    if by is None and not (all(places) and block) and len(fields.problems) == told:
        fields.problems.append(
            f"{fields.where}: needs a column, or latitude, longitude and block (degrees)"
        )
    if by is not None and block:
        fields.problems.append(f"{fields.where}: either a column makes groups, or blocks do")
    return Groups(by, tuple(places) if all(places) else None, block)


def _text(value: Any) -> str:
    """Text, or a number as text. YAML takes words like no, on and 2020-01-01 for something else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"text (in quotes where YAML sees a {type(value).__name__})")
    if not (text := str(value)).isprintable():
        raise ValueError("text that can be printed")
    return text


def _name(value: Any) -> str:
    if not NAME.fullmatch(name := _text(value)):
        raise ValueError("a name of letters, digits, '_' and '-'")
    return name


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    texts = tuple(map(_text, values))
    if not texts or len(set(texts)) < len(texts):
        raise ValueError("one or several different words")
    return texts


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("a list of names")
    return _texts(value)


def _column(value: Any) -> str | int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _columns(value: Any) -> tuple[str | int, ...] | str:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, list) or not value:
        raise ValueError("a list of columns, or a pattern like '{channel}_{step}'")
    columns = tuple(map(_column, value))
    if len(set(columns)) < len(columns):
        raise ValueError("different columns")
    return columns


def _steps(value: Any) -> tuple[str, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 < value <= MANY:
            raise ValueError(f"a number of steps from 1 to {MANY:,}")
        return tuple(str(step) for step in range(1, value + 1))
    return _names(value)


def _classes(value: Any) -> dict[str, str] | tuple[str, ...]:
    if isinstance(value, dict):
        if len(value) < 2:
            raise ValueError("at least two classes")
        classes = {_text(written): _text(name) for written, name in value.items()}
        if len(set(classes.values())) == len(classes) == len(value):
            return classes
    elif isinstance(value, list) and len(value) > 1:
        return _texts(value)
    raise ValueError("a list of two or more names, or names by what the file has for them")


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError("a number") from None


def _numbers(value: Any) -> tuple[float, ...]:
    try:
        return tuple(map(_number, value if isinstance(value, list) else [value]))
    except ValueError:
        raise ValueError("a number, or a list of them") from None


def _positive(value: Any) -> float:
    if not (0 < (number := _number(value)) <= 180 and math.isfinite(number)):
        raise ValueError("a number of degrees above 0, at most 180")
    return number


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value

    return parse
