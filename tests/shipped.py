"""The shipped records for tests, packed or not."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from benchmark.merging import merged

REFERENCE = Path(__file__).parents[1] / "results" / "reference"


@cache
def shipped() -> Path:
    """Their results folder; what is packed is unpacked once a process, until it ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(merged([REFERENCE]))


def packed(dataset: str, folder: Path) -> Path:
    """A results folder that has those of one dataset, packed as they ship: it is read sooner."""
    archive = Path("packed", f"{dataset}.tar.xz")
    (folder / archive).parent.mkdir(parents=True)
    (folder / archive).symlink_to(REFERENCE / archive)
    return folder
