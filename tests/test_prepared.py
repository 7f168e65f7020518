"""The prepared cache: made once, taken up where it stopped, never torn, made again if damaged."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import datasets
from benchmark.errors import UserError
from datasets.common import filling, prepared
from datasets.common.packed import Packed, pack
from tests.counting import PIECE, SAMPLES, Counting, prepare
from tests.layouts import copied, generated
from tests.layouts import prepare as prepare_files

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(filling, "PIECE", PIECE)


@pytest.fixture
def native(tmp_path) -> Path:
    folder = tmp_path / "native"
    folder.mkdir()
    Counting().generate(folder, seed=0, samples=SAMPLES)
    return folder


def processes(*arguments: tuple) -> list[subprocess.CompletedProcess]:
    """`tests.counting` in several processes at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.counting", *map(str, args)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for args in arguments
    ]  # fmt: skip
    outputs = [process.communicate() for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(started, outputs, strict=True)
    ]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "prepared"))


def test_files_are_read_once_and_then_mapped(native, tmp_path):
    adapter = Counting()
    first, folder = prepare(adapter, native, tmp_path)
    assert adapter.read == list(range(SAMPLES))
    assert sorted(os.listdir(folder)) == ["ids.npy", "meta.json", "x-a.npy", "x-b.npy", "y.npy"]
    second, again = prepare(adapter, native, tmp_path)
    assert again == folder and len(adapter.read) == SAMPLES
    assert first.fingerprint == second.fingerprint
    assert isinstance(second.x["a"], np.memmap) and not second.x["a"].flags.writeable
    assert second.x["a"][:, 0] == pytest.approx(np.loadtxt(native / "values.txt"))


def test_a_changed_source_is_noticed(native, tmp_path):
    before, folder = prepare(Counting(), native, tmp_path)
    values = (native / "values.txt").read_text().splitlines()
    (native / "values.txt").write_text("\n".join(["7.5", *values[1:]]) + "\n")
    after, other = prepare(Counting(), native, tmp_path)
    assert other != folder and after.fingerprint != before.fingerprint
    assert after.x["a"][0, 0] == 7.5
    assert prepared.reopen(folder).x["a"][0, 0] == before.x["a"][0, 0]


def test_another_version_of_the_reader_reads_anew(native, tmp_path):
    adapter = Counting()
    _, folder = prepare(adapter, native, tmp_path)
    adapter.reader_version += 1
    _, other = prepare(adapter, native, tmp_path)
    assert other != folder and len(adapter.read) == 2 * SAMPLES


