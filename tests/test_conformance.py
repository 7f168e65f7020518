"""Every method keeps its promises, and every check of them can fail."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from joblib.externals.loky import ProcessPoolExecutor
from torch import nn

import methods
from benchmark.commands import main as cli
from benchmark.conformance import case
from benchmark.conformance.checks import CHECKS, COLUMNS, HYPERPARAMETERS, RUNS, applicable, check
from benchmark.conformance.hyperparameters import settings_beside, variants
from benchmark.conformance.problem import COMBINATIONS, MIXTURES, TASKS, Combination
from benchmark.conformance.training import LEARNT
from benchmark.planning.split import folds
from benchmark.training.data import fold_data
from methods.common.contract import Artefact, FitStage, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import REGISTRY, Entry
from methods.fusion import FusionConcat

methods.load()

# The methods of the benchmark: what other tests put into the registry does not belong to it.
KEYS = tuple(REGISTRY)

COVER = (
    Combination("binary", ("series", "series")),
    Combination("multiclass", ("image", "series", "vector")),
    Combination("multilabel", ("image", "image")),
    Combination("regression", ("vector", "series", "vector")),
)
"""Every task, kind and number of modalities. The command takes all combinations."""

ANTI_LEAK = ("test rows", "alone", "others NaN", "company", "state")


@pytest.fixture(scope="session")
def fresh():
    """A process in which nothing is trained."""
    with ProcessPoolExecutor(1) as process:
        yield process


def failed(verdicts) -> list[str]:
    return [f"{v.check}, {v.place}: {fault}" for v in verdicts for fault in v.faults or ()]


FIRST_OF_FILE = {entry.method.__module__: key for key, entry in reversed(REGISTRY.items())}
"""Of the methods that share a file, most of whose code is the same, the first."""


def soak_but_one_of_each_file(keys: Sequence[str]) -> list:
    first = set(FIRST_OF_FILE.values())
    return [key if key in first else pytest.param(key, marks=pytest.mark.soak) for key in keys]


@pytest.mark.parametrize("key", soak_but_one_of_each_file(KEYS))
def test_no_method_leaks(key: str, fresh: Executor):
    claimed, _ = applicable(REGISTRY[key], COVER)
    assert claimed
    verdicts = check(REGISTRY[key], claimed, fresh, checks=(RUNS, *ANTI_LEAK))
    assert not failed(verdicts)
    assert len(verdicts) == len(claimed) * (1 + len(ANTI_LEAK))


@pytest.mark.parametrize("key", soak_but_one_of_each_file(KEYS))
def test_every_method_trains_as_promised(key: str, fresh: Executor):
    """On one combination each, another from method to method."""
    claimed, _ = applicable(REGISTRY[key], COVER)
    combination = claimed[KEYS.index(key) % len(claimed)]
    checks = set(CHECKS) - set(ANTI_LEAK)
    assert not failed(check(REGISTRY[key], [combination], fresh, checks=checks))


def test_the_combinations_are_every_task_number_and_kind():
    assert len(set(COMBINATIONS)) == len(TASKS) * len(MIXTURES) == 4 * 2 * 3
    assert {(len(kinds), kinds[0]) for kinds in MIXTURES} == {
        (M, kind) for M in (2, 3) for kind in ("series", "image", "vector")
    }
    assert {c.task for c in COVER} == set(TASKS)
    assert {kind for c in COVER for kind in c.kinds} == {"series", "image", "vector"}


# --- A method that keeps every promise, and others that break one each --------------------------


class Pool(Method):
    """One net a modality, all trained side by side."""

    def __init__(self, modalities, task, encoder, *, w: float = 1.0):
        super().__init__(modalities, task, encoder)
        self.w = w
        self.nets = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    def losses(self, batch):
        losses = [self.task.loss(net(batch.x[m]), batch.y) for m, net in self.nets.items()]
        return {"task": self.w * sum(losses)}

    def stages(self):
        return [Stage("pool", [self.nets], self.losses, predictors=self.deployed)]

    def predictor(self, m):
        return self.nets[m]


POOL = Entry("of_a_test", Pool, "control", "", "", None, "this benchmark")


@pytest.fixture
def judge(fresh, tmp_path):
    """Put a class of this file through checks: (class, names of checks, ...) → faults."""

    def run(method, *checks, combination=COVER[0], **declared):
        entry = replace(POOL, method=method, **declared)
        REGISTRY[entry.key] = entry
        return failed(check(entry, [combination], fresh, checks=checks))

    yield run
    REGISTRY.pop(POOL.key, None)


def only(faults: list[str], check: str, *phrases: str) -> None:
    """Exactly one fault, of this check, that says all of this."""
    (fault,) = faults
    assert fault.startswith(check)
    for phrase in phrases:
        assert phrase in fault


WITHOUT_PLUGIN = [name for name in COLUMNS if name != "alone"]


@pytest.mark.parametrize("combination", COVER, ids=str)
def test_a_method_that_keeps_every_promise_passes(judge, combination):
    assert judge(Pool, *WITHOUT_PLUGIN, combination=combination) == []


def test_statistics_of_all_samples_are_noticed(judge, monkeypatch):
    def leaking(data, values):
        (fold,) = folds(data, values)
        return fold_data(data, fold, "all", torch.device("cpu"))

    monkeypatch.setattr(case, "ready", leaking)
    faults = judge(Pool, "test rows", combination=COVER[3])
    assert "depends on the test rows" in faults[0]


class Peeking(nn.Module):
    seen: ClassVar[dict[str, torch.Tensor]] = {}

    def __init__(self, m, net):
        super().__init__()
        self.m, self.net = m, net

    def forward(self, x):
        output = self.net(x)
        self.seen[self.m] = output.detach().mean(dim=0)
        return output + sum(seen for m, seen in self.seen.items() if m != self.m)


class Peeks(Pool):
    """A deployment uses what another one has just seen."""

    def predictor(self, m):
        return Peeking(m, self.nets[m])


def test_peeking_at_another_modality_is_noticed(judge):
    faults = judge(Peeks, "others NaN")
    assert len(faults) == 2
    assert "the outputs for m1 change when the other modalities are NaN" in faults[0]
    assert "must see nothing but the modality that it is called with" in faults[0]


class Centred(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        output = self.net(x)
        return output - output.mean(dim=0)


class Centres(Pool):
    """A sample's output depends on the batch it is in."""

    def predictor(self, m):
        return Centred(self.nets[m])


