"""How much of a machine is used, and what is done where it lacks something."""

from __future__ import annotations

import errno
import itertools
import os
import re
import subprocess
import sys
import time

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from benchmark import machine, stopping
from benchmark.commands import main as cli
from benchmark.errors import UserError
from benchmark.machine import cores, no_processes
from benchmark.planning.jobs import Job
from benchmark.planning.split import folds
from benchmark.training import execute
from benchmark.training.data import fold_data
from benchmark.training.fit import fit
from datasets.common import filling
from tests.problems import dataset, run_spec
from tests.survival import ROOT, comparable


@pytest.fixture
def big(tmp_path, monkeypatch):
    """A machine of 64 cores, nothing of which is taken away yet; gives a function that does."""
    monkeypatch.setattr("joblib.externals.loky.cpu_count", lambda: 64)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    for name in machine.SLURM:
        monkeypatch.delenv(name, raising=False)

    def take(own: str = "", files: dict[str, str] | None = None, **environment: str) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in (files or {}).items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return take


V1 = "12:memory:/other\n4:cpu,cpuacct:/slurm/job_7\n1:name=systemd:/\n0::/\n"
QUOTA, PERIOD = (f"cpu,cpuacct/slurm/job_7/cpu.cfs_{what}_us" for what in ("quota", "period"))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 64),
        ({"own": "0::/a/b\n", "files": {"a/b/cpu.max": "300000 100000\n"}}, 3),
        ({"own": "0::/a/b\n", "files": {"a/b/cpu.max": "max 100000\n"}}, 64),
        ({"own": "0::/a/b\n", "files": {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 1"}}, 2),
        ({"own": "0::/\n", "files": {"cpu.max": "20000 100000\n"}}, 1),
        ({"own": V1, "files": {QUOTA: "400000\n", PERIOD: "100000\n"}}, 4),
        ({"own": V1, "files": {QUOTA: "-1\n", PERIOD: "100000\n"}}, 64),
        ({"own": "0::/../..\n"}, 64),
        ({"SLURM_CPUS_PER_TASK": "5", "SLURM_CPUS_ON_NODE": "32"}, 5),
        ({"SLURM_CPUS_ON_NODE": "7"}, 7),
        ({"SLURM_CPUS_ON_NODE": "many"}, 64),
        ({"own": "0::/a\n", "files": {"a/cpu.max": "200000 100000"}, "SLURM_CPUS_ON_NODE": "8"}, 2),
    ],
)
def test_cores_are_those_that_this_process_may_use(big, limits, expected):
    big(**limits)
    assert cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_counts():
    command = [sys.executable, "-c", "from benchmark.machine import cores; print(cores())"]
    one = min(os.sched_getaffinity(0))
    done = subprocess.run(
        command,
        cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize("workers", [1, 3])
def test_run_has_as_many_workers_as_cores(run, place, monkeypatch, capsys, workers):
    monkeypatch.setattr("benchmark.commands.run.cores", lambda: workers)
    scales = []

    def execute(jobs, scale):
        scales.append(scale.workers)
        yield from ()

    monkeypatch.setattr("benchmark.executors.local.serial", execute)
    monkeypatch.setattr("benchmark.executors.local.processes", execute)
    arguments = place.arguments(f"cores-{workers}")
    assert cli.main(arguments) == 0
    assert scales == [workers]


@pytest.mark.parametrize("device", ["meta", "xpu", "xla", "cpu:1", "mps:0", "cuda:x", "", "gpu"])
def test_a_device_on_which_nothing_is_executed_is_one_sentence(run, capsys, device):
    """Torch takes some of them, and computes nothing there or counts cores that are no devices."""
    assert run("device", "--device", device) == 2
    said = capsys.readouterr().err
    assert said == (
        f"error: --device {device}: no run can be executed there; known: auto, cpu, cuda, cuda:N "
        "(the card of that number) and mps\n"
    )


@pytest.mark.parametrize("device", ["mps", "cuda"])
def test_a_device_that_this_machine_lacks_is_one_sentence(run, place, capsys, monkeypatch, device):
    monkeypatch.setitem(execute.AVAILABLE, device, lambda: False)
    assert run("device", "--device", device) == 2
    said = capsys.readouterr().err
    assert said == f"error: --device {device}: cannot be used here (torch finds no such device)\n"
    job = Job(run_spec("single", dataset()), place.folder, place.folder, device)
    with pytest.raises(UserError, match=f"--device {device}: torch finds no such device on "):
        execute.compute(job)


class NoDoubles(TorchDispatchMode):
    """As on Apple's GPUs, which have no double precision."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            assert not (isinstance(value, Tensor) and value.dtype == torch.float64), func
        return out


@pytest.mark.parametrize("method", ["mdico", "kd", "forest", "constant", "crd"])
def test_nothing_that_a_device_computes_is_in_double_precision(method):
    data = dataset("multiclass", ("series", "vector"), samples=60)
    spec = run_spec(method, data)
    ready = fold_data(data, folds(data, spec.protocol)[0], "training", torch.device("cpu"))
    with NoDoubles():
        trained = fit(spec, data.modalities, ready, lambda _, __, train: train())
        for m, predictor in trained.predictors.items():
            execute.predict(predictor, m, ready.task, ready.test)


@pytest.fixture
def no_semaphores(monkeypatch):
    """As where /dev/shm cannot be written to."""

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refuse)


SAID = "no worker processes can be started here (/dev/shm: Read-only file system)"


def test_where_processes_can_be_started_nothing_is_said():
    assert no_processes() is None


def test_without_shared_memory_runs_are_executed_in_one_process(run, place, capsys, no_semaphores):
    more = ("--folds", "0", "--workers", "2")
    assert run("no-memory", *more, executor="processes") == 0
    said = capsys.readouterr().out
    assert f"{SAID}: runs are executed one after the other in this process\n" in said
    assert run("memory", "--folds", "0") == 0
    assert comparable(place.folder / "no-memory") == comparable(place.folder / "memory")


def test_without_shared_memory_others_are_one_sentence(run, capsys, no_semaphores):
    pytest.importorskip("distributed")
    assert run("no-dask", executor="dask") == 2
    assert f"--executor dask: {SAID}; take --executor serial\n" in capsys.readouterr().err
    assert cli.main(["check", "single"]) == 2
    assert f"{SAID}: `check` compares what fresh ones compute" in capsys.readouterr().err


def test_without_shared_memory_data_are_read_in_one_process(
    tmp_path, monkeypatch, capsys, no_semaphores
):
    import datasets
    from datasets.common import prepared
    from datasets.common.contract import View

    monkeypatch.setattr(filling, "LARGE", 1)
    monkeypatch.setattr(filling, "cores", lambda: 2)
    adapter = datasets.load()["lfmc"]
    adapter.generate(tmp_path, seed=0, samples=200)
    data, _ = prepared.prepare(adapter, tmp_path, "generated", ("S1", "S2"), View(), tmp_path)
    assert len(data) and f"{SAID}: lfmc is read in this process alone" in capsys.readouterr().out


def test_nothing_is_measured_by_a_clock_that_can_be_set():
    """Time limits, seconds and folders: monotonic clocks, and UTC where a time is stated."""
    for package in ("benchmark", "methods", "datasets"):
        for path in (ROOT / package).rglob("*.py"):
            found = re.findall(r"time\.time(?:_ns)?\(|\.now\(\)|utcnow|localtime", path.read_text())
            assert not found, path


def test_a_time_limit_is_kept_when_the_clock_is_set_back(monkeypatch):
    hours = itertools.count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(hours)))
    began = time.monotonic()
    with pytest.raises(stopping.OutOfTime), stopping.deadline(0.1, abandon=pytest.fail):
        while time.monotonic() < began + 30:
            time.sleep(0.01)
    assert time.monotonic() < began + 30
