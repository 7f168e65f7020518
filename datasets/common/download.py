"""Fetches what publishers offer: over https, to a .part file, compared, unpacked, then renamed.

    <folder>/.<name>.….part       what is being downloaded
    <folder>/<name>.part          what a download that failed has left; taken up where it stopped
    <folder>/<name>               an archive that is complete and compared; removed once unpacked
    <folder>/.<gives>.….part      what is being unpacked
    <folder>/<gives>              what readers look for: there is none of it, or all
    <folder>/.sha256.json         what was fetched first, for later comparison

Two processes that fetch at once do the work twice, and the same stands there at the end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from benchmark.errors import NotWritableError, UserError, not_writable
from benchmark.writers import atomic, is_abandoned, part_of
from datasets.common.archives import BadArchiveError, unpack
from datasets.common.contract import Download

if TYPE_CHECKING:
    import requests

LOOPBACK = ("127.0.0.1", "::1", "localhost")
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and without a byte."""

CHUNK = 1 << 16
REDIRECTS = 5
FIRST = ".sha256.json"
AGAIN = "give the same command again to go on where it stopped"


def fetch(download: Download, folder: Path, mirror: str | None = None) -> bool:
    """Bring one file of a publisher, or what is in an archive, into ``folder``.

    mirror: an address below which the file lies under its own name and folder. Its bytes are
    compared with the published checksum all the same. Returns False if there was nothing to do.
    Raises `UserError` saying what went wrong and what stays.
    """
    folder = folder / download.folder
    result, whole = folder / download.gives, folder / download.name
    if result.exists():
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if whole.exists():
            digest = _compare(download, whole, folder / FIRST)
        else:
            digest = _download(download, mirror, whole)
        if download.is_archive:
            _unpack(download, digest, whole, result)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and result.exists():
            return True  # another process was quicker
        advice = "what is complete stays, give the same command again"
        raise not_writable(folder, error, advice) from error
    return True


def _download(download: Download, mirror: str | None, whole: Path) -> str:
    """Bring a file under its own name; its sha256."""
    url = download.url
    if mirror is not None:
        below = (mirror.rstrip("/"), download.folder, download.name)
        url = "/".join(part for part in below if part)
    part = whole.with_name(part_of(whole.name))
    left = whole.with_name(f"{whole.name}.part")
    _take_up(left, part)
    try:
        _receive(url, download.name, part)
    except BaseException:
        with suppress(FileNotFoundError):
            part.replace(left)
        raise
    first = whole.with_name(FIRST)
    try:
        digest = _compare(download, part, first)
        if not download.is_archive:  # of which it is not known yet whether it can be unpacked
            _remember(download, digest, first)
    except NotWritableError:
        part.replace(left)
        raise
    except UserError as error:
        part.unlink()
        raise UserError(f"{error}; it was removed") from error
    part.replace(whole)
    return digest


def _take_up(left: Path, part: Path) -> None:
    """Make ``part`` of what was ``left``, or of what a killed process was writing: of the largest.

    The others are removed.
    """
    parts = left.parent.glob(f".{left.stem}.*.part")
    there = [each for each in (left, *parts) if each == left or is_abandoned(each.name)]
    for found in sorted(there, key=_size, reverse=True):
        with suppress(FileNotFoundError):  # another process was quicker
            if part.exists():
                found.unlink()
            else:
                found.rename(part)


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):  # there is none, or another process was quicker
        return file.stat().st_size
    return 0


def check_address(url: str, coming_from: str | None = None) -> None:
    """Raise `UserError` unless ``url`` is https, or http on this machine itself.

    coming_from: the address that redirected to it.
    """
    try:
        parts = urlsplit(url)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
    except ValueError as error:
        raise UserError(f"{url}: not an address ({error})") from error
    if coming_from is not None and local:
        local = urlsplit(coming_from).hostname in LOOPBACK
    if not (parts.scheme == "https" and parts.hostname) and not local:
        source = f"{coming_from} redirects to {url}: " if coming_from else f"{url}: "
        raise UserError(f"{source}only https is fetched")


