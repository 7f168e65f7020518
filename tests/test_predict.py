"""`predict`: the same samples in whatever file they lie, and one sentence for all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.commands.main import main
from benchmark.deployment import checking, inputs, predictions
from benchmark.deployment import model as models
from benchmark.errors import UserError
from benchmark.planning.building import build
from benchmark.planning.split import folds
from benchmark.plugins import unload
from benchmark.problem import ModalitySpec
from benchmark.training import keeping
from benchmark.training.data import fold_data
from benchmark.training.fit import Trained
from methods.common.registry import REGISTRY
from tests import own
from tests.problems import dataset, run_spec
from tests.survival import PLUGIN


def made(data, method: str = "single") -> dict:
    """The models of a method with whatever weights."""
    spec = run_spec(method, data)
    numbers = folds(data, spec.protocol)[0]
    fold = fold_data(data, numbers, "training", torch.device("cpu"))
    built = build(spec, data.modalities, fold.task)
    trained = Trained({m: built.predictor(m).eval() for m in built.deployed}, [], 0)
    ranges = keeping.ranges_of(data, numbers.train)
    return keeping.models([spec], [trained], data, fold, ranges, origin={}, view={}, libraries={})


DATA = dataset("multiclass", ("series", "vector"))
MODELS = made(DATA)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A model of a series in `m1`, of a vector in `m2`, and their samples as files of all kinds."""
    folder = tmp_path_factory.mktemp("predict")
    for m, model in MODELS.items():
        models.save(model, folder / m)
    x = DATA.x["m1"]
    columns = {f"c{c}_{t + 1}": x[:, t, c] for t in range(6) for c in range(3)}
    table = pd.DataFrame({"id": DATA.ids, "site": DATA.groups, **columns})
    shuffled = table.sample(frac=1, axis=1, random_state=0)
    shuffled.to_csv(folder / "m1.csv", index=False)
    shuffled.to_csv(folder / "m1.tsv", index=False, sep="\t")
    table.to_parquet(folder / "m1.parquet")
    table.set_index("id").to_parquet(folder / "index.parquet")
    from_0 = {f"c{c}_{t}": x[:, t, c] for t in range(6) for c in range(3)}
    pd.DataFrame({"ids": DATA.ids, **from_0}).to_csv(folder / "from0.csv", index=False)
    other = {f"t{t + 1}.c{c}": x[:, t, c] for t in range(6) for c in range(3)}
    pd.DataFrame({"plot": DATA.ids, **other}).to_csv(folder / "other.csv", index=False)
    back = {
        f"c{c}({f't-{5 - t}' if t < 5 else 't'})": x[:, t, c] for t in range(6) for c in range(3)
    }
    pd.DataFrame({"id": DATA.ids, **back}).to_csv(folder / "back.csv", index=False)
    pd.DataFrame({f"c{c}": DATA.x["m2"][:, c] for c in range(5)}).to_csv(folder / "m2.csv")
    np.save(folder / "m1.npy", x)
    np.savez(folder / "m1.npz", m1=x, m2=DATA.x["m2"], ids=DATA.ids)
    np.savez(folder / "alone.npz", values=x.astype(np.float64), id=DATA.ids)
    return folder


def predict(place: Path, model: str, file: str, *more: str, out: str = "out.csv") -> int:
    words = ["predict", place / model, place / file, "--out", place / out]
    return main([*map(str, words), *more])


EXPECTED = MODELS["m1"].predict(DATA.x["m1"])


@pytest.mark.parametrize(
    ("file", "more"),
    [
        *[(name, ()) for name in ("m1.csv", "m1.tsv", "m1.parquet", "from0.csv", "m1.npz")],
        ("index.parquet", ()),
        ("other.csv", ("--columns", "t{step}.{channel}", "--ids", "plot")),
        ("back.csv", ("--columns", "{channel}({step})", "--steps", "t-5,t-4,t-3,t-2,t-1,t")),
        ("alone.npz", ()),
    ],
)
def test_the_same_samples_in_any_file_are_predicted_alike(place, capsys, file, more):
    assert predict(place, "m1", file, *more) == 0
    assert "the model was trained on generated data" in capsys.readouterr().out
    found = pd.read_csv(place / "out.csv")
    assert list(found.columns) == ["id", "k0", "k1", "k2", "k3", "predicted"]
    assert found["id"].tolist() == DATA.ids.tolist()
    np.testing.assert_allclose(found[["k0", "k1", "k2", "k3"]], EXPECTED, atol=1e-5)
    assert found["predicted"].tolist() == [f"k{c}" for c in EXPECTED.argmax(axis=1)]


