"""`list` and `describe`."""

from __future__ import annotations

import argparse
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from benchmark.commands.browsing import browse
from benchmark.errors import UserError, unknown
from benchmark.planning import protocol
from benchmark.terms import FAMILIES, TRAINING

if TYPE_CHECKING:
    from datasets.common.contract import Adapter
    from methods.common.encoders import Backbone
    from methods.common.registry import Entry


def show(options: argparse.Namespace) -> int:
    """Print a table of the methods, datasets, protocols or encoders."""
    if options.family and options.what != "methods":
        raise UserError("--family is for `list methods`")
    if options.family and options.family not in FAMILIES:
        raise unknown("family", options.family, FAMILIES)
    tables: dict[str, Callable[[], list[dict[str, str]]]] = {
        "methods": lambda: browse(lambda: _methods(options.family)),
        "datasets": _datasets,
        "protocols": _protocols,
        "encoders": lambda: browse(_encoders),
    }
    rows = tables[options.what]()
    print(
        tabulate(
            rows, headers="keys", tablefmt="simple", maxcolwidths=[*[None] * (len(rows[0]) - 1), 70]
        )
    )
    return 0


def _methods(family: str | None) -> list[dict[str, str]]:
    from methods.common.registry import REGISTRY

    return [
        {
            "method": entry.key,
            "family": entry.family,
            "defaults from": entry.defaults_from,
            "what it is": entry.summary,
        }
        for entry in sorted(REGISTRY.values(), key=lambda e: (FAMILIES.index(e.family), e.key))
        if family in (None, entry.family)
    ]


def _datasets() -> list[dict[str, str]]:
    import datasets

    return [
        {
            "dataset": adapter.name,
            "modalities (published pair first)": ", ".join(_published_first(adapter)),
            "what it is": " ".join(
                [
                    adapter.title,
                    *(f"{m}: {note}." for m, note in adapter.notes.items()),
                    *([] if adapter.control else [f"Folder: {adapter.folder}/."]),
                    f"Licence: {adapter.licence}.",
                    *("Runs where --datasets names it.",) * adapter.by_name_only,
                ]
            ),
        }
        for adapter in sorted(datasets.load().values(), key=lambda a: a.control)
    ]


def _published_first(adapter: Adapter) -> list[str]:
    return sorted(adapter.modalities, key=lambda m: m not in adapter.default_modalities)


def _protocols() -> list[dict[str, str]]:
    loaded = [protocol.load(name) for name in protocol.names()]
    return [{"protocol": p.name, "title": p.title, "what it is for": p.purpose} for p in loaded]


def _encoders() -> list[dict[str, str]]:
    from methods.common.encoders import BACKBONES, UNNAMED

    rows = []
    for backbone in BACKBONES.values():
        unnamed = [kind for kind, name in UNNAMED.items() if name == backbone.name]
        rows.append(
            {
                "encoder": backbone.name,
                "encodes": ", ".join(backbone.kinds),
                "where none is named": ", ".join(unnamed),
                "settings": _settings(backbone),
                "what it is": backbone.summary,
            }
        )
    return rows


def _settings(backbone: Backbone) -> str:
    return ", ".join(
        name if value is inspect.Parameter.empty else f"{name}={value!r}"
        for name, value in backbone.options.items()
    )


def describe(options: argparse.Namespace) -> int:
    """Print all that is known of one method, dataset, protocol or encoder."""
    *kind, name = options.name
    if len(kind) > 1 or not set(kind) <= {*KINDS}:
        raise UserError(
            f"describe takes one name, or what it is of ({', '.join(KINDS)}) and a name; got "
            f"'{' '.join(options.name)}'"
        )
    if name.endswith((".yaml", ".yml")):
        raise UserError(f"{name}: describe takes names; of data of your own: data describe {name}")
    texts, known = browse(lambda: _find(name, kind or KINDS))
    if not texts:
        raise unknown(kind[0] if kind else "name", name, known)
    if len(texts) > 1:
        raise UserError(
            f"'{name}' is a {' and a '.join(texts)}: say "
            + " or ".join(f"describe {kind} {name}" for kind in texts)
        )
    print(*texts.values())
    return 0


