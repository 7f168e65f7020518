"""Models that are kept: they predict in a fresh process what was scored, and damage is named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.commands.main import main
from benchmark.deployment import model as models
from benchmark.deployment.deployed import Deployed, Ensemble, Standardise
from benchmark.errors import UserError
from benchmark.planning import protocol as protocols
from benchmark.planning.building import build
from benchmark.planning.chosen import Choice, Chosen, Picked
from benchmark.planning.split import folds
from benchmark.plugins import unload
from benchmark.problem import TaskSpec
from benchmark.records import read, read_predictions
from benchmark.terms import EACH, ONCE
from benchmark.training import keeping
from benchmark.training.data import StandardisedModality, channel_statistics, fold_data
from benchmark.training.execute import predict
from benchmark.training.fit import Trained
from datasets.common.prepared import reopen
from methods.common.contract import ALL
from methods.common.registry import REGISTRY
from tests.problems import dataset, run_spec, train
from tests.survival import PLUGIN

CPU = torch.device("cpu")
MORE = {"libraries": {"torch": "2"}, "origin": {"licence": "none"}, "view": {}}


def with_gaps(data):
    """Some values missing, and a channel that is constant in most samples."""
    x = {m: array.copy() for m, array in data.x.items()}
    for array in x.values():
        array.reshape(-1)[::17] = np.nan
        array[..., 0][: len(array) // 2] = 3
    return replace(data, x=x)


def ready(spec, data):
    numbers = folds(data, spec.protocol)[spec.fold]
    return fold_data(data, numbers, spec.protocol["statistics"], CPU)


def untrained(method: str, data, fold, **changes) -> tuple:
    """The spec and the predictors of a method, with whatever weights."""
    spec = run_spec(method, data, **changes)
    built = build(spec, data.modalities, fold.task)
    predictors = {m: built.predictor(m).eval() for m in built.deployed}
    return spec, Trained(predictors, [], 0)


def made(specs, trained, data, fold) -> dict:
    ranges = keeping.ranges_of(data, fold.train.samples.numpy())
    return keeping.models(specs, trained, data, fold, ranges, **MORE)


def kept(spec, trained, data, fold, folder: Path) -> dict:
    """The models of a run, saved and loaded again."""
    found = made([spec], [trained], data, fold)
    for m, model in found.items():
        models.save(model, folder / m)
    return {m: models.load(folder / m) for m in found}


def raw(data, m: str, samples: np.ndarray):
    x = {name: array[samples] for name, array in data.x.items()}
    return x if m == ALL else x[m]


def agree(found: dict, trained: Trained, data, fold) -> None:
    """Models give, of raw values, what is scored of predictors."""
    samples = fold.test.samples.numpy()
    for m, model in found.items():
        expected = predict(trained.predictors[m], m, fold.task, fold.test)
        np.testing.assert_allclose(
            model.predict(raw(data, m, samples)), expected, rtol=1e-5, atol=1e-6
        )


TASKS = ("binary", "multiclass", "multilabel", "regression")
DATA = {kind: with_gaps(dataset(kind, ("series", "vector"))) for kind in TASKS}
FOLDS = {kind: ready(run_spec("single", data), data) for kind, data in DATA.items()}


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("method", sorted(REGISTRY.keys() - {"forest"}))  # has no tree yet
def test_every_method_on_every_task_is_kept_and_loaded(method, kind, tmp_path):
    data, fold = DATA[kind], FOLDS[kind]
    if reason := REGISTRY[method].applicable(data.modalities, data.task):
        pytest.skip(reason)
    spec, trained = untrained(method, data, fold)
    found = kept(spec, trained, data, fold, tmp_path)
    assert found.keys() == trained.predictors.keys()
    agree(found, trained, data, fold)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *[("forest", kind) for kind in TASKS],
        *[("constant", "regression"), ("kd", "multiclass"), ("single_ensemble", "binary")],
        *[("late_ensemble", "multilabel"), ("mdico", "regression")],
    ],
)
def test_what_was_trained_predicts_the_same_from_raw_values(method, kind, tmp_path):
    data, fold = DATA[kind], FOLDS[kind]
    spec = run_spec(method, data)
    trained = train(spec, data)
    agree(kept(spec, trained, data, fold, tmp_path), trained, data, fold)


@pytest.mark.parametrize("kinds", [("image", "series"), ("vector", "image")])
def test_modalities_of_every_kind(kinds, tmp_path):
    data = dataset("regression", kinds, samples=40)
    fold = ready(run_spec("single", data), data)
    spec, trained = untrained("fusion_concat", data, fold)
    agree(kept(spec, trained, data, fold, tmp_path), trained, data, fold)


def test_an_ensemble_of_seeds_is_the_mean_of_their_predictions(tmp_path):
    data, fold = DATA["binary"], FOLDS["binary"]
    specs, trained = zip(
        *(untrained("single", data, fold, seed=seed) for seed in (0, 1, 5)), strict=True
    )
    for m, model in made(specs, trained, data, fold).items():
        models.save(model, tmp_path / m)
        found = models.load(tmp_path / m)
        assert isinstance(found.net, Ensemble) and len(found.about["runs"]) == 3
        members = [predict(each.predictors[m], m, fold.task, fold.test) for each in trained]
        x = raw(data, m, fold.test.samples.numpy())
        np.testing.assert_allclose(found.predict(x), np.mean(members, axis=0), atol=1e-6)


def test_values_are_standardised_as_in_training_bit_by_bit():
    rng = np.random.default_rng(0)
    array = rng.normal(5, 3, (20, 4, 3)).astype(np.float32)
    array[3, 1, 0] = np.nan
    array[..., 2] = 7
    array[19, 0, 2] = 8  # not in the training part
    mean, std = channel_statistics(array, np.arange(10))
    expected = StandardisedModality(array, mean, std, CPU)[torch.arange(20)]
    assert torch.equal(Standardise(mean, std)(torch.from_numpy(array)), expected)
    assert (expected[..., 2] == 0).all()


@pytest.fixture
def one(tmp_path) -> Path:
    data, fold = DATA["multiclass"], FOLDS["multiclass"]
    found = made(*([each] for each in untrained("kd", data, fold)), data, fold)
    models.save(found["m1"], tmp_path / "m1")
    return tmp_path / "m1"


def test_a_model_says_what_it_takes_and_gives(one):
    about = json.loads((one / "model.json").read_text())
    (takes,) = about["inputs"]
    assert takes["channels"] == ["c0", "c1", "c2"] and takes["shape"] == [6, 3]
    assert all(low < high for low, high in zip(takes["low"], takes["high"], strict=True))
    assert about["task"]["class_names"] == ["k0", "k1", "k2", "k3"]
    assert about["samples"] == {
        "training": len(FOLDS["multiclass"].train),
        "validation": len(FOLDS["multiclass"].val),
    }
    assert sorted(path.name for path in one.iterdir()) == ["model.json", "model.safetensors"]
    assert [path.name for path in one.parent.iterdir()] == ["m1"]  # nothing is left behind
    loaded = models.load(one)
    assert loaded.spec == DATA["multiclass"].modalities["m1"] and loaded.task.outputs == 4


def test_saving_takes_the_place_of_another_model(one):
    model = models.load(one)
    models.save(replace(model, about={**model.about, "note": "new"}), one)
    assert models.load(one).about["note"] == "new"
    assert [path.name for path in one.parent.iterdir()] == ["m1"]


def test_it_loads_in_a_fresh_process_without_training(one):
    code = (
        "import sys, pathlib, methods; methods.load(); from benchmark.deployment import model; "
        "import numpy as np; m = model.load(pathlib.Path(sys.argv[1])); "
        "print(m.predict(np.zeros((2, 6, 3))).shape, 'benchmark.training' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, one], capture_output=True, text=True)
    assert done.stdout == "(2, 4) False\n", done.stderr


def edit(folder: Path, change, *, sealed: bool = True) -> None:
    """Change model.json; sealed: with the digest that it would have been written with."""
    about = json.loads((folder / "model.json").read_text())
    change(about)
    if sealed:
        about["sha256"] = models._digest(about)
    (folder / "model.json").write_text(json.dumps(about))


def rename_method(about, name: str = "kdd") -> None:
    about["method"] = name
    for run in about["runs"]:
        run["spec"]["method"] = name
        spec = models.RunSpec(**run["spec"])
        run["id"] = spec.id


def damage(about, path: str, value) -> None:
    *keys, last = path.split(".")
    for key in keys:
        about = about[int(key)] if key.isdecimal() else about[key]
    about[int(last) if last.isdecimal() else last] = value


DAMAGES = [
    (lambda f: (f / "model.json").unlink(), "no model is in it"),
    (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: cannot be read"),
    (lambda f: cut(f / "model.safetensors"), "not the weights that model.json vouches for"),
    (lambda f: cut(f / "model.json"), "describes no model of this benchmark"),
    (lambda f: (f / "model.json").write_text("[]"), "describes no model of this benchmark"),
    (lambda f: (f / "model.json").write_text('{"a": 1}'), "'form' is missing"),
    (lambda f: (f / "model.json").write_bytes(b"\xff\x00"), "describes no model"),
    (lambda f: edit(f, lambda a: a.update(form=99)), "form 99, where this version reads 1"),
    (lambda f: edit(f, lambda a: a.pop("inputs")), "'inputs' is missing"),
    (lambda f: edit(f, rename_method), "unknown method 'kdd': did you mean kd"),
    (lambda f: edit(f, lambda a: damage(a, "modality", "m9")), "do not fit the method"),
    (lambda f: edit(f, lambda a: damage(a, "task.outputs", 7)), "do not fit the method"),
    (lambda f: edit(f, lambda a: damage(a, "task.outputs", "7")), "'outputs' cannot be '7'"),
    (lambda f: edit(f, lambda a: damage(a, "modalities.0.shape", [9, 3])), "do not fit the method"),
    (lambda f: edit(f, lambda a: damage(a, "modalities.0.shape", [6, 9])), "channel names"),
    (lambda f: edit(f, lambda a: damage(a, "inputs.0.mean", [1])), "not one number a channel"),
    (lambda f: edit(f, lambda a: damage(a, "inputs.0.mean.0", "a")), "describes no model"),
    (lambda f: edit(f, lambda a: damage(a, "runs.0.spec.seed", 3)), "its id is not that"),
    (lambda f: edit(f, lambda a: damage(a, "runs.0.spec.x", 3)), "describes no model"),
    (lambda f: edit(f, lambda a: damage(a, "probe.0.0", 0.9)), "makes other predictions"),
]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(("change", "says"), DAMAGES)
def test_every_damage_is_one_sentence(one, change, says):
    change(one)
    with pytest.raises(UserError, match=says) as raised:
        models.load(one)
    assert str(one) in str(raised.value) and "\n" not in str(raised.value)


def swap(about) -> None:
    """Channels in another order everywhere, which no prediction of made-up samples shows."""
    for one in (about["modalities"][0], about["inputs"][0]):
        one["channels"][:2] = one["channels"][1::-1]


@pytest.mark.parametrize(
    "change",
    [
        swap,
        lambda about: about["inputs"][0]["channels"].reverse(),
        lambda about: damage(about, "inputs.0.high.0", 99.0),
        lambda about: damage(about, "task.unit", "%"),
        lambda about: damage(about, "note", "new"),
        lambda about: damage(about, "sha256", "0" * 64),
    ],
)
def test_a_description_that_was_changed_is_refused(one, change):
    """Whatever is changed: names, ranges and units decide what comes out, or what it means."""
    edit(one, lambda about: None, sealed=False)  # another layout is the same content
    models.load(one)
    edit(one, change, sealed=False)
    with pytest.raises(UserError, match="not the content that its 'sha256' vouches for") as raised:
        models.load(one)
    assert str(raised.value).startswith(str(one / "model.json")) and "\n" not in str(raised.value)


def test_a_description_without_a_digest_says_to_train_again(one):
    edit(one, lambda about: about.pop("sha256"), sealed=False)
    with pytest.raises(UserError, match=r"earlier version \('sha256' is missing\): train it"):
        models.load(one)


def leaves(value, path=()) -> list[tuple]:
    """The places of all values in a JSON document."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [path, *(leaf for key, own in items for leaf in leaves(own, (*path, key)))]
    return [path]


