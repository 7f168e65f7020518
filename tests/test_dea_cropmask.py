"""The reader of Digital Earth Africa's tables, on the published ones and on changed copies."""

from __future__ import annotations

import gzip
import re
from collections import Counter

import numpy as np
import pytest

from benchmark.errors import UserError
from tests.layouts import copied, generated, opened, prepare

NAME = "dea_cropmask"
N = 160


def test_the_published_tables_are_read_as_published(real_data):
    catalogue = opened(NAME, real_data / NAME)
    assert len(catalogue) == 30_065 and catalogue.notices == ()
    assert Counter(catalogue.groups.tolist()) == {
        "central": 3509, "eastern": 4444, "indian_ocean": 1777, "northern": 3447,
        "sahel": 6153, "south_eastern": 4177, "southern": 4445, "western": 2113,
    }  # fmt: skip
    assert catalogue.y.sum() == 12_346 and catalogue.task.kind == "binary"
    with gzip.open(real_data / NAME / "sahel_training_data.txt.gz", "rt") as file:
        header, *rows = file.read().splitlines()
    columns = header.removeprefix("# ").split()
    row = dict(zip(columns, map(float, rows[41].split()), strict=True))
    i = catalogue.ids.tolist().index("sahel 42")
    read = catalogue.read(i)
    assert catalogue.y[i] == row["Class"]
    for m, spec in catalogue.modalities.items():
        halves = ("S1", "S2") if spec.kind == "series" else ("",)
        expected = [[row[f"{c}_{h}" if h else c] for c in spec.channels] for h in halves]
        assert np.squeeze(read[m]) == pytest.approx(np.squeeze(expected), rel=1e-6)
    read_columns = sum(len(s.channels) * (2 if s.kind == "series" else 1)
                       for s in catalogue.modalities.values())  # fmt: skip
    assert read_columns == len(columns) - 1, "every column but the class belongs to a modality"


def test_folders_as_in_the_repository_and_packed_tables_give_the_same(tmp_path):
    native = generated(NAME, N)
    packed = tmp_path / "packed"
    packed.mkdir()
    for table in native.glob("*/training_data.txt"):
        name = f"{table.parent.name}_training_data.txt.gz"
        (packed / name).write_bytes(gzip.compress(table.read_bytes()))
    both = [prepare(NAME, root, tmp_path / "cache").fingerprint for root in (native, packed)]
    assert both[0] == both[1]


def test_regions_that_lack_are_said(tmp_path):
    native = copied(NAME, N, tmp_path)
    for region in ("sahel", "western"):
        (native / region / "training_data.txt").unlink()
    catalogue = opened(NAME, native)
    assert catalogue.notices[0] == "6 of 8 published regions are there: sahel, western lack"
    assert len(set(catalogue.groups)) == 6


def test_a_table_that_was_cut_at_the_end_of_a_line_is_said(tmp_path, real_data):
    for path in (real_data / NAME).iterdir():
        (tmp_path / path.name).symlink_to(path)
    cut = tmp_path / "eastern_training_data.txt.gz"
    lines = gzip.decompress(cut.read_bytes()).splitlines(keepends=True)
    cut.unlink()
    cut.write_bytes(gzip.compress(b"".join(lines[:2_223])))
    catalogue = opened(NAME, tmp_path)
    assert catalogue.notices == ("eastern has 2,222 of 4,444 rows",)
    few = opened(NAME, generated(NAME, N))
    assert few.notices == (f"{N} of 30,065 published rows are there",)


def test_one_rule_says_which_values_are_missing(tmp_path):
    native = copied(NAME, N, tmp_path)
    table = native / "central" / "training_data.txt"
    lines = table.read_text().splitlines()
    cells = lines[1].split()
    cells[1], cells[16], cells[33] = "nan", "NA", "inf"
    table.write_text("\n".join([lines[0], " ".join(cells), *lines[2:]]) + "\n")
    data = prepare(NAME, native, tmp_path / "cache")
    assert np.isnan(data.x["optical"][0, 0, 0]) and np.isnan(data.x["climate"][0, 0, 0])
    assert np.isnan(data.x["terrain"]).sum() == 1 and "terrain has no data" in data.notices[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("rain_S2", "rain"), "columns that lack: rain_S2"),
        (lambda t: t.replace("Class blue_S1", "blue_S1 Class"), "none, but in another order"),
        (lambda t: t[:-1], "truncated, its last line has no end"),
        (lambda t: t[: t.rindex(" ")] + "\n", "line 21 has 33 values and the header 34"),
        (lambda t: re.sub(r"\n\S+", "\n2.0", t, count=1), "line 2: the class is 2, neither"),
        (lambda t: re.sub(r"\n\S+", "\nnan", t, count=1), "line 2: the class is nan, neither"),
        (lambda t: re.sub(r"\S+\n$", "0,5\n", t), "line 21: '0,5' is not a number .decimals"),
        (lambda t: t.partition("\n")[0] + "\n", "has no rows"),
        (lambda t: "", "its first line must be '# Class blue_S1"),
    ],
)
def test_a_bad_table_is_one_sentence_that_names_it(change, message, tmp_path):
    native = copied(NAME, N, tmp_path)
    table = native / "central" / "training_data.txt"
    table.write_text(change(table.read_text()))
    with pytest.raises(UserError, match=message) as error:
        opened(NAME, native)
    assert str(table) in str(error.value) and "\n" not in str(error.value)


def test_a_region_twice_and_a_broken_archive_are_refused(tmp_path):
    native = copied(NAME, N, tmp_path)
    (native / "central_training_data.txt.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="has both central.training_data.txt and central_training"):
        opened(NAME, native)
    (native / "central" / "training_data.txt").unlink()
    with pytest.raises(UserError, match="central_training_data.txt.gz: cannot be unpacked as text"):
        opened(NAME, native)


def test_a_tree_tells_more_from_all_generated_modalities_than_from_rain():
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import GroupKFold, cross_val_score

    catalogue = opened(NAME, generated(NAME, 960))
    samples = [catalogue.read(i) for i in range(len(catalogue))]
    score = {}
    for name in (("climate",), ("optical",), ("optical", "climate", "terrain")):
        x = [np.concatenate([sample[m].ravel() for m in name]) for sample in samples]
        model = ExtraTreesClassifier(40, min_samples_leaf=2, random_state=0)
        found = cross_val_score(model, x, catalogue.y, groups=catalogue.groups, cv=GroupKFold(4))
        score[len(name), name[0]] = found.mean()
    weak, strong, every = score.values()
    assert weak + 0.03 < strong and strong + 0.02 < every
