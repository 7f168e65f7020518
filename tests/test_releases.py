"""Published wholes are known by their arrays, whatever modalities are chosen; others are not."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from benchmark.commands.main import main
from benchmark.planning import protocol
from datasets.common import releases
from datasets.common.contract import View
from tests.layouts import ADAPTERS, copied, prepare, prepare_with


@pytest.mark.parametrize("view", ["standard", "quick"])
@pytest.mark.parametrize("name", releases.known())
def test_the_digests_are_those_of_the_published_files(name, view, real_data, tmp_path):
    adapter, looked_at = ADAPTERS[name], protocol.load(view).view_for(name)
    native = real_data / adapter.folder
    data, folder = prepare_with(adapter, native, tmp_path, *adapter.modalities, **looked_at)
    made = {p.stem: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.npy")}
    release = releases.known()[name]
    assert made == release.views[("standard", "quick").index(view)]
    samples = {"standard": f"{release.samples:,}", "quick": f"600 of its {release.samples:,}"}
    said = releases.named(name, adapter.modalities, data.fingerprint, len(data))
    assert said == f"{release.title}, {samples[view]} samples"


def test_it_is_known_in_any_choice_of_modalities(real_data, tmp_path):
    for chosen in (("S2", "S1"), ("S1", "static"), ("land_cover", "S2", "static")):
        data = prepare("lfmc", real_data / "lfmc", tmp_path, *chosen)
        said = releases.named("lfmc", chosen, data.fingerprint, len(data))
        assert said == "LFMC as published, 2,578 samples"


def test_one_other_value_is_another_release(real_data, tmp_path):
    table = pd.read_csv(real_data / "lfmc" / "training_features.csv", index_col=0)
    table.iloc[1000, table.columns.get_loc("red(t)")] += 1
    table.to_csv(tmp_path / "training_features.csv")
    data = prepare("lfmc", tmp_path, tmp_path / "cache")
    said = releases.named("lfmc", data.modalities, data.fingerprint, len(data))
    assert said == "not a known release"


def test_the_published_columns_that_are_not_read_do_not_matter(real_data, tmp_path):
    """As the file in the publisher's repository has it: with coordinates, and rows twice."""
    table = pd.read_csv(real_data / "lfmc" / "training_features.csv", index_col=0)
    twice = table.iloc[np.sort(np.r_[np.arange(len(table)), 7, 7, 99])]
    twice.copy().assign(latitude=40.0, longitude=-110.0).to_csv(tmp_path / "training_features.csv")
    data = prepare("lfmc", tmp_path, tmp_path / "cache")
    said = releases.named("lfmc", data.modalities, data.fingerprint, len(data))
    assert said == "LFMC as published, 2,578 samples"


def test_commands_name_it(real_data, tmp_path, capsys):
    where = [f"--cache={tmp_path / 'cache'}", "--datasets=lfmc"]
    assert main(["data", "prepare", f"--data-root={real_data}", *where]) == 0
    said = capsys.readouterr().out
    assert "lfmc: REAL data, 600 samples" in said
    form = "its publisher's table (training_features.csv)"
    assert f"lfmc: LFMC as published, 600 of its 2,578 samples; read from {form}\n" in said
    assert main(["describe", "lfmc"]) == 0
    assert "known release: LFMC as published, 2,578 samples\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lfmc", "treesatai_ts"])
def test_files_that_are_there_are_not_taken_for_a_release(name, tmp_path, capsys):
    copied(name, 40, tmp_path / "root")
    where = [f"--cache={tmp_path / 'cache'}", f"--data-root={tmp_path / 'root'}"]
    assert main(["data", "prepare", f"--datasets={name}", *where]) == 0
    said = capsys.readouterr().out
    assert f"{name}: REAL data, " in said and f"{name}: not a known release; read from " in said


def test_of_data_of_ones_own_no_release_is_asked():
    assert releases.named("vines", ("S1",), "0" * 64, 60) is None
    assert View() == View(**protocol.load("standard").view_for("lfmc"))
