"""What a run survives: kills, signals, full disks, methods that misbehave, damaged records."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmark import records, stopping
from benchmark.report.evidence import truth
from benchmark.report.frame import collect
from benchmark.writers import atomic, part_of, sweep
from tests.problems import dataset, run_spec
from tests.survival import alive, comparable, reasons, wait_until


@pytest.fixture
def undisturbed(run, place):
    """The records of three runs that nothing disturbed."""
    if not place.records("undisturbed"):
        assert run("undisturbed") == 0
    return comparable(place.folder / "undisturbed")


def test_failures_are_recorded_with_their_reasons_and_the_others_go_on(run, place):
    methods = "raises,refuses,exhausts_memory,exhausts_python,diverges,exits,never_ends"
    methods += ",predicts_nan,raises_odd_text,steady"
    assert run("failing", "--folds", "0", "--timeout", "0.5", methods=methods) == 1
    found, _ = records.read_all(place.folder / "failing")
    assert Counter(record.status for record in found) == {"failed": 9, "done": 1}
    why = reasons(found)
    assert why["steady"] is None
    assert "two and two are five" in why["raises"] and "quick_methods.py" in why["raises"]
    assert why["refuses"] == "refuses: there is nothing to do"
    assert "out of memory" in why["exhausts_memory"] and "out of memory" in why["exhausts_python"]
    assert "became nan" in why["diverges"]
    assert "SystemExit" in why["exits"]
    assert why["never_ends"] == "exceeded the time limit of 0.5 s"
    assert "not finite" in why["predicts_nan"]
    assert why["raises_odd_text"].startswith("FileNotFoundError: no file \\udcff")

    assert run("failing", "--folds", "0", methods=methods.replace("never_ends,", "")) == 1
    assert place.begun() == 0
    before = {path: path.read_bytes() for path in place.records("failing")}
    again = ["--folds", "0,1", "--retry", "failed"]
    assert run("failing", *again, "--dry-run", methods="raises,steady") == 0
    assert {path: path.read_bytes() for path in place.records("failing")} == before
    assert run("failing", *again, methods="raises,steady") == 1
    assert place.begun() == 3  # the failed one, and two of the fold that was not there
    after = {path: path.read_bytes() for path in place.records("failing") if path in before}
    assert [p.parent.name for p in before if after[p] != before[p]] == ["raises"]
    assert run("failing", *again[:2], methods="raises,steady") == 1
    assert place.begun() == 0


def test_what_failed_stays_recorded_until_it_has_been_tried_again(run, place, monkeypatch):
    assert run("again", "--folds", "0", methods="raises") == 1
    [path] = place.records("again")
    before = path.read_bytes()

    def interrupt(job):
        assert path.read_bytes() == before
        raise stopping.Interrupted(signal.SIGINT)

    with monkeypatch.context() as changed:
        changed.setattr("benchmark.training.execute.compute", interrupt)
        assert run("again", "--folds", "0", "--retry", "failed", methods="raises") == 130
    assert path.read_bytes() == before


def test_what_did_not_apply_is_run_when_it_does(run, place, undisturbed, capsys):
    """A protocol's list of methods is not part of what decides numbers."""
    tiny = place.folder / "tiny.yaml"
    content = tiny.read_text()
    try:
        tiny.write_text(content.replace('methods: ["*"]', "methods: [mdico]"))
        for begun in (3, 0):
            assert run("applies") == 0
            assert place.begun() == 0
            assert f"3 not applicable; {3 - begun} were recorded" in capsys.readouterr().out
    finally:
        tiny.write_text(content)
    assert run("applies") == 0
    assert comparable(place.folder / "applies") == undisturbed


def test_a_run_that_cannot_be_stopped_is_told(monkeypatch, caplog):
    """In a process that nothing replaces; where another does: `make soak`."""
    monkeypatch.setattr(stopping, "GRACE", 0.05)
    with pytest.raises(stopping.OutOfTime), stopping.deadline(0.05, abandon=pytest.fail):
        time.sleep(0.5)
    assert "run again with --executor processes" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "another", "predictions"])