def test_batch_dependent_outputs_are_noticed(judge):
    faults = judge(Centres, "company")
    assert len(faults) == 2 and "compute it from that sample alone" in faults[0]


class Scaled(nn.Module):
    def __init__(self, net, scale):
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x):
        return self.net(x) * self.scale


class KeepsOutsideItsState(Pool):
    """What is learnt is in a plain attribute."""

    scale = torch.ones(())

    def losses(self, batch):
        self.scale = batch.x["m1"].std()
        return super().losses(batch)

    def predictor(self, m):
        return Scaled(self.nets[m], self.scale)


class GrowsAModule(Pool):
    """The state has other keys after the first step."""

    def losses(self, batch):
        self.alias = self.nets["m1"]
        return super().losses(batch)


def test_what_is_learnt_and_not_in_the_state_is_noticed(judge):
    faults = judge(KeepsOutsideItsState, "state")
    assert len(faults) == 2 and "keep what is learnt in parameters and buffers" in faults[0]
    only(judge(GrowsAModule, "state"), "state", "alias", "create all modules and buffers in __init")


class Undecided(Pool):
    """Draws from a generator that nobody seeds."""

    def losses(self, batch):
        return {"noise": super().losses(batch)["task"] * np.random.default_rng().uniform(0.5, 1.5)}


def test_seeds_that_are_not_obeyed_are_noticed(judge):
    only(judge(Undecided, "seeds"), "seeds", "same seed differ in", "torch's global generator")
    only(judge(Pool, "seeds", deterministic=True), "seeds", "declared deterministic, but")


