"""Datasets that torchgeo reads, from generated files in their publishers' layouts, and another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.planning.split import folds
from benchmark.problem import TaskSpec
from datasets.common.contract import View, register
from datasets.common.torchgeo import Sensor, TorchgeoAdapter
from tests.layouts import ADAPTERS, copied, generated, opened, prepare, prepare_with

N = 20
TRAIN, VAL, TEST = 14, 2, 4
NAMES = ("so2sat", "bigearthnet", "treesatai")


@pytest.fixture(params=NAMES)
def name(request) -> str:
    if request.param == "bigearthnet":
        pytest.importorskip("pyarrow", reason="torchgeo reads BigEarthNet's table with pyarrow")
    return request.param


def test_torchgeo_reads_what_is_generated(name, tmp_path):
    adapter = ADAPTERS[name]
    data = prepare(name, generated(name, N), tmp_path)
    assert tuple(data.modalities) == adapter.default_modalities
    sizes = [int((data.split == part).sum()) for part in ("train", "val", "test")]
    assert sizes == ([TRAIN + VAL, 0, TEST] if name == "treesatai" else [TRAIN, VAL, TEST])
    for m, x in data.x.items():
        assert np.isfinite(x[:]).all() and x[:].std(axis=0).max() > 0, m
    assert data.task.outputs == {"so2sat": 17, "bigearthnet": 19, "treesatai": 15}[name]
    if data.task.kind == "multilabel":
        assert (data.y.sum(axis=1) >= 1).all() and data.y.sum(axis=1).max() > 1


def test_targets_are_those_of_torchgeos_samples_and_ids_are_unique(name):
    import torchgeo.datasets

    adapter = ADAPTERS[name]
    catalogue = opened(name, generated(name, N))
    assert len(set(catalogue.ids)) == N
    reader = getattr(torchgeo.datasets, adapter.reads.rpartition(".")[2])
    for part, choice in adapter.splits.items():
        theirs = reader(root=str(generated(name, N)), **choice)
        ours = np.flatnonzero(catalogue.split == part)
        assert len(theirs) == len(ours)
        for i, k in enumerate(ours[:5]):
            assert np.array_equal(theirs[i]["label"].numpy(), catalogue.y[k])


def test_class_names_are_torchgeos_in_their_order():
    from torchgeo import datasets as theirs

    assert [name.lower() for name in theirs.So2Sat.classes] == list(
        ADAPTERS["so2sat"].task.class_names
    )
    assert list(theirs.BigEarthNetV2.class_set) == list(ADAPTERS["bigearthnet"].task.class_names)
    assert theirs.TreeSatAI.classes == ADAPTERS["treesatai"].task.class_names


def test_patches_of_so2sat_are_cut_into_their_sensors():
    native = generated("so2sat", N)
    catalogue = opened("so2sat", native)
    with h5py.File(native / "testing.h5") as file:
        read = catalogue.read(TRAIN + VAL + 3)
        for m, key in (("S1", "sen1"), ("S2", "sen2")):
            assert read[m] == pytest.approx(file[key][3].astype(np.float32))
    assert catalogue.modalities["S2"].channels[0] == "B02"


def test_bands_of_bigearthnet_are_named_as_they_come():
    pytest.importorskip("pyarrow", reason="torchgeo reads BigEarthNet's table with pyarrow")
    import rasterio

    native = generated("bigearthnet", N)
    catalogue = opened("bigearthnet", native)
    read, patch = catalogue.read(2), catalogue.ids[2].split()[1]
    for m, folder in (("S1", "BigEarthNet-S1"), ("S2", "BigEarthNet-S2")):
        tile = "_".join(patch.split("_")[-3:]).removeprefix("T")
        for k, band in enumerate(catalogue.modalities[m].channels):
            path = next((native / folder).glob(f"*/*{tile}/*_{band}.tif"))
            with rasterio.open(path) as file:
                expected = file.read(1)
            assert read[m][..., k].mean() == pytest.approx(expected.mean(), rel=0.05), band


def test_a_genus_counts_in_treesatai_however_small_its_area(tmp_path):
    native = copied("treesatai", N, tmp_path)
    path = native / "labels" / "TreeSatBA_v9_60m_multi_labels.json"
    labels = json.loads(path.read_text())
    first = (native / "train_filenames.lst").read_text().splitlines()[0]
    labels[first] = [["Abies", 0.99], ["Tilia", 0.01]]
    path.write_text(json.dumps(labels))
    catalogue = opened("treesatai", native)
    assert np.flatnonzero(catalogue.y[0]).tolist() == [0, 14]


def test_a_split_without_a_val_part_gets_one_from_its_training_part(tmp_path):
    data = prepare("treesatai", generated("treesatai", N), tmp_path)
    values = protocol.load("standard").values_for(data.name)
    (fold,) = folds(data, values)
    assert fold.test.tolist() == np.flatnonzero(data.split == "test").tolist()
    assert 1 <= len(fold.val) <= 4
    both = np.sort(np.concatenate([fold.train, fold.val]))
    assert both.tolist() == np.flatnonzero(data.split == "train").tolist()


def test_a_view_shrinks_images_and_takes_fewer_samples(tmp_path):
    data = prepare("so2sat", generated("so2sat", N), tmp_path, "S2", "S1", samples=12, image_px=8)
    assert data.x["S2"].shape == (12, 8, 8, 10) and len(set(data.split)) == 3


def test_opening_reads_labels_and_one_sample(monkeypatch, tmp_path):
    """However many there are: of 100,000 patches, whose pixels nobody has written."""
    import torchgeo.datasets

    for name in ADAPTERS["so2sat"].files:
        with h5py.File(tmp_path / name, "w") as file:
            n = 100_000 if name == "training.h5" else 1_000
            for key, channels in (("sen1", 8), ("sen2", 10)):
                file.create_dataset(key, (n, 32, 32, channels), "f8", chunks=(1, 32, 32, channels))
            label = file.create_dataset("label", (n, 17), "f8", chunks=(1000, 17), compression=1)
            label[:] = np.eye(17)[np.arange(n) % 17]
    read, plain = [], torchgeo.datasets.So2Sat.__getitem__

    def counted(self, i):
        read.append(i)
        return plain(self, i)

    monkeypatch.setattr(torchgeo.datasets.So2Sat, "__getitem__", counted)
    catalogue = opened("so2sat", tmp_path)
    assert len(catalogue) == 102_000 and read == [0]
    assert catalogue.y[:20].tolist() == [*range(17), 0, 1, 2]


def test_what_trains_on_prepared_arrays_imports_no_torchgeo(tmp_path):
    _, folder = prepare_with(ADAPTERS["so2sat"], generated("so2sat", N), tmp_path)
    command = (
        "import sys, datasets; from pathlib import Path; from datasets.common import prepared; "
        "datasets.load(); data = prepared.reopen(Path(sys.argv[1])); "
        "print(len(data), {'torchgeo', 'geopandas', 'rasterio', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{N} set()\n"


class Places:
    """A dataset as torchgeo has them, of a user's own; it counts what is read."""

    def __init__(self, root: str, split: str = "train", size: int = 4) -> None:
        self.offset = {"train": 0, "val": 10, "test": 20}[split]
        self.size = size
        assert (Path(root) / "places.txt").is_file()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        n = float(self.offset + i)
        return {
            "image": np.stack([np.full((2, 2), n + 100 * k) for k in range(3)]),
            "series": np.arange(10.0).reshape(5, 2) + n,
            "static": np.array([n, -n, np.inf if i == 1 else 0.0]),
            "answer": np.array(n / 3),
            "site": np.array(i // 3),
        }


class Declared(TorchgeoAdapter):
    """As short as the shipped ones are without their texts."""

    name = folder = "places"
    title = citation = licence = url = "made up"
    layout = "places/\n  places.txt"
    reads = f"{__name__}.Places"
    files = ("places.txt",)
    splits = {part: {"split": part} for part in ("train", "val", "test")}
    options = {"size": 3}
    task = TaskSpec("regression", 1, unit="m")
    label = "answer"
    sensors = {
        "optical": Sensor("image", ("green", "red"), "1", first=1),
        "weather": Sensor("series", ("rain", "wind"), "mm, m/s", kind="series"),
        "terrain": Sensor("static", ("x", "y", "z"), "m", kind="vector"),
    }


@pytest.fixture
def places(tmp_path):
    (tmp_path / "places.txt").touch()
    return tmp_path


def test_a_declaration_of_ones_own_is_enough(places):
    data, _ = prepare_with(Declared(), places, places / "cache")
    assert data.y.tolist() == pytest.approx([n / 3 for n in (0, 1, 2, 10, 11, 12, 20, 21, 22)])
    assert data.ids[4] == "val 1" and data.split[4] == "val"
    assert data.x["optical"][4, 0, 0].tolist() == [111, 211]
    assert data.x["weather"][0].tolist() == np.arange(10.0).reshape(5, 2).tolist()
    assert np.isnan(data.x["terrain"]).sum() == 3 and "terrain has no data" in data.notices[0]


class Grouped(Declared):
    """Without an official split, and with sites that stay whole."""

    splits = {}
    options = {"size": 30}
    group = "site"


def test_without_splits_folds_keep_declared_groups_whole(places):
    data, _ = prepare_with(Grouped(), places, places / "cache", "terrain")
    assert data.split is None and data.ids[:2].tolist() == ["0", "1"]
    assert data.groups.tolist() == [str(i // 3) for i in range(30)] and data.group_kind == "site"
    tested = []
    for fold in folds(data, protocol.load("standard").values_for(data.name)):
        parts = [set(data.groups[part]) for part in (fold.train, fold.val, fold.test)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        tested += fold.test.tolist()
    assert sorted(tested) == list(range(30))


def test_without_splits_and_groups_folds_are_random_and_a_view_takes_fewer(places):
    alone = type("Alone", (Grouped,), {"group": None})()
    data, _ = prepare_with(alone, places, places / "cache", "terrain", samples=12)
    assert len(data) == 12 and data.groups is None and data.group_kind is None
    (fold, *_) = folds(data, protocol.load("standard").values_for(data.name))
    assert len(fold.test) and not alone.official_split and Declared().official_split


def test_groups_that_lie_in_a_table_are_read_without_a_sample(places, monkeypatch):
    read, plain = [], Places.__getitem__
    monkeypatch.setattr(Places, "__getitem__", lambda self, i: read.append(i) or plain(self, i))

    class Table(Grouped):
        group_kind = "farm"

        def targets(self, dataset):
            return np.arange(len(dataset)) / 3

        def groups(self, dataset):
            return [f"farm {i // 5}" for i in range(len(dataset))]

    catalogue = Table().open(places, ("optical",), View())
    assert read == [0] and catalogue.groups[5] == "farm 1" and Table().group_kind == "farm"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reads": f"{__name__}.Lost"}, "train cannot be read by .*Lost"),
        ({"label": "lost"}, "labels of train cannot be read .*'lost'"),
        ({"group": "lost"}, "groups of train cannot be read .*'lost'"),
        ({"group": "series"}, "groups of train cannot be read .*size 1"),
        ({"groups": lambda self, data: [""] * 3}, "groups: 9 of 9 are missing, the first number 0"),
        ({"groups": lambda self, data: ["a"]}, "9 samples, 9 targets, 9 names, 3 groups"),
        ({"options": {"sise": 3}}, "train cannot be read .*unexpected keyword"),
        ({"files": ("places.csv",)}, "lacks places.csv"),
        ({"splits": {"dev": {"split": "val"}}}, "'dev' is no part of a split"),
        (
            {"sensors": {**Declared.sensors, "optical": Sensor("image", ("x",) * 2, "1", first=2)}},
            "optical has 1 channels from number 2 on, expected 2",
        ),
        (
            {"sensors": {**Declared.sensors, "optical": Sensor("picture", ("x",), "1")}},
            "sample 0 of train cannot be read .*'picture'",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_is_one_sentence(change, message, places):
    with pytest.raises(UserError, match=message) as error:
        prepare_with(type("Declared", (Declared,), change)(), places, places / "cache")
    assert "\n" not in str(error.value)


def test_a_declaration_that_lacks_a_fact_is_told_when_it_is_registered():
    facts = {k: v for k, v in vars(Declared).items() if k not in ("reads", "sensors")}
    with pytest.raises(UserError, match="dataset adapter Short: lacks reads, sensors"):
        register(type("Short", (TorchgeoAdapter,), facts)())


def test_a_file_that_is_not_whole_is_named_with_its_sample(tmp_path):
    native = copied("treesatai", N, tmp_path)
    file = (native / "test_filenames.lst").read_text().splitlines()[2]
    (native / "s2" / "60m" / file).write_bytes(b"II*\x00 and no more")
    with pytest.raises(UserError, match="sample 2 of test cannot be read by .*TreeSatAI") as error:
        prepare("treesatai", native, tmp_path / "cache")
    assert "\n" not in str(error.value)


def half(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def twice(path):
    path.write_text(2 * path.read_text())


def fewer(key, kept):
    def change(path):
        with h5py.File(path, "r+") as file:
            values = file[key][:kept]
            del file[key]
            file[key] = values

    return change


def no_rows(path):
    for key in ("sen1", "sen2", "label"):
        fewer(key, 0)(path)


GENERA = "labels/TreeSatBA_v9_60m_multi_labels.json"


@pytest.mark.parametrize(
    ("name", "file", "change", "told"),
    [
        ("so2sat", "testing.h5", empty, "cannot be read, is it whole?"),
        ("so2sat", "validation.h5", cut, "cannot be read, is it whole?"),
        ("so2sat", "testing.h5", no_rows, "rows: 0 in 'sen1', 0 in 'sen2', 0 in 'label'; get"),
        ("so2sat", "testing.h5", fewer("label", 2), "rows: 4 in 'sen1', 4 in 'sen2', 2 in 'label'"),
        ("so2sat", "training.h5", fewer("sen2", 3), "rows: 14 in 'sen1', 3 in 'sen2'"),
        ("treesatai", "train_filenames.lst", cut, f" is not in {GENERA}; get the file again"),
        ("treesatai", "test_filenames.lst", empty, "lists no tile; get the file again"),
        ("treesatai", "test_filenames.lst", twice, "stands in test_filenames.lst already"),
        ("treesatai", GENERA, cut, "not a whole table of tiles"),
        ("treesatai", GENERA, empty, "not a whole table of tiles"),
        ("bigearthnet", "metadata.parquet", cut, "metadata.parquet"),
        ("bigearthnet", "metadata.parquet", empty, "metadata.parquet"),
    ],
)
def test_a_table_or_a_part_that_is_not_whole_is_named(name, file, change, told, tmp_path):
    if name == "bigearthnet":
        pytest.importorskip("pyarrow", reason="its table is written with pyarrow")
    native = copied(name, N, tmp_path)
    change(native / file)
    with pytest.raises(UserError) as error:
        opened(name, native)
    said = str(error.value)
    assert str(native / file) in said and told in said and "\n" not in said


def test_a_list_that_was_cut_at_the_end_of_a_line_is_said(tmp_path):
    native = copied("treesatai", N, tmp_path)
    half(native / "train_filenames.lst")
    told = "8 of 20 labelled tiles are in no list: left out"
    assert opened("treesatai", native).notices == (told,)


@pytest.mark.parametrize("gone", ["training.h5", "testing.h5"])
def test_a_part_that_is_not_there_is_named(gone, tmp_path):
    native = copied("so2sat", N, tmp_path)
    (native / gone).unlink()
    with pytest.raises(UserError, match=f"lacks {gone}"):
        ADAPTERS["so2sat"].open(native, ("S1", "S2"), View())