def test_what_has_no_ids_is_numbered(place, capsys):
    assert predict(place, "m1", "m1.npy", out="out.parquet") == 0
    found = pd.read_parquet(place / "out.parquet")
    assert found["id"].tolist() == [str(i) for i in range(len(DATA))]
    assert predict(place, "m2", "m2.csv") == 0
    assert "m2.csv: columns that are not used: " in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_predictions_as_arrays(place, suffix):
    assert predict(place, "m1", "m1.csv", out=f"out.{suffix}") == 0
    found = np.load(place / f"out.{suffix}")
    if suffix == "npz":
        assert found["classes"].tolist() == ["k0", "k1", "k2", "k3"]
        assert found["ids"].tolist() == DATA.ids.tolist()
        found = found["predictions"]
    np.testing.assert_allclose(found, EXPECTED, atol=1e-5)


def test_a_bound_takes_all_modalities(place):
    bound = made(DATA, "late_ensemble")["all"]
    models.save(bound, place / "all")
    assert predict(place, "all", "m1.npz", out="out.npy") == 0
    np.testing.assert_allclose(np.load(place / "out.npy"), bound.predict(DATA.x), atol=1e-6)
    with pytest.raises(UserError, match="holds one array, and the model sees several"):
        inputs.of_file(place / "m1.npy", bound)


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_what_stands_in_the_table_of_other_tasks(kind):
    data = dataset(kind, ("vector", "vector"))
    model = made(data)["m1"]
    found, _ = predictions.predict(model, inputs.of_dataset(data, model))
    table = predictions.table(data.ids, found, model.task)
    if kind == "regression":
        assert list(table.columns) == ["id", "prediction"]
        return
    for row, said in zip(found, table["predicted"], strict=True):
        assert said == "; ".join(f"k{c}" for c in range(3) if row[c] >= 0.5)


def test_a_class_that_is_called_like_a_column_is_told_apart():
    task = replace(DATA.task, class_names=("id", "predicted", "a", "b"))
    table = predictions.table(["s"], np.full((1, 4), 0.25), task)
    assert list(table.columns) == ["id", "class id", "class predicted", "a", "b", "predicted"]


# --- What is odd is counted and said ------------------------------------------------------------


def said_of(x: np.ndarray, m: str = "m1") -> list[str]:
    return predictions.predict(MODELS[m], inputs.of_arrays(x, MODELS[m]))[1]


def test_values_as_in_training_are_not_remarked():
    assert said_of(DATA.x["m1"]) == []


def test_values_of_another_scale_are_counted():
    (sentence,) = said_of(DATA.x["m1"] * 1000)
    assert "m1 has values outside of 5 times the range that the model was trained with" in sentence
    assert "is it another unit or scale? The model takes 1" in sentence
    one = DATA.x["m1"].copy()
    one[3, 2, 1] = 1e6
    (sentence,) = said_of(one)
    assert "trained with, 1 in all (1 of c1): is it another unit" in sentence


def test_values_of_a_smaller_scale_are_said_with_their_channels():
    """Of a table with few rows, and where some channels are right."""
    rows = DATA.x["m2"][:13]
    (sentence,) = said_of(rows / 10_000, "m2")
    assert sentence == (
        "m2: the values of c0, c1, c2 and 2 more are on average less than 1/50 of those that the "
        "model was trained with (root mean square): is it another unit or scale? The model takes 1"
    )
    some = DATA.x["m2"] / np.float32([10_000, 10_000, 10_000, 1, 1])
    (sentence,) = said_of(some, "m2")
    assert "the values of c0, c1 and c2 are on average" in sentence
    (sentence,) = said_of(DATA.x["m2"] * 1000, "m2")
    assert " and 2 more): is it another unit" in sentence  # of those that are too large, too


def test_a_channel_may_be_near_zero_in_a_few_samples_and_zero_in_all():
    x = DATA.x["m2"] * np.float32([1, 1e-4, 1, 1, 1])
    assert said_of(x[:29], "m2") == []
    assert "the values of c1 are on average" in said_of(x[:30], "m2")[0]
    x[:, 1] = 0
    assert said_of(x, "m2") == []
    assert "the values of c0, c1, c2 and 2 more are" in said_of(0 * x, "m2")[0]


def test_months_and_places_are_near_zero_anywhere():
    spec = ModalitySpec("S2", "vector", (3,), ("B2", "latitude", "longitude"), "reflectance")
    seen = checking.sums(np.full((100, 3), 0.01))
    (sentence,) = checking.too_small(spec, seen, np.full(3, 50.0))
    assert "the values of B2 are" in sentence


def test_missing_values_are_counted():
    x = DATA.x["m1"].copy()
    x[2] = np.nan
    x[4, 0, 0] = np.inf
    missing, empty = said_of(x)
    assert missing == f"m1 lacks 19 of {x.size:,} values; to the model they are the channel's mean"
    assert empty.startswith("m1 lacks every value in 1 of 90 samples: ")


