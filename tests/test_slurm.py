"""Runs on SLURM: what is asked of it, what travels, and what has become of it later.

submitit's local executor stands for SLURM here; `test_slurm_node` has the real one.
"""

from __future__ import annotations

import datetime
import json
import os
import pickletools
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import records
from benchmark.commands import main as cli
from benchmark.executors import queue, slurm
from benchmark.planning.jobs import Job
from benchmark.training.execute import execute
from datasets.common.prepared import reopen
from tests.problems import dataset, run_spec
from tests.survival import comparable, wait_until

submitit = pytest.importorskip("submitit")


def collect(results: Path) -> int:
    return cli.main(["collect", "--results", str(results)])


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder in front of the PATH; gives a function that puts a command into it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, script: str = "exit 1") -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    for name in ("sbatch", "srun", "squeue"):
        put(name)
    return put


@pytest.fixture
def local(commands, monkeypatch):
    """Jobs are processes of this machine; one whose process is there is running."""
    monkeypatch.setattr(slurm, "_executor", lambda folder, request: submitit.LocalExecutor(folder))

    def state(number: str) -> str:
        try:
            fields = Path(f"/proc/{number}/stat").read_text()
        except OSError:
            return "COMPLETED"
        return "COMPLETED" if fields.rpartition(")")[2].split()[0] == "Z" else "RUNNING"

    monkeypatch.setattr(queue, "ask", lambda numbers: {n: state(n) for n in numbers})


def test_a_job_gives_the_records_of_a_serial_run(run, place, local, capsys):
    """Submit, and leave; submit again: nothing; collect before and after."""
    results = place.folder / "slurm"
    assert run("serial", "--folds", "0", methods="steady,kd_self") == 0
    assert run("slurm", "--folds", "0", methods="steady,kd_self", executor="slurm") == 0
    assert "submitted 2 runs in 1 SLURM job" in capsys.readouterr().out
    assert run("slurm", "--folds", "0", methods="steady,kd_self", executor="slurm") == 0
    assert "nothing to submit" in capsys.readouterr().out
    assert collect(results) == 0
    assert "2 queued or running" in capsys.readouterr().out
    wait_until(lambda: len(place.records("slurm")) == 2)
    assert collect(results) == 0
    assert "2 runs: 2 done, 0 failed, 0 queued or running, 0 lost" in capsys.readouterr().out
    assert comparable(results) == comparable(place.folder / "serial")

    [folder] = (results / "slurm").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    [pickled] = folder.glob("*_submitted.pkl")
    names = {name for _, name, _ in pickletools.genops(pickled.read_bytes())}
    assert {"benchmark.executors.slurm", "Pack", str(folder / "0.json")} <= names
    assert not {"RunSpec", "Job", "lfmc"} & names


@pytest.mark.parametrize(("mode", "told"), [(0o755, False), (0o777, True), (0o1777, False)])
def test_a_place_that_others_can_write_is_told(tmp_path, monkeypatch, commands, capsys, mode, told):
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(mode)
    monkeypatch.setattr(submitit.SlurmExecutor, "submit_array", lambda self, calls: [])
    slurm.submit([], slurm.request([], None, None), slurm.new_folder(above / "results"))
    assert (f"{above}: others can write there" in capsys.readouterr().err) == told


SPEC = run_spec("single", dataset())


def job(method: str, fold: int) -> Job:
    """Methods whose names begin alike build on the same artefact."""
    needs = {} if method == "alone" else {"teacher": {"method": method[0]}}
    return Job(replace(SPEC, method=method, fold=fold, artefacts=needs), Path("p"), Path("r"))


