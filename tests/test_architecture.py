"""The rooms of the house: who may import whom, read from the syntax trees."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "methods", "datasets")
VOCABULARY = {"documents", "errors", "metrics", "problem", "records", "seeds", "spec", "stopping"}
VOCABULARY |= {"terms", "writers", "schema", "folders", "machine", "plugins", "ranges", "merging"}
VOCABULARY |= {"sources", "__init__"}
"""Files of `benchmark/` that lie under its rooms."""

BELOW = {
    "api": {"deployment", "planning", "report", "training"},
    "commands": {
        *("conformance", "deployment", "executors", "planning", "report", "study", "training")
    },
    "conformance": {"planning", "training"},
    "executors": {"planning", "training"},
    "report": {"planning"},
    "study": {"report"},
    "training": {"deployment", "planning"},
    "deployment": {"planning"},
    "planning": set(),
}
"""Room of `benchmark/` → rooms that it may import from."""


def modules() -> dict[str, Path]:
    """Dotted name → file of every module of the project."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path) -> set[str]:
    """Modules of the project that a file imports, anywhere in it and for whatever purpose."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
    return found & MODULES.keys()


GRAPH = {name: imported(path) for name, path in MODULES.items()}


def test_no_module_imports_itself_by_a_detour():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as circle:
        pytest.fail(" → ".join(circle.args[1]))


def test_a_detour_would_be_seen():
    with pytest.raises(CycleError):
        TopologicalSorter(GRAPH | {"benchmark.errors": {"benchmark.commands.run"}}).prepare()


def room(module: str) -> str:
    """The room of `benchmark/` that a module lies in, or "" for the vocabulary under all rooms."""
    parts = module.split(".")
    is_room = len(parts) > 1 and (ROOT / "benchmark" / parts[1]).is_dir()
    return parts[1] if is_room or module == "benchmark.api" else ""


OURS = sorted(name for name in MODULES if name.startswith("benchmark."))


@pytest.mark.parametrize("module", OURS)
def test_rooms_import_from_the_rooms_below_them(module):
    own = room(module)
    others = {name for name in GRAPH[module] if name.startswith("benchmark.")}
    if own:
        allowed = BELOW[own] | {own, ""}
        assert {name for name in others if room(name) not in allowed} == set()
    elif module != "benchmark.__main__":
        assert {name for name in others if room(name)} == set()
        assert module.split(".")[1] in VOCABULARY, "which room does it belong to?"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_methods_and_datasets_know_neither_each_other_nor_the_rooms(module):
    package = module.partition(".")[0]
    other = {"methods": "datasets", "datasets": "methods"}.get(package)
    if other:
        seen = GRAPH[module]
        assert not {name for name in seen if name.partition(".")[0] == other or room(name)}


def test_the_command_line_and_reports_import_no_torch_by_themselves():
    """`--help` is instant, and a report of many records needs no method."""
    for module in OURS:
        if room(module) in ("api", "commands", "report") or module.endswith(
            ("spec", "records", "terms")
        ):
            for node in ast.parse(MODULES[module].read_text()).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                heavy = {"torch", "timm", "torchgeo", "joblib"}
                assert not {name.partition(".")[0] for name in names} & heavy, module


def test_json_has_no_infinite_number_and_none_that_is_nan():
    """Python would write words for them that no other reader takes, and read them again itself.

    Whoever has such a number says what it means: a metric that is undefined is None (null), so is
    the deviation of a channel that is constant; a loss that is not finite ends its run.
    """
    comparing = {"benchmark.report.frame"}  # records with each other, by their text; writes none
    loose = []
    for name, path in MODULES.items():
        if name in comparing:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("dump", "dumps") and ast.unparse(node.func.value) == "json":
                said = {word.arg: word.value for word in node.keywords}.get("allow_nan")
                if not (isinstance(said, ast.Constant) and said.value is False):
                    loose.append(f"{name}, line {node.lineno}")
    assert not loose, f"json.dumps without allow_nan=False: {', '.join(loose)}"
