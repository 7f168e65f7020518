"""`check --dataset` and `check --encoder`: what is right passes, and every check can fail."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import plugins
from benchmark.commands import main as cli
from benchmark.conformance import datasets as of_datasets
from benchmark.conformance import encoders as of_encoders
from benchmark.planning import protocol
from datasets.common.contract import ADAPTERS
from methods.common.encoders import Backbone

QUICK = protocol.load("quick")


@pytest.fixture(scope="module")
def meadow(tmp_path_factory):
    """The dataset that `new` writes, as a class, and its generated files."""
    folder = tmp_path_factory.mktemp("new")
    assert cli.main(["new", "dataset", "meadow", "--out", str(folder)]) == 0
    plugins.load([folder / "meadow.py"])
    adapter = ADAPTERS["meadow"]
    native = folder / "native"
    native.mkdir()
    adapter.generate(native, seed=0, samples=200)
    yield type(adapter), native
    plugins.unload([folder / "meadow.py"], ADAPTERS)


def faults(adapter, native) -> dict[str, str]:
    """Check → what it says, of those that found a fault."""
    found = of_datasets.check(adapter, native, "real", QUICK)
    return {each.check: " ".join(each.faults) for each in found if each.faults}


def changed(meadow, **of_catalogue):
    """The adapter with another ``open``: functions of its catalogue, by field."""

    class Changed(meadow[0]):
        def open(self, root, modalities, view):
            catalogue = super().open(root, modalities, view)
            return replace(catalogue, **{k: f(catalogue) for k, f in of_catalogue.items()})

    return Changed()


def test_what_is_right_has_no_fault(meadow):
    assert faults(meadow[0](), meadow[1]) == {}


def standardised(catalogue):
    own = catalogue.read
    radar = np.stack([own(i)["radar"] for i in range(len(catalogue))])
    mean, std = radar.mean(axis=(0, 1)), radar.std(axis=(0, 1))

    def read(i):
        return {m: (x - mean) / std if m == "radar" else x for m, x in own(i).items()}

    return read


def random(catalogue):
    rng = np.random.default_rng()
    return lambda i: {m: x + rng.random() for m, x in catalogue.read(i).items()}


WRONG = {
    "a class too many": ({"y": lambda c: c.y + 1}, "samples", "is 2; classes are 0 to 1"),
    "an id twice": ({"ids": lambda c: c.ids[[1, *range(1, len(c))]]}, "samples", "stands twice"),
    "a dtype": ({"dtypes": lambda c: dict.fromkeys(c.dtypes, float)}, "samples", "cannot be kept"),
    "another shape": (
        {"read": lambda c: lambda i: {m: x[:-1] for m, x in c.read(i).items()}},
        "samples",
        "its spec says numbers",
    ),
    "standardised": ({"read": standardised}, "samples", "radar: every channel has mean 0 and devi"),
    "read at random": ({"read": random}, "again", "is another when it is read again"),
    "a group in two parts": (
        {"split": lambda c: np.array(["train", "val", "test"])[np.arange(len(c)) // 60 % 3]},
        "disjoint",
        "is in the training and the",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_dataset_is_told(case, meadow):
    change, check, message = WRONG[case]
    assert message in faults(changed(meadow, **change), meadow[1]).get(check, "")


def test_files_that_are_not_named_are_told(meadow):
    class Unnamed(meadow[0]):
        def source_files(self, root):
            return super().source_files(root)[:-1]

    said = faults(Unnamed(), meadow[1])["files named"]
    assert "source_files() does not name all that is read" in said and "optical.npy" in said


def test_bad_files_without_a_sentence_are_told(meadow):
    """A reader that hopes for the best: a traceback for one damage, silence for another."""

    class Hopeful(meadow[0]):
        def open(self, root, modalities, view):
            catalogue = super().open(root, modalities, view)
            lines = list(csv.reader((root / "notes.csv").read_text().splitlines()))
            return replace(catalogue, y=np.array([int(line[0]) for line in lines]))

        def source_files(self, root):
            return [*super().source_files(root), "notes.csv"]

        def generate(self, root, *, seed, samples, **structure):
            super().generate(root, seed=seed, samples=samples, **structure)
            (root / "notes.csv").write_text("".join(f"{i % 2}\n" for i in range(samples)))

    adapter = Hopeful()
    adapter.generate(meadow[1], seed=0, samples=60)
    said = faults(adapter, meadow[1])["bad files"]
    assert "where notes.csv has other bytes in its middle: UnicodeDecodeError" in said
    assert "where notes.csv is empty, the sentence does not name it" in said


def test_a_generator_that_forgets_its_seed_is_told(meadow):
    class Unseeded(meadow[0]):
        def generate(self, root, *, seed, samples, **structure):
            super().generate(root, seed=np.random.default_rng().integers(1 << 30), samples=samples)

    assert "writes other data for the same seed" in faults(Unseeded(), meadow[1])["generated"]


def test_the_command_names_what_fails(capsys, tmp_path):
    """Of a dataset that is shipped, and of names that nothing has."""
    arguments = ["check", "--dataset", "lfmc", "--cache", str(tmp_path)]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "lfmc: GENERATED data in" in out and "1 of 1 conform" in out
    for more, message in (
        (["--dataset", "lfcm"], "unknown dataset 'lfcm': did you mean lfmc?"),
        (["--encoder", "tempcn"], "unknown timm model 'tempcn': did you mean tempcnn?"),
        (["kd", "--dataset", "lfmc"], "check methods in one command, --dataset and --encoder in"),
    ):
        assert cli.main(["check", *more]) == 2
        assert message in capsys.readouterr().err


# --- Encoders -----------------------------------------------------------------------------------


class Plain(nn.Module):
    """Right: linear in the flattened input."""

    def __init__(self, spec, *, width: int = 8):
        super().__init__()
        self.linear = nn.Linear(int(torch.Size(spec.shape).numel()), width)
        self.out_features = width

    def forward(self, x):
        return self.linear(x.flatten(1))


class Company(Plain):
    def forward(self, x):
        return super().forward(x - x.mean(dim=0))


class Unused(Plain):
    def __init__(self, spec):
        super().__init__(spec)
        self.more = nn.Linear(2, 2)


class Deaf(Plain):
    def forward(self, x):
        return super().forward(torch.cat([x[..., :-1], torch.zeros_like(x[..., -1:])], dim=-1))


class Wide(Plain):
    def __init__(self, spec):
        super().__init__(spec)
        self.out_features = 9


class NotFinite(Plain):
    def forward(self, x):
        return super().forward(x / x.abs().amax(dim=tuple(range(1, x.dim())), keepdim=True))


class Forgetful(Plain):
    def __init__(self, spec):
        super().__init__(spec)
        self.hidden = torch.rand(8)

    def forward(self, x):
        return super().forward(x) * self.hidden


class Unseeded(Plain):
    def __init__(self, spec):
        super().__init__(spec)
        nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(next(NUMBERS)))


NUMBERS = iter(range(10_000))

ENCODERS = {
    Company: ("company", "depend on the others in its batch"),
    Unused: ("gradients", "no gradient reaches more.weight, more.bias"),
    Deaf: ("inputs", "channel 1 of 2 changes nothing"),
    Wide: ("encodes", "1 samples become torch.float32 (1, 8), not float32 (1, 9)"),
    NotFinite: ("encodes", "of which all is missing (0) does not become finite"),
    Forgetful: ("state", "its state_dict() does not hold all that it needs"),
    Unseeded: ("seeds", "its weights are not decided by torch's seed"),
}


def encoder_faults(build) -> dict[str, str]:
    found = of_encoders.check(Backbone("mine", ("series",), build, "Mine."))
    return {each.check: " ".join(each.faults) for each in found if each.faults}


def test_a_right_encoder_has_no_fault():
    assert encoder_faults(Plain) == {}


@pytest.mark.parametrize("build", ENCODERS)
def test_a_wrong_encoder_is_told(build):
    check, message = ENCODERS[build]
    assert message in encoder_faults(build).get(check, "")


@pytest.mark.parametrize("name", ["tempcnn", "mlp", "test_resnet"])
def test_the_encoders_that_are_shipped_conform(name, capsys):
    assert cli.main(["check", "--encoder", name]) == 0
    assert "1 of 1 conform" in capsys.readouterr().out
