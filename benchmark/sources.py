"""Which files code consists of: those of the project, and those that belong to a plug-in."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmark.errors import UserError

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "methods", "datasets")

INSTALLED = ("site-packages", "dist-packages")
"""Folders of modules that have nothing to do with each other."""


def project_name(path: Path) -> str | None:
    """Dotted name of a file of the project, or None."""
    try:
        parts = path.resolve().relative_to(ROOT).with_suffix("").parts
    except ValueError:
        return None
    return ".".join(parts) if parts[0] in PACKAGES else None


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file. Raises `UserError` if it is no Python."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as Python ({error})") from error


def imports_of(tree: ast.AST) -> tuple[tuple[int, str], ...]:
    """What a syntax tree imports: (level, dotted name)."""
    imports: dict[tuple[int, str], None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {(0, alias.name): None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:  # a module, or what one defines
                if node.module:
                    imports[node.level, node.module] = None
                dotted = f"{node.module}.{alias.name}" if node.module else alias.name
                imports[node.level, dotted] = None
    return tuple(imports)


def find(
    importer: Path, level: int, dotted: str, folder: Path | None
) -> Iterator[tuple[str, Path]]:
    """Modules that an import leads to, by name: of the project, or of a plug-in's folder.

    Packages on the way to a module of a plug-in's folder are executed too; those of the project
    hold nothing that decides a number.
    """
    parts = dotted.split(".")
    if level:  # relative
        base = importer.parents[level - 1]
        places = [(base, "." * level)]
    else:
        places = [(ROOT, "")] if parts[0] in PACKAGES else [(folder, "")] if folder else []
    for base, prefix in places:
        for end in range(1, len(parts) + 1):
            path = base.joinpath(*parts[:end])
            name = prefix + ".".join(parts[:end])
            for found in (path.with_suffix(".py"), path / "__init__.py"):
                whole = end == len(parts) and found.name != "__init__.py"
                if found.is_file() and (whole or base is not ROOT):
                    yield name, found.resolve()


def own_folder(file: Path) -> Path | None:
    """Where the modules lie that a plug-in file imports as its own; None where all lie."""
    return None if file.parent.name in INSTALLED else file.parent


def own_files(file: Path, package: Path | None) -> dict[str, Path]:
    """All files of a plug-in, by name: its file, and the modules of its folder that it imports.

    Of a ``package`` it is every file, as a package may find its modules without naming them.
    """
    if package is not None:
        return {
            path.relative_to(package.parent).as_posix(): path
            for path in sorted(package.rglob("*.py"))
        }
    found, todo = {file.name: file}, [file]
    while todo:
        current = todo.pop()
        for level, dotted in imports_of(parsed(current)):
            for name, path in find(current, level, dotted, own_folder(file)):
                if path not in found.values() and project_name(path) is None:
                    found[name] = path
                    todo.append(path)
    return found


def digest(files: dict[str, Path]) -> str:
    """sha256 of one file; of several, over their names and the sha256 of each."""
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    if len(digests) == 1:
        return next(iter(digests.values()))
    text = "\n".join(f"{name} {digests[name]}" for name in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()


def installed_module(dotted: str) -> tuple[Path, Path | None] | None:
    """The file of a module that is not imported yet, and the folder of the package around it.

    A package is the outermost folder with an ``__init__.py``, or else that of the module; None is
    the package of a module that lies in none. None of both where no Python file is the module's.
    """
    top, *rest = dotted.split(".")
    try:
        spec = find_spec(top)
    except ValueError:  # said when it is imported
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        file = Path(spec.origin or "")
        return (file, None) if file.suffix == ".py" and file.is_file() and not rest else None
    for place in map(Path, spec.submodule_search_locations):
        path = place.joinpath(*rest)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                inside = [place, *(place.joinpath(*rest[:n]) for n in range(1, len(rest) + 1))]
                whole = (folder for folder in inside if (folder / "__init__.py").is_file())
                return file, next(whole, file.parent)
    return None
