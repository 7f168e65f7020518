"""All executors give the same records, byte for byte but for timing and environment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import pytest

from benchmark import records
from benchmark.executors import local
from tests.survival import ROOT, comparable, reasons, wait_until

METHODS = "steady,kd_self"
"""One that needs nothing else, and one that builds on an artefact that others need too."""


@pytest.fixture(scope="module")
def expected(place):
    """The records of a serial run, in a process of its own."""
    process = place.start("serial", "--executor", "serial", "--folds", "0,1", methods=METHODS)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found, _ = records.read_all(place.folder / "serial")
    assert {record.environment["threads"] for record in found} == {1}
    return comparable(place.folder / "serial")


@pytest.mark.parametrize("workers", [2, 3])
def test_processes_give_the_records_of_a_serial_run(run, place, expected, capsys, workers):
    results = f"processes-{workers}"
    more = ("--workers", str(workers), "--folds", "0,1")
    assert run(results, *more, methods=METHODS, executor="processes") == 0
    assert comparable(place.folder / results) == expected
    said = capsys.readouterr().out
    order = ("starting workers", f"\n{workers} worker processes\n", "lfmc steady fold")
    assert sorted(map(said.index, order)) == [said.index(part) for part in order]
    assert said.count("starting") == 1


def test_a_worker_that_loky_replaces_is_not_warned_of():
    """Its memory has grown; the warning stood in the middle of the progress bar."""
    from joblib.externals.loky import process_executor

    source = Path(process_executor.__file__).read_text()
    said = re.sub(r'"\s*"', "", source)  # its text stands in pieces
    assert said.count(f'"{local.REPLACED}.') == 1
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with local._pool(1):
            warnings.warn(f"{local.REPLACED}. This can be caused by", UserWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)
    assert [str(each.message) for each in seen] == ["another"]


@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_a_worker_has_one_thread_maps_its_data_and_imports_no_more_than_it_needs(
    run, place, executor
):
    if executor == "dask":
        pytest.importorskip("distributed")
    results = f"worker-{executor}"
    forkserver._forkserver._stop()  # one that a report has begun, in an earlier test, can draw
    assert run(results, "--workers", "2", methods="tells", executor=executor) == 1
    found, _ = records.read_all(place.folder / results)
    assert len(found) == 3
    for record in found:
        told = json.loads(record.reason)
        assert told["process"] != os.getpid()
        assert told["threads"] == record.environment["threads"] == 1
        assert told["environment"] == ["1", "PASSIVE"]
        assert told["imported"] == []
        copies = told["kB of each map that are a copy"]
        assert set(copies) == {"x-S1.npy", "x-S2.npy"} and not any(copies.values())


@pytest.fixture(scope="module")
def cluster(place):
    """A Dask scheduler and two workers, each a process of its own on the loopback interface."""
    pytest.importorskip("distributed")
    with dask_cluster(place.folder, 2, place.log) as processes:
        yield processes


@contextmanager
def dask_cluster(folder, workers, log, pause=0.0):
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    command = [sys.executable, "-m", "dask"]
    environment = {**os.environ, "EO_TEST_LOG": str(log), "EO_TEST_PAUSE": str(pause)}
    where = {"cwd": ROOT, "env": environment, "stderr": subprocess.DEVNULL}
    options = [
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
    ]
    processes = [subprocess.Popen([*command, *options, str(file)], **where)]
    try:
        wait_until(file.exists)
        options = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
        options += ["--no-nanny", "--death-timeout", "30", "--local-directory", str(folder)]
        for _ in range(workers):
            processes.append(subprocess.Popen([*command, *options], **where))
        yield json.loads(file.read_text())["address"], processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("shared", [True, False])
def test_dask_gives_the_records_of_a_serial_run(
    run, place, expected, cluster, monkeypatch, tmp_path, shared
):
    """Through the results folder, and where the workers do not see it, through the client."""
    address, _ = cluster
    if not shared:

        @contextmanager
        def unseen(results):
            yield tmp_path / "not there"

        monkeypatch.setattr("benchmark.executors.dask._probe", unseen)
    results = f"dask-{shared}"
    more = ("--dask-address", address, "--folds", "0,1")
    assert run(results, *more, methods=METHODS, executor="dask") == 0
    assert comparable(place.folder / results) == expected
    assert not place.strays(results)
    assert (place.folder / results / "artefacts").exists() == shared


def test_a_killed_dask_worker_and_a_lost_scheduler_lose_nothing(place, expected):
    """First a worker is killed; once others have gone on, the scheduler; then `run` goes on."""
    place.log.unlink(missing_ok=True)
    pytest.importorskip("distributed")
    more = ("--folds", "0,1", "--seeds", "0-3")
    with dask_cluster(place.folder, 2, place.log) as (address, (scheduler, first, _)):
        process = place.start(
            "dask-kills", "--executor", "dask", "--dask-address", address, *more, methods="steady"
        )
        wait_until(lambda: place.begun() >= 1)
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: len(place.records("dask-kills")) >= 3)
        os.kill(scheduler.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=120)
    recorded = {p: p.read_bytes() for p in place.records("dask-kills")}
    if len(recorded) < 8:
        assert process.returncode == 2 and "scheduler" in err and "Traceback" not in err, err
    process = place.start("dask-kills", "--executor", "serial", *more, methods="steady")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"{len(recorded)} were recorded already" in out
    assert {p: p.read_bytes() for p in recorded} == recorded
    found = comparable(place.folder / "dask-kills")
    assert len(found) == 16
    same = {path: content for path, content in expected.items() if "steady" in path}
    assert same.items() <= found.items()


def test_a_run_that_kills_its_dask_workers_is_recorded_as_failed(run, place, monkeypatch):
    """A cluster of our own puts new workers in the place of those that die."""
    pytest.importorskip("distributed")
    monkeypatch.setattr("benchmark.executors.dask.DEATHS", 1)
    methods = "kills,steady"
    assert run("poison", "--folds", "0", "--workers", "2", methods=methods, executor="dask") == 1
    found, _ = records.read_all(place.folder / "poison")
    assert {r.spec.method: r.status for r in found} == {"kills": "failed", "steady": "done"}
    assert "every worker that executed it died" in reasons(found)["kills"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--executor", "dask", "--dask-address", "tcp://127.0.0.1:9"), "no Dask scheduler there"),
        (("--executor", "dask", "--dask-address", "nowhere.json"), "no Dask scheduler there"),
        (("--executor", "serial", "--dask-address", "tcp://127.0.0.1:9"), "is for --executor dask"),
    ],
)
def test_a_wrong_address_is_one_sentence(run, place, capsys, monkeypatch, more, sentence):
    pytest.importorskip("distributed")
    monkeypatch.setattr("benchmark.executors.dask.PATIENCE", 1)
    assert run("wrong", *more) == 2
    assert sentence in capsys.readouterr().err