def widely(model, half: float):
    """The model as if its channels had gone from -half to half in training."""
    inputs = [{**one, "low": [-half] * 3, "high": [half] * 3} for one in model.about["inputs"]]
    return replace(model, about={**model.about, "inputs": inputs})


@pytest.mark.parametrize("written", [-9999, -999, 1e20, np.float32(9.96921e36)])
def test_a_number_that_may_stand_for_no_value_is_told(written):
    """Also where it is within five times the range, and not as a value of another unit."""
    x = DATA.x["m1"] * 100
    x[2:9, 0, 1] = written
    for half in (300, 3000):
        model = widely(MODELS["m1"], half)
        found = predictions.predict(model, inputs.of_arrays(x, model))[1]
        if half > abs(written):  # a value of training like others
            assert found == []
        else:
            assert found == [
                f"m1 has 7 × {written:.17g}, outside of the range that the model was trained with: "
                "if it stands for no value, leave those cells empty, or write NaN"
            ]


def test_ids_that_are_numbers_are_called_as_in_a_dataset(place):
    table = pd.read_parquet(place / "m1.parquet").assign(id=np.arange(90.0) + 1000)
    table.to_parquet(place / "numbers.parquet")
    assert predict(place, "m1", "numbers.parquet") == 0
    assert pd.read_csv(place / "out.csv", dtype=str)["id"].tolist()[:2] == ["1000", "1001"]


def test_ids_that_are_not_unique_are_told_and_all_rows_predicted(place, capsys):
    table = pd.read_csv(place / "m1.csv")
    table.loc[[3, 7], "id"] = table.loc[0, "id"]
    table.to_csv(place / "twice.csv", index=False)
    np.savez(place / "twice.npz", m1=DATA.x["m1"], ids=np.where(DATA.y == 0, "a", DATA.ids))
    for file, says in (
        ("twice.csv", f"only 88 different ids for 90 samples, '{DATA.ids[0]}' stands 3 times"),
        ("twice.npz", f"'a' stands {(DATA.y == 0).sum()} times"),
    ):
        assert predict(place, "m1", file) == 0
        assert says in capsys.readouterr().out
        assert len(pd.read_csv(place / "out.csv")) == 90
    assert predict(place, "m1", "m1.csv") == 0
    assert "different ids" not in capsys.readouterr().out


def test_what_is_no_array_of_numbers_is_one_sentence():
    for x, says in (
        ([[1, 2], [3]], "m1: not an array of numbers"),
        (None, "m1: an array of object, not of numbers"),
        (MODELS["m1"], "m1: an array of object, not of numbers"),
    ):
        with pytest.raises(UserError, match=says):
            inputs.of_arrays(x, MODELS["m1"])


# --- Bad input ----------------------------------------------------------------------------------


def table_with(place: Path, name: str, change) -> str:
    table = pd.read_csv(place / "m1.csv")
    change(table).to_csv(place / name, index=False)
    return name


def rename(**names):
    return lambda table: table.rename(columns=names)


