"""Frozen encoders: features once for a dataset, training on them, and predictors that have all."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import records
from benchmark.commands.main import main
from benchmark.deployment import model
from benchmark.errors import NotWritableError, UserError
from benchmark.executors.local import serial
from benchmark.executors.scale import Scale
from benchmark.planning import encoders as planning
from benchmark.planning import protocol
from benchmark.planning.jobs import Job
from benchmark.training import execute, fit, frozen, keeping
from methods.common import weights as files
from methods.common.contract import ALL
from methods.common.encoders import BACKBONES, Backbone, Encoders, register
from tests import own
from tests.problems import dataset, run_spec

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """Sums of an image's channels, by weights from a file or random ones."""

    calls: Counter = Counter()

    def __init__(self, channels: int, width: int, file: str | None) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.norm, self.dropout = nn.BatchNorm1d(width), nn.Dropout(0.5)
        self.out_features = width
        if file:
            self.load_state_dict(files.read(Path(file)))

    def forward(self, x):
        Tiny.calls["samples"] += len(x) if len(x) > 1 else 0
        return self.dropout(self.norm(self.linear(x.mean(dim=(1, 2)))))


def build(spec, *, width: int = 5, file: str | None = None, own: bool = False) -> nn.Module:
    return Tiny(spec.shape[-1], width, file)


def statistics(spec, options: Mapping):
    channels = len(spec.channels)
    return (np.full(channels, 3.0), np.full(channels, 2.0)) if options.get("own") else None


def weights(options: Mapping, fetch: bool) -> Path | None:
    return Path(options["file"]) if options.get("file") else None


@pytest.fixture(autouse=True)
def tiny():
    hooks = {"statistics": statistics, "weights": weights, "random": {"file": None}}
    register(Backbone("tiny", ("image",), build, "Sums.", **hooks))
    Tiny.calls.clear()
    yield
    BACKBONES.pop("tiny")


@pytest.fixture
def saved(tmp_path) -> str:
    torch.manual_seed(1)
    torch.save(Tiny(2, 5, None).state_dict(), tmp_path / "tiny.pth")
    return str(tmp_path / "tiny.pth")


def two_sensors(**changes):
    return dataset("multiclass", kinds=("image", "series"), **changes)


