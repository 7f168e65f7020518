"""Code that was edited: what was made by the old is never passed for the new."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark import plugins, records
from benchmark.commands.main import main
from benchmark.planning import code
from benchmark.planning.building import artefact_spec
from benchmark.planning.split import folds
from benchmark.report import write_report
from benchmark.training.artefacts import ArtefactStore
from benchmark.training.data import fold_data
from benchmark.training.fit import fit
from methods.common.registry import REGISTRY
from tests import made_up, problems
from tests.survival import ROOT

OWN = '''"""A linear teacher, and a student that repeats it."""

from torch import Size, nn

from methods.common.contract import Artefact, Method, Stage
from methods.common.registry import Entry, register


class Teacher(Method):
    def __init__(self, modalities, task, encoder):
        super().__init__(modalities, task, encoder)
        self.nets = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Flatten(), nn.Linear(Size(s.shape).numel(), task.outputs))
                for m, s in modalities.items()
            }
        )

    def losses(self, batch):
        return {m: 1.0 * self.task.loss(net(batch.x[m]), batch.y) for m, net in self.nets.items()}

    def stages(self):
        return [Stage("supervised", [self.nets], self.losses, predictors=self.deployed)]

    def predictor(self, m):
        return self.nets[m]


class Student(Teacher):
    @classmethod
    def artefacts(cls, modalities):
        return {"teacher": Artefact("own_teacher", modalities)}

    def losses(self, batch):
        pairs = {m: (net(batch.x[m]), self.given["teacher"][m](batch.x[m]))
                 for m, net in self.nets.items()}
        return {m: ((own - told) ** 2).mean() for m, (own, told) in pairs.items()}


for key, method in (("own_teacher", Teacher), ("own_student", Student)):
    register(Entry(key, method, "distillation", "Own.", "", None, "this benchmark"))
'''
EDIT = "1.0 * self.task.loss", "0.0 * self.task.loss"


@pytest.fixture
def own(tmp_path):
    """A plug-in file to edit: a call changes a piece of its text."""
    path = tmp_path / "own.py"
    path.write_text(OWN)

    def edit(old: str, new: str) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        plugins.unload([path], REGISTRY)  # as another command would load it anew

    edit.path = path
    yield edit
    plugins.unload([path], REGISTRY)


def found(place, results: str, method: str) -> dict[str, records.Record]:
    read, _ = records.read_all(place.folder / results)
    return {record.id: record for record in read if record.spec.method == method}


def test_an_edited_plug_in_is_another_run_and_supersedes_the_old(run, place, own):
    command = "plugin", "--plugin", str(own.path), "--folds", "0"
    assert run(*command, methods="own_teacher") == 0
    (old,) = found(place, "plugin", "own_teacher").values()
    assert old.spec.plugin == old.code["own.py"] != ""
    own("A linear teacher", "The linear teacher")  # says the same
    assert run(*command, methods="own_teacher") == 0
    assert len(found(place, "plugin", "own_teacher")) == 1
    own(*EDIT)
    assert run(*command, methods="own_teacher") == 0
    (new,) = (r for r in found(place, "plugin", "own_teacher").values() if r.id != old.id)
    assert new.metrics != old.metrics
    results = place.folder / "plugin"
    written = write_report(results, results / "out", figures=False)
    (excluded,) = (e for e in written.results.exclusions if e.status == "superseded")
    change = f"another code of the plug-in ({old.spec.plugin[:12]} → {new.spec.plugin[:12]})"
    assert excluded.run == old.id and change in excluded.reason


def test_an_edited_teacher_is_another_teacher_and_another_student(run, place, own):
    command = "teacher", "--plugin", str(own.path), "--folds", "0"
    assert run(*command, methods="own_student") == 0
    artefacts = place.folder / "teacher" / "artefacts"
    (before,) = artefacts.glob("*.pt")
    own(*EDIT)
    assert run(*command, methods="own_student") == 0
    old, new = sorted(found(place, "teacher", "own_student").values(), key=lambda r: r.created)
    assert old.metrics != new.metrics and len(list(artefacts.glob("*.pt"))) == 2
    assert torch.load(before, weights_only=True)["code"] == old.code


def test_a_plug_in_that_is_edited_while_its_run_waits_fails_with_the_reason(run, place, own):
    from benchmark.planning.jobs import Job
    from benchmark.training.execute import execute

    command = "queued", "--plugin", str(own.path), "--folds", "0"
    assert run(*command, methods="own_teacher") == 0
    (record,) = found(place, "queued", "own_teacher").values()
    (prepared,) = (place.folder / "cache" / "prepared").glob("lfmc-*")
    spec = replace(record.spec, plugin="what it was in the queue")
    job = Job(spec, prepared, place.folder / "queued", plugins=(own.path,))
    told = execute(job)
    assert told.status == "failed"
    assert told.reason.startswith("the code of own_teacher is not what this run was planned with")
    assert "again" not in told.reason  # `run` says so of all that failed: --retry failed


@pytest.fixture
def edited(monkeypatch):
    """Makes a file of the project one whose code is another, as far as anyone can tell."""
    parsed = code._parsed

    def edit(*names: str) -> None:
        def other(path: Path, stamp: tuple[int, int]):
            digest, imports = parsed(path, stamp)
            return f"{digest} edited" if path.name in names else digest, imports

        monkeypatch.setattr(code, "_parsed", other)
        code._loaded.cache_clear()

    yield edit
    code._loaded.cache_clear()


def test_an_edited_method_of_the_registry_is_named_marked_and_run_again_if_asked(
    run, place, edited, capsys
):
    results = place.folder / "registry"
    assert run("registry", methods="constant") == 0
    before = found(place, "registry", "constant")
    assert all("methods.constant" in record.code for record in before.values())
    shown = lambda: write_report(results, results / "out", figures=False)  # noqa: E731
    assert not shown().results.groups[0].other_code

    edited("constant.py")
    capsys.readouterr()
    assert run("registry", methods="constant") == 0
    said = capsys.readouterr().out
    assert (
        "constant: its code (methods.constant) has changed since 3 recorded runs and its " in said
    )
    assert found(place, "registry", "constant") == before
    shown()
    text = (results / "out" / "leaderboard.md").read_text()
    assert "constant †" in text and "Made by other code than there is now: constant (3 of 3" in text

    assert run("registry", "--retry", "changed", methods="constant") == 0
    assert "its code" not in capsys.readouterr().out
    after = found(place, "registry", "constant")
    assert after.keys() == before.keys()
    assert all(
        after[i].created > before[i].created and after[i].code != before[i].code for i in after
    )
    assert "†" not in (shown().out / "leaderboard.md").read_text()


def test_an_artefact_of_other_code_is_trained_again(tmp_path, edited, caplog):
    data = problems.dataset()
    spec = problems.run_spec("kd", data)
    teacher = artefact_spec(spec, "teacher")
    ready = fold_data(data, folds(data, spec.protocol)[0], "training", torch.device("cpu"))
    caplog.set_level("INFO")
    for name, again in (("kd.py", False), ("kd.py", False), ("fusion.py", True)):
        edited(name)
        fit(spec, data.modalities, ready, ArtefactStore(tmp_path))
        assert any("made by other code: trained again" in m for m in caplog.messages) == again
        kept = torch.load(tmp_path / "artefacts" / f"{teacher.id}.pt", weights_only=True)
        assert kept["code"] == code.codes(teacher)
    assert code.codes(teacher).items() < code.codes(spec).items()


def test_what_is_asked_for_again_replaces_what_is_there(run, place):
    assert run("again") == 0 and place.begun() == 3
    assert run("again") == 0 and place.begun() == 0
    before = found(place, "again", "steady")
    assert run("again", "--retry", "all", "--folds", "0,1") == 0 and place.begun() == 2
    after = found(place, "again", "steady")
    assert sorted(after[i].created > before[i].created for i in before) == [False, True, True]
    assert {i: r.metrics for i, r in after.items()} == {i: r.metrics for i, r in before.items()}
    assert not place.strays("again")


def test_a_run_that_fails_now_does_not_take_the_place_of_one_that_is_done(tmp_path):
    import numpy as np

    done = made_up.run(created="2030")
    predictions = {"ids": np.array(["a"]), "S1": np.zeros((1, 4))}
    kept = records.write(done, predictions, tmp_path, {"S1/shared": np.zeros((1, 2))})
    failed = made_up.run(status="failed", reason="no memory", created="2031")
    assert records.write(failed, None, tmp_path, replaces="2030") == failed
    assert records.load(done.spec, tmp_path) == kept
    newer = replace(done, created="2032")
    assert records.write(newer, predictions, tmp_path, replaces="2029").created == "2030"
    assert records.write(newer, predictions, tmp_path, replaces="2030").created == "2032"
    assert records.load(done.spec, tmp_path).created == "2032"
    assert not list(tmp_path.rglob("*.features.npz"))


def test_a_superseded_run_says_what_is_another_and_how(tmp_path):
    def with_lam(lam: float, created: str) -> list[records.Record]:
        made = (made_up.run("kd", fold, created=created) for fold in range(2))
        specs = [(r, replace(r.spec, hyperparameters={"lam": lam, "tau": 4})) for r in made]
        return [replace(r, spec=spec, id=spec.id) for r, spec in specs]

    made_up.write([*with_lam(1.0, "2030"), *with_lam(0.5, "2031")], tmp_path)
    written = write_report(tmp_path, tmp_path / "out", figures=False)
    assert {e.reason for e in written.results.exclusions} == {
        "newer records have another hyper-parameters (lam 1.0 → 0.5)"
    }


def test_going_back_to_what_was_superseded_is_said(place, own, capsys):
    arguments = place.arguments("back", "--plugin", str(own.path), "--folds", "0", "--executor")
    arguments = [*arguments, "serial"]
    arguments[arguments.index("steady")] = "own_teacher"
    assert main(arguments) == 0
    own(*EDIT)
    assert main(arguments) == 0
    own(*reversed(EDIT))
    capsys.readouterr()
    assert main(arguments) == 0
    assert "own_teacher: 1 of the runs asked for are recorded and not shown: newer records" in (
        capsys.readouterr().out
    )


def test_scores_that_were_edited_by_hand_are_named(run, place, capsys):
    assert run("verified", methods="constant") == 0
    results = place.folder / "verified"
    command = ["verify", "--results", str(results), "--cache", str(place.folder / "cache")]
    assert main(command) == 0
    assert "3 records: 3 verified, 0 wrong, 0 not verified" in capsys.readouterr().out
    path = place.records("verified")[0]
    document = json.loads(path.read_text())
    rmse = document["metrics"]["S1"]["rmse"]
    document["metrics"]["S1"]["rmse"] = 0.001
    path.write_text(json.dumps(document))
    assert main(command) == 1
    said = capsys.readouterr().out
    assert f"{path}: rmse of S1 is 0.001; its predictions give {rmse}" in said
    written = write_report(results, results / "out", figures=False)
    (excluded,) = written.results.exclusions
    assert excluded.status == "invalid" and "do not belong to its predictions" in excluded.reason
    assert main([*command[:-1], str(place.folder / "elsewhere")]) == 1
    assert "not verified: 3 records: real data of lfmc" in capsys.readouterr().out


def test_old_records_without_digests_are_taken_as_they_are(tmp_path):
    record = made_up.run()
    made_up.write([record], tmp_path)
    path = record.path(tmp_path)
    document = json.loads(path.read_text())
    for name in ("metrics_sha256", "standing", "code"):
        del document[name]
    del document["spec"]["plugin"]
    path.write_text(json.dumps(document))
    (group,) = write_report(tmp_path, tmp_path / "out", figures=False).results.groups
    assert len(group.runs) == 1 and not group.other_code


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the project's files to edit; what is hashed is there."""
    for package in ("methods", "benchmark"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__py*"))
    monkeypatch.setattr("benchmark.sources.ROOT", tmp_path)
    monkeypatch.setattr(code, "ALWAYS", tmp_path / "methods" / "common" / "encoders.py")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "is_another"),
    [
        ("methods/kd.py", "\nMORE = 1\n", True),
        ("methods/kd.py", "\n# a remark\n", False),
        ("methods/common/nets.py", "\nMORE = 1\n", True),  # which it imports
        ("benchmark/problem.py", "\nMORE = 1\n", True),  # by way of others
        ("methods/common/encoders.py", "\nMORE = 1\n", True),  # which it is given
        ("methods/crd.py", "\nMORE = 1\n", False),
        ("benchmark/terms.py", "\nMORE = 1\n", False),  # names alone
        ("benchmark/training/fit.py", "\nMORE = 1\n", False),  # that of all methods
    ],
)
def test_code_is_a_file_and_what_it_imports(copy, file, text, is_another):
    before = code.file_code(copy / "methods" / "kd.py")
    with (copy / file).open("a") as other:
        other.write(text)
    assert (code.file_code(copy / "methods" / "kd.py") != before) == is_another


def test_the_code_of_a_plug_in_hangs_on_neither_place_nor_layout(tmp_path):
    text = '"""What it does."""\nimport helper\nfrom methods.kd import KD\n\nX = [1,\n     2]\n'
    hashes = []
    for number, (own, helper) in enumerate(
        [
            (text, "Y = 1\n"),
            (
                text.replace("\n", "\r\n").replace("What", "All that").replace("\n     2", "2"),
                "Y=1",
            ),
            (text, "Y = 2\n"),
            (text.replace("2]", "3]"), "Y = 1\n"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"own{number}.py").write_bytes(own.encode())
        (folder / "helper.py").write_text(helper)
        hashes.append(code.file_code(folder / f"own{number}.py"))
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3