class Unseeded(Pool):
    """Initialises itself from a seed of its own, and takes no step that shows the order."""

    def __init__(self, modalities, task, encoder):
        torch.manual_seed(7)
        super().__init__(modalities, task, encoder)
        self.offset = nn.ParameterDict({m: nn.Parameter(torch.zeros(1)) for m in modalities})

    def losses(self, batch):
        return {"slope": sum(self.offset.values()).sum()}

    def stages(self):
        return [Stage("offset", [self.offset], self.losses, predictors=self.deployed)]

    def predictor(self, m):
        return self.nets[m]


def test_a_seed_without_effect_must_be_declared(judge):
    only(judge(Unseeded, "seeds"), "seeds", "another seed gives the same", "deterministic=True")
    assert judge(Unseeded, "seeds", deterministic=True) == []


class MeanOfClasses(Pool):
    """A mean over the samples of a class that a batch may lack."""

    def losses(self, batch):
        f = self.nets["m1"](batch.x["m1"])
        return {**super().losses(batch), "margin": f[batch.y == 0].mean() - f[batch.y == 1].mean()}


class SpreadOfBatch(Pool):
    """Divides by the spread of a batch that may have none."""

    def losses(self, batch):
        task = super().losses(batch)["task"]
        return {"scaled": task / batch.y.float().std()}


@pytest.mark.parametrize("method", [MeanOfClasses, SpreadOfBatch])
def test_losses_that_small_batches_break_are_noticed(judge, method):
    only(judge(method, "small batches"), "small batches", "with two samples a batch, loss term '")


class HalfUsed(Pool):
    """Of a projection only the first half is used, and of a head nothing."""

    def __init__(self, modalities, task, encoder):
        super().__init__(modalities, task, encoder)
        self.project = nn.Linear(encoder.dim, 6)
        self.unused = nn.Linear(3, 3)

    def losses(self, batch):
        z = self.project(self.nets["m1"].encoder(batch.x["m1"]))
        return {**super().losses(batch), "project": z[:, :3].pow(2).mean()}

    def stages(self):
        return [Stage("pool", [self], self.losses, predictors=self.deployed)]


EXACT = ("project.*[half:]", "unused.*")


def test_rows_without_gradient_are_noticed(judge):
    (fault,) = judge(HalfUsed, "gradients")
    for name in ("project.weight[half:]", "project.bias[half:]", "unused.weight and 1 more"):
        assert name in fault
    assert "declare it in never_trained" in fault
    assert judge(HalfUsed, "gradients", never_trained=EXACT) == []


@pytest.mark.parametrize(
    ("declared", "phrase"),
    [
        (("project.*", "unused.*"), "declares 3 of 6 rows of project.weight (0, 1, 2)"),
        ((*EXACT, "nets.m1.head.bias"), "declares nets.m1.head.bias, which a gradient reaches"),
        ((*EXACT, "gone.*"), "'gone.*', which matches no parameter"),
        (("unused.*",), "no gradient reaches project.weight[half:]"),
    ],
)
def test_declarations_must_be_exact(judge, declared, phrase):
    only(judge(HalfUsed, "gradients", never_trained=declared), "gradients", phrase)


class OutOfStage(Pool):
    """One net is in no stage's modules."""

    def stages(self):
        return [Stage("first", [self.nets["m1"]], self.losses, predictors=self.deployed)]


def test_parameters_in_no_stage_are_noticed(judge):
    (fault,) = judge(OutOfStage, "gradients")
    assert "no gradient reaches nets.m2" in fault
    assert judge(OutOfStage, "gradients", never_trained=("nets.m2.*",)) == []


class Dead(Pool):
    """Units that are below 0 whatever the input, behind one kind of ReLU or another."""

    def __init__(self, modalities, task, encoder):
        super().__init__(modalities, task, encoder)
        self.units = nn.Linear(encoder.dim, 3)
        nn.init.constant_(self.units.bias, -100)

    def activate(self, units):
        return units.relu()

    def losses(self, batch):
        units = self.activate(self.units(self.nets["m1"].encoder(batch.x["m1"])))
        return {**super().losses(batch), "unit": units.pow(2).sum()}

    def stages(self):
        return [Stage("pool", [self], self.losses, predictors=self.deployed)]


