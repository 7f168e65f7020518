"""Archives from outside: refused before anything is written, or unpacked below the folder."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.errors import UserError
from datasets.common import archives
from datasets.common.archives import unpack


def tarball(path: Path, *members: tuple[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
            file.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def of_type(kind: bytes, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def zip_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("innocent")
    info.external_attr = 0o120777 << 16
    return info


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


FILES = [("./features/arrays/1_a.h5", b"one"), ("features/arrays/2_a.h5", b"two")]


@pytest.mark.parametrize("kind", ["w", "w:gz", "zip"])
def test_files_are_unpacked_below_the_folder(kind, tmp_path, folder):
    make = (
        (lambda p, *m: zipped(p, *m))
        if kind == "zip"
        else (lambda p, *m: tarball(p, ("features", of_type(tarfile.DIRTYPE)), *m, mode=kind))
    )
    unpack(make(tmp_path / "a", *FILES), folder)
    assert contents(folder) == {"features/arrays/1_a.h5": b"one", "features/arrays/2_a.h5": b"two"}


EVIL = {
    "absolute": ([("/etc/evil", b"x")], "absolute path"),
    "drive": ([("C:evil", b"x")], "absolute path"),
    "up": ([("a/../../evil", b"x")], "leads out"),
    "backslash": ([("..\\evil", b"x")], "backslash"),
    "sign": ([("a\nb", b"x")], "cannot be printed"),
    "long": ([("n" * 300, b"x")], "longer than 255"),
    "nothing": ([("...", b"x")], "a name of nothing"),
    "twice": ([("a", b"x"), ("./a", b"y")], "stands twice"),
    "bomb": ([("zeros", bytes(8 << 20))], "100 times its size"),
    "link": ([("a", of_type(tarfile.SYMTYPE, linkname="/etc"))], "link or a device"),
    "hard link": ([("a", of_type(tarfile.LNKTYPE, linkname="b"))], "link or a device"),
    "device": ([("a", of_type(tarfile.CHRTYPE))], "link or a device"),
    "pipe": ([("a", of_type(tarfile.FIFOTYPE))], "link or a device"),
    "huge": ([("a", of_type(tarfile.REGTYPE, size=1 << 50))], "100 times its size"),
}


@pytest.mark.parametrize("what", EVIL)
def test_what_is_evil_is_refused_before_anything_is_written(what, tmp_path, folder):
    members, reason = EVIL[what]
    made = [tarball(tmp_path / "evil.tar.gz", ("good", b"good"), *members)]
    if all(isinstance(content, bytes) for _, content in members):
        made.append(zipped(tmp_path / "evil.zip", ("good", b"good"), *members))
    for archive in made:
        with pytest.raises(UserError, match=f"refused, nothing was unpacked: .*{reason}"):
            unpack(archive, folder)
        assert os.listdir(folder) == []


def test_a_link_in_a_zip_is_refused(tmp_path, folder):
    with pytest.raises(UserError, match="'innocent' is a link or a device"):
        unpack(zipped(tmp_path / "evil.zip", (zip_link(), b"/etc")), folder)
    assert os.listdir(folder) == []


def test_a_header_that_is_a_bomb_is_refused(tmp_path, folder):
    name = of_type(tarfile.GNUTYPE_LONGNAME, size=64 << 20)
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as file:
        file.addfile(name, io.BytesIO(bytes(64 << 20)))
        file.addfile(tarfile.TarInfo("a"))
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(tmp_path / "evil.tar.gz", folder)
    assert os.listdir(folder) == []


def test_too_many_members_and_too_small_a_disk_are_refused(tmp_path, folder, monkeypatch):
    archive = zipped(tmp_path / "a.zip", *((str(i), b"12345678") for i in range(9)))
    monkeypatch.setattr(archives, "FILES", 8)
    with pytest.raises(UserError, match="more than 8 members"):
        unpack(archive, folder)
    usage = archives.shutil.disk_usage(tmp_path)._replace(free=20)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="more than the 0.0 GB that are free"):
        unpack(archive, folder)
    assert os.listdir(folder) == []


@pytest.mark.parametrize("make", [tarball, zipped])
@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_a_damaged_archive_is_one_sentence(make, damage, tmp_path, folder):
    archive = make(tmp_path / "a", ("a", os.urandom(9000)))
    content = archive.read_bytes()
    archive.write_bytes({"cut": content[:4000], "empty": b"", "foreign": b"hello" * 999}[damage])
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(archive, folder)


PARTS = st.sampled_from(["..", ".", "", "a", "b c", "é", "C:", "\\", "\0", "con", "x" * 256, "~"])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.text(max_size=30)


@given(st.lists(NAMES, min_size=1, max_size=4), st.booleans())
@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_name_leads_out_of_the_folder(tmp_path_factory, names, as_zip):
    root = tmp_path_factory.mktemp("odd")
    (root / "to").mkdir()
    archive = root / "archive"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a name stands twice
            (zipped if as_zip else tarball)(archive, *((name, b"x") for name in names))
    except (ValueError, IndexError):  # not a name that can be written
        return
    before = contents(root)
    try:
        unpack(archive, root / "to")
    except UserError as error:
        if "refused" in str(error):
            assert contents(root) == before
    new = contents(root).keys() - before.keys()
    assert all(name.startswith("to/") for name in new)
    assert not any(p.is_symlink() for p in root.rglob("*"))
