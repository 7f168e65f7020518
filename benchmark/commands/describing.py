"""All that is known of one method, dataset, protocol or encoder: for `describe`, and as a page."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.commands.status import in_bytes
from benchmark.planning import protocol
from benchmark.report.text import markdown
from benchmark.terms import DROPOUT, TRAINING

if TYPE_CHECKING:
    from datasets.common.contract import Adapter
    from methods.common.encoders import Backbone
    from methods.common.registry import Entry

WIDTH = 100


@dataclass(frozen=True)
class Part:
    """Something under a heading: sentences by name, or a text, kept as it is if ``verbatim``."""

    heading: str
    items: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    verbatim: bool = False

    def as_text(self) -> str:
        if self.text:
            body = textwrap.indent(self.text, "    ") if self.verbatim else self.text
        else:
            body = "\n".join(_filled(name, said) for name, said in self.items.items())
        return f"{self.heading}:\n{body}"

    def as_markdown(self) -> str:
        if self.text:
            body = f"```text\n{self.text}\n```" if self.verbatim else prose(self.text)
        else:
            body = "\n".join(f"- `{name}`: {markdown(said)}" for name, said in self.items.items())
        return f"## {self.heading[0].upper()}{self.heading[1:]}\n\n{body}"


@dataclass(frozen=True)
class Description:
    """facts: short answers by name. parts: what needs more room; those without content are none."""

    name: str
    what: str
    facts: Mapping[str, Any]
    parts: Sequence[Part]

    def as_text(self) -> str:
        """For the screen."""
        facts = "\n".join(_filled(name, value or "none") for name, value in self.facts.items())
        parts = [part.as_text() for part in self.parts if part.items or part.text]
        return "\n\n".join([f"{self.name}: {self.what}", facts, *parts])

    def as_markdown(self) -> str:
        """For a page of the site."""
        facts = "\n".join(
            f"- {name}: {_linked(str(value or 'none'))}" for name, value in self.facts.items()
        )
        parts = [part.as_markdown() for part in self.parts if part.items or part.text]
        return "\n\n".join([f"# {self.name}", markdown(self.what), facts, *parts]) + "\n"


def _filled(name: str, value: Any) -> str:
    return textwrap.fill(f"{name}: {value}", WIDTH, subsequent_indent="    ")


def _linked(value: str) -> str:
    """A fact on a page: an address can be followed."""
    return f"<{value}>" if value.startswith("https://") and " " not in value else markdown(value)


def prose(docstring: str) -> str:
    """A docstring in Markdown: formulas stay as they are, indented lines are kept as a block."""
    paragraphs = []
    for paragraph in docstring.split("\n\n"):
        lines = paragraph.splitlines()
        if all(line.startswith("    ") for line in lines):
            paragraphs.append(f"```text\n{textwrap.dedent(paragraph)}\n```")
        else:
            paragraphs.append("\n".join(map(_line, lines)))
    return "\n\n".join(paragraphs)


def _line(line: str) -> str:
    """A line with what is between backticks as code, and all else as the letters that it is."""
    indent = line[: len(line) - len(line.lstrip())]
    pieces = line.strip().split("`")
    if len(pieces) % 2 == 0:  # a backtick that opens no code
        return indent + markdown(line.strip())
    shown = [piece if i % 2 else _letters(piece) for i, piece in enumerate(pieces)]
    return indent + "`".join(shown)


def _letters(text: str) -> str:
    """`markdown` with the spaces at both ends, which it takes away."""
    inner = text.strip()
    if not inner:
        return text
    start = text.index(inner)
    return f"{text[:start]}{markdown(inner)}{text[start + len(inner) :]}"


def of_method(entry: Entry) -> Description:
    """What a method says of itself, its hyper-parameters, and what its file says."""
    facts = {
        "family": entry.family,
        "role": entry.role,
        "publication": entry.publication,
        "loss": entry.losses,
        "defaults from": "; ".join(filter(None, [_origin(entry), entry.defaults_note])),
        "runs": "one student per modality" if entry.per_modality else "one model for all",
        "never trained": ", ".join(entry.never_trained) or "nothing",
        **_encoder_of(entry),
        "version": entry.version,
        "file": _source(entry.method),
    }
    parts = [
        Part("hyper-parameters, as in --set METHOD.NAME=VALUE", _hyperparameters(entry)),
        Part(
            "of the protocol, for this method alone where --set says so",
            _of_the_protocol() if entry.network else {},
        ),
        Part(
            "no network",
            text="" if entry.network else f"{', '.join(TRAINING)} have no effect.",
        ),
        Part("model", text=_doc(entry.method), verbatim=True),
        Part("source", text=_doc(sys.modules[entry.method.__module__])),
    ]
    return Description(entry.key, entry.summary, facts, parts)


def _encoder_of(entry: Entry) -> dict[str, str]:
    """Of a method that brings its encoder: which, and what that was trained on."""
    if not entry.encoder:
        return {}
    settings = ", ".join(f"{name}: {value}" for name, value in entry.encoder.items())
    return {"encoder": f"its own, frozen ({settings})", "pre-trained on": entry.pretrained}


def _hyperparameters(entry: Entry) -> dict[str, str]:
    """Of each its type, default, origin and range, and where it does nothing."""
    types = inspect.signature(entry.method).parameters
    found = {}
    for name, value in entry.hyperparameters.items():
        span = entry.tuning.get(name)
        kind = types[name].annotation
        kind = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        origin = (span and span.default_from) or entry.defaults_from
        said = [kind, f"default from {origin}", f"tuned from {span}" if span else "never tuned"]
        if name in entry.overrides and not span:
            said[1:] = ["what this variant is, never tuned"]
        if span and span.idle_on:
            said.append(f"no effect on {' and '.join(span.idle_on)} tasks")
        found[f"{name}={value!r}"] = "; ".join(said)
    return found


def _of_the_protocol() -> dict[str, str]:
    """What every method may be given in place of a protocol's value: that value, and the range."""
    standard = protocol.load("standard")
    defaults = {DROPOUT: "that of each encoder"}
    return {
        name: f"{defaults.get(name) or getattr(standard, name)} in protocol '{standard.name}'; "
        f"tuned from {span}"
        for name, span in standard.tuning.items()
    }


