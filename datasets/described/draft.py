"""A first description, made by looking at files; what only the user knows is left to decide."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from datasets.common import arrays, reading, tables
from datasets.described.columns import SUFFIXES, other_lengths

ROLES = {
    "ids": r"f?ids?|identifiers?|(sample|plot|point|pixel|tile)(_?ids?)?|index|uuid|names?",
    "target": r"y|targets?|labels?|class(es)?(_?id)?|category|crop(_?type)?|species|yield",
    "split": r"split|subset|part|set|train_mask",
    "latitude": r"lat(itude)?|y_?coord",
    "longitude": r"lon(g|gitude)?|lng|x_?coord",
    "groups": r"groups?|sites?|fields?|regions?|blocks?|clusters?|farms?|parcels?",
}
"""What columns and files of a role are often called."""

FEW = 50
"""Different whole numbers that may be classes."""

LOOKED_AT = 1_000
"""Samples of which the values are looked at."""


@dataclass(frozen=True)
class Seen:
    """Values found in a file. fields: how a description says where; shape: of one sample.

    samples: how many the file has, None where each has a file.
    """

    name: str
    fields: dict[str, Any]
    shape: tuple[int, ...]
    samples: int | None
    values: tuple[Any, ...] = ()

    @property
    def role(self) -> str | None:
        word = re.sub(r"\W", "_", self.name).lower()
        return next((role for role, names in ROLES.items() if re.fullmatch(names, word)), None)


def draft(name: str, files: Sequence[Path], folder: Path) -> str:
    """The text of a description in ``folder`` of what lies in some files; `UserError`."""
    if (twice := reading.repeated(path.resolve() for path in files)) is not None:
        raise UserError(f"{twice}: is named twice with --from; name each file once")
    seen = [each for path in files for each in _look(path, folder)]
    single = [each for each in seen if not each.shape]
    roles: dict[str, Seen] = {}
    for each in single:
        if each.role == "groups" and _differs_everywhere(each):  # keeps nothing together
            roles.setdefault("ids", each)
        elif each.role:
            roles.setdefault(each.role, each)
    many_labels = [e for e in seen if len(e.shape) == 1 and e.role == "target"]
    target = roles.get("target") or next(iter(many_labels), None)
    if target is None:
        rest = [e for e in single if e.role is None and _has_few_words(e)]
        target = rest[0] if len(rest) == 1 else None
    if target is None:
        rest = [e for e in single if e not in roles.values() and "column" not in e.fields]
        target = next(iter(rest), None)
    if "ids" not in roles:  # text that differs everywhere
        for each in single:
            if each.role is None and _is_text(each) and _differs_everywhere(each):
                roles.setdefault("ids", each)
    used = [*roles.values(), *([target] if target else [])]
    sensors = _sensors([each for each in seen if each not in used])
    lines = [
        "# A first guess, from the files alone: look at each line, then",
        f"# python -m benchmark data describe {name}.yaml",
        f"title: {name}  # say what it is, in one line",
    ]
    in_use = [e for e in seen if e in used or e.shape or "column" in e.fields]
    if told := _lengths(in_use, roles.get("ids")):
        lines.append(f"# decide: {told}")
    lines.append("modalities:")
    beside = {m for m, fields in sensors.items() if _may_be_targets(fields, target)}
    for m, fields in sensors.items():
        line = f"{m}: {_flow({**fields, 'units': ''})}"
        if m not in beside:
            lines.append(f"  {line}")
            continue
        lines += [
            "  # decide: these may be targets, too, which no model may see: take the next # away",
            "  # if they are known wherever there is no label yet",
            f"  # {line}",
        ]
    if len(sensors.keys() - beside) < 2:
        lines.append(
            "  # decide: two modalities at least are needed; which columns belong to which?"
        )
    if target is not None:
        if any(map(_is_none, target.values)):
            lines.append(
                "# decide: is 'none' a class? Without it in classes, it stands for no value"
            )
        lines.append(f"target: {_flow({**target.fields, **_task(target)})}")
    else:
        lines.append("# decide: target: {file: FILE, column: NAME, kind: regression, unit: UNIT}")
        lines.append("# or, of classes: {…, kind: multiclass}; no modality may have its column")
    for role in ("ids", "split"):
        if role in roles:
            lines.append(f"{role}: {_flow(roles[role].fields)}")
    lines += _groups(roles)
    lines += ["# licence: of the data", "# citation: whom to cite"]
    return "\n".join(lines) + "\n"


def _differs_everywhere(each: Seen) -> bool:
    return len(each.values) > 1 and len(set(each.values)) == len(each.values)


def _groups(roles: dict[str, Seen]) -> list[str]:
    if "groups" in roles:
        return [f"groups: {_flow(roles['groups'].fields)}  # they stay in one part of a split"]
    if "latitude" in roles and "longitude" in roles:
        places = {axis: roles[axis].fields for axis in ("latitude", "longitude")}
        lat, lon = places.values()
        if "column" in lat and lat["file"] == lon.get("file"):
            columns = {axis: fields["column"] for axis, fields in places.items()}
            places = {"file": lat["file"], **columns}
        return [f"groups: {_flow({**places, 'block': 1.0})}  # blocks of 1°; decide their size"]
    return [
        "# decide: groups: {file: FILE, column: NAME}  # what must not be on both sides of a split"
    ]


def _may_be_targets(fields: dict[str, Any], target: Seen | None) -> bool:
    """Whether a sensor is what was left of the columns beside a target, or where one may be."""
    is_rest = fields["file"].endswith(tables.SUFFIXES) and "columns" not in fields
    return is_rest and (target is None or target.fields["file"] == fields["file"])


def _lengths(used: Sequence[Seen], ids: Seen | None) -> str:
    """What is to be said of files that have other numbers of samples, and no ids; or ""."""
    names: dict[str, set[str]] = defaultdict(set)
    for each in used:
        names[each.fields["file"]].add(each.name)
    lengths = {}
    for each in used:
        file, key = each.fields["file"], each.fields.get("key", "")
        matched = ids is not None and file != ids.fields["file"] and ids.name in names[file]
        if each.samples is not None and not matched:
            lengths[f"{file} {key}".strip()] = each.samples
    return other_lengths(lengths)


def _look(path: Path, folder: Path) -> Iterator[Seen]:
    if path.is_dir():
        yield _of_folder(path, folder)
        return
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: is of no kind that can be read: {', '.join(SUFFIXES)}")
    file = _relative(path, folder)
    if path.name.endswith(tables.SUFFIXES):
        for column in tables.columns(os.fspath(path)):
            values = tables.values(os.fspath(path), column)
            cells = _cells(values[:LOOKED_AT])
            yield Seen(column, {"file": file, "column": column}, (), len(values), cells)
        return
    for key in arrays.keys(os.fspath(path)) or (None,):
        stored = arrays.look(os.fspath(path), key)
        fields = {"file": file} | ({"key": key} if key else {})
        if not stored.shape or path.name.endswith(arrays.TIFF):
            raise UserError(f"{path}: holds a single sample; name the folder of all such files")
        shape = stored.shape[1:] if stored.shape[1:] != (1,) else ()
        values = tuple(stored.whole().ravel()[:LOOKED_AT].tolist()) if not shape else ()
        yield Seen(key or path.name.partition(".")[0], fields, shape, stored.shape[0], values)


def _of_folder(path: Path, folder: Path) -> Seen:
    names = sorted(name for name in os.listdir(path) if name.endswith((*arrays.TIFF, ".npy")))
    if not names:
        raise UserError(f"{path}: a folder without .tif or .npy files")
    suffix = os.path.splitext(names[0])[1]
    stored = arrays.look(os.fspath(path / names[0]), None)
    file = f"{_relative(path, folder)}/{{id}}{suffix}"
    return Seen(path.name, {"file": file}, stored.shape, None)


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.absolute(), folder.absolute())


def _cells(values: Sequence[Any]) -> tuple[Any, ...]:
    """Cells of a column, numbers where they are; among words, "none" may be one, too."""
    cells = tuple(map(_cell, values))
    if not any(isinstance(cell, str) for cell in cells):
        return cells
    return tuple(
        text.strip() if _is_none(text) else cell for text, cell in zip(values, cells, strict=True)
    )


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() == "none"


def _cell(text: Any) -> Any:
    """A cell of a table as a number, if it is one."""
    try:
        return reading.number(text)
    except ValueError:
        return text


def _has_few_words(each: Seen) -> bool:
    """Whether it may be classes by their names."""
    return _is_text(each) and 1 < len(set(each.values)) <= min(FEW, len(each.values) / 2)


def _is_text(seen: Seen) -> bool:
    return bool(seen.values) and any(isinstance(value, str) for value in seen.values)


def _task(seen: Seen) -> dict[str, Any]:
    if len(seen.shape) == 1:
        return {"kind": "multilabel", "classes": [f"class {i}" for i in range(seen.shape[0])]}
    values = {v for v in seen.values if v is not None and v == v}
    whole = all(isinstance(v, str) or float(v).is_integer() for v in values)
    if _is_text(seen) or (whole and len(values) <= FEW and len(values) < len(seen.values) / 2):
        kind = {"kind": "binary" if len(values) == 2 else "multiclass"}
        named = any(map(_is_none, values)) and len(values) <= FEW
        return kind | ({"classes": sorted(values, key=str)} if named else {})
    return {"kind": "regression", "unit": ""}


def _sensors(seen: Sequence[Seen]) -> dict[str, dict[str, Any]]:
    """Modality → its fields: arrays by their rank, columns of a table as series and a vector."""
    result: dict[str, dict[str, Any]] = {}
    of_table: dict[str, list[str]] = defaultdict(list)
    for each in seen:
        if "column" in each.fields:
            if not _is_text(each) and each.role is None:
                of_table[each.fields["file"]].append(each.name)
        elif each.shape:
            kind = {1: "vector", 2: "series", 3: "image", 4: "series"}.get(len(each.shape))
            if kind:
                result[_new(each.name, result)] = {**each.fields, "kind": kind}
    for file, columns in of_table.items():
        for pattern, (channels, steps) in _series(columns).items():
            fields = {"file": file, "columns": pattern, "steps": steps, "kind": "series"}
            result[_new("series", result)] = {**fields, "channels": channels}
            words = [(c, s) for c in channels for s in steps]
            gone = {pattern.replace("{channel}", c).replace("{step}", s) for c, s in words}
            columns = [column for column in columns if column not in gone]
        if columns:
            name = _new(Path(file).name.partition(".")[0], result)
            result[name] = {"file": file, "kind": "vector", "channels": columns}
    return result


def _series(columns: Sequence[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Pattern → channels and steps of columns that differ in a number alone, three at least."""
    steps: dict[tuple[str, str], list[str]] = defaultdict(list)
    for column in columns:
        for match in re.finditer(r"\d+", column):
            steps[column[: match.start()], column[match.end() :]].append(match[0])
    found: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (before, after), numbers in steps.items():
        if len(numbers) < 3:
            continue
        ordered = tuple(sorted(numbers, key=int))
        if after == "" and (match := re.fullmatch(r"(.+?)([_.\- ]t?)", before)):
            found["{channel}" + match[2] + "{step}", ordered].append(match[1])
        elif match := re.fullmatch(r"([_.\- ])(.+)", after):
            found[before + "{step}" + match[1] + "{channel}", ordered].append(match[2])
    return {pattern: (channels, list(steps)) for (pattern, steps), channels in found.items()}


def _new(name: str, taken: dict[str, Any]) -> str:
    name = re.sub(r"\W+", "_", name).strip("_") or "sensor"
    numbered = (name if i == 1 else f"{name}_{i}" for i in range(1, len(taken) + 2))
    return next(each for each in numbered if each not in taken)


def _flow(fields: dict[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(
        fields, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text.strip()
