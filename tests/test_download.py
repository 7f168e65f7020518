"""Downloads from a server on this machine: compared, whole or not there, taken up again."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark.commands.main import main
from benchmark.errors import UserError
from benchmark.writers import part_of
from datasets.common import archives, download
from datasets.common.contract import Download
from datasets.common.download import check_address, fetch
from tests.layouts import ADAPTERS, generated

ROOT = Path(__file__).parents[1]
CONTENT = os.urandom(300_000)


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``stop_after`` bytes it hangs up, and it notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"data.bin": CONTENT}
        self.redirects: dict[str, str] = {}
        self.stop_after: int | None = None
        self.ranges = True
        self.silent = threading.Event()
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        name, wanted = self.path.lstrip("/"), self.headers.get("Range")
        self.server.asked.append((name, wanted))
        if self.server.silent.is_set():
            self.server.silent.wait()
            threading.Event().wait(2)
            return
        if name in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name not in self.server.files:
            self.send_error(404)
            return
        content, start = self.server.files[name], 0
        if wanted and self.server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.stop_after])


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


def offered(server: Server, content: bytes = CONTENT, **changes) -> Download:
    sha256 = hashlib.sha256(content).hexdigest()
    return replace(Download(f"{server.url}/data.bin", "data.bin", sha256), **changes)


def test_a_file_is_compared_and_appears_when_it_is_whole(server, tmp_path):
    assert fetch(offered(server), tmp_path / "d") is True
    assert (tmp_path / "d" / "data.bin").read_bytes() == CONTENT
    assert sorted(os.listdir(tmp_path / "d")) == [".sha256.json", "data.bin"]
    assert fetch(offered(server), tmp_path / "d") is False and len(server.asked) == 1


def test_it_is_fetched_from_a_mirror_and_compared_all_the_same(server, tmp_path):
    published = offered(server, url="https://publisher.example/of/data.bin?download=1")
    fetch(published, tmp_path, mirror=f"{server.url}/")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    server.files["data.bin"] = b"something else"
    with pytest.raises(UserError, match="published is .*; it was removed"):
        fetch(published, tmp_path / "again", mirror=server.url)


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_other_bytes_than_published_are_removed(kind, server, tmp_path):
    wrong = offered(server, **{"sha256": None, kind: "0" * (64 if kind == "sha256" else 32)})
    with pytest.raises(UserError, match=f"its {kind} is .*, published is 0+; it was removed"):
        fetch(wrong, tmp_path)
    assert os.listdir(tmp_path) == []


def test_an_md5_that_is_right_is_enough_and_the_sha256_is_kept_for_later(server, tmp_path):
    md5 = hashlib.md5(CONTENT).hexdigest()
    only_md5 = offered(server, sha256=None, md5=md5)
    fetch(only_md5, tmp_path)
    kept = json.loads((tmp_path / ".sha256.json").read_text())
    assert kept == {"data.bin": hashlib.sha256(CONTENT).hexdigest()}
    (tmp_path / "data.bin").unlink()
    server.files["data.bin"] = b"another"
    with pytest.raises(UserError, match="the first time .* it was .*; it was removed"):
        fetch(replace(only_md5, md5=None), tmp_path)
    assert not (tmp_path / "data.bin").exists()


def test_what_is_absent_is_told(server, tmp_path):
    with pytest.raises(UserError, match="nothing.bin: the server answers 404"):
        fetch(offered(server, url=f"{server.url}/nothing.bin", gives="nothing.bin"), tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_where_it_stopped(ranges, server, tmp_path):
    server.stop_after, server.ranges = 100_000, ranges
    with pytest.raises(UserError, match="data.bin: the connection failed .* same command again"):
        fetch(offered(server), tmp_path)
    assert os.listdir(tmp_path) == ["data.bin.part"]
    server.stop_after = None
    fetch(offered(server), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked == [("data.bin", None), ("data.bin", "bytes=65536-")]


def test_what_a_killed_process_received_is_taken_up(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:10])
    for size in (20, 70_000, 30):  # of which one is enough
        dead = part_of("data.bin").replace(f"-{os.getpid()}-", "-4194305-")
        (tmp_path / dead).write_bytes(CONTENT[:size])
    fetch(offered(server), tmp_path)
    assert server.asked == [("data.bin", "bytes=70000-")]
    assert sorted(os.listdir(tmp_path)) == [".sha256.json", "data.bin"]


def test_a_disk_that_is_full_at_the_end_costs_no_byte(server, tmp_path, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fsync)
        with pytest.raises(UserError, match="No space left on device"):
            fetch(offered(server), tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT
    fetch(offered(server), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("there", [CONTENT, CONTENT + b"more"])
def test_a_part_that_is_whole_or_too_long_is_no_obstacle(there, server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(there)
    fetch(offered(server), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_foreign_part_is_removed(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"foreign")
    with pytest.raises(UserError, match="it was removed"):
        fetch(offered(server), tmp_path)
    fetch(offered(server), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_server_that_does_not_answer_is_told(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (0.2, 0.2))
    server.silent.set()
    with pytest.raises(UserError, match="no answer in time"):
        fetch(offered(server), tmp_path)
    server.server_close()
    with pytest.raises(UserError, match="the connection failed|no answer in time"):
        fetch(offered(server), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_too_small_or_full_is_told(server, tmp_path, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(UserError, match="0.0 GB are needed and 0.0 GB are free"):
            fetch(offered(server), tmp_path)
    (tmp_path / "data.bin.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match="cannot be written to .No space left on device"):
        fetch(offered(server), tmp_path)
    assert not (tmp_path / "data.bin").exists()


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://127.0.0.1/a", "file:///etc/passwd", "https://", "[", "a"]
)
def test_only_https_is_fetched(url):
    with pytest.raises(UserError, match="only https is fetched|not an address"):
        check_address(url)


@pytest.mark.parametrize("target", ["http://example.org/x", "file:///etc/passwd"])
def test_a_redirect_that_leaves_https_is_not_followed(target, server, tmp_path):
    server.redirects["data.bin"] = target
    with pytest.raises(UserError, match="redirects to .*: only https is fetched"):
        fetch(offered(server), tmp_path)
    with pytest.raises(UserError, match="only https"):
        check_address("http://127.0.0.1/x", coming_from="https://example.org")


def test_redirects_are_followed_but_not_for_ever(server, tmp_path):
    server.redirects["data.bin"] = "/other"
    server.files["other"] = CONTENT
    fetch(offered(server), tmp_path)
    server.redirects["data.bin"] = "/data.bin"
    with pytest.raises(UserError, match="more than 5 redirects"):
        fetch(offered(server), tmp_path / "again")


@contextmanager
def published(server: Server, to: Path):
    """The crop datasets as an archive on the server, and the adapter that names its checksum."""
    adapter, native = ADAPTERS["cropharvest_binary"], generated("cropharvest_binary", 600)
    with tarfile.open(to / "features.tar.gz", "w:gz") as file:
        file.add(native / "features", "features")
    for path in (to / "features.tar.gz", native / "labels.geojson"):
        server.files[path.name] = path.read_bytes()
    before = adapter.downloads
    adapter.downloads = tuple(
        replace(d, md5=hashlib.md5(server.files[d.name]).hexdigest()) for d in before
    )
    yield native
    adapter.downloads = before


def test_the_command_brings_a_dataset_that_can_be_prepared(server, tmp_path, capsys):
    command = ["data", "fetch", "cropharvest_binary", "--mirror", server.url, "--data-root"]
    with published(server, tmp_path) as native:
        assert main([*command, str(tmp_path / "root")]) == 0
        folder = tmp_path / "root" / "cropharvest"
        assert sorted(os.listdir(folder)) == [".sha256.json", "features", "labels.geojson"]
        assert "licence CC BY-SA 4.0" in capsys.readouterr().out
        assert sorted(os.listdir(folder / "features" / "arrays")) == sorted(
            os.listdir(native / "features" / "arrays")
        )
        assert main([*command, str(tmp_path / "root")]) == 0
        assert capsys.readouterr().out.count("is there already") == 2
        server.files["features.tar.gz"] = server.files["features.tar.gz"][:-1000]
        assert main([*command, str(tmp_path / "other")]) == 2
        assert "published is" in capsys.readouterr().err
        assert "features" not in os.listdir(tmp_path / "other" / "cropharvest")
    where = ["--data-root", str(tmp_path / "root"), "--cache", str(tmp_path / "cache")]
    assert main(["data", "prepare", "--datasets", "cropharvest_binary", *where]) == 0
    assert "cropharvest_binary: REAL data" in capsys.readouterr().out


def test_files_of_the_same_name_lie_in_folders_of_their_own(server, tmp_path):
    both = [Download(f"{server.url}/{f}/table.txt", "table.txt", folder=f) for f in ("a", "b")]
    server.files |= {"a/table.txt": b"one", "b/table.txt": b"two", "copy/b/table.txt": b"two"}
    assert [fetch(each, tmp_path) for each in both] == [True, True]
    assert [(tmp_path / f / "table.txt").read_text() for f in "ab"] == ["one", "two"]
    assert [fetch(each, tmp_path) for each in both] == [False, False]
    fetch(both[1], tmp_path / "again", mirror=f"{server.url}/copy")
    assert (tmp_path / "again" / "b" / "table.txt").read_text() == "two"


def test_an_archive_may_hold_the_files_without_their_folder(server, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        file.add(tmp_path / "a.txt", "a.txt")
    server.files["x.tar"] = (tmp_path / "x.tar").read_bytes()
    fetch(Download(f"{server.url}/x.tar", "inside"), tmp_path / "d")
    assert (tmp_path / "d" / "inside" / "a.txt").read_text() == "a"
    assert sorted(os.listdir(tmp_path / "d")) == [".sha256.json", "inside"]


PAGE = b"<!DOCTYPE html>\n<html><body>Service unavailable</body></html>"


def zipped(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, "a.tif\n")
    return content.getvalue()


def test_a_web_page_in_place_of_an_archive_is_not_kept_and_not_remembered(server, tmp_path):
    """`split.zip` of TreeSatAI-TS has no published checksum: a proxy may serve anything."""
    lists = Download(f"{server.url}/split.zip", "split")
    server.files["split.zip"] = PAGE
    with pytest.raises(
        UserError, match="it is a web page, not an archive .*; it was removed, give"
    ):
        fetch(lists, tmp_path)
    assert os.listdir(tmp_path) == []
    server.files["split.zip"] = zipped("split/train_filenames.lst")
    fetch(lists, tmp_path)
    assert (tmp_path / "split" / "train_filenames.lst").read_text() == "a.tif\n"
    assert list(json.loads((tmp_path / ".sha256.json").read_text())) == ["split.zip"]


def test_a_page_that_was_kept_and_remembered_before_is_forgotten(server, tmp_path):
    (tmp_path / "split.zip").write_bytes(PAGE)
    known = {"split.zip": hashlib.sha256(PAGE).hexdigest(), "other": "0" * 64}
    (tmp_path / ".sha256.json").write_text(json.dumps(known))
    lists = Download(f"{server.url}/split.zip", "split")
    with pytest.raises(UserError, match="it was removed"):
        fetch(lists, tmp_path)
    assert json.loads((tmp_path / ".sha256.json").read_text()) == {"other": "0" * 64}
    server.files["split.zip"] = zipped("train_filenames.lst")
    assert fetch(lists, tmp_path) is True


def test_an_archive_that_is_as_published_is_kept_when_it_cannot_be_unpacked(server, tmp_path):
    server.files["x.zip"] = PAGE
    published = Download(f"{server.url}/x.zip", "inside", hashlib.sha256(PAGE).hexdigest())
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch(published, tmp_path)
    assert os.listdir(tmp_path) == ["x.zip"]


def test_a_disk_that_fills_up_while_an_archive_is_unpacked_costs_no_download(
    server, tmp_path, monkeypatch
):
    server.files["split.zip"] = zipped("train_filenames.lst")
    lists = Download(f"{server.url}/split.zip", "split")
    usage = archives.shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        free = iter([usage.free, 1])
        patch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
        with pytest.raises(UserError, match="GB that are free"):
            fetch(lists, tmp_path)
    assert os.listdir(tmp_path) == ["split.zip"]
    fetch(lists, tmp_path)
    assert len(server.asked) == 1


def test_an_evil_archive_leaves_nothing(server, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        file.addfile(tarfile.TarInfo("../evil"))
    server.files["x.tar"] = (tmp_path / "x.tar").read_bytes()
    with pytest.raises(UserError, match="refused"):
        fetch(Download(f"{server.url}/x.tar", "inside"), tmp_path / "d")
    assert os.listdir(tmp_path / "d") == []
    assert not (tmp_path / "evil").exists()


def test_what_is_offered_is_named_with_its_checksum_and_an_address_of_https():
    for adapter in ADAPTERS.values():
        for file in adapter.downloads:
            check_address(file.url)
            assert re.fullmatch("[0-9a-f]{64}", file.sha256 or "0" * 64)
            assert re.fullmatch("[0-9a-f]{32}", file.md5 or "0" * 32)


def test_a_dataset_that_cannot_be_fetched_says_where_to_look(tmp_path, capsys):
    assert main(["data", "fetch", "lfmc", "--data-root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "github.com/kkraoj/lfmc_from_sar" in error and "training_features.csv" in error


def test_two_that_fetch_at_once_bring_the_same(server, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        file.add(generated("cropharvest_binary", 600) / "labels.geojson", "labels.geojson")
    server.files["x.tar"] = (tmp_path / "x.tar").read_bytes()
    script = (
        "import sys; from pathlib import Path\n"
        "from datasets.common.contract import Download\n"
        "from datasets.common.download import fetch\n"
        "for i in range(20):\n"
        "    for name, gives in (('data.bin', 'data.bin'), ('x.tar', 'inside')):\n"
        "        fetch(Download(f'{sys.argv[1]}/{name}', gives), Path(sys.argv[2]) / str(i))"
    )
    command = [sys.executable, "-c", script, server.url, str(tmp_path / "d")]
    for process in [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]:
        assert process.wait() == 0
    for i in range(20):
        folder = tmp_path / "d" / str(i)
        assert sorted(os.listdir(folder)) == [".sha256.json", "data.bin", "inside"]
        assert (folder / "data.bin").read_bytes() == CONTENT
        assert os.listdir(folder / "inside") == ["labels.geojson"]


def test_what_a_killed_process_unpacked_is_removed(server, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        file.addfile(tarfile.TarInfo("inside/a"))
    server.files["x.tar"] = (tmp_path / "x.tar").read_bytes()
    dead = tmp_path / "d" / part_of("inside").replace(f"-{os.getpid()}-", "-4194305-")
    (dead / "half").mkdir(parents=True)
    fetch(Download(f"{server.url}/x.tar", "inside"), tmp_path / "d")
    assert sorted(os.listdir(tmp_path / "d")) == [".sha256.json", "inside"]