@given(
    st.lists(
        st.tuples(st.sampled_from(["alone", "a1", "a2", "b1", "b2"]), st.integers(0, 3)),
        unique=True,
    ),
    st.integers(1, 6),
)
def test_packs_hold_every_run_once_and_what_shares_an_artefact_together(methods, size):
    jobs = [job(*each) for each in methods]
    packs = slurm.pack(jobs, size)
    packed = [job.spec.id for pack in packs for job in pack]
    assert sorted(packed) == sorted(job.spec.id for job in jobs)
    assert all(0 < len(pack) <= size for pack in packs)
    if size >= 2:
        where = {job.spec.id: number for number, pack in enumerate(packs) for job in pack}
        for fold in range(4):
            for kind in "ab":
                sharing = [
                    where[job.spec.id]
                    for job in jobs
                    if job.spec.fold == fold and job.spec.method[0] == kind and job.spec.artefacts
                ]
                assert len(set(sharing)) <= 1


def test_a_dry_run_says_what_would_be_submitted_and_submits_nothing(run, place, commands, capsys):
    commands("sbatch", f"touch {place.folder}/called")
    options = ["--slurm", "partition=gpu", "--slurm", "time=30", "--slurm", "gpus-per-node=1"]
    options += ["--slurm", "setup=module load python", "--workers", "2", "--runs-per-job", "2"]
    options += ["--slurm", "account=00123"]
    assert run("dry", *options, "--dry-run", executor="slurm") == 0
    said = capsys.readouterr().out
    assert "2 SLURM jobs, at most 2 at once; runs in each: 2, 1" in said
    for option in ("array=0-1%2", "partition=gpu", "time=30", "gpus-per-node=1", "account=00123"):
        assert f"#SBATCH --{option}\n" in said
    assert "#SBATCH --requeue\n" in said
    assert not (place.folder / "called").exists() and not any((place.folder / "dry").iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--slurm", "partitoin=gpu"], "unknown SLURM option 'partitoin': did you mean partition"),
        (["--slurm", "partition"], "--slurm 'partition': write NAME=VALUE"),
        (["--slurm", "comment=a\ntouch b"], "write NAME=VALUE"),
        (["--slurm", "time=1-00:00"], "--slurm time=1-00:00: give minutes, a whole number"),
        (["--slurm", "time=2"], "--slurm time=2: give at least 4 minutes"),
        (["--slurm", "time=9", "--slurm", "time=9"], "--slurm time: given twice"),
        (["--slurm", "array_parallelism=3"], "cannot be set (use --workers)"),
        (["--runs-per-job", "0"], "--runs-per-job must be at least 1"),
        (["--executor", "serial", "--slurm", "mem=1G"], "are for --executor slurm"),
        (["--device", "cuda:1"], "SLURM gives each job cards of its own; say --device cuda"),
    ],
)
def test_a_wrong_option_is_one_sentence(run, commands, capsys, options, sentence):
    assert run("wrong", *options, executor="slurm") == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1