def _origin(entry: Entry) -> str:
    named = f" ({', '.join(entry.defaults_for)})" if entry.defaults_for else ""
    return entry.defaults_from + named


def of_dataset(adapter: Adapter, sensors: Mapping[str, str] | None = None) -> Description:
    """What a dataset says of itself; ``sensors``: what was read of each modality, where it was."""
    published = adapter.published
    generated = f"{adapter.generated_samples:,} samples" if adapter.can_generate else ""
    facts = {
        "modalities": ", ".join(published_first(adapter)),
        "published choice": ", ".join(adapter.default_modalities),
        **{f"{m} is": note for m, note in adapter.notes.items()},
        "task": published and published.task,
        "samples": published and published.samples,
        "size": published and in_bytes(published.size),
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
    parts = [
        Part("sensors, as protocol 'standard' reads them", sensors or {}),
        Part("below the data root", text=adapter.layout, verbatim=True),
        Part("reader", text=_doc(type(adapter))),
        Part("source", text=_doc(sys.modules[type(adapter).__module__])),
    ]
    return Description(adapter.name, adapter.title, facts, parts)


def published_first(adapter: Adapter) -> list[str]:
    """All modalities, those of the published choice first."""
    return sorted(adapter.modalities, key=lambda m: m not in adapter.default_modalities)


def _known_release(name: str) -> str:
    from datasets.common import releases

    release = releases.known().get(name)
    return f"{release.title}, {release.samples:,} samples" if release else ""


def of_protocol(name: str) -> Description:
    """The values of a shipped protocol."""
    loaded = protocol.load(name)
    said = {"name", "title", "purpose"}
    facts = {f.name: _plain(getattr(loaded, f.name)) for f in fields(loaded) if f.name not in said}
    facts["file"] = _from_root(protocol.FOLDER / f"{name}.yaml")
    return Description(name, f"{loaded.title}: {loaded.purpose}", facts, ())


def _plain(value: Any) -> str:
    """A value as a protocol file has it, without quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def of_encoder(backbone: Backbone) -> Description:
    """What an encoder says of itself, and how a protocol names it."""
    from methods.common.encoders import UNNAMED

    kind = backbone.kinds[0]
    unnamed = UNNAMED[kind] == backbone.name
    facts = {
        "encodes": ", ".join(backbone.kinds),
        "settings": settings(backbone),
        "in a protocol": f"what encodes {kind} where no other encoder is named"
        if unnamed
        else f"encoders: {{{kind}: {{model: {backbone.name}, ...}}, ...}}",
        "file": _source(inspect.unwrap(backbone.build)),
    }
    parts = [
        Part("model", text=_doc(backbone.build)),
        Part("source", text=_doc(sys.modules[inspect.unwrap(backbone.build).__module__])),
    ]
    return Description(backbone.name, backbone.summary, facts, parts)


def settings(backbone: Backbone) -> str:
    """An encoder's settings with their defaults."""
    return ", ".join(
        name if value is inspect.Parameter.empty else f"{name}={value!r}"
        for name, value in backbone.options.items()
    )


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
