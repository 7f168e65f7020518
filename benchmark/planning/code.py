"""What code a method consists of: a hash that another edit changes, and another folder does not.

Read from syntax trees, so that comments, docstrings, layout and line endings do not count, and
that a report can ask without importing a method. What trains all methods alike is not in it:
`benchmark.spec.HARNESS_VERSION` stands for that. Python versions that parse a line to another
tree may give another hash.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.folders import stamp_of
from benchmark.plugins import name_of, package_of
from benchmark.sources import (
    PACKAGES,
    ROOT,
    find,
    imports_of,
    own_files,
    own_folder,
    parsed,
    project_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmark.spec import RunSpec
    from methods.common.encoders import Backbone
    from methods.common.registry import Entry

ALWAYS = ROOT / "methods" / "common" / "encoders.py"
"""The encoders, which a method is given and need not import."""

WORDS = {"benchmark.errors", "benchmark.plugins", "benchmark.ranges", "benchmark.terms"}
WORDS |= {"methods.common.registry"}
"""Modules that name things and decide no number."""

Code = Mapping[str, str]
"""Module of a method, or the name of its plug-in file → sha256 of it and of what it imports."""


def code_of(entry: Entry | Backbone) -> dict[str, str]:
    """The code of a method or an encoder: the module of its class and the file of a plug-in.

    As it was when this process first asked: what it has loaded does not change when a file does.
    A class that has no file has no code that can be told.
    """
    made_by = getattr(entry, "method", None) or entry.build
    return dict(_loaded(made_by, entry.plugin))


@cache
def _loaded(made_by: Callable[..., Any], plugin: Path | None) -> Code:
    found = {}
    path = Path(getattr(sys.modules.get(made_by.__module__), "__file__", None) or "")
    package = package_of(plugin) if plugin else None
    if path.is_file() and not (package and path.is_relative_to(package)):
        found[project_name(path) or path.name] = file_code(path)
    if plugin is not None:
        found[name_of(plugin)] = file_code(plugin)
    return found


def plugin_code(entry: Entry | Backbone) -> str:
    """The code of a plug-in as a part of its runs' ids; "" for what is the project's own."""
    if entry.plugin is None:
        return ""
    parts = sorted(set(code_of(entry).values()))
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


def codes(spec: RunSpec) -> dict[str, str]:
    """The code of a run's method, of all that its artefacts are made by, and of encoders.

    Those that are always there are in that of every method.
    """
    found = _codes(spec.method, spec.artefacts)
    for encoder, _ in _named_encoders(spec):
        found |= code_of(encoder)
    return dict(sorted(found.items()))


def edited_plugins(spec: RunSpec) -> list[str]:
    """Methods and encoders of a run that are not, as plug-ins, the code that its spec states."""
    from methods.common.encoders import PLUGIN
    from methods.common.registry import REGISTRY

    wanted = {spec.method: spec.plugin, **_plugins(spec.artefacts)}
    encoders = [(e, o[PLUGIN]) for e, o in _named_encoders(spec) if PLUGIN in o]
    return [m for m, code in wanted.items() if plugin_code(REGISTRY[m]) != code] + [
        encoder.name for encoder, code in encoders if plugin_code(encoder) != code
    ]


def _plugins(artefacts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Method → hash of its plug-in, of all artefacts, all the way down."""
    found: dict[str, str] = {}
    for artefact in artefacts.values():
        found[artefact["method"]] = artefact.get("plugin", "")
        found |= _plugins(artefact["artefacts"])
    return found


def _named_encoders(spec: RunSpec) -> list[tuple[Backbone, Mapping[str, Any]]]:
    """The encoders of a run that are not those which are always there, and their options."""
    from methods.common.encoders import BACKBONES, MODEL

    every = (
        *spec.encoders_used["options"].values(),
        *spec.encoders_used.get("modalities", {}).values(),
    )
    return [(BACKBONES[o[MODEL]], o) for o in every if o.get(MODEL) in BACKBONES]


def _codes(method: str, artefacts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    from methods.common.registry import REGISTRY

    found = code_of(REGISTRY[method]) if method in REGISTRY else {}
    for artefact in artefacts.values():
        found |= _codes(artefact["method"], artefact["artefacts"])
    return found


def changed(code: Code) -> list[str]:
    """Modules of the project among those that a record names whose code is another by now.

    Nothing is said of a module that is gone, nor of a plug-in: that is a part of its runs' ids.
    """
    found = []
    for name, sha256 in code.items():
        path = _project_file(name)
        if path is not None and file_code(path) != sha256:
            found.append(name)
    return sorted(found)


def file_code(path: Path) -> str:
    """sha256 of a Python file and of the modules that it imports, transitively.

    Modules are the project's and, for a file elsewhere, those in its folder; of an installed
    package, all of them. Raises `UserError` if one of them is no Python.
    """
    package = package_of(path)
    path = path.resolve()
    folder = None if project_name(path) or package else own_folder(path)
    names = {ALWAYS: "encoders"}
    if package:
        names |= {file.resolve(): name for name, file in own_files(path, package).items()}
    names[path] = ""
    todo, digests = list(names), []
    while todo:
        current = todo.pop()
        digest, imports = _parsed(current, stamp_of(current))
        digests.append(f"{names[current]} {digest}")
        for level, dotted in imports:
            for name, found in find(current, level, dotted, folder):
                if found not in names and name not in WORDS:
                    names[found] = name
                    todo.append(found)
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _project_file(name: str) -> Path | None:
    """The file of a module of the project, by a name that a record gives."""
    parts = name.split(".")
    if parts[0] not in PACKAGES or not all(part.isidentifier() for part in parts):
        return None
    path = ROOT.joinpath(*parts).with_suffix(".py")
    return path if path.is_file() else None


@lru_cache(maxsize=1024)
def _parsed(path: Path, stamp: tuple[int, int]) -> tuple[str, tuple[tuple[int, str], ...]]:
    """Digest of a file's syntax tree, and what it imports: (level, dotted name).

    stamp: when it was changed, so that it is read again only then.
    """
    tree = parsed(path)
    digest = hashlib.sha256()
    for token in _tokens(tree):
        digest.update(f"{token}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest(), imports_of(tree)


NOT_CODE = {"ctx", "kind", "type_comment", "type_ignores"}
"""Fields of nodes that say nothing more than the rest."""


def _tokens(node: Any) -> Iterator[str]:
    """A syntax tree as text, without docstrings; fields that are empty are left out."""
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(value, list):
                value = [statement for statement in value if not _is_text(statement)]
            elif name in ("keywords", "names") and _registers(node):
                value = [item for item in value if _name(item) not in TUNING]
            if name not in NOT_CODE and value not in (None, []):
                yield name
                yield from _tokens(value)
        yield ")"
    elif isinstance(node, list):
        for item in node:
            yield from _tokens(item)
        yield "]"
    else:
        yield f"{type(node).__name__} {node!r}"


TUNING = {"Range", "network", "tuning"}
"""What an entry says of `tune`: what is tried, which decides the numbers of no run."""


def _registers(node: ast.AST) -> bool:
    """Whether an entry is made here, ``Entry(...)`` or ``replace(...)``, or its parts imported."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("Entry", "replace")
    return isinstance(node, ast.ImportFrom) and node.module == "methods.common.registry"


def _name(item: ast.keyword | ast.alias) -> str | None:
    return item.arg if isinstance(item, ast.keyword) else item.name


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, or the text below a constant that explains it."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