def test_no_slurm_is_one_sentence(run, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert run("none", executor="slurm") == 2
    assert "there is no SLURM here (sbatch, srun, squeue not found)" in capsys.readouterr().err


def test_what_sbatch_refuses_leaves_nothing(run, place, commands, capsys):
    assert run("refused", "--folds", "0", methods="raises") == 1
    [failed] = place.records("refused")
    before = failed.read_bytes()
    commands("sbatch", "echo 'sbatch: error: invalid partition specified: moon' >&2; exit 1")
    options = ["--slurm", "partition=moon", "--retry", "failed"]
    assert run("refused", *options, methods="raises", executor="slurm") == 2
    assert "nothing is submitted: sbatch: error: invalid partition" in capsys.readouterr().err
    assert failed.read_bytes() == before
    assert not any((place.folder / "refused/slurm").iterdir())
    assert cli.main(["collect", "--results", str(place.folder / "refused")]) == 2
    assert "nothing was submitted from" in capsys.readouterr().err


@pytest.fixture
def submission(run, place, request):
    """Three runs in SLURM job 7_0 and three in 7_1, none of them begun; gives the results."""
    results = place.folder / request.node.name
    run(results.name, "--seeds", "0,1")
    jobs = [
        Job(record.spec, next((place.folder / "cache/prepared").iterdir()), results)
        for record in records.read_all(results)[0]
    ]
    for path in (results / "records").rglob("*.*"):
        path.unlink()
    folder = results / "slurm/1"
    folder.mkdir(parents=True, mode=0o700)
    for number in range(2):
        (folder / f"{number}.json").write_text(slurm.as_text(jobs[3 * number : 3 * number + 3]))
    (folder / "jobs.json").write_text(json.dumps(["7_0", "7_1"]))
    return results


def test_collect_tells_queued_from_lost_and_records_what_a_job_died_of(
    submission, commands, capsys
):
    commands("squeue", "echo '7_0|OUT_OF_MEMORY|OutOfMemory'; echo '7_1|PENDING|Priority'")
    assert collect(submission) == 1
    said = capsys.readouterr().out
    log = "its log is slurm/1/7_0_0_log.err among the results"
    assert "6 runs: 0 done, 1 failed, 3 queued or running, 2 lost" in said
    assert "PENDING (Priority): 3 runs in 1 job\n" in said
    assert f"lost: 2 runs without a new record: SLURM job 7_0 ended as OUT_OF_MEMORY; {log}" in said
    [record], _ = records.read_all(submission)
    assert record.status == "failed" and record.reason.endswith(log)
    commands("squeue", "echo '7_0|OUT_OF_MEMORY|OutOfMemory'; echo '7_1|RUNNING|None'")
    assert collect(submission) == 1  # no other of that job is blamed, however often one looks
    assert "1 failed, 3 queued or running, 2 lost" in capsys.readouterr().out


def test_what_squeue_has_forgotten_is_asked_of_sacct(submission, commands, capsys):
    commands("squeue", "")
    commands("sacct", "echo '7_0|CANCELLED by 1000'; echo '7_1|NODE_FAIL'")
    assert collect(submission) == 1
    said = capsys.readouterr().out
    assert "job 7_0 ended as CANCELLED;" in said and "job 7_1 ended as NODE_FAIL;" in said
    commands("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert collect(submission) == 1
    assert "job 7_0 ended as forgotten by SLURM;" in capsys.readouterr().out
    assert not list(submission.rglob("records/**/*.json"))


def test_a_slurm_that_does_not_answer_is_no_lost_run(submission, commands, capsys):
    commands("squeue", "echo 'slurm_load_jobs error: Unable to contact controller' >&2; exit 1")
    assert collect(submission) == 2
    assert "squeue does not answer (slurm_load_jobs error" in capsys.readouterr().err


def test_what_others_could_have_written_is_left_aside(submission, commands, capsys):
    (submission / "slurm/1").chmod(0o777)
    assert collect(submission) == 2
    assert "not yours alone, left aside" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        ("jobs.json", '["7_0", "7'),
        ("jobs.json", '{"7_0": 1}'),
        ("jobs.json", "5"),
        ("1.json", "[{}]"),
        ("1.json", '["text"]'),
        ("1.json", '[{"spec": {"dataset": 3}, "prepared": "p", "results": "r", "plugins": []}]'),
        ("1.json", None),
    ],
)
def test_bookkeeping_that_cannot_be_read_is_left_aside_and_named(
    submission, commands, capsys, damage
):
    name, content = damage
    if content is None:
        (submission / "slurm/1" / name).unlink()
    else:
        (submission / "slurm/1" / name).write_text(content)
    commands("squeue", "")
    assert collect(submission) == 2
    said = capsys.readouterr().err
    assert f"{submission}/slurm/1: not a whole submission, left aside" in said
    assert "Traceback" not in said