@given(data=st.data())
def test_whatever_stands_in_the_json_it_is_loaded_or_refused_in_one_sentence(tmp_path, data):
    folder = tmp_path / "m1"
    if not folder.exists():
        fold = FOLDS["multiclass"]
        given_to = ([each] for each in untrained("single", DATA["multiclass"], fold))
        models.save(made(*given_to, DATA["multiclass"], fold)["m1"], folder)
    text = (folder / "model.json").read_text()
    about = json.loads(text)
    *path, last = data.draw(st.sampled_from(leaves(about)[1:]))
    inner = about
    for key in path:
        inner = inner[key]
    odd = [None, -1, 0, 7, 10**30, 0.5, "", "../x", "m9", [], ["a"], {}, {"a": 1}, True]
    inner[last] = data.draw(st.sampled_from(odd))
    if data.draw(st.booleans()):
        about["sha256"] = models._digest(about)
    try:
        (folder / "model.json").write_text(json.dumps(about))
        models.load(folder).predict(np.zeros((1, 6, 3)))
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        (folder / "model.json").write_text(text)


def test_a_folder_that_is_none_and_one_of_several_models(one):
    with pytest.raises(UserError, match="no such folder; a model is what"):
        models.load(one / "nowhere")
    with pytest.raises(UserError, match="it holds the models m1: name one of them"):
        models.load(one.parent)