def resolved(data, image: Mapping) -> dict:
    quick = protocol.load("quick")
    encoders = {**quick.encoders, "dim": 8, "image": image, "series": {"width": 4, "dense": 8}}
    return planning.resolve(data, replace(quick, encoders=encoders))[0]


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Runs methods on a dataset in memory; gives the records by method."""
    numbers = itertools.count()

    def call(data, image: Mapping, *methods: str, prepared: Path | None = None, **changes):
        monkeypatch.setattr(execute, "reopen", lambda folder: data)
        where = prepared or tmp_path / "cache" / "prepared" / f"made-{next(numbers)}"
        encoders = resolved(data, image)
        jobs = [
            Job(replace(run_spec(m, data, encoders=encoders), **changes), where, tmp_path / "res")
            for m in methods
        ]
        return {record.spec.method: record for record in serial(jobs, Scale())}

    return call


def folders(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "cache" / "features"))


# --- Runs ---------------------------------------------------------------------------------------


def test_features_are_computed_once_for_all_runs_on_a_dataset(recorded, tmp_path, saved):
    data = two_sensors()
    options = {"model": "tiny", "file": saved, "own": True, "frozen": True}
    where = tmp_path / "cache" / "prepared" / "made"
    found = recorded(data, options, "single", "kd", "forest", "mdico", prepared=where)
    found |= {"again": recorded(data, options, "single", prepared=where, fold=1)["single"]}
    assert {r.status for r in found.values()} == {"done"}, [r.reason for r in found.values()]
    assert Tiny.calls["samples"] == len(data) + 2 * 2  # two planned runs try it on two zeros
    assert len(folders(tmp_path)) == 1


def test_a_frozen_encoder_is_a_value_of_the_run(recorded, saved):
    data, options = two_sensors(), {"model": "tiny", "file": saved, "own": True}
    first = recorded(data, {**options, "frozen": True}, "single")["single"]
    other = recorded(data, {**options, "frozen": False}, "single")["single"]
    assert first.id != other.id and other.status == "done"
    assert first.spec.encoders["modalities"]["m1"] == {
        **options,
        "frozen": True,
        "sha256": files.sha256(Path(saved)),
    }
    assert "image" not in first.spec.encoders["options"]
    assert "frozen" not in other.spec.encoders["options"]["image"]
    state = torch.load(saved, weights_only=True)
    torch.save({**state, "linear.bias": state["linear.bias"] + 1}, saved)
    changed = recorded(data, {**options, "frozen": True}, "single")["single"]
    assert changed.id not in (first.id, other.id)


def test_records_say_what_features_cost_and_what_a_prediction_does(recorded, saved):
    data, options = two_sensors(), {"model": "tiny", "file": saved, "own": True, "frozen": True}
    found = recorded(data, options, "single", "constant", "fusion_concat", "forest")
    record, rest = found["single"], {m: r.cost["inference_parameters"] for m, r in found.items()}
    assert rest["constant"]["m1"] == 4, "what does not look at features needs no encoder"
    assert rest["forest"]["m1"] >= 15 and rest["fusion_concat"]["all"] > 15
    stage = record.stages[0]
    assert stage["stage"] == "features of m1" and stage["artefact"] and stage["method"] == "tiny"
    assert stage["flops"] == len(data) * 2 * 2 * 5 and stage["seconds"] > 0
    assert record.cost["training_flops"] == sum(s["flops"] for s in record.stages)
    head = (5 * 8 + 8) + (8 * 4 + 4)  # projection, classifier
    assert record.cost["inference_parameters"]["m1"] == (2 * 5 + 5) + 2 * 5 + head
    assert record.cost["inference_flops"]["m1"] == 2 * (2 * 5 + 5 * 8 + 8 * 4)
    assert record.cost["training_parameters"] < sum(record.cost["inference_parameters"].values())
    assert record.data.get("constant_channels") == {}


def test_frozen_random_weights_are_the_same_in_every_fold_and_seed(recorded, tmp_path):
    data, options = two_sensors(), {"model": "tiny", "own": True, "frozen": True}
    where = tmp_path / "cache" / "prepared" / "made"
    for fold, seed in ((0, 0), (1, 0), (0, 1)):
        recorded(data, options, "single", prepared=where, fold=fold, seed=seed)
    assert len(folders(tmp_path)) == 1


def test_without_statistics_of_their_own_features_are_of_a_training_part(recorded, tmp_path):
    """Nothing of a test part reaches them: they are computed anew for another training part."""
    data, options = two_sensors(), {"model": "tiny", "frozen": True}
    where = tmp_path / "cache" / "prepared" / "made"
    for fold in (0, 1):
        assert recorded(data, options, "single", prepared=where, fold=fold)["single"].metrics
    assert len(folders(tmp_path)) == 2


def test_no_value_of_a_test_part_reaches_what_a_frozen_encoder_is_given():
    data, training = two_sensors(), np.arange(60)
    spec, options = data.modalities["m1"], {"model": "tiny", "frozen": True}
    other = data.x["m1"].copy()
    other[60:] = 1e6
    first = frozen.statistics_of(spec, options, data.x["m1"], training)
    assert np.array_equal(first, frozen.statistics_of(spec, options, other, training))
    own = {**options, "own": True}
    assert np.array_equal(
        frozen.statistics_of(spec, own, other, training), np.full((2, 2), [[3.0], [2.0]])
    )


def test_weights_that_are_trained_see_their_own_statistics_too(tmp_path, monkeypatch):
    data = two_sensors()
    monkeypatch.setattr(execute, "reopen", lambda folder: data)
    encoders = resolved(data, {"model": "tiny", "own": True})
    job = Job(run_spec("single", data, encoders=encoders), tmp_path / "a" / "b", tmp_path)
    ready = execute._fold_data(*execute._prepared(job))
    batch = ready.val.batch(torch.arange(4))
    assert np.allclose(batch.x["m1"], (data.x["m1"][ready.val.samples[:4]] - 3) / 2)
    train = ready.train.batch(torch.arange(len(ready.train)))
    assert train.x["m2"].mean().abs() < 1e-4 < (train.x["m1"].mean()).abs()


def test_a_timm_model_can_be_frozen(recorded, tmp_path):
    data = two_sensors()
    record = recorded(data, {"model": "test_resnet", "frozen": True}, "single")["single"]
    assert record.status == "done", record.reason
    assert record.cost["inference_parameters"]["m1"] > 300_000 > record.cost["training_parameters"]


def test_what_is_made_of_several_modalities_is_trained_and_stated():
    data = dataset("multiclass", kinds=("series", "series"))
    quick = protocol.load("quick")
    series = {**quick.encoders["series"], "frozen": True}
    by_modality = {"made_up": {"m2": {"width": 4, "dense": 8}}}
    changed = {**quick.encoders, "series": series, "modalities": by_modality}
    found, _ = planning.resolve(data, replace(quick, encoders=changed))
    assert found["options"] == {"series": quick.encoders["series"]}
    assert found["modalities"] == {"m1": series, "m2": {"width": 4, "dense": 8}}


def test_methods_see_a_vector_and_say_what_they_say_of_vectors():
    data = two_sensors()
    quick = protocol.load("quick")
    image = {"model": "tiny", "frozen": True}
    found, seen = planning.resolve(
        data, replace(quick, encoders={**quick.encoders, "image": image})
    )
    assert seen["m1"].kind == "vector" and seen["m1"].shape == (5,)
    encoder = Encoders(**found)(seen["m1"])
    assert len(list(encoder.parameters())) == 2, "a projection, and nothing before it"


def test_folds_on_frozen_features_can_be_trained_together(tmp_path, monkeypatch):
    data = two_sensors()
    monkeypatch.setattr(execute, "reopen", lambda folder: data)
    encoders = resolved(data, {"model": "tiny", "frozen": True})
    spec = run_spec("single", data, encoders=encoders)
    where = tmp_path / "cache" / "prepared" / "made"
    jobs = [Job(replace(spec, fold=fold), where, tmp_path / "together") for fold in (0, 1)]
    together = list(serial(jobs, Scale(replicas=2)))
    assert [r.status for r in together] == ["done"] * 2
    assert [s["replicas"] for r in together for s in r.stages] == [1, 2, 2] * 2
    alone = serial([replace(job, results=tmp_path / "alone") for job in jobs], Scale())
    for one, other in zip(alone, together, strict=True):
        assert one.id == other.id and one.cost["inference_flops"] == other.cost["inference_flops"]


# --- The predictor ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["single", "late_ensemble"])
def test_a_kept_model_has_its_frozen_encoder_in_it(tmp_path, saved, monkeypatch, method):
    data = two_sensors()
    options = {"model": "tiny", "file": saved, "own": True, "frozen": True}
    encoders = resolved(data, options)
    monkeypatch.setattr(execute, "reopen", lambda folder: data)
    job = Job(run_spec(method, data, encoders=encoders), tmp_path / "a" / "b", tmp_path)
    ready = execute._fold_data(*execute._prepared(job))
    seen = execute._seen(*execute._prepared(job))
    trained = fit.fit(job.spec, seen.modalities, ready, lambda _, __, train: train())
    ranges = keeping.ranges_of(data, ready.train.samples.numpy())
    said = {"origin": {}, "view": {}, "libraries": {}}
    kept = keeping.models([job.spec], [trained], data, ready, ranges, **said)
    for m, made in kept.items():
        model.save(made, tmp_path / m)
    Path(saved).unlink()  # all is in the model
    samples = ready.test.samples.numpy()
    for m, predictor in trained.predictors.items():
        x = {name: values[samples] for name, values in data.x.items()}
        again = model.load(tmp_path / m).predict(x if m == ALL else x[m])
        expected = execute.predict(predictor, m, ready.task, ready.test)
        assert np.allclose(again, expected, atol=1e-5)


# --- The cache ----------------------------------------------------------------------------------


def ask(data, cache: Path, options: Mapping | None = None, training=None):
    encoders = {"modalities": {"m1": options or {"model": "tiny", "own": True, "frozen": True}}}
    training = np.arange(len(data)) if training is None else training
    return frozen.features(data, encoders, training, cache, CPU)["m1"]


def test_features_are_those_of_the_encoder_in_eval_mode(tmp_path, saved):
    data = two_sensors(samples=150)
    options = {"model": "tiny", "file": saved, "own": True, "frozen": True}
    found = ask(data, tmp_path, options)
    x = np.load(found.folder / "x.npy")
    net = Tiny(2, 5, saved).eval()
    with torch.no_grad():
        expected = net((torch.from_numpy(data.x["m1"]) - 3) / 2).numpy()
    assert x.dtype == np.float32 and np.allclose(x, expected, atol=1e-6)
    assert sorted(os.listdir(found.folder)) == ["meta.json", "x.npy"]


@pytest.mark.parametrize("change", ["data", "options", "file", "statistics", "name"])
def test_whatever_changes_features_is_in_their_key(tmp_path, saved, change):
    data = two_sensors()
    options = {"model": "tiny", "file": saved, "frozen": True}
    options["sha256"] = files.sha256(Path(saved))
    half = np.arange(45)
    first = ask(data, tmp_path, options, half)
    assert ask(data, tmp_path, options, half) == first
    if change == "data":
        data = replace(data, fingerprint="1" * 64)
    if change == "options":
        options = {**options, "own": True}
    if change == "file":
        torch.save(Tiny(2, 5, None).state_dict(), saved)
        options["sha256"] = files.sha256(Path(saved))
    if change == "name":
        spec = data.modalities["m1"]
        data = replace(data, modalities={**data.modalities, "m1": replace(spec, units="2")})
    other = ask(data, tmp_path, options, np.arange(90) if change == "statistics" else half)
    assert other.folder != first.folder


def test_weights_that_are_not_those_that_were_planned_give_no_features(tmp_path, saved):
    options = {"model": "tiny", "file": saved, "frozen": True, "sha256": "0" * 64}
    with pytest.raises(UserError, match="the weights of m1 are not those that it was planned with"):
        ask(two_sensors(), tmp_path, options)


def test_what_was_encoded_before_a_process_was_killed_is_not_encoded_again(tmp_path, monkeypatch):
    data = two_sensors(samples=300)
    fill = frozen._fill
    done = []

    def killed(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        fill(*arguments)
        done.append(arguments[3])

    monkeypatch.setattr(frozen, "_fill", killed)
    with pytest.raises(KeyboardInterrupt):
        ask(data, tmp_path)
    monkeypatch.setattr(frozen, "_fill", fill)
    before = Tiny.calls["samples"]
    found = ask(data, tmp_path)
    assert Tiny.calls["samples"] - before == 300 - before
    whole = ask(data, tmp_path / "other")
    assert (found.folder / "x.npy").read_bytes() == (whole.folder / "x.npy").read_bytes()


@pytest.mark.parametrize("when", ["between pieces", "at the end"])
def test_two_that_compute_the_same_features_end_with_one_folder(tmp_path, monkeypatch, when):
    data = two_sensors(samples=200)
    fill, again = frozen._fill, []

    def meanwhile(*arguments):
        if not again:
            monkeypatch.setattr(frozen, "_fill", fill)
            again.append(ask(data, tmp_path))
        fill(*arguments)

    if when == "at the end":
        begin = frozen._begin

        def late(part, samples, width):
            monkeypatch.setattr(frozen, "_begin", begin)
            again.append(ask(data, tmp_path))
            begin(part, samples, width)

        monkeypatch.setattr(frozen, "_begin", late)
    else:
        monkeypatch.setattr(frozen, "_fill", meanwhile)
    found = ask(data, tmp_path)
    assert found == again[-1]
    assert os.listdir(tmp_path / "features") == [found.folder.name]


def in_a_process(cache: str, results) -> None:
    from methods.common.encoders import BACKBONES, Backbone, register

    if "tiny" not in BACKBONES:
        register(Backbone("tiny", ("image",), build, "Sums.", statistics=statistics))
    found = ask(two_sensors(samples=2000), Path(cache))
    results.put((found.folder.name, Tiny.calls["samples"]))


def test_processes_that_begin_together_share_the_work(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    started = [
        context.Process(target=in_a_process, args=(str(tmp_path), results)) for _ in range(2)
    ]
    for process in started:
        process.start()
    told = [results.get() for _ in started]
    for process in started:
        process.join()
    assert len({name for name, _ in told}) == 1
    assert os.listdir(tmp_path / "features") == [told[0][0]]
    assert not list((tmp_path / "features").glob("*/pieces"))


def test_damaged_features_are_moved_aside_and_computed_again(tmp_path):
    data = two_sensors()
    found = ask(data, tmp_path)
    whole = (found.folder / "x.npy").read_bytes()
    (found.folder / "x.npy").write_bytes(whole[:-1])
    again = ask(data, tmp_path)
    assert again.folder == found.folder and (again.folder / "x.npy").read_bytes() == whole
    assert len(list((tmp_path / "features").glob("*.damaged-*"))) == 1


def test_a_full_disk_is_named_and_is_not_the_runs_fault(tmp_path, monkeypatch):
    data = two_sensors()
    usage = frozen.shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(frozen.shutil, "disk_usage", lambda _: usage._replace(free=10))
        with pytest.raises(
            NotWritableError, match=r"features: 0.0 GB are needed and .* another --cache"
        ):
            ask(data, tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(frozen.os, "fsync", full)
    with pytest.raises(NotWritableError, match=r"features: cannot be written to \(No space left"):
        ask(data, tmp_path)
    monkeypatch.undo()
    assert ask(data, tmp_path).width == 5


def test_features_that_are_not_finite_fail_the_run_with_the_reason(recorded, tmp_path, saved):
    state = torch.load(saved, weights_only=True)
    torch.save({**state, "linear.bias": torch.full((5,), np.nan)}, saved)
    options = {"model": "tiny", "file": saved, "own": True, "frozen": True}
    record = recorded(two_sensors(), options, "single")["single"]
    assert record.status == "failed"
    assert "the frozen encoder of m1 gives no finite features for" in record.reason


def test_features_are_removed_with_the_rest_of_the_cache(tmp_path, capsys):
    found = ask(two_sensors(), tmp_path)
    assert main(["data", "clear", "--cache", str(tmp_path)]) == 0
    assert not found.folder.exists()


# --- From the command line ----------------------------------------------------------------------


def test_frozen_encoders_and_embeddings_of_ones_own_from_the_command_line(tmp_path, capsys):
    """Embeddings are a vector like any other; tables say what was frozen."""
    described = own.write(tmp_path)
    np.save(tmp_path / "embedding.npy", np.random.default_rng(1).normal(size=(own.N, 768)))
    described["modalities"]["embedding"] = {"file": "embedding.npy", "kind": "vector"}
    path = own.save(described, tmp_path)
    text = (protocol.FOLDER / "quick.yaml").read_text().replace("epochs: 15", "epochs: 2")
    by_modality = "modalities: {vines: {S1: {width: 8, dense: 16, frozen: true}}}\n  image:"
    (tmp_path / "mine.yaml").write_text(text.replace("image:", by_modality, 1))
    command = ["run", "--datasets", str(path), "--methods", "single", "--folds", "0"]
    command += ["--modalities", "S1,embedding", "--workers", "1"]
    command += ["--protocol", str(tmp_path / "mine.yaml")]
    command += ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    assert main(command) == 0
    found, _ = records.read_all(tmp_path / "results")
    assert {record.status for record in found} == {"done"} and len(found) == 3
    assert found[0].spec.encoders["modalities"]["S1"]["frozen"] is True
    assert len(folders(tmp_path)) == 1
    tables = [path.read_text() for path in (tmp_path / "results").rglob("*.md")]
    assert any("S1: width 8, dense 16, frozen" in table for table in tables)
    for wrong, sentence in (
        ("S1: {width: 8, dense: 16, frozen: perhaps}", "vines.S1.frozen must be true or false"),
        ("S9: {width: 8}", "encoders.modalities: unknown modality of vines 'S9': known: S"),
        ("[]", "encoders.modalities is a mapping of datasets to modalities to settings"),
    ):
        changed = f"modalities: {{vines: {{{wrong}}}}}" if ":" in wrong else "modalities: []"
        other = text.replace("image:", f"{changed}\n  image:", 1)
        (tmp_path / "mine.yaml").write_text(other)
        assert main(command) == 2
        assert sentence in capsys.readouterr().err