def test_a_lost_run_whose_data_were_cleared_stays_lost(submission, place, commands, capsys):
    commands("squeue", "echo '7_0|OUT_OF_MEMORY|OutOfMemory'; echo '7_1|RUNNING|None'")
    cache = place.folder / "cache"
    cache.rename(place.folder / "elsewhere")
    reopen.cache_clear()
    try:
        assert collect(submission) == 1
    finally:
        (place.folder / "elsewhere").rename(cache)
        reopen.cache_clear()
    told = capsys.readouterr()
    assert "not recorded as failed: " in told.err and "3 lost" in told.out


def test_a_failed_run_that_is_tried_again_is_waited_for(run, place, local, commands, capsys):
    assert run("retried", "--folds", "0", methods="raises") == 1
    results = place.folder / "retried"
    [failed] = place.records("retried")
    before = failed.read_bytes()
    [record], _ = records.read_all(results)
    prepared = next((place.folder / "cache/prepared").iterdir())
    folder = results / "slurm/1"
    folder.mkdir(parents=True, mode=0o700)
    job = Job(record.spec, prepared, results, replaces=record.created)
    (folder / "0.json").write_text(slurm.as_text([job]))
    (folder / "jobs.json").write_text(json.dumps([str(os.getpid())]))
    assert [each.run for each, _ in queue.survey(results).waiting] == [job]
    assert slurm.Pack(str(folder / "0.json"), 60)._missing() == [job]
    assert execute(job).status == "failed" and failed.read_bytes() != before
    assert queue.survey(results).waiting == []


def test_what_was_submitted_twice_is_waited_for_whatever_clocks_say(submission, commands, capsys):
    """Two machines submit, and the clock of the second is late: its folder is the first by name."""
    again = submission / "slurm/0"
    shutil.copytree(submission / "slurm/1", again)
    (again / "jobs.json").write_text(json.dumps(["9_0", "9_1"]))
    ended = "echo '7_0|OUT_OF_MEMORY|OutOfMemory'; echo '7_1|NODE_FAIL|None'"
    commands("squeue", f"{ended}; echo '9_0|RUNNING|None'; echo '9_1|PENDING|Priority'")
    assert collect(submission) == 0
    assert "6 runs: 0 done, 0 failed, 6 queued or running, 0 lost" in capsys.readouterr().out
    commands("squeue", f"{ended}; echo '9_0|COMPLETED|None'; echo '9_1|CANCELLED|None'")
    assert collect(submission) == 1
    said = capsys.readouterr().out
    assert "6 runs: 0 done, 1 failed, 0 queued or running, 5 lost" in said
    assert "ended as OUT_OF_MEMORY" in said  # which one run is recorded to have caused
    assert "SLURM job 9_0 ended as COMPLETED" in said and "9_1 ended as CANCELLED" in said


def test_the_time_in_the_name_of_a_submission_is_utc(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        name = slurm.new_folder(tmp_path).name
        now = datetime.datetime.now(datetime.UTC)
    finally:
        monkeypatch.undo()
        time.tzset()
    stated = datetime.datetime.strptime(name[:16] + "+0000", "%Y%m%dT%H%M%SZ%z")
    assert abs(now - stated) < datetime.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("number", "code", "sentence"),
    [
        (signal.SIGTERM, 143, "told to end; SLURM cannot be asked why"),
        (signal.SIGUSR2, "this node has no scontrol to queue the job again: 3 runs are left", ""),
    ],
)
def test_on_a_node_without_slurm_s_commands_a_job_ends_with_one_sentence(
    submission, monkeypatch, capsys, number, code, sentence
):
    def interrupted(jobs, scale):
        yield from ()
        signal.raise_signal(number)

    monkeypatch.setattr("benchmark.executors.local.processes", interrupted)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(SystemExit) as ended:
        slurm.Pack(str(submission / "slurm/1/0.json"), 60)()
    told = str(ended.value.code)
    assert told == str(code) or told.startswith(f"{code}, which `run --executor slurm`")
    assert sentence in capsys.readouterr().err