def test_other_weights_with_their_own_digest_are_found_out(one):
    """As another version of the code would be: the weights are sound, the predictions others."""
    model = models.load(one)
    with torch.no_grad():
        next(iter(model.net.predictor.parameters())).add_(0.3)
    weights = models.to_bytes(model.net.state_dict())
    (one / "model.safetensors").write_bytes(weights)
    edit(one, lambda a: a.update(weights_sha256=models.hashlib.sha256(weights).hexdigest()))
    with pytest.raises(UserError, match="makes other predictions of these weights, by .*version 1"):
        models.load(one)


def test_an_input_of_another_shape_or_modality_is_refused(one):
    model = models.load(one)
    with pytest.raises(UserError, match=r"shape \(5, 3\) where \(N, 6, 3\) is needed"):
        model.predict(np.zeros((5, 3)))
    with pytest.raises(UserError, match="the model sees m1, not m2"):
        model.predict({"m2": np.zeros((5, 6, 3))})
    for x in ("abc", None, [[1, 2], [3]], {1: 2}, 3):
        with pytest.raises(UserError, match="m1"):
            model.predict(x)
    assert model.predict(np.zeros((0, 6, 3))).shape == (0, 4)
    assert model.predict(np.zeros((2, 6, 3)).tolist()).shape == (2, 4)


