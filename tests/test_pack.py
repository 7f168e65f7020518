"""Packed records: small, not a byte of them another, and read like a folder."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from benchmark import records
from benchmark.commands.main import main
from benchmark.merging import merged
from tests.made_up import official, runs, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Records of two datasets, one with predictions, and the same packed."""
    folder = tmp_path_factory.mktemp("pack")
    official(folder / "loose", {"single": 1.0, "kd": 1.0}, "multiclass")
    write(runs({"single": 1.0, "kd": 2.0}, dataset="other", samples=40), folder / "loose")
    assert pack(folder, "loose") == 0
    return folder


def pack(folder: Path, *names: str, out: str = "packed") -> int:
    sources = [word for name in names for word in ("--results", str(folder / name))]
    return main(["pack", *sources, "--out", str(folder / out)])


def contents(results: Path) -> dict[str, bytes]:
    files = (p for p in (results / "records").rglob("*") if p.is_file())
    return {p.relative_to(results).as_posix(): p.read_bytes() for p in files}


def test_an_archive_a_dataset_holds_every_byte(folder):
    archives = sorted(p.name for p in (folder / "packed/packed").iterdir())
    assert archives == ["other.tar.xz", "toy.tar.xz"]
    with merged([folder / "packed"]) as opened:
        assert contents(opened) == contents(folder / "loose")
    size = sum(p.stat().st_size for p in (folder / "packed/packed").iterdir())
    assert size < sum(map(len, contents(folder / "loose").values())) / 2


def test_report_verify_and_compare_read_it_like_a_folder(folder, capsys):
    places = {"loose": folder / "loose", "packed": folder / "packed"}
    made = {}
    for name, place in places.items():
        results, out = ["--results", str(place)], folder / "out" / name
        cache = ["--cache", str(folder / "loose/cache")]
        assert main(["report", *results, "--out", str(out), *cache]) == 0
        capsys.readouterr()
        main(["verify", *results, *cache])
        said = capsys.readouterr().out.replace(str(place), "PLACE")
        files = ("leaderboard.md", "scores.csv", "report.html")
        made[name] = [said, *((out / file).read_bytes() for file in files)]
    assert made["loose"] == made["packed"]
    capsys.readouterr()
    folders = ["--results", str(folder / "loose"), "--compare", str(folder / "packed")]
    assert main(["report", *folders]) == 0
    assert "Runs that only one has: 0 here, 0 there." in capsys.readouterr().out


def test_submit_makes_the_same_of_it(tmp_path):
    official(tmp_path / "loose", {"single": 1.0}, "binary", seeds=2)
    assert pack(tmp_path, "loose") == 0
    for name in ("loose", "packed"):
        out = ["--out", str(tmp_path / f"{name}.zip")]
        assert main(["submit", "--results", str(tmp_path / name), *out]) == 0
    assert (tmp_path / "loose.zip").read_bytes() == (tmp_path / "packed.zip").read_bytes()


def test_a_changed_record_in_an_archive_is_named_as_it_lies_there(folder, capsys, tmp_path):
    with merged([folder / "packed"]) as opened:
        shutil.copytree(opened, tmp_path / "edited", symlinks=False)
    path = next((tmp_path / "edited/records/toy/kd").glob("*.json"))
    path.write_text(path.read_text().replace('"macro_f1": 0.', '"macro_f1": 0.9', 1))
    (tmp_path / "bad/packed").mkdir(parents=True)
    with tarfile.open(tmp_path / "bad/packed/toy.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "edited/records", "records")
    arguments = ["--results", str(tmp_path / "bad"), "--cache", str(folder / "loose/cache")]
    assert main(["verify", *arguments]) == 1
    assert f"wrong: {tmp_path}/bad/records/toy/kd/{path.name}" in capsys.readouterr().out


def test_more_records_are_added_and_what_lies_loose_is_taken_away(folder, tmp_path):
    shutil.copytree(folder / "packed", tmp_path / "all")
    write(runs({"mdico": 1.0}, dataset="other"), tmp_path / "more")
    write(runs({"forest": 1.0}, dataset="third"), tmp_path / "all")
    assert pack(tmp_path, "more", out="all") == 0
    assert not list((tmp_path / "all/records").rglob("*.json"))
    assert len(list((tmp_path / "more/records").rglob("*.json"))) == 3, "the source stays"
    with merged([tmp_path / "all"]) as opened:
        found = {(r.spec.dataset, r.spec.method) for r in records.read_all(opened)[0]}
    assert found >= {("other", "kd"), ("other", "mdico"), ("third", "forest"), ("toy", "kd")}
    before = [p.read_bytes() for p in sorted((tmp_path / "all/packed").iterdir())]
    assert pack(tmp_path, "all", out="all") == 0
    assert before == [p.read_bytes() for p in sorted((tmp_path / "all/packed").iterdir())]


def test_nothing_is_added_to_packed_records(folder, capsys):
    arguments = ["--results", str(folder / "packed")]
    assert main(["run", "--datasets", "lfmc", "--methods", "single", *arguments]) == 2
    assert "its records are packed (other.tar.xz), and nothing is added" in capsys.readouterr().err


def test_a_record_that_is_not_whole_is_named_and_nothing_is_packed(folder, tmp_path, capsys):
    shutil.copytree(folder / "loose", tmp_path / "torn")
    path = next((tmp_path / "torn/records/toy/kd").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:-1])
    assert pack(tmp_path, "torn") == 2
    assert path.name in capsys.readouterr().err
    assert not (tmp_path / "packed").exists()


def test_a_torn_archive_is_one_sentence(folder, tmp_path, capsys):
    shutil.copytree(folder / "packed", tmp_path / "torn")
    path = tmp_path / "torn/packed/toy.tar.xz"
    path.write_bytes(path.read_bytes()[:-200])
    assert main(["report", "--results", str(tmp_path / "torn"), "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "toy.tar.xz: cannot be unpacked" in err
