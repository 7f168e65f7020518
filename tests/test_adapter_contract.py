"""An adapter of one's own: whatever does not fit the contract is one sentence, before training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common import contract, prepared
from datasets.common.contract import Adapter, Catalogue
from tests.layouts import ADAPTERS, prepare_with

N = 6


class Mine(Adapter):
    """Six samples from nowhere; ``changes`` are made to the catalogue, ``reads`` to a sample."""

    name = folder = "mine"
    title = citation = licence = url = "made up"
    layout = "mine/\n  values.txt"
    modalities = default_modalities = ("a", "b")

    def __init__(self, reads=None, **changes) -> None:
        self.reads, self.changes = reads or {}, changes

    def source_files(self, root):
        return []

    def open(self, root, modalities, view):
        specs = {m: ModalitySpec(m, "vector", (2,), ("x", "y"), "1") for m in modalities}
        catalogue = Catalogue(
            modalities=specs,
            task=TaskSpec("multiclass", 3),
            y=np.arange(N) % 3,
            ids=np.array([f"s{i}" for i in range(N)]),
            groups=None,
            split=None,
            dtypes=dict.fromkeys(specs, np.dtype(np.float32)),
            read=lambda i: {m: np.full(2, i) for m in specs} | self.reads,
        )
        return replace(catalogue, **self.changes)


class Forgetful(Mine):
    def open(self, root, modalities, view):
        super().open(root, modalities, view)


def test_what_fits_is_prepared(tmp_path):
    data, _ = prepare_with(Mine(notices=("two of three",)), tmp_path, tmp_path / "cache")
    assert data.x["a"][:, 0].tolist() == list(range(N)) and data.notices == ("two of three",)
    again, _ = prepare_with(Mine(notices=("not asked",)), tmp_path, tmp_path / "cache")
    assert again.notices == ("two of three",), "as it was when the files were read"


def names(*values):
    return np.array(values or [f"s{i}" for i in range(N)])


BAD = {
    "nothing": (Forgetful(), "gives NoneType, not a Catalogue"),
    "no samples": (Mine(ids=names()[:0]), "no samples"),
    "a class too many": (Mine(y=np.arange(N)), "the target of 's3' is 3; classes are 0 to 2"),
    "a class below 0": (Mine(y=np.arange(N) % 3 - 1), "the target of 's0' is -1"),
    "classes with a point": (Mine(y=np.zeros(N)), "float64, a multiclass task has whole numbers"),
    "classes by name": (Mine(y=names()), "targets are <U2 .6,., a multiclass task has numbers"),
    "too few targets": (Mine(y=np.zeros(3, int)), r"int64 \(3,\), a multiclass .* \(6,\)"),
    "labels beyond 1": (
        Mine(task=TaskSpec("multilabel", 2), y=np.full((N, 2), 2)),
        "a label is 0 or 1",
    ),
    "a target that lacks": (
        Mine(task=TaskSpec("regression", 1), y=np.array([0, 1, 2, np.nan, 4, np.inf])),
        "2 of 6 targets are missing or not finite, the first that of 's3'",
    ),
    "binary of three": (Mine(task=TaskSpec("binary", 3)), "a binary task has 2 outputs, not 3"),
    "a class without a name": (
        Mine(task=TaskSpec("multiclass", 3, class_names=("x", "y"))),
        "2 class names for 3 classes",
    ),
    "ids as numbers": (Mine(ids=np.arange(N)), "ids must be an array of 6 strings"),
    "an id twice": (Mine(ids=names(*"abcdea")), "sample id 'a' stands twice"),
    "a group that lacks": (
        Mine(groups=names(*["site", "site", "nan", "", "site", "NA"])),
        "groups: 2 of 6 are missing, the first number 2 .from 0",
    ),
    "a part of no split": (Mine(split=names(*["train"] * 5, "dev")), "'dev' is no part of a split"),
    "another modality": (
        Mine(dtypes={"a": np.dtype(np.float32)}),
        "dtypes of a, expected a, b",
    ),
    "a type that is not kept": (
        Mine(dtypes=dict.fromkeys("ab", np.dtype(np.int32))),
        "a cannot be kept as int32",
    ),
    "another shape": (
        Mine(reads={"b": np.zeros(3)}),
        r"sample 's0': b is float64 \(3,\), its spec says numbers \(2,\)",
    ),
    "words": (Mine(reads={"b": np.array(["x", "y"])}), "sample 's0': b is <U1"),
    "one modality more": (Mine(reads={"c": np.zeros(2)}), "sample 's0': gives a, b, c, expected"),
    "beyond a byte": (
        Mine(reads={"b": np.array([0, 256])}, dtypes=dict.fromkeys("ab", np.dtype(np.uint8))),
        "sample 's0', b: 256 is not a whole number from 0 to 255",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_one_sentence_and_leaves_nothing(what, tmp_path):
    adapter, message = BAD[what]
    with pytest.raises(UserError, match=message) as error:
        prepare_with(adapter, tmp_path, tmp_path / "cache")
    assert str(error.value).startswith("mine") and "\n" not in str(error.value)
    assert not [*(tmp_path / "cache").rglob("*.npy")]


@pytest.mark.parametrize("root", [None, "elsewhere"])
def test_without_files_and_without_a_stand_in_it_says_what_is_expected(root, tmp_path):
    data_root = root and tmp_path / root
    lack = f"{data_root} has no folder 'mine'" if root else "no --data-root was given"
    with pytest.raises(UserError, match=f"^mine: {lack}, and it has no generated") as error:
        prepared.resolve(Mine(), data_root, tmp_path / "cache", named=True)
    assert str(error.value).endswith(Mine.layout) and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "lfmc"}, "a dataset named 'lfmc' is registered already"),
        ({"name": "../mine"}, "'../mine' cannot be a name"),
        ({"folder": "a/b"}, "'a/b' cannot be a name"),
        ({"default_modalities": ("a", "z")}, "'mine': 'z' is not among its modalities"),
        ({"notes": {"z": "what"}}, "'mine': 'z' is not among its modalities"),
    ],
)
def test_an_adapter_that_cannot_be_registered_is_told(change, message):
    mine = type("Mine", (Mine,), change)()
    with pytest.raises(UserError, match=message):
        contract.register(mine)
    assert "mine" not in ADAPTERS


def test_a_fact_that_lacks_is_named():
    with pytest.raises(UserError, match="adapter Bare: lacks folder, title, citation"):
        contract.register(type("Bare", (Adapter,), {"name": "bare"})())