class DeadModule(Dead):
    def activate(self, units):
        return nn.ReLU(inplace=True)(units)


class Detached(Dead):
    """No initialisation and no data would bring these units a gradient."""

    def activate(self, units):
        return units.detach()


def test_units_that_a_relu_happens_to_kill_are_forgiven(judge):
    assert judge(Dead, "gradients") == judge(DeadModule, "gradients") == []
    only(judge(Detached, "gradients"), "gradients", "units.weight, units.bias")


class Taught(Pool):
    """A student of a teacher on all modalities."""

    @classmethod
    def artefacts(cls, modalities, **hyperparameters):
        return {"teacher": Artefact("fusion_concat", modalities)}

    def teach(self, batch):
        with torch.no_grad():
            return self.given["teacher"]["all"](batch.x)

    def losses(self, batch):
        t = self.teach(batch)
        soft = [(net(batch.x[m]) - t).pow(2).mean() for m, net in self.nets.items()]
        return {**super().losses(batch), "soft": sum(soft)}


class AwakensTheTeacher(Taught):
    """The teacher is in training mode: its BatchNorm buffers go on moving."""

    def teach(self, batch):
        self.given["teacher"]["all"].train()
        return super().teach(batch)


class MovesWhatIsFrozen(Pool):
    """A hook changes a net that the stage does not train."""

    def drift(self, batch):
        with torch.no_grad():
            self.nets["m2"].head.bias += 1

    def stages(self):
        stage = Stage("first", [self.nets["m1"]], self.losses, self.deployed, after_step=self.drift)
        return [stage]


def test_frozen_parts_that_move_are_noticed(judge):
    assert judge(Taught, "frozen", "cache") == []
    faults = judge(AwakensTheTeacher, "frozen")
    assert any("running_mean changed in stage 'pool'" in fault for fault in faults)
    assert any("given['teacher'] was in training mode in stage 'pool'" in f for f in faults)
    assert all("keep what is not trained frozen and in eval mode" in fault for fault in faults)
    only(judge(MovesWhatIsFrozen, "frozen"), "frozen", "nets.m2.head.bias changed in stage 'first'")


class Averages(Pool):
    """A teacher follows its students by a moving average, and they follow it."""

    def __init__(self, modalities, task, encoder):
        super().__init__(modalities, task, encoder)
        self.teacher = deepcopy(self.nets)

    def teach(self, batch):
        with torch.no_grad():
            return {m: net(batch.x[m]) for m, net in self.teacher.items()}

    def losses(self, batch):
        t = self.teach(batch)
        soft = [(net(batch.x[m]) - t[m]).pow(2).mean() for m, net in self.nets.items()]
        return {**super().losses(batch), "soft": sum(soft)}

    @torch.no_grad()
    def follow(self, batch):
        for p, q in zip(self.teacher.parameters(), self.nets.parameters(), strict=True):
            p.lerp_(q, 0.1)

    def stages(self):
        modules = [self.nets, self.teacher]
        return [Stage("pool", modules, self.losses, self.deployed, after_step=self.follow)]


class NeverFollows(Averages):
    """The teacher stays what it was."""

    def follow(self, batch):
        pass


class FollowsOutside(Averages):
    """A hook changes a teacher that belongs to no stage."""

    def stages(self):
        return [replace(super().stages()[0], modules=[self.nets])]


class LeaksToTheTeacher(Averages):
    """Gradients reach the teacher as well."""

    def teach(self, batch):
        return {m: net(batch.x[m]) for m, net in self.teacher.items()}


class FollowsOutsideTheState(Averages):
    """What the teacher has become is deployed, and kept where no state_dict finds it."""

    scale = torch.ones(())

    def follow(self, batch):
        super().follow(batch)
        self.scale = self.scale.lerp(batch.x["m1"].std(), 0.1)

    def predictor(self, m):
        return Scaled(self.teacher[m], self.scale)


