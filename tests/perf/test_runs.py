"""What runs cost beside their training: the wait for a first one, workers and their start, memory.

Wall time and the memory of whole processes are measured: on a machine that does nothing else.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.executors import executor, local
from benchmark.executors.scale import Scale
from benchmark.planning import protocol
from benchmark.planning.jobs import Job
from benchmark.planning.plan import plan
from benchmark.training.execute import prepare_process
from methods.common.registry import REGISTRY
from tests.survival import ROOT, Workplace, alive, wait_until

pytestmark = pytest.mark.perf

FIRST = 6
"""Seconds."""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[Job]]:
    """Runs of `mdico` on generated LFMC data, one epoch of the protocol `standard` each."""
    import datasets
    import methods
    from datasets.common import prepared
    from datasets.common.contract import View

    methods.load()
    adapter, cache = datasets.load()["lfmc"], tmp_path_factory.mktemp("cache")
    native, source, _ = prepared.resolve(adapter, None, cache, named=True)
    data = prepared.prepare(adapter, native, source, adapter.default_modalities, View(), cache)
    standard = replace(protocol.load("standard"), epochs=1)

    def jobs(runs: int) -> list[Job]:
        results = tmp_path_factory.mktemp("results")
        where = {"results": results, "device": "cpu", "plugins": ()}
        seeds = range(runs)
        found = plan([data], [REGISTRY["mdico"]], standard, chosen_folds=[0], seeds=seeds, **where)
        return [each.job for each in found]

    return jobs


def test_two_workers_do_the_work_of_two(planned, report):
    def seconds_a_run(name: str, workers: int) -> float:
        """Once workers are at work: the first record starts the clock."""
        ends = [time.perf_counter() for _ in executor(name)(planned(9), Scale(workers))]
        return (ends[-1] - ends[0]) / (len(ends) - 1)

    rounds = [(seconds_a_run("serial", 1), seconds_a_run("processes", 2)) for _ in range(5)]
    assert report("runs an hour, 2 workers / 1", "at least 1.7", *zip(*rounds, strict=True)) >= 1.7


def test_a_worker_is_soon_ready(planned, report):
    """From nothing to a process in which all is imported and set."""

    def seconds() -> float:
        (job,) = planned(1)
        started = time.perf_counter()
        with local._pool(1) as pool:
            pool.submit(prepare_process, job).result()
            return time.perf_counter() - started

    ready = [seconds() for _ in range(5)]
    assert report("start of a worker / 4 s", "at most 1", ready, [4.0] * 5) <= 1


def test_the_first_result_is_soon_there(place, row):
    """From the command to its first record, with data that are prepared."""

    def seconds(results: str) -> float:
        started = time.perf_counter()
        process = place.start(results, "--folds", "0,1", "--workers", "2")
        try:
            wait_until(lambda: place.records(results))
            return time.perf_counter() - started
        finally:
            process.communicate()

    seconds("prepares")
    took = statistics.median(seconds(f"first-{i}") for i in range(5))
    row("first result after `run` starts, 2 workers", f"at most {FIRST} s", f"{took:.1f} s")
    assert took <= FIRST


WITHOUT_REPORT = """
import sys
from unittest.mock import patch
from benchmark.commands import main as cli
with patch("benchmark.commands.run.report_all"):
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_number_of_runs(place, report, workers):
    """Of all processes of `run` together, teachers and students of `kd_self` in turn."""
    more = ("--folds", "0,1", "--seeds", "0-49", "--workers", str(workers))
    peaks = peaks_by_records(100, place, f"memory-{workers}", *more, methods="kd_self")
    at_last, at_tenth = max(peaks.values()), max(kB for n, kB in peaks.items() if n <= 10)
    figure = f"peak memory, 100th / 10th run, {workers} worker{'s' * (workers > 1)}"
    assert report(figure, "at most 1.05", [at_last], [at_tenth]) <= 1.05


@pytest.mark.parametrize("method", ["single", "mdico"])
def test_memory_of_ten_replicas(method, place, report):
    """Of all processes of `run` together, with nets of published size.

    Nothing fails: replicas are off by default on a CPU.
    """
    text = (protocol.FOLDER / "standard.yaml").read_text()
    for usual, here in (("epochs: 200 ", "epochs: 3 "), ('["*"]', f"[{method}]")):
        assert usual in text
        text = text.replace(usual, here)
    shorter = place.folder / "shorter.yaml"
    shorter.write_text(text)
    peaks = []
    for replicas in ("10", "1"):
        results = f"memory-of-{replicas}-{method}"
        more = ("--protocol", str(shorter), "--folds", "0,1", "--seeds", "0-4")
        more += ("--executor", "serial", "--replicas", replicas)
        peaks.append([max(peaks_by_records(10, place, results, *more, methods=method).values())])
    figure = f"peak memory, 10 replicas / one by one, {method} on lfmc shapes, CPU"
    report(figure, "at most 1.3", *peaks)


def peaks_by_records(
    runs: int, place: Workplace, results: str, *more: str, methods: str
) -> dict[int, int]:
    """The most kB that the processes of `run` have held while so many records were there.

    With the last one they end, which does not count: that touches pages that no run needs.
    """
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", WITHOUT_REPORT),
            *place.arguments(results, *more, methods=methods),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    peaks: dict[int, int] = {}
    while process.poll() is None:
        done = len(place.records(results))
        peaks[done] = max(peaks.get(done, 0), peak_memory(process.pid))
        time.sleep(0.1)
    assert process.returncode == 0 and len(place.records(results)) == runs
    return {done: kB for done, kB in peaks.items() if done < runs}


def peak_memory(group: int) -> int:
    """kB that the processes of a group have held at most, summed."""
    total = 0
    for process in alive(group):
        status = Path(f"/proc/{process}/status")
        with suppress(OSError, IndexError):  # it has just ended
            total += int(status.read_text().partition("VmHWM:")[2].split()[0])
    return total