def cell(row, column, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        (rename(c1_3="C1_3"), (), "lacks 1 of the 18 columns of m1, the first is 'c1_3'; did you"),
        (
            lambda t: t.rename(columns=lambda name: f"{name:_<3}".upper()),
            (),
            "lacks 18 of the 18 columns of m1, the first is 'c0_1'; did you mean C0_1 or ",
        ),
        (rename(c1_1="c1_0", c0_1="c0_0"), (), "lacks 2 of the 18 columns"),
        (lambda t: t.assign(c0_0=1, c1_0=1, c2_0=1), (), "steps 0 to 6, one more than the 6 that"),
        (cell(4, "c2_2", "wet"), (), "row 6, column 'c2_2'"),
        (cell(4, "id", ""), (), "sample number 5 has no id"),
        (lambda t: t.iloc[:0], (), "has no rows under a header"),
        (lambda t: t, ("--columns", "{channel}"), "has no {step} in it"),
        (lambda t: t, ("--steps", "a,b"), "--steps names 2 steps, and the model takes 6 of m1"),
        (lambda t: t, ("--steps", "a,b,c,d,e,f"), "lacks 18 of the 18 columns of m1, the first"),
        (
            lambda t: t.rename(columns=lambda name: f"x.{name[::-1]}.x"),
            (),
            " and 15 more (--columns says how they are called, here '{channel}_{step}', and --st",
        ),
        (lambda t: t, ("--ids", "sites"), "--ids: unknown column 'sites': did you mean site"),
        (lambda t: t, ("--key", "m1"), "a table has no arrays; leave --key out"),
        (lambda t: t, ("--bands", "a,b"), "--bands is not for what is no GeoTIFF"),
    ],
)
def test_a_table_that_is_none_of_the_models_is_one_sentence(place, capsys, change, more, says):
    name = table_with(place, "bad.csv", change)
    assert predict(place, "m1", name, *more, out="none.csv") == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (place / "none.csv").exists()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((6, 3)), "one sample without an axis for several; add it in front"),
        (np.zeros((5, 3, 6)), "its axes are in another order; channels come last"),
        (np.zeros((5, 6, 4)), "4 channels instead of 3 (c0, c1, c2)"),
        (np.zeros((5, 7, 3)), "7 steps instead of 6"),
        (np.zeros((5, 18)), "an array of shape (5, 18), and the model takes (N, 6, 3) of m1"),
        (np.full((5, 6, 3), "a"), "m1 is text there, not numbers"),
        (np.zeros((5, 6, 3), complex), "holds complex128; numbers and text can be read"),
        (np.array([{}]), "holds Python objects, which are never loaded"),
        (np.float64(3), "an array of shape ()"),
        (np.zeros((0, 6, 3)), "bad.npy: holds no samples"),
    ],
)
def test_an_array_that_is_none_of_the_models_is_one_sentence(place, capsys, array, says):
    np.save(place / "bad.npy", array)
    assert predict(place, "m1", "bad.npy", out="none.csv") == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "more", "says"),
    [
        ("nowhere.csv", (), "there is no such file"),
        ("m1", (), "is a folder; give a file, or a dataset by its name"),
        ("m1/model.json", (), "is of no kind that can be read"),
        ("m1.npz", ("--key", "m3"), "unknown key 'm3': known: ids, m1, m2"),
        ("m1.npz", ("--key", "m2"), "an array of shape (90, 5), and the model takes (N, 6, 3)"),
        ("m1.npy", ("--columns", "{channel}"), "arrays have no columns; leave --columns out"),
        ("m1.npy", ("--steps", "t-1,t"), "arrays have no columns; leave --steps out"),
    ],
)
def test_an_input_that_is_none_is_one_sentence(place, capsys, file, more, says):
    assert predict(place, "m1", file, *more) == 2
    assert says in capsys.readouterr().err


def test_other_bad_requests_are_one_sentence(place, capsys):
    for words, says in (
        (
            (place / "nowhere", place / "m1.csv", "--out", place / "o.csv"),
            "there is no such folder",
        ),
        (
            (place / "m1.csv", place / "m1.csv", "--out", place / "o.csv"),
            "m1.csv: is a file, and no model; a model is what `train`",
        ),
        ((place / "m1", place / "m1.csv", "--out", place / "o.txt"), "give a name that ends with"),
        ((place / "m1", place / "m1.csv", place / "m1.npy", "--out", "o.csv"), "give one"),
        ((place / "m1", place / "m1.csv", place / "a.tif", "--out", "o.tif"), "not both"),
        ((place / "m1", "lmfc", "--out", place / "o.csv"), "unknown dataset 'lmfc': did you mean"),
    ):
        assert main(["predict", *map(str, words)]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        (("c1", "c0", "c2"), "the same in another order: c0, c1, c2"),
        (("c0", "c1", "x"), "the model takes c0, c1, c2: c2 lack and x are others"),
    ],
)
def test_channels_are_compared_by_name(channels, says):
    spec = DATA.modalities["m1"]
    other = ModalitySpec("m1", "series", spec.shape, channels, "1")
    data = replace(DATA, modalities={**DATA.modalities, "m1": other})
    with pytest.raises(UserError, match=says):
        inputs.of_dataset(data, MODELS["m1"])
    checking.check_names(spec, spec.channels, "here")


# --- Datasets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "was trained on samples of made_up: of those, these predictions are no test"),
        (
            {"fingerprint": "1" * 64},
            "the model was trained on made_up, too, on other modalities or samples or",
        ),
        ({"source": "real"}, "trained on generated samples of made_up, and these are real: none"),
        ({"name": "another"}, None),
    ],
)
def test_what_data_are_to_those_of_training_is_said_as_it_is(changes, says):
    notices = inputs.of_dataset(replace(DATA, **changes), MODELS["m1"]).notices
    assert says in notices[0] if says else notices == ()


def test_from_a_description_to_a_model_to_predictions_of_all_samples(tmp_path, capsys):
    vines = own.save(own.write(tmp_path / "data"), tmp_path / "data")
    more = ["--plugin", str(PLUGIN), "--cache", str(tmp_path / "cache")]
    try:
        out = str(tmp_path / "model")
        assert main(["train", "steady", str(vines), "--out", out, *more]) == 0
        words = ["predict", f"{out}/S2", str(vines), "--out", str(tmp_path / "o.csv"), *more]
        assert main(words) == 0
    finally:
        unload([PLUGIN], REGISTRY)
    assert "the model was trained on vines, too, on other modalities" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "o.csv")
    assert found["id"].tolist() == [f"P{i:02d}" for i in range(own.N)]
    assert set(found["predicted"]) <= set(own.CLASSES)