@pytest.mark.parametrize("name", ["x-a.npy", "x-b.npy", "y.npy", "ids.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["cut in half", "gone", "empty", "foreign"])
def test_a_damaged_cache_is_named_moved_aside_and_made_again(
    name, damage, native, tmp_path, caplog
):
    whole, folder = prepare(Counting(), native, tmp_path)
    content = (folder / name).read_bytes()
    if damage == "gone":
        (folder / name).unlink()
    else:
        new = {"cut in half": content[: len(content) // 2], "empty": b"", "foreign": b"[1, 2, 3]\n"}
        (folder / name).write_bytes(new[damage])
    with caplog.at_level(logging.WARNING):
        again, same = prepare(Counting(), native, tmp_path)
    assert same == folder and again.fingerprint == whole.fingerprint
    assert np.array_equal(again.x["a"], np.asarray(again.x["a"]), equal_nan=True)
    assert str(folder) in caplog.text and "moved to" in caplog.text
    aside = [entry for entry in names(tmp_path) if "damaged" in entry]
    assert len(aside) == 1 and len(names(tmp_path)) == 2


def test_a_killed_process_is_taken_up_where_it_stopped(native, tmp_path):
    (killed,) = processes((native, tmp_path / "cache", 100))
    assert killed.returncode == -9
    (part,) = names(tmp_path / "cache")
    assert part.startswith(".") and part.endswith(".part")
    adapter = Counting()
    resumed, _ = prepare(adapter, native, tmp_path / "cache")
    assert adapter.read == list(range(96, SAMPLES)), "six pieces of 16 were written"
    undisturbed, _ = prepare(Counting(), native, tmp_path / "other")
    assert resumed.fingerprint == undisturbed.fingerprint
    assert len(names(tmp_path / "cache")) == 1


def test_a_partial_cache_that_was_cut_is_begun_again(native, tmp_path):
    processes((native, tmp_path / "cache", 100))
    (part,) = (tmp_path / "cache" / "prepared").iterdir()
    array = part / "x-a.npy"
    array.write_bytes(array.read_bytes()[:400])
    adapter = Counting()
    resumed, _ = prepare(adapter, native, tmp_path / "cache")
    assert len(adapter.read) == SAMPLES
    assert resumed.fingerprint == prepare(Counting(), native, tmp_path / "other")[0].fingerprint


def test_processes_that_prepare_at_once_give_one_whole_cache(native, tmp_path):
    caches = [tmp_path / f"cache{i}" for i in range(20)]
    expected = prepare(Counting(), native, tmp_path / "alone")[0].fingerprint
    arguments = (native, ",".join(map(str, caches)))
    for process in processes(arguments, arguments, arguments):
        assert process.returncode == 0, process.stderr
        assert process.stdout.split() == [expected] * len(caches)
        assert "moved to" not in process.stderr
    for cache in caches:
        (folder,) = (cache / "prepared").iterdir()
        assert sorted(os.listdir(folder)) == names_of_arrays(), "no stray file"
        assert prepared.reopen(folder).fingerprint == expected


def names_of_arrays() -> list[str]:
    return ["ids.npy", "meta.json", "x-a.npy", "x-b.npy", "y.npy"]


def test_what_cannot_be_read_leaves_nothing_behind(native, tmp_path):
    with pytest.raises(UserError, match="value 70 is foreign"):
        prepare(Counting(fail_at=70), native, tmp_path)
    assert names(tmp_path) == []


def test_all_cores_give_the_same_arrays_as_one(tmp_path, monkeypatch):
    native = generated("cropharvest_binary", 600)
    one = prepare_files("cropharvest_binary", native, tmp_path / "one")
    monkeypatch.setattr(filling, "LARGE", 100)
    all_cores = prepare_files("cropharvest_binary", native, tmp_path / "all")
    assert one.fingerprint == all_cores.fingerprint


def test_a_killed_reader_is_told_and_what_was_read_is_kept(native, tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "LARGE", 100)
    with pytest.raises(UserError, match="counting: a process that read its samples was killed"):
        prepare(Counting(kill_at=SAMPLES - 1), native, tmp_path)
    (part,) = (tmp_path / "prepared").iterdir()
    written = len(list((part / filling.NOTES).glob("*.json")))
    monkeypatch.setattr(filling, "LARGE", SAMPLES + 1)
    adapter = Counting()
    resumed, _ = prepare(adapter, native, tmp_path)
    assert len(adapter.read) == SAMPLES - written * PIECE < SAMPLES
    assert resumed.fingerprint == prepare(Counting(), native, tmp_path / "other")[0].fingerprint


def test_a_bad_file_found_by_another_core_is_the_same_sentence(tmp_path, monkeypatch):
    native = copied("cropharvest_binary", 600, tmp_path)
    sorted((native / "features" / "arrays").iterdir())[200].write_bytes(b"")
    monkeypatch.setattr(filling, "LARGE", 100)
    with pytest.raises(UserError, match="no dataset 'array' can be read"):
        prepare_files("cropharvest_binary", native, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_a_disk_that_is_too_small_is_named_before_anything_is_read(native, tmp_path, monkeypatch):
    usage = filling.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(filling.shutil, "disk_usage", lambda _: usage._replace(free=100))
    adapter = Counting()
    with pytest.raises(UserError, match="GB are needed and 0.0 GB are free; choose another"):
        prepare(adapter, native, tmp_path)
    assert adapter.read == [] and names(tmp_path) == []


def test_a_disk_that_fills_up_is_named(native, tmp_path):
    script = (
        "import resource, sys; from pathlib import Path; from tests.counting import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n"
        "prepare(Counting(), Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(native), str(tmp_path / "cache")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert "NotWritableError" in result.stderr
    assert "cannot be written to (File too large)" in result.stderr
    assert names(tmp_path / "cache") == []


@pytest.mark.parametrize("name", datasets.load())
def test_a_disk_that_fills_up_with_generated_data_is_named(tmp_path, name):
    script = (
        "import resource, sys; from pathlib import Path; import datasets\n"
        "from datasets.common import prepared\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "prepared.resolve(datasets.load()[sys.argv[1]], None, Path(sys.argv[2]), named=True)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, name, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert f"NotWritableError: {tmp_path}/generated: cannot be written to" in result.stderr
    assert list((tmp_path / "generated").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_named(native, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be written to .* choose another --cache"):
        prepare(Counting(), native, tmp_path / "cache")


def test_what_is_missing_is_generated_once_and_said(tmp_path):
    adapter = Counting()
    for _ in range(2):
        folder, source, notice = prepared.resolve(adapter, tmp_path, tmp_path, named=True)
    assert source == "generated" and "generated data stand in" in notice
    assert os.listdir(folder) == ["values.txt"]
    assert os.listdir(tmp_path / "generated") == [folder.name]


def test_packed_arrays_read_as_float_with_missing_values():
    values = np.array([[0.0, 65534.0], [np.nan, 1e-9]])
    packed = Packed(pack(values, "here"))
    expected = np.array([[0, 65534], [np.nan, 0]], dtype=np.float32)
    assert packed.shape == (2, 2) and len(packed) == 2 and packed[1].dtype == np.float32
    assert np.array_equal(packed, expected, equal_nan=True)
    assert np.array_equal(packed[np.array([1, 0])], expected[::-1], equal_nan=True)


def test_every_adapter_says_what_it_is():
    for name, adapter in datasets.load().items():
        assert adapter.name == name and adapter.title and adapter.citation and adapter.licence
        assert adapter.layout.startswith(f"{adapter.folder}/")
        assert set(adapter.default_modalities) <= set(adapter.modalities)