FOLLOWS = {"never_trained": ("teacher.*",)}


def test_a_teacher_that_follows_by_a_moving_average_conforms(judge):
    assert judge(Averages, *WITHOUT_PLUGIN, **FOLLOWS) == []


@pytest.mark.parametrize(
    ("method", "check", "phrase"),
    [
        (NeverFollows, "gradients", "after_step of stage 'pool' changes nothing"),
        (LeaksToTheTeacher, "gradients", "never_trained declares teacher.m1."),
        (FollowsOutside, "frozen", "teacher.m1."),
        (FollowsOutsideTheState, "state", "keep what is learnt in parameters and buffers"),
    ],
)
def test_a_teacher_that_does_not_follow_as_it_should_is_noticed(judge, method, check, phrase):
    faults = judge(method, check, **FOLLOWS)
    assert faults and phrase in faults[0]


class Fitted(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(outputs), requires_grad=False)

    def forward(self, x):
        return self.mean.expand(len(x), -1)


class FitsMore(Method):
    """A stage without gradients sets what it does not name."""

    def __init__(self, modalities, task, encoder):
        super().__init__(modalities, task, encoder)
        self.nets = nn.ModuleDict({m: Fitted(task.outputs) for m in modalities})

    def fit(self, batches):
        for batch in batches:
            for net in self.nets.values():
                net.mean.add_(self.task.numbers(batch.y).sum(dim=0))

    def stages(self):
        return [FitStage("fit", [self.nets["m1"]], self.fit, predictors=self.deployed)]

    def predictor(self, m):
        return self.nets[m]


def test_a_stage_without_gradients_must_leave_the_rest_alone(judge):
    (fault,) = judge(FitsMore, "frozen", deterministic=True)
    assert "nets.m2.mean changed in stage 'fit'" in fault
    assert judge(FitsMore, "seeds", "state", deterministic=True) == []


class MarkedTeacher(FusionConcat):
    """Its net knows that it was trained, but not by its state."""

    def stages(self):
        self.net.marked = True
        return super().stages()


class ReadsTheMark(Taught):
    """Uses something of a teacher trained here that one from the cache does not have."""

    @classmethod
    def artefacts(cls, modalities, **hyperparameters):
        return {"teacher": Artefact("teacher_of_a_test", modalities)}

    def teach(self, batch):
        return super().teach(batch) + hasattr(self.given["teacher"]["all"], "marked")


def test_a_student_that_depends_on_the_cache_is_noticed(judge, monkeypatch):
    teacher = replace(POOL, key="teacher_of_a_test", method=MarkedTeacher)
    monkeypatch.setitem(REGISTRY, teacher.key, teacher)
    only(judge(ReadsTheMark, "cache"), "cache", "with a warm artefact cache")


class Ignores(Pool):
    """Hyper-parameters that do nothing, or that nobody could vary."""

    def __init__(self, modalities, task, encoder, *, w: float = 1.0, depth: int = 3, how="so"):
        super().__init__(modalities, task, encoder, w=w)


class OnlyTogether(Pool):
    """A temperature that matters where the weight of its term is not 0."""

    def __init__(
        self, modalities, task, encoder, *, w: float = 1.0, v: float = 1.0, T: float = 2.0
    ):
        super().__init__(modalities, task, encoder, w=w)
        self.v, self.T = v, T

    def losses(self, batch):
        terms = super().losses(batch)
        if self.v:
            f = [net(batch.x[m]) for m, net in self.nets.items()]
            terms["soft"] = self.v * self.task.soft_target_distance(f[0], f[1], self.T)
        return terms


def test_hyperparameters_without_effect_are_noticed(judge):
    depth, how = judge(Ignores, HYPERPARAMETERS)
    assert "'depth' changes neither a loss term nor a prediction (tried 4, 2, 1)" in depth
    assert "no other value of 'how' can be thought of: annotate it" in how
    assert judge(OnlyTogether, HYPERPARAMETERS, overrides={"v": 0.0}) == []


