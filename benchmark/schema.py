"""The form of a record as a JSON Schema (draft 2020-12), made from the types that it is read by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from benchmark.records import SCHEMA, Record

SHIPPED = Path(__file__).with_name("record.schema.json")
"""For whoever reads records without this project; `write` renews it."""

PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}


def record_schema() -> dict[str, Any]:
    """The JSON Schema of ``<results>/records/<dataset>/<method>/<id>.json``."""
    body = _object(Record)
    body["properties"]["schema"] = {"const": SCHEMA}
    body["required"].append("schema")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Record of one run",
        "description": " ".join((Record.__doc__ or "").split()),
        **body,
    }


def write(path: Path = SHIPPED) -> None:
    """Renew the schema that is shipped."""
    path.write_text(json.dumps(record_schema(), indent=1, allow_nan=False) + "\n")


def _object(kind: type) -> dict[str, Any]:
    """Of a dataclass, which has no other fields, or of a TypedDict, which may have."""
    hints = get_type_hints(kind)
    properties = {name: _of(hint) for name, hint in hints.items()}
    if is_typeddict(kind):
        return {"type": "object", "properties": properties}
    needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    return {
        "type": "object",
        "properties": properties,
        "required": needed,  # the others are younger than some records
        "additionalProperties": False,
    }


def _of(hint: Any) -> dict[str, Any]:
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return {}
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if kind is Literal:
        return {"enum": list(inner)}
    if kind in (Union, UnionType):
        return {"anyOf": [_of(each) for each in inner]}
    if kind in (list, tuple):
        return {"type": "array", "items": _of(inner[0])}
    if kind in (Mapping, dict):
        return {"type": "object", "additionalProperties": _of(inner[1])}
    if is_typeddict(kind) or is_dataclass(kind):
        return _object(kind)
    raise TypeError(f"{hint} has no JSON Schema")