def test_a_damaged_record_is_named_moved_aside_and_run_again(
    run, place, undisturbed, capsys, damage
):
    results = place.folder / damage
    shutil.copytree(place.folder / "undisturbed", results)
    path, other, _ = place.records(damage)
    if damage == "predictions":
        path.with_suffix(".npz").write_bytes(b"half")
    else:
        content = path.read_bytes()
        another = other.read_bytes()
        path.write_bytes(
            {"truncated": content[:-200], "empty": b"", "foreign": b"{}", "another": another}[
                damage
            ]
        )
    damaged = path.read_bytes()
    assert run(damage, "--dry-run") == 0
    assert "would be moved aside" in capsys.readouterr().err and path.read_bytes() == damaged
    assert run(damage) == 0
    assert place.begun() == 1
    assert path.stem in (told := capsys.readouterr().err) and "moved to" in told
    aside = path.with_suffix(".damaged")
    assert aside.exists()
    aside.unlink()
    assert comparable(results) == undisturbed


def test_changed_data_are_noticed_and_their_runs_kept_apart(run, place, undisturbed, capsys):
    shutil.copytree(place.folder / "undisturbed", place.folder / "changed")
    table = place.folder / "data/lfmc/training_features.csv"
    content = table.read_text()
    try:
        lines = content.splitlines(keepends=True)
        table.write_text("".join(lines[:-1]))
        assert run("changed") == 0
    finally:
        table.write_text(content)
    assert "lfmc: its data have changed since 3 recorded runs" in capsys.readouterr().out
    assert place.begun() == 3
    after = comparable(place.folder / "changed")
    assert len(after) == 12 and undisturbed.items() <= after.items()


