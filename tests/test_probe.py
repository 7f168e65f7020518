"""Probes on frozen, pre-trained encoders: what is fitted, what is chosen, and where they stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

import methods
from benchmark.deployment.inputs import of_dataset
from benchmark.errors import UserError
from benchmark.planning import encoders, plan, protocol
from benchmark.planning.split import folds
from benchmark.problem import CONTEXT, ModalitySpec, TaskSpec
from benchmark.report.frame import collect
from benchmark.report.summary import summarise
from benchmark.report.wording import notes
from benchmark.training import direct
from benchmark.training.execute import execute
from methods.common import weights as files
from methods.common.contract import Batch
from methods.common.registry import REGISTRY
from methods.forest import Forest
from methods.probe import PENALTIES, Probe, fit_linear
from tests.layouts import ADAPTERS, generated, prepare, prepare_with

methods.load()
PROBES = ("presto_probe", "galileo_probe", "presto_probe_no_context", "galileo_probe_no_context")
SPEC = ModalitySpec("S1", "vector", (5,), tuple("abcde"), "features of series")


def data(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))


def test_on_a_regression_it_is_ridge():
    x, task = data(40), TaskSpec("regression", 1)
    y = (x @ torch.tensor([[1.0], [-2], [0], [3], [0.5]])) + 0.3 + 0.1 * data(40, 1)[:, :1]
    W, b, _ = fit_linear(x, y, task, 0.1)
    # The gradient of mean (xw + b - y)² + λ w² is 0.
    centred, target = x - x.mean(0), y - y.mean()
    w = torch.linalg.solve(centred.T @ centred / 40 + 0.1 * torch.eye(5), centred.T @ target / 40)
    assert torch.allclose(W, w.T, atol=1e-5)
    assert torch.allclose(b, (y.mean() - x.mean(0) @ w).flatten(), atol=1e-5)


def test_on_classes_it_is_logistic_regression_with_the_weights_of_classes():
    from sklearn.linear_model import LogisticRegression

    x, task = data(60), TaskSpec("multiclass", 3)
    y = (x @ data(3, 2).T).argmax(1)
    y[:10] = 0
    task = task.fitted(y.numpy())
    W, b, _ = fit_linear(x, y, task, 0.01)
    # ℓ is a mean by weights, whose sum is the number of samples; scikit-learn has ½ ‖W‖² / C.
    model = LogisticRegression(C=1 / (2 * 0.01 * 60), class_weight="balanced", tol=1e-8)
    model.fit(x, y)
    assert torch.allclose(W, torch.tensor(model.coef_, dtype=torch.float32), atol=1e-3)
    probabilities = model.predict_proba(x)
    assert (x @ W.T + b).softmax(1).numpy() == pytest.approx(probabilities, abs=1e-3)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression"])
def test_a_class_that_training_lacks_and_a_label_that_is_always_there_are_finite(kind):
    x = data(30)
    task = TaskSpec(kind, {"binary": 2, "regression": 1}.get(kind, 3))
    y = {
        "binary": (x[:, 0] > 0).long(),
        "multiclass": (x[:, 0] > 0).long(),  # of 0, 1 and 2
        "multilabel": torch.stack([x[:, 0] > 0, x[:, 0] < 9, x[:, 0] > 9], 1).float(),
        "regression": x[:, :1],
    }[kind]
    task = task.fitted(y.numpy().squeeze() if kind == "regression" else y.numpy())
    for penalty in PENALTIES:
        W, b, _ = fit_linear(x, y, task, penalty)
        assert W.isfinite().all() and b.isfinite().all()
        assert task.loss(x @ W.T + b, y) < task.loss(torch.zeros(30, task.outputs), y)


def fitted(of_x, n: int = 200) -> tuple[Probe, torch.Tensor, torch.Tensor]:
    task = TaskSpec("regression", 1)
    method = Probe({"S1": SPEC}, task, None)
    parts = []
    for seed in (0, 1):
        x = data(n, seed)
        parts.append([Batch({"S1": x}, of_x(x)[:, None], torch.arange(n), 0)])
    (stage,) = method.stages()
    assert stage.fit(parts[0]) > 0
    stage.on_validation(parts[1])
    return method, parts[1][0].x["S1"], parts[1][0].y


def test_the_better_by_validation_is_deployed_and_works_from_its_state_alone():
    for of_x, planted in ((lambda x: x[:, 0] - x[:, 1], False), (lambda x: x[:, 0].abs(), True)):
        method, x, y = fitted(of_x)
        predictor = method.predictor("S1")
        assert bool(len(predictor.forest.roots)) == planted
        fresh = Probe({"S1": SPEC}, method.task, None).predictor("S1")
        fresh.load_state_dict(predictor.state_dict())
        assert torch.equal(fresh(x), predictor(x)) and len(x) == len(y)
        losses = {
            "linear": method.task.loss(predictor.linear(x), y),
            "forest": method.task.loss(method.forests.nets["S1"][1](x), y),
        }
        assert method.task.loss(predictor(x), y) == min(losses.values())
        assert isinstance(predictor.forest, Forest)


@pytest.fixture(scope="module")
def moisture(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return prepare("fuel_moisture", generated("fuel_moisture", 120), cache)


def planned(dataset, folder, *keys: str, of: str = "quick", to=None) -> list[plan.Planned]:
    entries = [REGISTRY[key] for key in keys]
    found = plan.plan(
        [(dataset, folder)],
        entries,
        protocol.load(of),
        chosen_folds=[0],
        seeds=None,
        results=to or folder,
        device="cpu",
        plugins=(),
    )
    return list(found)


def test_it_stands_beside_methods_with_the_protocols_encoders(
    moisture, tmp_path, real_data, monkeypatch
):
    monkeypatch.setenv(files.FOLDER, str(real_data / "weights"))
    jobs = planned(moisture, tmp_path, "single", *PROBES)
    specs = {p.job.spec.method: p.job.spec for p in jobs}
    assert not any(p.not_applicable for p in jobs)
    assert len({str(spec.encoders) for spec in specs.values()}) == 1, "one table"
    assert "brought" not in specs["single"].identity
    one = specs["presto_probe"].brought["S1"]
    assert one["model"] == "presto" and one["frozen"] and len(one["sha256"]) == 64
    assert len(one["context"]) == 16
    assert "context" not in specs["presto_probe_no_context"].brought["S1"]
    assert len({spec.id for spec in specs.values()}) == 5


def test_what_it_does_not_encode_and_weights_that_cannot_be_had_are_reasons(
    moisture, tmp_path, monkeypatch
):
    monkeypatch.setenv(files.FOLDER, str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    (job,) = planned(moisture, tmp_path, "presto_probe")
    assert "weights that cannot be had" in job.not_applicable
    assert "no network" in job.not_applicable
    lfmc = prepare("lfmc", generated("lfmc", 120), tmp_path / "cache")
    (job,) = planned(lfmc, tmp_path, "galileo_probe")
    assert "its encoder 'galileo': S2 of lfmc cannot be encoded so" in job.not_applicable
    assert "sees no channel of S2" in job.not_applicable and "\n" not in job.not_applicable


def test_an_encoder_that_is_brought_names_what_it_is_and_takes_no_image(tmp_path):
    tiles = prepare("treesatai_ts", generated("treesatai_ts", 12), tmp_path, "aerial", image_px=32)
    with pytest.raises(UserError, match="'presto' encodes series and vector, not image"):
        encoders.brought(tiles, {**REGISTRY["presto_probe"].encoder, "frozen": True})


ON_TOP = (
    "single",
    "fusion_concat",
    "isensd",
    "fsensd",
    "gen_distill",
    "shaspec",
    "clip_sup",
    "mdico",
)


@pytest.mark.parametrize("settings", [{"frozen": True}, {"weights": None}])
def test_methods_of_all_families_run_on_top_of_it(settings, tmp_path, real_data, monkeypatch):
    """Frozen in published weights, and trained from random ones, month and place included."""
    monkeypatch.setenv(files.FOLDER, str(real_data / "weights"))
    values = yaml.safe_load((protocol.FOLDER / "quick.yaml").read_text())
    values["encoders"]["series"] = {"model": "presto", **settings}
    values |= {"epochs": 1, "batch_size": {"default": 40}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    native = generated("fuel_moisture", 120)
    data, folder = prepare_with(ADAPTERS["fuel_moisture"], native, tmp_path / "cache", samples=80)
    methods_on_top = (*ON_TOP, "presto_probe")
    jobs = planned(data, folder, *methods_on_top, of=str(tmp_path / "mine.yaml"), to=tmp_path)
    reasons = {p.job.spec.method: p.not_applicable for p in jobs if p.not_applicable}
    stacked = {"isensd": "no modality is a series to stack channels along"}
    assert reasons == (stacked if "frozen" in settings else {})
    found = {p.job.spec.method: execute(p.job) for p in jobs if not p.not_applicable}
    assert {m: r.reason for m, r in found.items() if r.status != "done"} == {}
    stages = [s["stage"] for s in found["presto_probe"].stages]
    assert stages == ["features of S1", "features of S2", "probe"]
    (group,) = collect(tmp_path).groups
    (said,) = (note for note in notes(summarise(group)) if "pre-trained on" in note)
    assert said.startswith("presto_probe: a frozen encoder in place of the protocol's, pre-trained")
    assert "of 2020 and 2021" in said and said.endswith("given month and place beside S1, S2.")


@pytest.mark.parametrize("key", ["presto_probe", "galileo_probe_no_context", "single"])
def test_a_model_that_is_kept_is_given_month_and_place_of_a_dataset_itself(
    key, moisture, tmp_path, real_data, monkeypatch
):
    monkeypatch.setenv(files.FOLDER, str(real_data / "weights"))
    values = yaml.safe_load((protocol.FOLDER / "quick.yaml").read_text())
    values["encoders"]["series"] = {"model": "presto", "weights": None}
    values |= {"epochs": 1, "batch_size": {"default": 40}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    (job,) = planned(moisture, tmp_path, key, of=str(tmp_path / "mine.yaml"))
    spec = job.job.spec
    (fold,) = (f for f in folds(moisture, spec.protocol) if f.number == 0)
    made = direct.train(
        *(spec, moisture, fold), seeds=[0], device="cpu", cache=tmp_path / "cache", view={}
    )
    model = made.models["S1"]
    given = "no_context" not in key
    assert {*CONTEXT} <= {*model.spec.channels} if given else len(model.spec.channels) == 2
    found = model.predict(np.asarray(of_dataset(moisture, model).x["S1"]))
    elsewhere = replace(moisture, places=moisture.places + 9)
    other = model.predict(np.asarray(of_dataset(elsewhere, model).x["S1"]))
    assert np.isfinite(found).all() and (found == other).all() != given
