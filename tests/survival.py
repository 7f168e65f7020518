"""Small runs of the command line, for tests of what they survive."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.records import Record, read
from benchmark.seeds import stream

PLUGIN = Path(__file__).with_name("quick_methods.py")
ROOT = Path(__file__).parents[1]


class Workplace:
    """A folder with a small LFMC table (generated, in the place of real data) and a protocol."""

    def __init__(self, folder: Path) -> None:
        from benchmark.planning import protocol
        from datasets.lfmc import STRUCTURE, generate_table

        self.folder = folder
        native = folder / "data" / "lfmc"
        native.mkdir(parents=True)
        generate_table(0, 150, STRUCTURE).to_csv(native / "training_features.csv")
        quick = (protocol.FOLDER / "quick.yaml").read_text()
        (folder / "tiny.yaml").write_text(quick.replace("epochs: 15 ", "epochs: 2 "))
        self.log = folder / "log"

    def arguments(
        self, results: str, *more: str, methods: str = "steady", command: str = "run"
    ) -> list[str]:
        """The arguments of `run`, or `tune`; everything it writes lies below this folder."""
        places = {
            "--datasets": "lfmc",
            "--methods": methods,
            "--plugin": PLUGIN,
            "--protocol": self.folder / "tiny.yaml",
            "--data-root": self.folder / "data",
            "--cache": self.folder / "cache",
            "--results": self.folder / results,
            "--device": "cpu",
        }
        return [command, *(str(word) for pair in places.items() for word in pair), *more]

    def start(
        self,
        results: str,
        *more: str,
        methods: str = "steady",
        pause: float = 0.0,
        command: str = "run",
    ) -> subprocess.Popen[str]:
        """The command in a process (and a process group) of its own."""
        arguments = self.arguments(results, *more, methods=methods, command=command)
        return subprocess.Popen(
            [sys.executable, "-m", "benchmark", *arguments],
            cwd=ROOT,
            env={**os.environ, "EO_TEST_LOG": str(self.log), "EO_TEST_PAUSE": str(pause)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def begun(self) -> int:
        """How many runs have begun to train since the log was last removed."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def records(self, results: str, folder: str = "records") -> list[Path]:
        """The files that are records, or trials."""
        return sorted((self.folder / results / folder).rglob("*.json"))

    def strays(self, results: str) -> list[str]:
        """Files that are neither a record nor what belongs to one, nor of a report or a cache."""
        records = (self.folder / results / "records").rglob("*")
        foreign = [
            p.name
            for p in records
            if p.is_file()
            and not (p.suffix in (".json", ".npz") and p.with_suffix(".json").exists())
        ]
        hidden = (p for top in (results, "cache") for p in (self.folder / top).rglob(".*"))
        return foreign + [p.name for p in hidden if not p.is_symlink()]  # submitit's are links

    def run_again(self, results: str) -> int:
        """How many runs began to train after they had been recorded, by the log."""
        recorded = {
            stream(r.spec.stream, r.spec.seed, r.spec.fold, "noise", 0): path.stat().st_ctime
            for path in self.records(results)
            for r in [read(path)]
            if r.status == "done"
        }
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        begun = ((int(seed), float(at)) for _, seed, at in map(str.split, lines))
        return sum(at > recorded.get(seed, math.inf) for seed, at in begun)


def comparable(results: Path, folder: str = "records") -> dict[str, bytes]:
    """All that records say but timing and environment, by path, and their predictions."""
    found = {}
    for path in sorted((results / folder).rglob("*.*")):
        content = path.read_bytes()
        if path.suffix == ".json":
            document = json.loads(content)
            del document["created"], document["environment"]
            document["cost"].pop("seconds", None)
            for stage in document["stages"]:
                del stage["seconds"]
            content = json.dumps(document).encode()
        found[path.relative_to(results).as_posix()] = content
    return found


def wait_until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    """Look again and again until something holds; an error if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)


def alive(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def reasons(found: Sequence[Record]) -> dict[str, str | None]:
    """Method → why its run failed."""
    return {record.spec.method: record.reason for record in found}
