"""Plug-ins: methods, datasets and encoders that come in a file of the user's or with a package.

A plug-in calls the same ``register`` as the files of the project. What it has registered is taken
back if it fails.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from benchmark.errors import UserError
from benchmark.sources import digest, installed_module, own_files

T = TypeVar("T")

GROUP = "eo_colearning"
"""Packages offer modules in the groups of entry points ``eo_colearning.methods``, …"""


@dataclass
class Plugin:
    """A plug-in that is being loaded: its name in sentences, its file, and what it has registered.

    file: None for a module of a package that has none; that is refused.
    """

    name: str
    file: Path | None
    registered: list[tuple[Registry[Any], str]] = field(default_factory=list)


_at_hand: list[Plugin] = []
"""Those that are being loaded, the innermost last."""


_packages: dict[Path, Path] = {}
"""File of an installed plug-in → the folder of the package that it belongs to."""


def file_at_hand() -> Path | None:
    """The file of the plug-in that is being loaded, for what it registers; else None."""
    return _at_hand[-1].file if _at_hand else None


def package_of(file: Path) -> Path | None:
    """The folder of the installed package that a plug-in's file belongs to, or None."""
    return _packages.get(file)


def name_of(file: Path) -> str:
    """A plug-in's file as records name it: mine.py, or my_package/mine.py."""
    package = package_of(file)
    return file.relative_to(package.parent).as_posix() if package else file.name


def identity(file: Path) -> dict[str, str]:
    """A plug-in's file and the sha256 of all that belongs to it, as they stand in records."""
    return {"file": name_of(file), "sha256": digest(own_files(file, package_of(file)))}


class Registry(dict[str, T]):
    """What there is of a kind ("method"), by name: filled by the files that define it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.plugins: dict[str, str] = {}

    def add(self, name: str, value: T) -> T:
        """Put something in. Raises `UserError` for a name that is taken."""
        if name in self:
            # A plug-in that came before the project's own file is at fault, not that file.
            whose = "" if _at_hand or name not in self.plugins else f"{self.plugins[name]}: "
            a = "an" if self.kind[0] in "aeiou" else "a"
            raise UserError(
                f"{whose}{a} {self.kind} named '{name}' is registered already: choose another name"
            )
        self[name] = value
        self.plugins.pop(name, None)
        if _at_hand:
            self.plugins[name] = _at_hand[-1].name
            _at_hand[-1].registered.append((self, name))
        return value


@contextmanager
def _loading(plugin: Plugin) -> Iterator[None]:
    """Attribute to a plug-in what is registered meanwhile, and make one sentence of its errors."""
    _at_hand.append(plugin)
    try:
        yield
    except (Exception, SystemExit) as error:
        for registry, name in plugin.registered:
            registry.pop(name, None)
            registry.plugins.pop(name, None)
        if isinstance(error, UserError):
            reason = str(error)
        else:
            said = f"{type(error).__name__}: {error}"
            reason = f"cannot be loaded ({' '.join(said.split())})"
        raise UserError(f"{plugin.name}: {reason}") from error
    finally:
        _at_hand.pop()


NOTHING = (
    "registers nothing; a plug-in calls `register` of methods.common.registry, "
    "datasets.common.contract or methods.common.encoders"
)


def load(files: Iterable[Path]) -> None:
    """Execute plug-in files, each once a process, after the files of the project.

    Raises `UserError` if one is no Python file, fails, or registers nothing.
    """
    for path in map(Path.resolve, files):
        name = f"{__name__}.{path}"
        if name in sys.modules:
            continue
        if path.is_dir():
            raise UserError(f"{path}: is a folder; --plugin takes a Python file")
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        if path.suffix != ".py":
            raise UserError(f"{path}: is no Python file, whose name ends with .py")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        plugin = Plugin(str(path), path)
        sys.modules[name] = module
        try:
            with _loading(plugin):
                spec.loader.exec_module(module)
                if not plugin.registered:
                    raise UserError(NOTHING)
        except BaseException:
            del sys.modules[name]
            raise


def unload(files: Iterable[Path], *registries: Registry[Any]) -> None:
    """Forget plug-in files and what they have put into the registries."""
    for path in map(Path.resolve, files):
        sys.modules.pop(f"{__name__}.{path}", None)
        for registry in registries:
            for name in [name for name, whose in registry.plugins.items() if whose == str(path)]:
                registry.plugins.pop(name)
                registry.pop(name, None)


def modules() -> list[ModuleType]:
    """The plug-in files that this process has loaded, as modules that no process can import."""
    return [module for name, module in sys.modules.items() if name.startswith(f"{__name__}.")]


def installed(kind: str) -> list[metadata.EntryPoint]:
    """What installed packages offer of a kind ("methods"), in the order of their names."""
    found = metadata.entry_points(group=f"{GROUP}.{kind}")
    return sorted(found, key=lambda entry: (entry.name, entry.value))


@cache
def load_installed(kind: str) -> None:
    """Import what installed packages offer of a kind, once a process.

    Raises `UserError` that names the package if something cannot be imported or registers nothing.
    """
    for entry in installed(kind):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
        name = f"installed package {package}, entry point {GROUP}.{kind}: {entry.name}"
        file, package = installed_module(entry.module) or (None, None)
        if package is not None:
            _packages[file] = package
        plugin = Plugin(f"{name} = {entry.value}", file)
        new = entry.module not in sys.modules
        with _loading(plugin):
            entry.load()
            if new and not plugin.registered:
                raise UserError(NOTHING)
            if file is None:  # an edit of it would pass unseen
                raise UserError(f"{entry.module} is no Python file, so that no record can tell it")