def _find(name: str, kinds: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Kind → the text about what has the name there; and all names."""
    texts, known = {}, []
    for kind in kinds:
        things, text = KINDS[kind]()
        known += things
        if name in things:
            texts[kind] = text(things[name])
    return texts, known


Kind = tuple[Mapping[str, Any], Callable[[Any], str]]


def _kind_methods() -> Kind:
    from methods.common.registry import REGISTRY

    return REGISTRY, _of_method


def _kind_datasets() -> Kind:
    import datasets

    return datasets.load(), _of_dataset


def _kind_protocols() -> Kind:
    return {name: name for name in protocol.names()}, _of_protocol


def _kind_encoders() -> Kind:
    from methods.common.encoders import BACKBONES

    return BACKBONES, _of_encoder


KINDS: Mapping[str, Callable[[], Kind]] = {
    "method": _kind_methods,
    "dataset": _kind_datasets,
    "protocol": _kind_protocols,
    "encoder": _kind_encoders,
}
"""What can be described: its names, and the text about one."""


def _of_method(entry: Entry) -> str:
    facts = {
        "family": entry.family,
        "role": entry.role,
        "publication": entry.publication or "none",
        "loss": entry.losses,
        "defaults from": "; ".join(filter(None, [_origin(entry), entry.defaults_note])),
        "runs": "one student per modality" if entry.per_modality else "one model for all",
        "never trained": ", ".join(entry.never_trained) or "nothing",
        "version": entry.version,
        "file": _source(entry.method),
    }
    docs = _settings_of(entry), _doc(entry.method), _doc(sys.modules[entry.method.__module__])
    return _text(f"{entry.key}: {entry.summary}", facts, docs)


def _settings_of(entry: Entry) -> str:
    """Of each hyper-parameter its type, default, origin and range, and where it does nothing."""
    types = inspect.signature(entry.method).parameters
    lines = ["hyper-parameters, as in --set METHOD.NAME=VALUE:"] if entry.hyperparameters else []
    for name, value in entry.hyperparameters.items():
        span = entry.tuning.get(name)
        kind = types[name].annotation
        kind = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        origin = (span and span.default_from) or entry.defaults_from
        parts = [kind, f"default from {origin}", f"tuned from {span}" if span else "never tuned"]
        if name in entry.overrides and not span:
            parts[1:] = ["what this variant is, never tuned"]
        if span and span.idle_on:
            parts.append(f"no effect on {' and '.join(span.idle_on)} tasks")
        lines.append(f"{name}={value!r}: {'; '.join(parts)}")
    if not entry.network:
        lines.append(f"no network: {', '.join(TRAINING)} have no effect")
    else:
        lines.append("of the protocol, for this method alone where --set says so:")
        standard = protocol.load("standard")
        lines += [f"{name}: tuned from {span}" for name, span in standard.tuning.items()]
    return "\n".join(textwrap.fill(line, 100, subsequent_indent="    ") for line in lines)


def _origin(entry: Entry) -> str:
    named = f" ({', '.join(entry.defaults_for)})" if entry.defaults_for else ""
    return entry.defaults_from + named


def _of_dataset(adapter: Adapter) -> str:
    generated = f"{adapter.generated_samples:,} samples" if adapter.can_generate else ""
    facts = {
        "modalities": ", ".join(_published_first(adapter)),
        "published choice": ", ".join(adapter.default_modalities),
        **{f"{m} is": note for m, note in adapter.notes.items()},
        "groups": adapter.group_kind,
        "split": "its publishers'" if adapter.official_split else "the protocol's",
        "citation": adapter.citation,
        "licence": adapter.licence,
        "address": adapter.url,
        "known release": _known_release(adapter.name),
        "data fetch": ", ".join(file.name for file in adapter.downloads),
        "generated stand-in": generated,
        "file": _source(type(adapter)),
    }
    layout = "below the data root:\n" + textwrap.indent(adapter.layout, "    ")
    module = sys.modules[type(adapter).__module__]
    docs = layout, _doc(type(adapter)), _doc(module)
    return _text(f"{adapter.name}: {adapter.title}", facts, docs)


def _known_release(name: str) -> str:
    from datasets.common import releases

    release = releases.known().get(name)
    return f"{release.title}, {release.samples:,} samples" if release else ""


def _of_protocol(name: str) -> str:
    loaded = protocol.load(name)
    said = {"name", "title", "purpose"}
    facts = {f.name: _plain(getattr(loaded, f.name)) for f in fields(loaded) if f.name not in said}
    path = protocol.FOLDER / f"{name}.yaml"
    facts["file"] = _from_root(path)
    return _text(f"{name}: {loaded.title}: {loaded.purpose}", facts, ())


def _plain(value: Any) -> str:
    """A value as a protocol file has it, without quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of_encoder(backbone: Backbone) -> str:
    from methods.common.encoders import UNNAMED

    kind = backbone.kinds[0]
    unnamed = UNNAMED[kind] == backbone.name
    facts = {
        "encodes": ", ".join(backbone.kinds),
        "settings": _settings(backbone),
        "in a protocol": f"what encodes {kind} where no other encoder is named"
        if unnamed
        else f"encoders: {{{kind}: {{model: {backbone.name}, ...}}, ...}}",
        "file": _source(inspect.unwrap(backbone.build)),
    }
    module = sys.modules[inspect.unwrap(backbone.build).__module__]
    docs = _doc(backbone.build), _doc(module)
    return _text(f"{backbone.name}: {backbone.summary}", facts, docs)


def _text(title: str, facts: Mapping[str, Any], docs: Iterable[str | None]) -> str:
    lines = [title, ""]
    for name, value in facts.items():
        lines.append(textwrap.fill(f"{name}: {value or 'none'}", 100, subsequent_indent="    "))
    for doc in docs:
        if doc:
            lines += ["", doc]
    return "\n".join(lines)


def _doc(what: Any) -> str:
    """The docstring of a class, a function or a module: its own."""
    return inspect.cleandoc(what.__doc__ or "")


def _source(what: Any) -> str:
    """Path of the file of a class or function."""
    return _from_root(Path(inspect.getfile(what)))


def _from_root(path: Path) -> str:
    """A path from the project's root where it lies in there."""
    root = Path(__file__).parents[2]
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