def test_an_output_that_is_no_number_is_refused():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return x[:, :1] / 0

    task = TaskSpec("regression", 1)
    net = Deployed(Odd(), np.zeros(1), np.ones(1), task)
    about = {
        "modality": "v",
        "inputs": [{"name": "v"}],
        "task": {"kind": "regression", "outputs": 1},
        "modalities": [
            {"name": "v", "kind": "vector", "shape": (1,), "channels": ("a",), "units": "1"}
        ],
    }
    with pytest.raises(UserError, match="3 of 3 predicted values are not finite"):
        models.Model(net, about).predict(np.ones((3, 1)))


# --- run --keep-models --------------------------------------------------------------------------


def test_run_keeps_what_it_deploys_and_says_what_has_none(run, place, capsys):
    assert run("kept", "--folds", "0") == 0
    assert not (place.folder / "kept" / "models").exists()
    assert run("kept", "--folds", "0,1", "--keep-models") == 0
    said = capsys.readouterr().out
    assert "1 recorded runs have no kept model: what was trained is gone; --retry all runs" in said
    (new,) = (place.folder / "kept" / "models").iterdir()
    assert run("kept", "--folds", "0,1", "--keep-models", "--retry", "all") == 0
    assert "have no kept model" not in capsys.readouterr().out
    assert len([*(place.folder / "kept" / "models").iterdir()]) == 2
    assert place.strays("kept") == []

    record = next(r for r in map(read, place.records("kept")) if r.id == new.name)
    ids, predictions = read_predictions(record, place.folder / "kept")
    data = reopen(next((place.folder / "cache" / "prepared").glob("lfmc-*")))
    rows = [data.ids.tolist().index(name) for name in ids]
    for m, expected in predictions.items():
        model = models.load(new / m)
        np.testing.assert_allclose(model.predict(data.x[m][rows]), expected, rtol=1e-4)
        assert model.about["dataset"]["licence"] == "CC BY-NC-ND 4.0"
        assert model.about["dataset"]["fingerprint"] == data.fingerprint
        assert model.about["samples"]["training"] == record.data["train"]
        assert model.about["runs"][0]["id"] == record.id


def test_a_placebo_has_no_model(run, place):
    run("twins", "--folds", "0", "--keep-models", "--placebo", methods="kd")
    specs = [read(path).spec for path in place.records("twins")]
    kept = {path.name for path in (place.folder / "twins" / "models").iterdir()}
    assert {bool(spec.placebo) for spec in specs} == {True, False}
    assert kept == {spec.id for spec in specs if not spec.placebo}