def test_values_that_are_tried_differ_from_the_entrys_and_keep_its_type():
    for entry in (REGISTRY[key] for key in KEYS):
        for name, value in entry.hyperparameters.items():
            tried = list(variants(entry, name))
            assert tried and value not in tried
            assert all(type(other) is type(value) for other in tried)
            beside = list(settings_beside(entry, name))
            assert beside[0] == entry.hyperparameters
            assert all(each[name] == value for each in beside)


class OneLearns(Pool):
    """The second modality's net is trained, but not for the task."""

    def losses(self, batch):
        f = {m: net(batch.x[m]) for m, net in self.nets.items()}
        return {"task": self.task.loss(f["m1"], batch.y), "small": f["m2"].pow(2).mean()}


@pytest.mark.parametrize("combination", COVER, ids=str)
def test_a_deployment_that_does_not_learn_is_noticed(judge, combination):
    faults = judge(OneLearns, "learns", combination=combination)
    assert "the loss ℓ of m2 on the test part" in faults[0]
    assert not any("of m1 on" in fault for fault in faults)


@pytest.mark.parametrize("eps", [0.0, 1e-6])
@pytest.mark.parametrize("seed", [0, 1])
def test_verdicts_on_learning_are_far_from_their_bar(fresh, tmp_path, monkeypatch, seed, eps):
    """Of the slowest to learn, whose logits add up to 0, and of nets that do not learn at all."""
    combination = Combination("multilabel", ("image", "series", "vector"))
    as_they_are = case.easy

    def nudged(*given):
        data, rng = as_they_are(*given), np.random.default_rng(1)
        x = {m: a * rng.normal(1, eps, a.shape).astype(np.float32) for m, a in data.x.items()}
        return replace(data, x=x)

    monkeypatch.setattr(case, "easy", nudged)
    monkeypatch.setattr(case, "SEED", seed)
    monkeypatch.setitem(REGISTRY, POOL.key, replace(POOL, method=OneLearns))
    for key, worst in (("dsensd", (0.0, 0.75)), (POOL.key, (0.95, np.inf))):
        (verdict,) = check(REGISTRY[key], [combination], fresh, checks=("learns",))
        assert worst[0] < max(m.value for m in verdict.measured) < worst[1]
        assert {m.bar for m in verdict.measured} == {LEARNT}


class Crashes(Pool):
    def losses(self, batch):
        raise KeyError("m7")


def test_an_error_is_told_with_its_place(judge):
    only(judge(Crashes, RUNS, "seeds"), RUNS, "KeyError: 'm7' (test_conformance.py:")


class Flattens(Pool):
    """Outputs (B,) where (B, 1) is wanted."""

    def predictor(self, m):
        return nn.Sequential(self.nets[m], nn.Flatten(0))


class HidesOne(Pool):
    """Serves only one of the modalities."""

    @property
    def deployed(self):
        return ("m1",)


def test_deployments_that_are_not_what_the_harness_serves_are_noticed(judge):
    only(judge(HidesOne, RUNS), RUNS, "deploys m1 instead of m1, m2")
    faults = judge(Flattens, RUNS, combination=COVER[3])
    assert faults and "differ" in faults[0]


# --- The command, and a method that lives outside the repository --------------------------------


