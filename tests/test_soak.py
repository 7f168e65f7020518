"""Kills, full disks and thousands of runs at length: `make soak`, in real processes."""

from __future__ import annotations

import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmark import records
from benchmark.writers import sweep
from tests.counting import SAMPLES, Counting
from tests.counting import prepare as prepare_counting
from tests.faults import lost, torn
from tests.survival import ROOT, Workplace, alive, comparable, wait_until
from tests.test_executors import dask_cluster
from tests.test_prepared import names_of_arrays

pytestmark = pytest.mark.soak

SEEDS = ("--seeds", "0-5")
"""18 runs, with the three folds of the protocol."""

RUNS = 18

PAUSE = 0.02
"""Seconds that a step takes, so that a run is long enough to be hit."""


def finish(process: subprocess.Popen, code: int = 0) -> str:
    """Wait for a run that must end by itself; what it said."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "Traceback" not in err, err
    return out + err


@pytest.fixture(scope="module")
def expected(place) -> dict[str, bytes]:
    """The records of a run that nothing disturbed."""
    finish(place.start("undisturbed", "--executor", "serial", *SEEDS))
    assert len(place.records("undisturbed")) == RUNS
    return comparable(place.folder / "undisturbed")


def with_own_log(place: Workplace, name: str) -> Workplace:
    """The same folder with another log, for what goes on at the same time."""
    other = copy.copy(place)
    other.log = place.folder / f"{name}.log"
    return other


def contents(place: Workplace, results: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.records(results)}


def kills(place: Workplace, more: tuple[str, ...], moments: Iterator[float], expected: dict):
    """Kill a run and start it again, over and over; gives what each kill has done.

    Each starts where the last was killed. One that is quicker than its moment has to be whole, and
    the next starts from nothing.
    """
    results = place.log.stem
    for moment in moments:
        before = contents(place, results)
        place.log.unlink(missing_ok=True)
        process = place.start(results, *more, *SEEDS, pause=PAUSE)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()  # the command alone: what it started has to end by itself
            process.wait()
            wait_until(lambda group=process.pid: not alive(group), 30)
        killed = process.returncode == -signal.SIGKILL
        process.communicate()
        assert killed or process.returncode == 0
        yield {
            "tried": int(killed),
            "lost": lost(before),
            "torn": torn(place.folder / results),
            "doubled": place.run_again(results),
        }
        if not killed:
            assert comparable(place.folder / results) == expected
            assert not place.strays(results)
            shutil.rmtree(place.folder / results)
    place.log.unlink(missing_ok=True)
    finish(place.start(results, *more, *SEEDS))
    assert not place.run_again(results)
    assert comparable(place.folder / results) == expected
    assert not place.strays(results)


@pytest.mark.parametrize(
    ("executors", "times"), [(("serial", "processes"), 10), (("dask",), 3)], ids=["local", "dask"]
)
def test_kill_9_of_the_run_at_random_moments(place, faults, chance, expected, executors, times):
    """From its start to the last file of its report."""

    def work(executor: str) -> list[dict[str, int]]:
        own = with_own_log(place, executor)
        more = ("--executor", executor, "--workers", "2")
        started = time.monotonic()
        finish(own.start(f"whole-{executor}", *more, *SEEDS, pause=PAUSE))
        whole = time.monotonic() - started
        own_chance = random.Random(f"{seed} {executor}")
        done: list[dict[str, int]] = []

        def moments() -> Iterator[float]:
            while sum(each["tried"] for each in done) < times:
                yield own_chance.uniform(0, whole)

        for each in kills(own, more, moments(), expected):
            done.append(each)
        return done

    seed = chance.random()
    with ThreadPoolExecutor(len(executors)) as pool:
        for executor, done in zip(executors, pool.map(work, executors), strict=True):
            for each in done:
                faults.add(f"kill -9 of the run, {executor}", each.pop("tried"), **each)


def test_kill_9_of_workers(place, faults, chance, expected):
    """Of joblib's processes: what they had at hand is done again, and all is recorded."""
    for n in range(2):
        own = with_own_log(place, f"workers-{n}")
        results = own.log.stem
        more = ("--executor", "processes", "--workers", "2")
        process = own.start(results, *more, *SEEDS, pause=PAUSE)
        for _ in range(2):
            begun = own.begun()
            wait_until(lambda own=own, begun=begun: own.begun() > begun + 1)
            time.sleep(chance.uniform(0, 0.3))
            before = contents(own, results)
            at_work = {int(line.split()[0]) for line in own.log.read_text().splitlines()[-2:]}
            with suppress(ProcessLookupError):
                os.kill(chance.choice(sorted(at_work)), signal.SIGKILL)
        finish(process)
        faults.add(
            "kill -9 of a worker, processes",
            2,
            lost=lost(before),
            torn=torn(own.folder / results),
            doubled=own.run_again(results),
        )
        assert comparable(own.folder / results) == expected
        assert not own.strays(results)


