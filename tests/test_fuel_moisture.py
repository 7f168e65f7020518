"""The reader of Presto's fuel moisture, and when and where as encoders are given them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

import methods
from benchmark.errors import UserError
from benchmark.planning import encoders, protocol
from benchmark.planning.context import with_context
from benchmark.planning.split import folds
from benchmark.problem import CONTEXT
from datasets.common.contract import MissingFilesError
from tests.layouts import copied, generated, opened, prepare

methods.load()
NAME, SPLIT = "fuel_moisture", "fuel_moisture_split"
ALL = ("S1", "S2", "weather", "terrain")
N = 180


def test_the_published_files_are_read_as_published(real_data):
    root = real_data / NAME
    catalogue = opened(NAME, root, *ALL)
    assert len(catalogue) == 2_313 and len(set(catalogue.groups)) == 150
    assert catalogue.y.mean() == pytest.approx(103.827, abs=1e-3)
    assert catalogue.split is None and catalogue.notices == ()
    raw, i = np.load(root / "s1_s2_era5_srtm.npy"), 1234
    read = catalogue.read(i)
    joined = [read["S1"], read["S2"], read["weather"], np.repeat(read["terrain"][None], 3, 0)]
    assert np.concatenate(joined, axis=1) == pytest.approx(raw[i, :, :17], rel=1e-6)
    assert (raw[:, :1, 15:17] == raw[..., 15:17]).all(), "terrain is the same in every month"
    assert catalogue.ids[i] == f"{i} {np.load(root / 'site.npy')[i]}"
    assert catalogue.months["S1"][i].tolist() == (np.load(root / "month.npy")[i] + 1).tolist()
    assert (catalogue.places == np.load(root / "latlon.npy")).all()


def test_the_last_channel_is_not_what_it_is_called_and_is_left_out(real_data):
    raw = np.load(real_data / NAME / "s1_s2_era5_srtm.npy")
    b3, b7, b4, b8, said = (raw[..., i] for i in (3, 7, 4, 8, 17))
    assert said == pytest.approx((b7 - b3) / (b7 + b3))
    assert np.abs(said - (b8 - b4) / (b8 + b4)).mean() > 0.01


def test_the_publishers_split_is_by_site_and_validates_on_other_sites(real_data, tmp_path):
    data = prepare(SPLIT, real_data / NAME, tmp_path)
    assert (data.split == "test").sum() == 735
    (fold,) = folds(data, protocol.load("standard").values_for(SPLIT))
    parts = [set(data.groups[numbers]) for numbers in (fold.train, fold.val, fold.test)]
    assert len(parts[2]) == 50 and 5 <= len(parts[1]) <= 20
    assert not parts[0] & parts[1] and not parts[2] & (parts[0] | parts[1])


def test_under_the_publishers_split_a_forest_has_the_published_error(real_data, tmp_path):
    """RMSE of table 10 in arXiv 2304.14065, of all channels, month and place: 23.84 ± 0.42."""
    data = prepare(SPLIT, real_data / NAME, tmp_path, *ALL)
    test = data.split == "test"
    arrays = [data.x[m].reshape(len(data), -1) for m in ALL]
    seen = np.concatenate([*arrays, data.places, data.months["S2"]], axis=1)
    forest = RandomForestRegressor(100, random_state=1).fit(seen[~test], data.y[~test])
    error = forest.predict(seen[test]) - data.y[test]
    assert np.sqrt((error**2).mean()) == pytest.approx(23.84, abs=0.8)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("s1_s2_era5_srtm", lambda a: a[..., :17], r"float64 \(180, 3, 17\), not numbers \(180, 3"),
        ("month", lambda a: a + 1, "month.npy: has other numbers than 0 to 11"),
        ("latlon", lambda a: a[:-1], r"\(179, 2\), not numbers \(180, 2\)"),
        ("site", lambda a: np.arange(len(a)), "is int64 .* not text"),
        ("is_test", lambda a: a * 2, "is_test.npy: has other numbers than 0 to 1"),
        ("target", lambda a: a.astype(object), "target.npy: not a whole array of numpy"),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(name, change, said, tmp_path):
    root = copied(NAME, N, tmp_path)
    np.save(root / f"{name}.npy", change(np.load(root / f"{name}.npy")))
    with pytest.raises(UserError, match=said) as error:
        opened(NAME, root)
    assert str(root / f"{name}.npy") in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_lacks_is_named(tmp_path):
    root = copied(NAME, N, tmp_path)
    (root / "site.npy").unlink()
    with pytest.raises(MissingFilesError, match="lacks site.npy"):
        opened(NAME, root)


def test_two_sensors_of_the_generated_files_tell_more_than_one():
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import GroupKFold, cross_val_score

    catalogue = opened(NAME, generated(NAME, 1200), *ALL)
    samples = [catalogue.read(i) for i in range(len(catalogue))]
    found = {}
    for chosen in (("S1",), ("S2",), ("S1", "S2")):
        x = [np.concatenate([sample[m].ravel() for m in chosen]) for sample in samples]
        model = ExtraTreesRegressor(40, min_samples_leaf=3, random_state=0)
        score = cross_val_score(model, x, catalogue.y, groups=catalogue.groups, cv=GroupKFold(3))
        found[chosen] = score.mean()
    assert min(found.values()) > 0.05 and found["S1", "S2"] > max(found["S1",], found["S2",]) + 0.03


@pytest.fixture
def data(tmp_path):
    return prepare(NAME, generated(NAME, N), tmp_path / "cache", *ALL)


def resolved(data, **options):
    """What a protocol makes of settings of series."""
    loaded = protocol.load("quick")
    settings = {"model": "presto", "weights": None, **options}
    loaded.encoders["series"] = settings
    return encoders.resolve(data, loaded)


def test_months_and_places_are_kept_beside_the_arrays_and_are_no_part_of_the_fingerprint(tmp_path):
    root = copied(NAME, N, tmp_path)
    first = prepare(NAME, root, tmp_path / "cache")
    assert first.places.shape == (N, 2) and first.months["S2"].shape == (N, 3)
    np.save(root / "latlon.npy", np.load(root / "latlon.npy") + 1)
    other = prepare(NAME, root, tmp_path / "cache")
    assert other.fingerprint == first.fingerprint and (other.places == first.places + 1).all()
    ids = [resolved(d)[0]["modalities"]["S1"]["context"] for d in (first, other)]
    assert ids[0] != ids[1], "but an encoder that is given them is another one"


def test_an_encoder_that_takes_them_is_given_months_and_places_and_others_are_not(data):
    used, seen = resolved(data)
    assert seen["S1"].channels == ("VV", "VH", *CONTEXT) and seen["S1"].shape == (3, 5)
    assert seen["terrain"] == data.modalities["terrain"], "an MLP has no use for them"
    given = with_context(data, used)
    assert given.modalities == seen and given.x["S1"].dtype == np.float32
    assert (given.x["S1"][..., :2] == data.x["S1"]).all()
    assert (given.x["S1"][..., 2] == data.months["S1"]).all()
    assert given.x["S1"][7, 2, 3:] == pytest.approx(data.places[7])
    assert given.x["terrain"] is data.x["terrain"]


def test_a_protocol_may_keep_them_from_it(data):
    used, seen = resolved(data, context=False)
    assert seen == data.modalities and "modalities" not in used
    assert with_context(data, used).x["S1"] is data.x["S1"]
    for options in ({"context": "yes"}, {"model": "tempcnn", "context": True}):
        loaded = protocol.load("quick")
        loaded.encoders["series"] = {"model": "presto", **options}
        with pytest.raises(UserError, match="context of '.*' is "):
            encoders.resolve(data, loaded)