def test_a_full_disk_is_named_and_loses_nothing(run, place, undisturbed, capfd):
    assert run("full", "--folds", "0") == 0
    before = {p: p.read_bytes() for p in place.records("full")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        code = run("full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = capfd.readouterr().err
    assert code == 2 and "Traceback" not in told
    assert f"{place.folder}/full/records/lfmc/steady: cannot be written to (File too large)" in told
    assert {p: p.read_bytes() for p in place.records("full")} == before
    assert not place.strays("full")
    assert run("full") == 0
    assert place.begun() == 2
    assert comparable(place.folder / "full") == undisturbed


def test_a_killed_run_goes_on_where_it_was(place, undisturbed):
    """One kill while it trains; at any moment: `make soak`."""
    results = "killed"
    place.log.unlink(missing_ok=True)
    process = place.start(results, "--executor", "serial", pause=0.02)
    wait_until(lambda: place.begun() or process.poll() is not None)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    recorded = {p: p.read_bytes() for p in place.records(results)}
    place.log.unlink()
    process = place.start(results, "--executor", "serial")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert place.begun() == 3 - len(recorded)
    assert f"{len(recorded)} were recorded already" in out
    assert {p: p.read_bytes() for p in recorded} == recorded
    assert comparable(place.folder / results) == undisturbed
    assert not place.strays(results)


def test_sigterm_ends_a_run_and_says_how_to_resume(place):
    """Both signals, all executors and the time it takes: `make soak`."""
    place.log.unlink(missing_ok=True)
    process = place.start("ended", "--executor", "processes", "--workers", "2", pause=0.2)
    wait_until(lambda: place.begun() >= 3 or process.poll() is not None)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "give the same command again" in err and "Traceback" not in err
    wait_until(lambda: not alive(process.pid))
    assert not place.strays("ended")


def test_a_killed_worker_costs_no_other_run(place):
    """One method kills its worker every time, one once; all other runs are done."""
    place.log.unlink(missing_ok=True)
    process = place.start(
        "workers",
        *("--executor", "processes", "--workers", "2", "--folds", "0"),
        methods="kills,kills_once,steady",
    )
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    found, _ = records.read_all(place.folder / "workers")
    assert {r.spec.method: r.status for r in found} == {
        "kills": "failed",
        "kills_once": "done",
        "steady": "done",
    }
    assert "its process died 2 times (SIGKILL, SIGKILL)" in reasons(found)["kills"]


def test_two_runs_at_once_record_everything_once(place, undisturbed):
    both = [place.start("both", "--executor", "serial", pause=0.02) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert comparable(place.folder / "both") == undisturbed
    assert not place.strays("both")


def test_links_to_folders_are_followed_by_all_that_reads_and_writes(run, place, undisturbed):
    """Results, records, artefacts, prepared and native data elsewhere; and a link in a circle."""
    elsewhere = place.folder / "elsewhere"
    kept = shutil.copytree(place.folder / "undisturbed/records/lfmc/steady", elsewhere / "steady")
    shutil.copytree(place.folder / "cache", elsewhere / "cache")
    shutil.copytree(place.folder / "data/lfmc", elsewhere / "native", copy_function=shutil.copy2)
    (elsewhere / "artefacts").mkdir()
    results = elsewhere / "results"
    (results / "records/lfmc").mkdir(parents=True)
    (place.folder / "linked").symlink_to(results)
    (results / "records/lfmc/steady").symlink_to(kept)
    (results / "artefacts").symlink_to(elsewhere / "artefacts")
    (elsewhere / "data").mkdir()
    (elsewhere / "data/lfmc").symlink_to(elsewhere / "native")
    (place.folder / "linked-cache").mkdir()
    (place.folder / "linked-cache/prepared").symlink_to(elsewhere / "cache/prepared")
    (kept / "circle").symlink_to(results)
    left = kept / part_of("left").replace(f"-{os.getpid()}-", "-4194305-")
    left.touch()
    places = ["--cache", str(place.folder / "linked-cache"), "--data-root", str(elsewhere / "data")]
    assert run("linked", *places, methods="steady,kd") == 0
    assert place.begun() == 0 and not left.exists()
    assert len(list((elsewhere / "artefacts").glob("*.pt"))) == 3
    found, unreadable = records.read_all(place.folder / "linked")
    assert {"steady": 3, "kd": 3}.items() <= Counter(r.spec.method for r in found).items()
    assert collect(place.folder / "linked").shown == len(found) and not unreadable
    assert all(truth(place.folder / "linked-cache", r.spec.fingerprint) for r in found)


def test_what_dead_processes_left_is_swept_and_what_living_ones_write_stays(tmp_path):
    folder = tmp_path / "records/lfmc/steady"
    folder.mkdir(parents=True)
    with atomic(folder / "alive.json") as file:
        own = Path(file.name)
        dead = own.with_name(own.name.replace(f"-{os.getpid()}-", "-4194305-"))
        elsewhere = own.with_name(dead.name.replace(os.uname().nodename, "another-machine"))
        dead.touch()
        elsewhere.touch()
        sweep(tmp_path)
        assert own.exists() and elsewhere.exists() and not dead.exists()


def test_writers_that_differ_leave_one_whole_record(tmp_path):
    """As two machines do whose numbers differ in the last bit."""
    spec = run_spec("single", dataset())
    record = records.Record(spec.id, spec, "done")
    values = [{"ids": np.array(["a"]), "m1": np.full(1000, v)} for v in range(8)]
    with ThreadPoolExecutor(len(values)) as pool:
        written = list(pool.map(lambda v: records.write(record, v, tmp_path), values))
    found = records.load(spec, tmp_path)
    assert records.read_predictions(found, tmp_path)[1]["m1"].shape == (1000,)
    assert len(list(record.path(tmp_path).parent.iterdir())) == 2
    assert found in written