def test_kill_9_of_dask_workers_and_of_the_scheduler(place, faults, chance, expected):
    pytest.importorskip("distributed")
    for n in range(2):
        own = with_own_log(place, f"scheduler-{n}")
        results = own.log.stem
        with dask_cluster(own.folder, 2, own.log, PAUSE) as (address, (scheduler, first, _)):
            more = ("--executor", "dask", "--dask-address", address)
            process = own.start(results, *more, *SEEDS)
            wait_until(lambda own=own: own.begun() >= 2)
            time.sleep(chance.uniform(0, 1))
            before = contents(own, results)
            first.kill()
            wait_until(lambda own=own, before=before: contents(own, own.log.stem) != before)
            faults.add(
                "kill -9 of a worker, dask", lost=lost(before), torn=torn(own.folder / results)
            )
            before = contents(own, results)
            time.sleep(chance.uniform(0, 1))
            scheduler.kill()
            said = finish(process, 2)
            assert "the same command again" in said or "Dask scheduler" in said
        own.log.unlink()
        finish(own.start(results, "--executor", "serial", *SEEDS))
        faults.add(
            "kill -9 of the scheduler, dask",
            lost=lost(before),
            torn=torn(own.folder / results),
            doubled=own.run_again(results),
        )
        assert comparable(own.folder / results) == expected
        assert not own.strays(results)


def test_two_runs_at_once(place, faults, chance, expected):
    for n in range(3):
        results = f"both-{n}"
        first = place.start(results, "--executor", "serial", *SEEDS, pause=PAUSE)
        time.sleep(chance.uniform(0, 2))
        second = place.start(results, "--executor", "processes", "--workers", "2", *SEEDS)
        finish(first)
        finish(second)
        found = comparable(place.folder / results)
        faults.add(
            "two runs at once",
            lost=len(expected.keys() - found.keys()),
            torn=torn(place.folder / results),
            doubled=len(found.keys() - expected.keys()),
        )
        assert found == expected
        assert not place.strays(results)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("executor", ["serial", "processes", "dask"])
def test_signals_end_a_run_in_time_and_say_how_to_resume(
    place, faults, chance, expected, executor, number
):
    own = with_own_log(place, f"{executor}-{number.name}")
    results = own.log.stem
    process = own.start(results, "--executor", executor, "--workers", "2", *SEEDS, pause=PAUSE)
    wait_until(lambda: own.begun() >= 2)
    time.sleep(chance.uniform(0, 1))
    before = contents(own, results)
    sent = time.monotonic()
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, err = process.communicate(timeout=60)
    seconds = time.monotonic() - sent
    assert process.returncode == 128 + number, err
    assert "give the same command again" in err and "Traceback" not in err
    assert seconds < 10
    wait_until(lambda: not alive(process.pid), 10)
    assert not own.strays(results)
    assert comparable(own.folder / results).items() <= expected.items()
    faults.add(
        f"{number.name}, {executor}",
        lost=lost(before),
        torn=torn(own.folder / results),
        doubled=own.run_again(results),
    )


def test_a_run_that_never_returns_to_python_is_recorded_and_the_others_go_on(place, faults):
    """It can only be stopped with its process; another one takes its place."""
    more = ("--executor", "processes", "--workers", "2", "--folds", "0", "--timeout", "1")
    process = place.start("hung", *more, methods="hangs,steady")
    said = finish(process, 1)
    assert "hangs fold 0 seed 0: FAILED: exceeded the time limit of 1.0 s" in said
    found, unreadable = records.read_all(place.folder / "hung")
    assert {r.spec.method: r.status for r in found} == {"hangs": "failed", "steady": "done"}
    faults.add("a run that hangs, processes", torn=len(unreadable))


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A file system of that size in the place of a folder, or the test is skipped."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted by root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up(place, faults, chance, expected):
    """At the first record, in between, or in the report; then there is room again."""

    def work(executor: str, sizes: list[int]) -> None:
        for n, kilobytes in enumerate(sizes):
            own = with_own_log(place, f"full-{executor}-{n}")
            results = own.log.stem
            folder = own.folder / results
            more = ("--executor", executor, "--workers", "2", *SEEDS)
            with small_disk(folder, kilobytes):
                said = finish(own.start(results, *more), 2)
                assert f"error: {folder}" in said and "cannot be written to" in said
                harm = {"torn": torn(folder), "doubled": own.run_again(results)}
                before = contents(own, results)
                kept = own.folder / f"{results}-kept"
                shutil.copytree(folder, kept)
            folder.rmdir()
            kept.rename(folder)
            own.log.unlink(missing_ok=True)
            finish(own.start(results, *more))
            assert own.begun() == RUNS - len(before)
            faults.add(f"a full disk, {executor}", **harm, lost=lost(before))
            assert comparable(folder) == expected
            assert not own.strays(results)

    sizes = [int(chance.uniform(*limits)) for limits in ((16, 64), (64, 200), (200, 600))]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ("serial", "processes"), (sizes, sizes)))


