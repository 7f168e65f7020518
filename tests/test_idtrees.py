"""The reader of IDTReeS, on the published plots and on changed copies of generated ones."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

from benchmark.errors import UserError
from tests.layouts import copied, generated, opened, prepare

NAME = "idtrees"
N = 60
CROWNS = "ITC/train_MLBS.shp"
TABLE = "Field/train_data.csv"


def plot_of(name: str) -> str:
    return name.split()[0]


def individual_of(name: str) -> str:
    return name.split()[1]


@pytest.fixture(scope="module")
def published(real_data):
    return opened(NAME, real_data / NAME)


def test_the_published_crowns_are_those_of_eight_species(published):
    assert len(published) == 1_034 and len({plot_of(name) for name in published.ids}) == 81
    names = np.array(published.task.class_names)
    assert Counter(names[published.y].tolist()) == {
        "Pinus palustris": 340, "Quercus rubra": 190, "Acer rubrum": 148, "Quercus alba": 113,
        "Quercus laevis": 77, "Quercus coccinea": 66, "Amelanchier laevis": 52,
        "Nyssa sylvatica": 48,
    }  # fmt: skip
    assert published.notices == (
        "150 of 1,215 outlines are of species with fewer than 40 of them: left out",
        "67 of 1,215 outlines have no species in the table: left out",
        "118 of 1,034 crowns are wider than 8 m: their middle is seen",
    )


def test_no_published_tree_stands_on_both_sides_of_a_split(published):
    groups_of = {}
    for name, group in zip(published.ids.tolist(), published.groups.tolist(), strict=True):
        assert plot_of(name) in group.split("+")
        groups_of.setdefault(individual_of(name), set()).add(group)
    assert {len(groups) for groups in groups_of.values()} == {1}
    plots_of = {}
    for name in published.ids:
        plots_of.setdefault(individual_of(name), set()).add(plot_of(name))
    assert max(map(len, plots_of.values())) > 1, "what the groups are joined for"
    assert len(set(published.groups)) == 58


def test_a_window_holds_the_pixels_of_the_crowns_box_and_nothing_else(published, real_data):
    import geopandas
    import rasterio

    table = geopandas.read_file(real_data / NAME / CROWNS)
    i = next(
        i for i, name in enumerate(published.ids.tolist())
        if (table["indvdID"] == individual_of(name)).sum() == 1
    )  # fmt: skip
    plot, individual = published.ids[i].split()
    west, south, east, north = table[table["indvdID"] == individual].total_bounds
    read = published.read(i)
    for m, folder in (("hsi", "HSI"), ("chm", "CHM"), ("rgb", "RGB")):
        path = real_data / NAME / "RemoteSensing" / folder / f"{plot}.tif"
        with rasterio.open(path) as file:
            image, ground, pixel = file.read(), file.bounds, file.transform.a
        r0, r1 = int((ground.top - north) // pixel), int(-((south - ground.top) // pixel))
        c0, c1 = int((west - ground.left) // pixel), int(-((ground.left - east) // pixel))
        inside = image[:, max(r0, 0) : r1, max(c0, 0) : c1]
        seen = ~np.isnan(read[m][..., 0])
        assert seen.sum() == inside[0].size
        assert read[m][seen].mean(axis=0) == pytest.approx(inside.mean(axis=(1, 2)), rel=1e-4)


def test_with_and_without_the_archives_folder_it_is_the_same_set(tmp_path):
    native = generated(NAME, N)
    both = [prepare(NAME, root, tmp_path).fingerprint for root in (native, native / "train")]
    assert both[0] == both[1]


def test_generated_crowns_are_kept_as_published_and_in_fewer_pixels_where_asked(tmp_path):
    data = prepare(NAME, generated(NAME, N), tmp_path)
    shapes = {m: x.shape[1:] for m, x in data.x.items()}
    assert shapes == {"hsi": (8, 8, 369), "chm": (8, 8, 1), "rgb": (80, 80, 3)}
    assert len(data) == N and len(set(data.groups)) == 6
    rgb = np.asarray(data.x["rgb"])
    assert np.nanmin(rgb) >= 0 and np.nanmax(rgb) <= 255 and np.isnan(rgb).any()
    small = prepare(NAME, generated(NAME, N), tmp_path, "hsi", "rgb", image_px=16)
    assert small.x["rgb"].shape[1:] == (16, 16, 3) and small.x["hsi"].shape[1:] == (8, 8, 369)
    means = [np.nanmean(x["rgb"], axis=(1, 2, 3)) for x in (data.x, small.x)]
    assert np.corrcoef(*means)[0, 1] > 0.99


def edit_outlines(native, change) -> None:
    import geopandas

    path = native / "train" / CROWNS
    change(geopandas.read_file(path)).to_file(path)


def test_plots_with_a_tree_in_common_are_one_group(tmp_path):
    native = copied(NAME, N, tmp_path)
    before = opened(NAME, native)
    one, two = (before.ids.tolist()[i] for i in (0, N - 1))
    assert plot_of(one) != plot_of(two)

    def same(table):
        names = table["indvdID"].replace(individual_of(two), individual_of(one))
        return table.assign(indvdID=names)

    edit_outlines(native, same)
    after = opened(NAME, native)
    joined = "+".join(sorted({plot_of(one), plot_of(two)}))
    assert sorted(set(after.groups) - set(before.groups)) == [joined]
    assert len(set(after.groups)) == len(set(before.groups)) - 1


def test_pixels_without_data_are_missing_and_counted(tmp_path):
    import rasterio

    native = copied(NAME, N, tmp_path)
    path = native / "train" / "RemoteSensing" / "HSI" / "MLBS_1.tif"
    with rasterio.open(path, "r+") as file:
        image = file.read()
        image[7] = -9999
        file.write(image)
    data = prepare(NAME, native, tmp_path / "cache")
    there = np.isfinite(data.x["hsi"][:])
    hit = data.groups == "MLBS_1"
    assert not there[hit][..., 7].any() and there[hit][..., 8].any()
    assert there[~hit][..., 7].sum() == there[~hit][..., 8].sum()
    assert "hsi has no data" in data.notices[-1] and "of 10 of 60 samples" in data.notices[-1]


def test_species_that_are_rare_or_not_named_are_counted(tmp_path):
    native = copied(NAME, N, tmp_path)
    table = native / "train" / TABLE
    rows = table.read_text().splitlines()
    for i, taxon in ((1, "ACPE"), (2, "NA"), (3, "")):
        cells = rows[i].split(",")
        rows[i] = ",".join([*cells[:2], taxon, *cells[3:]])
    table.write_text("\n".join(rows[:-1]) + "\n")
    catalogue = opened(NAME, native)
    assert len(catalogue) == N - 4
    assert set(catalogue.notices) >= {
        "1 of 60 outlines are of species with fewer than 40 of them: left out",
        "3 of 60 outlines have no species in the table: left out",
    }


def remove(name):
    return lambda root: (root / name).unlink()


def garble(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:90])


def rewrite(name, old, new):
    return lambda root: (root / name).write_text((root / name).read_text().replace(old, new))


def other_species(root):
    row = (root / TABLE).read_text().splitlines()[1].split(",")
    row[2] = "ACPE" if row[2] != "ACPE" else "QUAL"
    with (root / TABLE).open("a") as file:
        file.write(",".join(row) + "\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove(TABLE), "lacks Field/train_data.csv"),
        (remove("RemoteSensing/CHM/MLBS_2.tif"), "CHM/MLBS_2.tif: is not there"),
        (lambda r: shutil.rmtree(r / "RemoteSensing/RGB"), "has no .tif files in .*RGB"),
        (garble("RemoteSensing/HSI/MLBS_2.tif"), "HSI/MLBS_2.tif: cannot be read as GeoTIFF"),
        (garble(CROWNS), "train_MLBS.shp: cannot be read as outlines"),
        (rewrite(TABLE, "taxonID", "taxon"), "train_data.csv: lacks the column.s. taxonID"),
        (rewrite(TABLE, ",species,17N", ",species"), "has not as many cells as the header"),
        (other_species, "'MLBS00000' is both"),
        (rewrite(TABLE, "MLBS0", "OSBS0"), "no outline of a known species lies in a plot"),
    ],
)
def test_what_is_not_whole_is_one_sentence_that_names_it(change, message, tmp_path):
    native = copied(NAME, N, tmp_path)
    change(native / "train")
    with pytest.raises(UserError, match=message) as error:
        prepare(NAME, native, tmp_path / "cache")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["standard", "random", "paper"])
def test_evidence_has_encoders_that_suit_a_thousand_crowns(name, tmp_path, monkeypatch):
    """The same in every protocol whose tables are evidence, and built without any weights."""
    from benchmark.planning import encoders, protocol

    def ask(model):
        raise AssertionError(f"asked for weights of {model}")

    monkeypatch.setattr("methods.common.encoders.pretrained_problem", ask)
    data = prepare(NAME, generated(NAME, N), tmp_path)
    found, _ = encoders.resolve(data, protocol.load(name))
    small = {"model": "test_resnet", "pretrained": False}
    spectra = {"model": "pixelset", "width": 128, "layers": 2, "dropout": 0.2}
    assert found["modalities"] == {"hsi": spectra, "chm": small, "rgb": small}