def _receive(url: str, name: str, part: Path) -> None:
    """Download to ``part``, from where it ends if it is there and the server can do that."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    try:
        with requests.Session() as session, _get(session, url, have) as response:
            if response.status_code == 416 and have:
                if _whole_size(response) != have:
                    part.unlink()
                    _receive(url, name, part)
                return
            if response.status_code not in (200, 206):
                raise UserError(f"{url}: the server answers {response.status_code}")
            start = have if response.status_code == 206 else 0
            if start and not response.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            ):
                raise UserError(f"{url}: the server answers with another part than asked for")
            end = _whole_size(response)
            _check_space(part.parent, (end or start) - start)
            received = _write(response, name, part, start, end)
    except requests.Timeout as error:
        raise UserError(f"{url}: no answer in time; {AGAIN}") from error
    except requests.RequestException as error:
        reason = str(error)[:200]
        raise UserError(f"{url}: the connection failed ({reason}); {AGAIN}") from error
    if end is not None and received != end:
        raise UserError(f"{url}: {received} of {end} bytes came; {AGAIN}")


def _whole_size(response: requests.Response) -> int | None:
    """Size of the whole file, if the server says it."""
    names = {200: "Content-Length"}
    size = response.headers.get(names.get(response.status_code, "Content-Range"), "")
    size = size.rpartition("/")[2]
    return int(size) if size.isdecimal() else None


def _get(session: requests.Session, url: str, have: int) -> requests.Response:
    """The answer behind all redirects, each of which is looked at before it is followed."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    check_address(url)
    for _ in range(REDIRECTS + 1):
        response = session.get(
            url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False
        )
        if not response.is_redirect:
            return response
        target = urljoin(url, response.headers["Location"])
        check_address(target, coming_from=url)
        response.close()
        url = target
    raise UserError(f"{url}: more than {REDIRECTS} redirects")


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{folder}: {need / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free"
        )


def _write(response: requests.Response, name: str, part: Path, start: int, end: int | None) -> int:
    """Write what comes; the number of bytes that ``part`` then has."""
    from tqdm import tqdm

    size = {"initial": start, "total": end, "unit": "B", "unit_scale": True}
    with (
        tqdm(desc=f"fetching {name}", **size, disable=None) as bar,
        part.open("r+b" if part.exists() else "wb") as file,
    ):
        file.seek(start)
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        file.truncate()
        return file.tell()


def _compare(download: Download, file: Path, first: Path) -> str:
    """The sha256 of a file; `UserError` if it is not what is published, or was fetched first.

    It is read from the disk, so that writing is compared as well.
    """
    found = _digest(file, hashlib.sha256)
    if download.sha256 not in (None, found):
        raise UserError(f"{file}: its sha256 is {found}, published is {download.sha256}")
    if download.md5 is not None:
        md5 = _digest(file, partial(hashlib.md5, usedforsecurity=False))
        if md5 != download.md5:
            raise UserError(f"{file}: its md5 is {md5}, published is {download.md5}")
    before = _known(first).get(download.name, found)
    if before != found:
        raise UserError(
            f"{file}: its sha256 is {found}, the first time ({first}) it was {before}; remove that "
            "line if the publisher has renewed the file"
        )
    return found


def _known(first: Path) -> dict[str, str]:
    """The sha256 of what was fetched before, by name."""
    try:
        known = json.loads(first.read_bytes()) if first.exists() else {}
        return dict(known.items())
    except (ValueError, AttributeError) as error:
        raise UserError(f"{first}: is damaged ({error}); remove it") from error


def _remember(download: Download, digest: str | None, first: Path) -> None:
    """Keep the sha256 of a download for later comparison; None forgets it."""
    known = {**_known(first), download.name: digest}
    kept = {name: each for name, each in known.items() if each is not None}
    with atomic(first) as file:
        file.write((json.dumps(kept, indent=1, allow_nan=False) + "\n").encode())


def _digest(path: Path, kind: Callable[[], Any]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _unpack(download: Download, digest: str, archive: Path, result: Path) -> None:
    """Unpack beside ``result``, which appears by a rename when all is there, and drop the archive.

    An archive may hold the folder that is wanted, or what is to be in it. One that cannot be
    unpacked and for which no checksum is published (a page of the server, say) is not kept.
    """
    for other in result.parent.glob(f".{result.name}.*.part"):
        if is_abandoned(other.name):
            shutil.rmtree(other, ignore_errors=True)
    part, first = result.with_name(part_of(result.name)), archive.with_name(FIRST)
    part.mkdir()
    try:
        try:
            unpack(archive, part)
        except BadArchiveError as error:
            if download.sha256 is download.md5 is None:
                archive.unlink()
                if download.name in _known(first):
                    _remember(download, None, first)
                raise UserError(f"{error}; it was removed, give the same command again") from error
            raise
        _remember(download, digest, first)
        inner = part / result.name
        (inner if inner.is_dir() else part).rename(result)
    except (UserError, OSError):
        if not result.exists():  # else another process was quicker
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    archive.unlink(missing_ok=True)
