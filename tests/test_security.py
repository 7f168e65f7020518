"""Nothing that is read is executed: no pickle, no code, no file that nobody named."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import logging
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.commands.main import main
from benchmark.errors import UserError
from benchmark.planning.split import folds
from benchmark.records import Record, read_predictions, write
from benchmark.training.artefacts import ArtefactStore
from benchmark.training.data import fold_data
from benchmark.training.fit import fit
from datasets.common import prepared
from tests import counting
from tests.layouts import crop_label, crop_tree, opened
from tests.problems import dataset, run_spec
from tests.survival import ROOT


class Evil:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path) -> Path:
    """The file that is there if something was executed."""
    path = tmp_path / "executed"
    pickle.loads(pickle.dumps(Evil(path)))
    assert path.exists(), "the pickle does what it should"
    path.unlink()
    return path


DATA = dataset()
SPEC = run_spec("kd", DATA)


def predictions(results: Path) -> dict[str, torch.Tensor]:
    """What `kd` predicts for its test part, with a teacher from below ``results``."""
    data = fold_data(
        DATA, folds(DATA, SPEC.protocol)[0], SPEC.protocol["statistics"], torch.device("cpu")
    )
    trained = fit(SPEC, DATA.modalities, data, ArtefactStore(results))
    batch = next(data.test.in_order())
    return {m: predictor(batch.x[m]) for m, predictor in trained.predictors.items()}


def saved(content: object, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def damaged(whole: bytes, damage: str, mark: Path) -> bytes:
    if damage == "cut in half":
        return whole[: len(whole) // 2]
    if damage == "one bit":
        at = whole.index(b"data/0") + 200  # within the first weights
        return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    if damage == "another's":
        content = torch.load(io.BytesIO(whole), weights_only=True)
        return saved({**content, "id": "0" * 16})
    if damage == "of other shapes":
        content = torch.load(io.BytesIO(whole), weights_only=True)
        return saved({**content, "states": {m: {} for m in content["states"]}})
    return {
        "empty": b"",
        "foreign": b"[1, 2]\n",
        "a list": saved([1, 2]),
        "a pickle": pickle.dumps(Evil(mark)),
        "a torch pickle": saved({"states": Evil(mark)}),
        "an old torch pickle": saved(Evil(mark), legacy=True),
    }[damage]


@pytest.mark.parametrize(
    "damage",
    ["cut in half", "one bit", "empty", "foreign", "a list", "another's", "of other shapes"]
    + ["a pickle", "a torch pickle", "an old torch pickle"],
)
def test_an_artefact_that_is_not_one_is_named_moved_aside_and_trained_again(
    tmp_path, caplog, mark, damage
):
    expected = predictions(tmp_path)
    (path,) = (tmp_path / "artefacts").iterdir()
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, damage, mark))
    with caplog.at_level(logging.WARNING):
        found = predictions(tmp_path)
    assert not mark.exists()
    assert str(path) in caplog.text and "trained again" in caplog.text
    assert path.with_suffix(".damaged").exists() and path.exists()
    assert all(torch.equal(found[m], expected[m]) for m in expected)


def test_predictions_that_hold_a_pickle_are_refused(tmp_path, mark):
    """Even if the record vouches for them."""
    spec = run_spec("single", DATA)
    buffer = io.BytesIO()
    np.savez(buffer, ids=np.array([Evil(mark)], dtype=object))
    record = Record(
        *(spec.id, spec, "done"), predictions_sha256=hashlib.sha256(buffer.getvalue()).hexdigest()
    )
    path = record.path(tmp_path).with_suffix(".npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="not the predictions of its record"):
        read_predictions(record, tmp_path)
    assert not mark.exists()


def test_a_prepared_cache_that_holds_a_pickle_is_made_again(tmp_path, mark, caplog):
    native = tmp_path / "native"
    native.mkdir()
    counting.Counting().generate(native, seed=0, samples=counting.SAMPLES)
    whole, folder = counting.prepare(counting.Counting(), native, tmp_path)
    np.save(folder / "ids.npy", np.array([Evil(mark)] * counting.SAMPLES, dtype=object))
    meta = json.loads((folder / "meta.json").read_bytes())
    meta["files"]["ids.npy"] = (folder / "ids.npy").stat().st_size
    (folder / "meta.json").write_text(json.dumps(meta))
    again, _ = counting.prepare(counting.Counting(), native, tmp_path)
    assert again.fingerprint == whole.fingerprint and "moved to" in caplog.text
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../y.npy", "/etc/passwd"])
def test_a_prepared_cache_leads_to_no_file_outside(tmp_path, name):
    native = tmp_path / "native"
    native.mkdir()
    counting.Counting().generate(native, seed=0, samples=counting.SAMPLES)
    _, folder = counting.prepare(counting.Counting(), native, tmp_path)
    meta = json.loads((folder / "meta.json").read_bytes())
    meta["files"][name] = 1
    (folder / "meta.json").write_text(json.dumps(meta))
    prepared.reopen.cache_clear()
    with pytest.raises(UserError, match="is not the name of a file"):
        prepared.reopen(folder)


@pytest.mark.parametrize("change", [{"dataset": "../../togo"}, {"index": "../7"}, {"dataset": "/"}])
def test_labels_lead_to_no_file_outside(tmp_path, change):
    """The name of a sample's file is made from its label."""
    native = crop_tree(tmp_path / "crops", [crop_label(i) for i in range(4)])
    labels = [crop_label(i) for i in range(4)]
    for label in labels:
        label["properties"].update(change)
    (native / "labels.geojson").write_text(json.dumps({"features": labels}))
    with pytest.raises(UserError, match="labels.geojson"):
        opened("cropharvest_binary", native)


def test_code_is_loaded_only_if_it_is_named(place, monkeypatch, mark):
    """Not from the folders of data, results and cache, nor from the current one."""
    evil = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    for name in ("results", "data", "data/lfmc", "cache", "here", "here/methods", "here/datasets"):
        folder = place.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("__init__.py", "plugin.py", "conftest.py", "sitecustomize.py"):
            (folder / file).write_text(evil)
    process = place.start("results", "--executor", "processes", "--workers", "2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert not mark.exists()


def test_a_plugin_that_ends_the_process_is_one_sentence(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("import sys\nsys.exit(0)\n")
    assert main(["list", "methods", "--plugin", str(tmp_path / "mine.py")]) == 2
    assert "mine.py: cannot be loaded (SystemExit: 0)" in capsys.readouterr().err


def test_zip_members_of_predictions_stay_in_memory(tmp_path):
    """An .npz is a zip: a member that is named like a path is only a name."""
    spec = run_spec("single", DATA)
    record = write(Record(spec.id, spec, "done"), {"ids": np.array(["a"])}, tmp_path)
    path = record.path(tmp_path).with_suffix(".npz")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../../outside.npy", "x")
    with pytest.raises(UserError, match="sha256"):
        read_predictions(record, tmp_path)
    assert not list(tmp_path.rglob("outside*"))


NEVER = {"eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "joblib.load"}
NEVER |= {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
NEEDED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def calls(package: str):
    """(where, name, keyword arguments) of all calls in the files of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                yield f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node.func), given


@pytest.mark.parametrize("package", ["benchmark", "datasets", "methods"])
def test_no_call_can_execute_what_was_read(package):
    found = set()
    for where, name, given in calls(package):
        assert name not in NEVER, where
        assert not given.get("shell"), where
        if name in NEEDED:
            option, value = NEEDED[name]
            assert given.get(option) is value, where
            found.add(name)
    assert package != "benchmark" or found == set(NEEDED), "the names are those that are used"