def test_preparations_that_are_killed_or_run_at_once(tmp_path, faults, chance):
    native = tmp_path / "native"
    native.mkdir()
    Counting().generate(native, seed=0, samples=SAMPLES)
    whole = prepare_counting(Counting(), native, tmp_path / "whole")[0].fingerprint
    caches = [tmp_path / f"cache{i}" for i in range(60)]

    def start() -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.counting", native, ",".join(map(str, caches))]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(list(map(str, command)), cwd=ROOT, text=True, **pipes)

    def torn_caches(*processes: subprocess.Popen) -> int:
        """After processes that must end by themselves; the caches are removed."""
        for process in processes:
            out, err = process.communicate()
            assert process.returncode == 0, err
            assert out.split() == [whole] * len(caches) and "moved to" not in err
        names = []
        for cache in caches:
            sweep(cache, "*/.*.part")  # as `run` does
            files = (p for p in (cache / "prepared").rglob("*") if p.is_file())
            names.append(sorted(p.name for p in files))
        for cache in caches:
            shutil.rmtree(cache)
        return sum(each != names_of_arrays() for each in names)

    started = time.monotonic()
    assert not torn_caches(start())
    seconds = time.monotonic() - started
    for _ in range(20):
        process = start()
        time.sleep(chance.uniform(0, seconds))
        killed = process.poll() is None
        process.kill()
        process.communicate()
        faults.add("kill -9 of a preparation", int(killed), torn=torn_caches(start()))
    for _ in range(3):
        faults.add("three preparations at once", torn=torn_caches(start(), start(), start()))


def test_2000_runs_need_no_more_memory_and_files_than_600(place, faults):
    """In one process and in two workers: growth from record 600 on, of all processes together.

    The bounds, for 1,000 runs: 5 MB of memory that is resident, and of memory that is the
    processes' own, and 5 open files. PSS is shown as well; as it depends on who else on the
    machine has the same libraries loaded, it has no bound.
    """

    def work(executor: str) -> dict[str, float]:
        results = f"thousands-{executor}"
        more = ("--executor", executor, "--workers", "2", "--seeds", "0-666")
        process = place.start(results, *more)
        samples = []
        drain = threading.Thread(target=process.communicate)
        drain.start()
        while drain.is_alive():
            done = len(place.records(results))
            if 600 <= done < 2001:
                samples.append((done, *usage(process.pid)))
            drain.join(0.5)
        assert process.returncode == 0
        assert len(place.records(results)) == 2001
        assert not place.strays(results)
        faults.add(f"2,001 runs, {executor}", 2001, torn=torn(place.folder / results))
        done, *measured = (list(column) for column in zip(*samples, strict=True))
        growth = [slope(done, values) * 1000 for values in measured]
        told = [
            f"{name} {values[0]:.0f} to {values[-1]:.0f} ({grown:+.1f} for 1,000 runs)"
            for name, values, grown in zip(USAGE, measured, growth, strict=True)
        ]
        faults.remark(
            f"2,001 runs, {executor}, {len(samples)} samples from run {done[0]} on: "
            + ", ".join(told)
        )
        return dict(zip(USAGE, growth, strict=True))

    with ThreadPoolExecutor(2) as pool:
        for growth in pool.map(work, ("serial", "processes")):
            assert all(growth[name] < 5 for name in USAGE if name != "PSS MB"), growth


USAGE = ("RSS MB", "own MB", "PSS MB", "open files")


def usage(group: int) -> tuple[float, float, float, int]:
    """Of all processes of a group: what `USAGE` names."""
    sizes, files = Counter(), 0
    for process in alive(group):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            files += len(os.listdir(f"/proc/{process}/fd"))
        except OSError:
            continue
        for line in text.splitlines()[1:]:
            name, size, _ = line.split()
            sizes[name] += int(size) / 1e3
    return sizes["Rss:"], sizes["Anonymous:"], sizes["Pss:"], files


def slope(x: list[float], y: list[float]) -> float:
    """Of the straight line with the least squares."""
    import numpy as np

    return float(np.polyfit(x, y, 1)[0])


def test_the_same_spec_gives_the_same_bits_however_it_is_executed(place):
    """Real methods, some with artefacts: cold, warm and lost ones."""
    methods = "single,mdico,kd,crd"
    folds = ("--folds", "0,1")

    def records_of(results: str, *more: str) -> dict[str, bytes]:
        finish(place.start(results, *folds, *more, methods=methods))
        return comparable(place.folder / results)

    once = records_of("bits", "--executor", "serial")
    assert len(once) == 2 * 2 * 6  # the two that run too
    shutil.rmtree(place.folder / "bits/records")
    assert records_of("bits", "--executor", "serial") == once, "with artefacts from before"
    for path in list((place.folder / "bits/records").rglob("kd/*")):
        path.unlink()
    shutil.rmtree(place.folder / "bits/artefacts")
    assert records_of("bits", "--executor", "serial") == once, "with artefacts that were lost"
    for workers in ("2", "3"):
        found = records_of(f"bits-{workers}", "--executor", "processes", "--workers", workers)
        assert found == once
