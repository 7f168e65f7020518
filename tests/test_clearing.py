"""`data clear` removes the cache, and nothing but the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.commands.main import main
from benchmark.writers import part_of
from datasets.common.clearing import clear

ID = "0123456789abcdef"
PART = "node-1.site-4194305-01234567.part"
OF_THE_CACHE = (
    f"prepared/lfmc-{ID}",
    f"prepared/lfmc-{ID}.damaged-01234567",
    f"prepared/.lfmc-{ID}.part",
    f"prepared/.lfmc-{ID}.part.{ID * 2}",
    f"prepared/..lfmc-{ID}.part.{PART}",
    f"prepared/cropharvest_binary-{ID}",
    f"prepared/.cropharvest_binary-{ID}.{PART}",
    "generated/lfmc-2600-v1",
    f"generated/.cropharvest-1500-v1.{PART}",
    f"features/lfmc-{ID}",
    f"features/.lfmc-{ID}.part",
)
NOT_OF_IT = ("prepared/mine", f"prepared/{ID}", "generated/lfmc", "notes", "prepared/lfmc-0123")


@pytest.fixture
def cache(tmp_path) -> Path:
    for name in (*OF_THE_CACHE, *NOT_OF_IT):
        folder = tmp_path / "cache" / name / "deep"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"1234567")
    (tmp_path / "cache" / "prepared" / f"lfmc-{ID[::-1]}").symlink_to(tmp_path / "cache" / "notes")
    (tmp_path / "cache" / "prepared" / f"treesatai_ts-{ID}").write_text("a file")
    return tmp_path / "cache"


def left(cache: Path) -> set[str]:
    return {
        f"{kind}/{name}"
        for kind in ("prepared", "generated", "features")
        for name in os.listdir(cache / kind)
    }


def test_the_cache_is_removed_and_nothing_else(cache, capsys):
    before = left(cache)
    assert main(["data", "clear", "--cache", str(cache)]) == 0
    assert before - left(cache) == set(OF_THE_CACHE)
    assert all((cache / name / "deep" / "file").read_bytes() == b"1234567" for name in NOT_OF_IT)
    out = capsys.readouterr().out
    assert out.count("removed ") == 11 and "11 folders with 77 bytes were removed" in out
    assert main(["data", "clear", "--cache", str(cache)]) == 0
    assert "0 folders with 0 bytes" in capsys.readouterr().out


@pytest.mark.parametrize("name", [f"lfmc-{ID}", f".lfmc-{ID}.part"])
def test_what_is_being_written_or_was_half_removed_has_such_names(name, tmp_path):
    for kind, of in (("prepared", name), ("generated", "lfmc-2600-v1")):
        (tmp_path / kind / part_of(part_of(of))).mkdir(parents=True)
    assert len(clear(tmp_path)) == 2


def test_it_is_removed_of_some_datasets(cache):
    before = left(cache)
    assert main(["data", "clear", "--cache", str(cache), "--datasets", "cropharvest_binary"]) == 0
    assert before - left(cache) == {name for name in OF_THE_CACHE if "cropharvest" in name}


@pytest.mark.parametrize("what", ["empty", "absent", "file", "foreign"])
def test_a_folder_that_is_no_cache_is_refused(what, tmp_path, capsys):
    place = tmp_path / "place"
    if what == "file":
        place.write_text("prepared")
    elif what != "absent":
        place.mkdir()
    if what == "foreign":
        (place / f"lfmc-{ID}").mkdir()
    assert main(["data", "clear", "--cache", str(place)]) == 2
    assert "is no cache" in capsys.readouterr().err
    assert not place.is_dir() or os.listdir(place) == ([f"lfmc-{ID}"] if what == "foreign" else [])


def test_an_unknown_dataset_is_named_before_anything_is_removed(cache, capsys):
    before = left(cache)
    assert main(["data", "clear", "--cache", str(cache), "--datasets", "lfcm"]) == 2
    assert "did you mean lfmc?" in capsys.readouterr().err and left(cache) == before


def test_what_is_cleared_is_made_again(tmp_path, capsys):
    command = ["data", "prepare", "--datasets", "lfmc", "--cache", str(tmp_path)]
    assert main(command) == 0
    assert main(["data", "clear", "--cache", str(tmp_path)]) == 0
    assert os.listdir(tmp_path / "prepared") == os.listdir(tmp_path / "generated") == []
    assert main(command) == 0
    assert capsys.readouterr().out.count("lfmc: GENERATED data, 600 samples") == 2
