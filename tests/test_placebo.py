"""Placebo: every method with a wrong partner; what it gains so, no other sensor gave it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark import records
from benchmark.executors.slurm import pack
from benchmark.planning.building import artefact_spec
from benchmark.planning.jobs import Job
from benchmark.planning.split import folds
from benchmark.training.data import fold_data
from benchmark.training.fit import fit
from methods.common.contract import Artefact, Batch, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import REGISTRY, Entry, register
from tests.problems import dataset, run_spec

KINDS = ("vector", "vector", "series")


def ready(data, **values):
    """The first fold of a dataset."""
    spec = run_spec("single", data, **values)
    return fold_data(data, folds(data, spec.protocol)[0], "training", torch.device("cpu"))


@given(st.integers(0, 2**63 - 1), st.sampled_from(["m1", "m2", "m3"]))
def test_all_but_one_modality_and_the_labels_are_those_of_one_other_sample(seed, m):
    part = READY.train
    wrong = part.with_wrong_partners(m, seed)
    everyone = torch.arange(len(part))
    true, found = part.batch(everyone), wrong.batch(everyone)
    assert torch.equal(found.y, true.y) and torch.equal(found.x[m], true.x[m])
    assert torch.equal(found.index, true.index)
    partners = {j: wrong.partners[j] for j in found.x if j != m}
    assert m not in wrong.partners and len(partners) == 2
    (first, second) = partners.values()
    assert torch.equal(first, second)  # what they say of each other stays
    assert torch.equal(first.sort().values, part.samples)  # everyone once, within this part
    assert not (first == part.samples).any()
    for j in partners:
        assert torch.equal(found.x[j], part.x[j][first])
    again = part.with_wrong_partners(m, seed)
    assert torch.equal(again.partners[next(iter(partners))], first)


READY = ready(dataset(kinds=KINDS))


def test_a_part_of_two_is_swapped_and_a_part_of_one_has_nobody_else():
    pair = replace(READY.train, samples=READY.train.samples[:2], y=READY.train.y[:2])
    assert torch.equal(pair.with_wrong_partners("m1", 0).partners["m2"], pair.samples.flip(0))
    alone = replace(READY.train, samples=READY.train.samples[:1], y=READY.train.y[:1])
    assert torch.equal(alone.with_wrong_partners("m1", 0).partners["m2"], alone.samples)


def test_folds_seeds_parts_and_deployments_have_partners_of_their_own_and_test_has_none():
    one = READY.with_wrong_partners("m1", 0, 0)
    assert one.test is READY.test and one.task is READY.task
    for other in (
        READY.with_wrong_partners("m1", 1, 0),
        READY.with_wrong_partners("m1", 0, 1),
    ):
        assert not torch.equal(one.train.partners["m2"], other.train.partners["m2"])
    other = READY.with_wrong_partners("m2", 0, 0)
    assert not torch.equal(one.train.partners["m3"], other.train.partners["m3"])
    assert set(one.val.partners["m2"].tolist()) == set(READY.val.samples.tolist())
    # One modality of a fold has the partners that it has among all.
    assert torch.equal(
        READY.only(("m2",)).with_wrong_partners("m1", 0, 0).train.partners["m2"],
        one.train.partners["m2"],
    )


SEEN: list[tuple[str, torch.Tensor, torch.Tensor]] = []


class Spy(Method):
    """Keeps every batch that it is given."""

    def __init__(self, modalities, task, encoder):
        super().__init__(modalities, task, encoder)
        self.nets = torch.nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    @classmethod
    def artefacts(cls, modalities, **_):
        return {"all": Artefact("spy", modalities[1:])} if len(modalities) == 3 else {}

    def losses(self, batch):
        batches = dict.fromkeys(self.nets, batch) if isinstance(batch, Batch) else batch
        pairs = {m: (own.x[m], own.y) for m, own in batches.items()}
        SEEN.extend((m, x.clone(), y.clone()) for m, (x, y) in pairs.items())
        return {"task": sum(self.task.loss(self.nets[m](x), y) for m, (x, y) in pairs.items())}

    def watched(self, batch):
        return sum(self.losses(batch).values())

    def look(self, batches):
        for batch in batches:
            self.losses(batch)

    def stages(self):
        return [
            Stage("whole", [self.nets], self.losses, validate=self.watched),
            Stage("unpaired", [self.nets], self.losses, self.deployed, paired=False),
            Stage(
                "hooks",
                [self.nets],
                self.losses,
                self.deployed,
                on_validation=self.look,
                after_epoch=lambda _, batches: self.look(batches),
            ),
        ]

    def predictor(self, m):
        return self.nets[m]


@contextmanager
def registered(entry):
    register(entry)
    try:
        yield
    finally:
        del REGISTRY[entry.key]


def test_no_stage_hook_objective_or_artefact_sees_the_true_partner():
    """Of every x_j that anything is shown, the label beside it is that of another sample."""
    data = dataset("regression", KINDS)  # every label is one sample's
    fold = ready(data)
    own = {
        m: {
            tuple(x.flatten().tolist()): float(y)
            for part in (fold.train, fold.val)
            for x, y in zip(part.x[m][part.samples], part.y, strict=True)
        }
        for m in data.modalities
    }
    with registered(Entry("spy", Spy, "distillation", "", "", None, "this benchmark")):
        for placebo in ("m1", ""):
            SEEN.clear()
            spec = run_spec("spy", data, placebo=placebo)
            fit(spec, data.modalities, fold, lambda _, __, train: train())
            right = {m: set() for m in data.modalities}
            for m, xs, ys in SEEN:
                for x, y in zip(xs, ys, strict=True):
                    right[m].add(own[m][tuple(x.flatten().tolist())] == float(y))
            assert right == {"m1": {True}, "m2": {not placebo}, "m3": {not placebo}}


def test_an_artefact_that_sees_the_intact_modality_alone_is_the_same_as_without():
    data = dataset(kinds=KINDS)
    plain, placebo = (run_spec("kd_cross", data, placebo=m) for m in ("", "m1"))
    same = {m: artefact_spec(placebo, m).id == artefact_spec(plain, m).id for m in plain.artefacts}
    assert same == {"m1": True, "m2": False, "m3": False}
    teacher = artefact_spec(run_spec("kd", data, placebo="m1"), "teacher")
    assert (
        teacher.placebo == "m1" and teacher.id != artefact_spec(run_spec("kd", data), "teacher").id
    )
    assert str(placebo) == "made_up kd_cross (placebo on m1) fold 0 seed 0"


def test_a_teacher_with_wrong_partners_knows_nothing_and_one_without_does():
    data = dataset("regression", samples=200, groups=None)
    numbers = {"epochs": 30, "learning_rate": 0.01}
    lowest = {}
    for placebo in ("", "m1"):
        spec = run_spec("gen_distill", data, placebo=placebo)
        spec = replace(spec, protocol={**spec.protocol, **numbers})
        trained = fit(spec, data.modalities, ready(data), lambda _, __, train: train())
        for stage in trained.stages:
            if stage.artefact:
                lowest[placebo, *stage.modalities] = min(stage.validation[stage.modalities[0]])
    # The loss of a constant is the variance of the standardised target.
    assert lowest["", "m2"] < 0.5 < lowest["m1", "m2"]
    assert lowest["m1", "m1"] == lowest["", "m1"]


def test_run_adds_the_placebos_keeps_the_deployed_scores_and_skips_what_is_recorded(
    run, place, capsys
):
    arguments = ("placebo", "--folds", "0", "--placebo")
    assert run(*arguments, "--dry-run", methods="dml,single,fusion_concat") == 0
    shown = capsys.readouterr().out
    assert "placebo: 2 runs more, with wrong partners, of dml" in shown
    assert "no placebo of constant, forest, single: sees one modality alone" in shown
    assert "no placebo of fusion_concat: has all modalities at inference" in shown
    assert shown.count("placebo on S1") == shown.count("placebo on S2") == 1
    assert "7 runs to do, 0 recorded already" in shown
    assert run(*arguments, methods="dml") == 0 and run(*arguments, methods="dml") == 0
    assert "5 were recorded already" in capsys.readouterr().out
    found = [r for r in records.read_all(place.folder / "placebo")[0] if r.spec.method == "dml"]
    deployed = {record.spec.placebo: tuple(record.metrics) for record in found}
    assert deployed == {"": ("S1", "S2"), "S1": ("S1",), "S2": ("S2",)}
    for record in found:
        _, predictions = records.read_predictions(record, place.folder / "placebo")
        assert set(predictions) == set(record.metrics) == set(record.cost["inference_parameters"])


def test_placebos_that_build_on_one_teacher_go_into_one_job(tmp_path):
    data = dataset()
    specs = [run_spec(m, data, placebo=p) for m in ("kd", "fitnet") for p in ("", "m1", "m2")]
    packs = pack([Job(spec, tmp_path, tmp_path) for spec in specs], 2)
    found = [[(job.spec.method, job.spec.placebo) for job in jobs] for jobs in packs]
    assert found == [[("kd", p), ("fitnet", p)] for p in ("", "m1", "m2")]


@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_executors_carry_the_placebo(run, place, executor):
    more = ("--folds", "0", "--placebo", "--workers", "2")
    assert run(f"placebo-{executor}", *more, methods="dml", executor=executor) == 0
    assert run("placebo-serial", *more[:3], methods="dml") == 0
    scores = [
        {r.id: r.metrics for r in records.read_all(place.folder / name)[0] if r.spec.placebo}
        for name in (f"placebo-{executor}", "placebo-serial")
    ]
    assert len(scores[0]) == 2 and scores[0] == scores[1]