def test_a_model_needs_its_plug_in_as_it_was(run, place, monkeypatch):
    run("plugin", "--folds", "0", "--keep-models")
    folder = next((place.folder / "plugin" / "models").glob("*/S2"))
    assert models.load(folder).about["method"] == "steady"
    monkeypatch.setattr("benchmark.planning.code.plugin_code", lambda entry: "edited")
    with pytest.raises(UserError, match="the code of steady is not what the model was trained wi"):
        models.load(folder)
    unload([PLUGIN], REGISTRY)
    with pytest.raises(UserError, match="unknown method 'steady'.*--plugin names the file"):
        models.load(folder)


# --- train --------------------------------------------------------------------------------------


@pytest.fixture
def final(place, run):
    """`train`, and the folder of its models; the plug-in is forgotten afterwards."""

    def call(*more: str, method: str = "steady", out: str = "final") -> tuple[int, Path]:
        folder = place.folder / out
        places = {
            "--plugin": PLUGIN,
            "--protocol": place.folder / "tiny.yaml",
            "--data-root": place.folder / "data",
            "--cache": place.folder / "cache",
            "--device": "cpu",
            "--out": folder,
        }
        words = (str(word) for pair in places.items() for word in pair)
        return main(["train", method, "lfmc", *words, *more]), folder

    return call


def test_a_final_model_takes_all_samples_but_a_validation_part(final, capsys):
    code, folder = final()
    said = capsys.readouterr().out
    assert code == 0
    assert "steady on lfmc: 135 of 150 samples train, 15 validate, none tests" in said
    assert sorted(path.name for path in folder.iterdir()) == ["S1", "S2"]
    model = models.load(folder / "S1")
    assert model.about["samples"] == {"training": 135, "validation": 15}
    (run,) = model.about["runs"]
    assert run["spec"]["fold"] == -1  # no record and no artefact has its id
    assert "takes the place" not in said
    final()
    assert f"{folder / 'S1'} (S1 4 × 3); it takes the place of another" in capsys.readouterr().out


def test_an_ensemble_of_one_modality(final, capsys):
    code, folder = final(
        "--modality", "S2", "--seeds", "0-2", "--set", "kd.alpha=0.1", method="kd", out="kd"
    )
    assert code == 0 and "the mean of 3 seeds" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["S2"]
    model = models.load(folder / "S2")
    assert [run["spec"]["seed"] for run in model.about["runs"]] == [0, 1, 2]
    assert model.about["row"] == "kd (alpha=0.1)" and isinstance(model.net, Ensemble)


@pytest.mark.parametrize(
    ("more", "method", "says"),
    [
        ((), "steddy", "unknown method 'steddy': did you mean steady"),
        (("--modality", "S3"), "steady", "unknown modality that steady deploys 'S3'"),
        (("--modality", "S1"), "fusion_avg", "unknown modality that fusion_avg deploys 'S1'"),
        (("--set", "kd.alpha=1"), "steady", "--set kd.…: steady is what is trained"),
        (("--protocol", "paper"), "single", "validates on the test part, and a final model has"),
        (("--protocol", "paper"), "kd", "kd on lfmc: not applicable: protocol 'paper' is for"),
        ((), "diverges", "diverges on lfmc: loss term"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(final, capsys, more, method, says):
    code, _ = final(*more, method=method, out="none")
    assert code == 2 and says in capsys.readouterr().err


def test_of_tuned_values_a_final_model_has_those_that_most_folds_chose():
    kd = REGISTRY["kd"]

    def chosen(trials: list[int], on: str) -> Chosen:
        folds = {i: Picked(t, 1.0, {"alpha": t / 10}) for i, t in enumerate(trials)}
        space = {"alpha": [0.1, 0.9]}
        code: dict = {}
        return Chosen(
            Path("t.json"),
            [Choice("kd", "d", 9, on, "f", ["a"], "quick", "s", 1, code, space, folds)],
            protocols.load("quick"),
        )

    settings, said = chosen([5, 2, 2, 5, 9], EACH).final("d", kd)
    assert settings.values == {"alpha": 0.2} and settings.tuned["trials"] == 9
    assert said == "the values of trial 2, which 2 of 5 folds have chosen"
    assert chosen([4], ONCE).final("d", kd)[1] == "the values of trial 4"
    with pytest.raises(UserError, match="no values of kd on other"):
        chosen([4], ONCE).final("other", kd)
