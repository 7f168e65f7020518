"""The same on a real SLURM of one node, where it is installed: `make slurm`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmark import records
from benchmark.commands import main as cli
from tests.survival import ROOT, comparable, reasons, wait_until

pytestmark = pytest.mark.slurm
pytest.importorskip("submitit")

SCRIPT = ROOT / "tests/slurm_node.sh"
SMALL = ("--slurm", "mem=1500", "--slurm", "time=3", "--slurm", "signal_delay_s=30")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A SLURM of this machine alone, with a folder of its own."""
    path = os.environ["PATH"] + os.pathsep + "/usr/sbin"
    if lack := [
        name for name in ("sbatch", "slurmctld", "munged") if not shutil.which(name, path=path)
    ]:
        pytest.skip(f"no SLURM here ({', '.join(lack)} not found): {SCRIPT} install")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True)
    if started.returncode:
        pytest.skip(f"SLURM does not start here: {started.stderr}")
    yield folder
    subprocess.run([SCRIPT, "stop", folder], capture_output=True)


@pytest.fixture
def submit(run, place, node, monkeypatch, capsys):
    """`run --executor slurm`; gives the SLURM job that it was the last of."""
    monkeypatch.setenv("SLURM_CONF", str(node / "slurm.conf"))

    def call(results: str, *more: str, pause: float = 0, **which: str) -> str:
        monkeypatch.setenv("EO_TEST_PAUSE", str(pause))
        assert run(results, *SMALL, *more, executor="slurm", **which) == 0
        said = capsys.readouterr().out
        return said.partition(" to ")[2].partition("\n")[0]

    return call


@pytest.fixture
def collect(place, capsys):
    """`collect`; gives its exit code and what it says."""

    def call(results: str) -> tuple[int, str]:
        code = cli.main(["collect", "--results", str(place.folder / results)])
        return code, capsys.readouterr().out

    return call


@pytest.fixture(scope="module")
def expected(place):
    """The records of a serial run of three folds, in a process of its own."""
    process = place.start("serial", "--executor", "serial", methods="steady,kd_self")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return comparable(place.folder / "serial")


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def state(number: str) -> str:
    return slurm("squeue", "--states=all", "--noheader", "--format=%T", f"--jobs={number}").strip()


def test_results_arrive_without_a_shell_as_many_at_once_as_asked_for(
    submit, collect, place, expected
):
    options = ("--runs-per-job", "2", "--workers", "1")
    submit("array", *options, methods="steady,kd_self")
    submit("array", *options, methods="steady,kd_self")  # while they are queued: nothing new
    code, said = collect("array")
    assert code == 0 and "6 queued or running, 0 lost" in said
    most = 0

    def finished() -> bool:
        nonlocal most
        running = slurm("squeue", "--noheader", "--array", "--states=running", "--format=%i")
        most = max(most, len(running.split()))
        return not slurm("squeue", "--noheader")

    wait_until(finished, 300)
    assert most == 1
    code, said = collect("array")
    assert code == 0 and "6 runs: 6 done, 0 failed, 0 queued or running, 0 lost" in said
    assert comparable(place.folder / "array") == expected
    assert len(list((place.folder / "array/slurm").glob("*"))) == 1
    assert not place.strays("array")


def test_a_dry_run_submits_nothing(submit, place):
    before = slurm("squeue", "--states=all", "--noheader", "--array")
    submit("dry", "--dry-run")
    assert slurm("squeue", "--states=all", "--noheader", "--array") == before


def test_a_cancelled_job_loses_no_record_and_its_runs_are_submitted_again(
    submit, collect, place, expected
):
    number = submit("cancelled", pause=0.5)
    wait_until(lambda: len(place.records("cancelled")) == 1)
    before = {path: path.read_bytes() for path in place.records("cancelled")}
    slurm("scancel", number)
    wait_until(lambda: state(number) == "CANCELLED")
    code, said = collect("cancelled")
    assert code == 1 and f"SLURM job {number} ended as CANCELLED" in said
    assert not place.strays("cancelled")
    submit("cancelled")
    wait_until(lambda: len(place.records("cancelled")) == 3)
    assert {path: path.read_bytes() for path in before} == before
    steady = {path: content for path, content in expected.items() if "steady" in path}
    assert comparable(place.folder / "cancelled") == steady


@pytest.mark.parametrize("how", ["preempted", "requeued"])
def test_a_job_that_is_queued_again_goes_on_where_it_was(submit, place, expected, how):
    number = submit(how, "--slurm", "partition=spare", pause=0.5)
    wait_until(lambda: len(place.records(how)) == 1)
    before = {path: path.read_bytes() for path in place.records(how)}
    if how == "preempted":
        slurm("srun", "--partition=urgent", "--exclusive", "--mem=100", "true")
    else:
        slurm("scontrol", "requeue", number)
    wait_until(lambda: state(number) == "PENDING")
    assert len(place.records(how)) < 3 and not place.strays(how)
    slurm("scontrol", "update", f"JobId={number}", "StartTime=now")
    wait_until(lambda: state(number) == "COMPLETED", 300)
    steady = {path: content for path, content in expected.items() if "steady" in path}
    assert comparable(place.folder / how) == steady
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_needs_more_memory_than_its_job_has_costs_no_other(submit, collect, place, node):
    if "task/cgroup" not in (node / "slurm.conf").read_text():
        pytest.skip("this SLURM cannot enforce limits of memory: no right to use control groups")
    number = submit("memory", "--folds", "0", methods="fills_memory,steady")
    wait_until(lambda: not slurm("squeue", "--noheader"), 300)
    code, said = collect("memory")
    assert code == 1 and "2 runs: 1 done, 1 failed, 0 queued or running, 0 lost" in said
    found, _ = records.read_all(place.folder / "memory")
    assert "its process died 2 times (SIGKILL, SIGKILL)" in reasons(found)["fills_memory"]
    [log] = Path(place.folder / "memory").glob(f"slurm/*/{number}_0_log.err")
    assert "oom-kill" in log.read_text()


def test_a_run_that_needs_more_than_the_time_of_a_job_costs_no_other(submit, collect, place):
    number = submit("time", "--folds", "0", methods="hangs,steady")
    wait_until(lambda: place.records("time"), 300)
    wait_until(lambda: state(number) == "PENDING")
    slurm("scontrol", "update", f"JobId={number}", "StartTime=now")
    wait_until(lambda: state(number) == "COMPLETED", 300)
    code, said = collect("time")
    assert code == 1 and "2 runs: 1 done, 1 failed, 0 queued or running, 0 lost" in said
    found, _ = records.read_all(place.folder / "time")
    assert reasons(found)["hangs"].startswith("took longer than a whole SLURM job may")
