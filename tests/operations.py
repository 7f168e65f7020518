"""How many calls a report without figures makes, of Python and of C: a process of its own.

    python -m tests.operations RESULTS...

In a process that has run other things, CPython 3.11 can hang when calls begin to be counted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from benchmark.report import write_report


def operations(results: Path) -> int:
    """Calls that modules of `benchmark` make in a report."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += "/benchmark/" in frame.f_code.co_filename

    sys.setprofile(profile)
    try:
        write_report(results, results / "out", figures=False)
    finally:
        sys.setprofile(None)
    return count


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    write_report(folders[0], folders[0] / "out", figures=False)  # what is imported is imported
    print(*map(operations, folders))
