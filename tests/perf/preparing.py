"""Prepares a dataset in a process of its own, which can be watched and killed: see `Preparing`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Preparing:
    """A process that prepares native files with all cores, and all processes that it starts."""

    def __init__(self, name: str, native: Path, cache: Path) -> None:
        command = [sys.executable, "-m", "tests.perf.preparing", name, str(native), str(cache)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.peak = 0
        """Most memory of all its processes together, in bytes; shared pages count in each."""

    def watched(self) -> dict[str, Any]:
        """What it says at its end (see `main`), with the ``peak`` of its memory."""
        while self.process.poll() is None:
            self.peak = max(self.peak, sum(_memory(pid) for pid in self._all()))
            time.sleep(0.05)
        out, _ = self.process.communicate()
        return {**json.loads(out), "peak": self.peak}

    def _all(self) -> list[int]:
        children = defaultdict(list)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children[parent].append(int(folder.name))
        found, new = [], [self.process.pid]
        while new:
            found += new
            new = [child for parent in new for child in children[parent]]
        return found


def _memory(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(name: str, native: str, cache: str) -> None:
    """Prepare, open again a few times, and print samples, seconds, bytes and the fingerprint."""
    import datasets
    from datasets.common import filling, prepared
    from datasets.common.contract import View

    filling.LARGE = 0  # all cores also for the smaller of the sizes that are compared
    adapter = datasets.load()[name]

    def prepare() -> tuple:
        modalities = adapter.default_modalities
        return prepared.prepare(adapter, Path(native), "real", modalities, View(), Path(cache))

    started = time.perf_counter()
    dataset, folder = prepare()
    seconds, again = time.perf_counter() - started, []
    for _ in range(7):
        started = time.perf_counter()
        prepare()
        again.append(time.perf_counter() - started)
    result = {
        "samples": len(dataset),
        "seconds": seconds,
        "again": again,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "fingerprint": dataset.fingerprint,
        "folder": str(folder),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