OUTSIDE = """
from torch import nn

from methods.common.contract import Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, register


class Outside(Method):
    def __init__(self, modalities, task, encoder, *, w: float = 1.0):
        super().__init__(modalities, task, encoder)
        self.w = w
        self.nets = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    def losses(self, batch):
        losses = [self.task.loss(net(batch.x[m]), batch.y) for m, net in self.nets.items()]
        return {"task": self.w * sum(losses)}

    def stages(self):
        return [Stage("joint", [self.nets], self.losses, predictors=self.deployed)]

    def predictor(self, m):
        return self.nets[m]


def without_images(modalities, task):
    images = any(spec.kind == "image" for spec in modalities.values())
    return "images and many outputs are not for this method" if images or task.outputs > 2 else None


class Forgets(Outside):
    \"\"\"Its predictors need what is not in their state.\"\"\"

    scale = 1.0

    def losses(self, batch):
        self.scale = float(batch.x["m1"].std())
        return super().losses(batch)

    def predictor(self, m):
        return nn.Sequential(self.nets[m], nn.CELU(self.scale))


def entry(key, method, **declared):
    register(Entry(key, method, "control", "", "", None, "this benchmark", **declared))


entry("outside", Outside, applicable=without_images)
class Grows(Outside):
    \"\"\"A state that no fresh instance can load, in a hundred places.\"\"\"

    def losses(self, batch):
        self.nets["m1"].more = nn.Sequential(*(nn.Linear(1, 1) for _ in range(100)))
        return super().losses(batch)


class Leaves(Outside):
    def losses(self, batch):
        raise SystemExit(3)


def pairs(modalities, task):
    return None if task.kind == "binary" and [*modalities] == ["m1", "m2"] else "only binary pairs"


entry("forgets", Forgets, applicable=pairs)
entry("grows", Grows, applicable=pairs)
entry("leaves", Leaves, applicable=pairs)
entry("for_nothing", Outside, applicable=lambda modalities, task: "nothing is good enough")
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(OUTSIDE))
    yield str(path)
    for key in ("outside", "forgets", "grows", "leaves", "for_nothing"):
        REGISTRY.pop(key, None)


ROOT = Path(__file__).parents[1]


def checked(*arguments: str) -> tuple[int, str]:
    """The command in a process of its own: exit code and all that it says."""
    command = [sys.executable, "-m", "benchmark", "check", *arguments, "--workers", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_a_method_outside_the_repository_is_checked_like_any_other(plugin):
    code, text = checked("outside", "--plugin", plugin)
    assert code == 0, text
    (row,) = (line for line in text.splitlines() if line.startswith("outside  "))
    assert row.split()[1:] == ["8"] * 9 + ["-", "8", "8", "1"]
    assert "outside applies to 8 of 24 combinations" in text
    assert "images and many outputs are not for this method" in text
    nearest = [line for line in text.splitlines() if "where it must be below" in line]
    assert [line.split(":")[0].strip() for line in nearest] == ["company", "learns"]
    assert "below 0.001 (outside, " in nearest[0] and "below 0.85 (outside, " in nearest[1]
    assert "1 of 1 methods conform" in text


def test_a_faulty_method_is_told_what_to_do_and_the_exit_code_says_so(plugin):
    code, text = checked("forgets", "grows", "leaves", "for_nothing", "--plugin", plugin)
    assert code == 1
    assert "the predictor of m1 gives other outputs in a fresh process" in text
    assert "for_nothing: it applies to none of the combinations" in text
    assert "0 of 4 methods conform" in text
    assert "not: for_nothing, forgets, grows, leaves" in text
    # One sentence each, however much torch has to say.
    for start in ("forgets, alone", "grows, state", "grows, alone", "leaves, runs"):
        (line,) = (line for line in text.splitlines() if line.startswith(start))
        assert len(line) < 700, line
    assert "Traceback" not in text
    assert "leaves, runs, binary from series + series (and 2 more: -v): SystemExit: 3" in text


def test_what_is_being_checked_is_said_within_seconds(plugin):
    """At once that something is loaded, then the method and the place, which take longest."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmark", "check", "outside", "--plugin", plugin]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    first = process.stderr.readline()
    seconds = time.perf_counter() - started
    process.terminate()
    rest = process.stderr.read()
    assert process.wait(60) == 143
    assert first == "loading the methods ...\n" and seconds < 5
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        ((), "say what to check"),
        (("mdicko",), "did you mean mdico"),
        (("single", "--plugin", "/nowhere/mine.py"), "there is no such file"),
    ],
)
def test_bad_requests_are_told_in_one_sentence(capsys, arguments, phrase):
    assert cli.main(["check", *arguments]) == 2
    assert phrase in capsys.readouterr().err
