"""Generated datasets are accepted by measurement: what a random forest can tell from each part.

At the size of the protocol `quick`, from native files read back by the reader. Scores are macro F1,
R² (its steps stand for those of the RMSE: RMSE² is 1 - R² times the target's variance) and macro
mAP, cross-validated with groups kept whole.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import datasets
from benchmark.planning import protocol
from datasets.common import prepared
from datasets.common.contract import EODataset, View
from tests.layouts import generated, opened
from tests.layouts import prepare as prepare_files

ADAPTERS = datasets.load()
WEAK_STRONG = {
    "lfmc": ("S1", "S2"),
    "cropharvest_binary": ("S1", "S2"),
    "cropharvest_multi": ("S1", "S2"),
    "treesatai_ts": ("aerial", "S2"),
}
SHORT_OR_SOAK = [
    name if name in ("lfmc", "cropharvest_binary") else pytest.param(name, marks=pytest.mark.soak)
    for name in WEAK_STRONG
]
STEP = 0.03
FOLDS = 3
SEEDS = (0, 1)
"""A step between scores is that of their means over generated datasets, of which each is chance."""

MORE = {"cropharvest_binary": tuple(range(8)), "cropharvest_multi": tuple(range(6))}
"""Their steps from S1 to S2 are 0.04 and 0.08 and vary by 0.02 and 0.05 from one to the next."""


def generate(name: str, seed: int, **structure) -> EODataset:
    """A generated dataset at quick size, in memory."""
    adapter = ADAPTERS[name]
    view = View(**protocol.load("quick").view_for(name))
    with TemporaryDirectory() as folder:
        native = Path(folder) / "native"
        native.mkdir()
        adapter.generate(native, seed=seed, samples=adapter.generated_samples, **structure)
        data, _ = prepared.prepare(
            adapter, native, "generated", adapter.default_modalities, view, Path(folder)
        )
        x = {m: np.array(array) for m, array in data.x.items()}
    return EODataset(**{**vars(data), "x": x})


def features(array: np.ndarray, kind: str) -> np.ndarray:
    """What a forest is given: all values, or for an image means, spreads and roughness."""
    if kind != "image":
        return np.nan_to_num(array).reshape(len(array), -1)
    image = array.astype(float)
    rough = [np.abs(image[:, lag:] - image[:, :-lag]).mean((1, 2)) for lag in (1, 4)]
    return np.concatenate([image.mean((1, 2)), image.std((1, 2)), *rough], axis=1)


def forest_score(data: EODataset, x: np.ndarray) -> float:
    """Cross-validated primary metric of a random forest."""
    from sklearn import metrics
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.model_selection import GroupKFold, cross_val_predict

    options = {"n_estimators": 40, "min_samples_leaf": 2, "random_state": 0}
    groups = data.ids if data.groups is None else data.groups
    folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
    y = data.y
    if data.task.kind == "regression":
        model = RandomForestRegressor(max_features=1 / 3, **options)
        return metrics.r2_score(y, cross_val_predict(model, x, y, groups=groups, cv=folds))
    model = RandomForestClassifier(**options)
    if data.task.kind == "multilabel":
        # A genus that a training part lacks has no column of its own in a forest.
        known = [c for c in range(y.shape[1]) if min(y[:, c].sum(), (1 - y[:, c]).sum()) >= 10]
        chance = cross_val_predict(
            model, x, y[:, known], groups=groups, cv=folds, method="predict_proba"
        )
        chance = np.stack([column[:, 1] for column in chance], axis=1)
        return metrics.average_precision_score(y[:, known], chance, average="macro")
    found = cross_val_predict(model, x, y, groups=groups, cv=folds)
    return metrics.f1_score(y, found, average="macro")


@cache
def scores(
    name: str, seed: int, shared: float | None = None, silent: str | None = None
) -> dict[str, float]:
    """Score by modality, and of "both"; ``silent`` names a modality that is to tell nothing more
    than the others do."""
    specific = {} if silent is None else {silent: 0.0}
    data = generate(name, seed, shared=shared, specific=specific)
    x = {m: features(array, data.modalities[m].kind) for m, array in data.x.items()}
    x["both"] = np.concatenate(list(x.values()), axis=1)
    return {m: forest_score(data, array) for m, array in x.items()}


@pytest.mark.parametrize("name", SHORT_OR_SOAK)
def test_a_forest_scores_weak_below_strong_below_both(name):
    runs = [scores(name, seed) for seed in MORE.get(name, SEEDS)]
    weak, strong, both = (np.mean([run[m] for run in runs]) for m in (*WEAK_STRONG[name], "both"))
    assert strong - weak >= STEP, runs
    assert both - strong >= STEP, runs


@pytest.mark.parametrize("name", SHORT_OR_SOAK)
def test_without_the_shared_part_both_modalities_do_worse(name):
    full, changed = scores(name, 0), scores(name, 0, shared=0.0)
    for m in WEAK_STRONG[name]:
        assert full[m] - changed[m] >= STEP, (full, changed)


@pytest.mark.parametrize("silent", [0, 1])
@pytest.mark.parametrize("name", SHORT_OR_SOAK)
def test_without_its_own_part_a_modality_does_worse_and_the_other_does_not(name, silent):
    own, other = WEAK_STRONG[name][silent], WEAK_STRONG[name][1 - silent]
    seeds = SEEDS[:1] if name == "treesatai_ts" else SEEDS  # its forests take longest by far
    runs = [(scores(name, seed), scores(name, seed, silent=own)) for seed in seeds]
    lost = np.mean([full[own] - changed[own] for full, changed in runs])
    assert lost >= STEP, runs
    # The silent part's share is noise now, so that labels are others: the other's score moves by
    # chance, and less than that of the silent one.
    moved = np.mean([full[other] - changed[other] for full, changed in runs])
    assert abs(moved) < 0.75 * lost, runs


def test_the_same_seed_gives_the_same_files_and_another_seed_others():
    for name in ("lfmc", "cropharvest_binary", "treesatai_ts"):
        with TemporaryDirectory() as folder:
            native = [Path(folder) / str(i) for i in range(3)]
            for root, seed in zip(native, (5, 5, 6), strict=True):
                root.mkdir()
                ADAPTERS[name].generate(root, seed=seed, samples=60)
            a, b, c = (
                prepare_files(name, root, Path(folder) / "cache").fingerprint for root in native
            )
        assert a == b and b != c


@pytest.fixture(scope="module")
def moisture(tmp_path_factory):
    import pandas as pd

    return pd.read_csv(generated("lfmc", 2_600) / "training_features.csv", index_col=0)


def test_moisture_has_the_published_range_sites_and_columns(moisture, real_data):
    import pandas as pd

    published = pd.read_csv(real_data / "lfmc" / "training_features.csv", index_col=0)
    assert list(moisture.columns) == list(published.columns)
    target = moisture["percent(t)"]
    assert target.min() >= 16 and target.max() <= 320
    assert target.mean() == pytest.approx(published["percent(t)"].mean(), abs=4)
    assert target.std() == pytest.approx(published["percent(t)"].std(), abs=6)
    assert moisture["site"].nunique() == pytest.approx(150, abs=5)
    for column in ("vv(t)", "vh(t)", "red(t)", "nir(t)", "ndvi(t)", "swir(t)"):
        low, high = published[column].quantile([0.001, 0.999])
        assert moisture[column].median() == pytest.approx(published[column].median(), rel=0.35)
        assert moisture[column].between(low - 0.5 * (high - low), high + 0.5 * (high - low)).all()
    assert (moisture["sand(t)"] == -999).any()


def test_moisture_months_of_a_site_overlap_and_vary_with_the_season(moisture):
    months = moisture.sort_values("date").drop_duplicates(["site", "date"]).set_index("date")
    site = months[months["site"] == months["site"].iloc[0]]
    dates = [str(date)[:7] for date in site.index]
    year, month = dates[0].split("-")
    following = f"{int(year) + int(month) // 12}-{int(month) % 12 + 1:02d}"
    if following in dates:
        later = site.iloc[dates.index(following)]
        assert later["vv(t-1)"] == site.iloc[0]["vv(t)"]
    greenness = months["ndvi(t)"].groupby(months.index.str[5:7]).mean()
    assert greenness.max() - greenness.min() > 0.03


def test_crops_have_seasons_clouds_and_speckle_in_plausible_ranges(tmp_path):
    data = prepare_files(
        "cropharvest_binary", generated("cropharvest_binary", 600), tmp_path,
        "S1", "S2", "weather", "dem",
    )  # fmt: skip
    radar, optical, weather, dem = (np.asarray(x, dtype=float) for x in data.x.values())
    assert (
        (radar > -45).all() and (radar < 5).all() and (radar[..., 0] > radar[..., 1]).mean() > 0.9
    )
    assert (optical[..., :-1] > 0).all() and (optical[..., :-1] < 15_000).all()
    ndvi = optical[..., -1]
    assert np.abs(ndvi).max() <= 1
    season = ndvi.mean(axis=0)
    assert season[5:8].mean() - season[[0, 1, 11]].mean() > 0.1
    bright = optical[..., 0] > 1_800  # blue is dark on everything but clouds
    assert 0.05 < bright.mean() < 0.2
    assert (weather[..., 0] > 240).all() and (weather[..., 0] < 320).all()
    assert (weather[..., 1] >= 0).all() and (dem >= 0).all()
    assert 20 <= len(set(data.groups)) <= 60 and len(data.groups) > 5 * len(set(data.groups))


def test_tiles_have_series_of_different_length_clouds_snow_and_missing_dates(tmp_path):
    name = "treesatai_ts"
    data = prepare_files(
        name, generated(name, 60), tmp_path, "S2", "S1_asc", "S1_des", "aerial", window="mean"
    )
    lengths = {m: np.isfinite(data.x[m][..., 0]).sum(axis=1) for m in ("S2", "S1_asc", "S1_des")}
    for m, length in lengths.items():
        assert len(set(length)) > 20 and length.min() >= 50
        assert length.max() <= data.modalities[m].shape[0]
    optical = np.asarray(data.x["S2"])
    bands, snow, cloud = optical[..., :10], optical[..., 10], optical[..., 11]
    assert np.nanmin(bands) >= 1 and np.nanmax(bands) < 12_000
    assert snow.min() >= 0 and cloud.max() <= 100
    assert (cloud > 50).mean() > 0.1 and 0.0 < (snow > 50).mean() < 0.1
    assert np.nanmedian(bands[..., 0][cloud > 80]) > 3 * np.nanmedian(bands[..., 0][cloud < 10])
    power = 10 * np.log10(data.x["S1_asc"][np.isfinite(data.x["S1_asc"])])
    assert power.min() > -30 and power.max() < 5
    image = np.asarray(data.x["aerial"])
    assert image.dtype == np.uint8 and image[..., 0].mean() > image[..., 1:].mean()
    assert (data.y.sum(axis=1) >= 1).all() and data.y.sum(axis=1).max() <= 3


def test_generated_labels_have_the_rows_that_readers_must_leave_out():
    native = generated("treesatai_ts", 60)
    assert len(opened("treesatai_ts", native)) < 60
    native = generated("cropharvest_multi", 600)
    assert len(opened("cropharvest_multi", native)) < len(opened("cropharvest_binary", native))
    assert len(opened("cropharvest_binary", native)) < 600
