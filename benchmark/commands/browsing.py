"""The registries of methods and encoders for who only reads in them: without torch's seconds.

The files of methods are executed as ever, but what they import from torch is a stand-in that can be
named, called and subclassed, and not looked at: what a file says of itself is then what it says
with torch, or the stand-in raises, and torch is imported after all. Nothing is kept that could be
out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

SLOW = "torch"
"""The package that the files of methods and encoders import, and that takes seconds."""

KEPT = {*sys.stdlib_module_names, "numpy", "benchmark"}
"""Packages in which no stand-in can have been left behind."""


def browse(read: Callable[[], T]) -> T:
    """What ``read`` returns when all methods and encoders are registered: no part of them.

    Plug-ins are imported with torch: nothing is known of what they do with it.
    """
    import methods
    from benchmark.plugins import installed

    if not (SLOW in sys.modules or installed("methods") or installed("encoders")):
        try:
            with stand_ins(SLOW):
                methods.load()
                return read()
        except Exception:  # a file that looks at what it imports, or is wrong: that is told below
            pass
    methods.load()
    return read()


class StandIn:
    """Anything of a package that is not there."""

    def _looked_at(self, *_: Any) -> NoReturn:
        raise RuntimeError("a stand-in was looked at")

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn()

    def __call__(self, *_: Any, **__: Any) -> StandIn:
        return StandIn()

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __or__(self, other: Any) -> StandIn:
        return StandIn()

    __getitem__ = __ror__ = __or__
    __bool__ = __len__ = __iter__ = __contains__ = __index__ = __int__ = __float__ = _looked_at
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _looked_at
    __repr__ = __str__ = __format__ = _looked_at
    __hash__ = object.__hash__


class _Module(ModuleType):
    """A module of which every name is a stand-in."""

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn()


class _Finder(MetaPathFinder, Loader):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        ours = name.partition(".")[0] == self.package
        return ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


@contextmanager
def stand_ins(package: str) -> Iterator[None]:
    """Let ``package`` be a stand-in; what was imported with it is forgotten at the end."""
    finder = _Finder(package)
    before = set(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in sys.modules.keys() - before:
            if name.partition(".")[0] not in KEPT:
                del sys.modules[name]
