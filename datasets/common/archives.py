"""Unpacks archives from outside: all names, kinds and sizes are checked before anything is written.

tarfile's "data" filter and zipfile's own rules stand behind these checks, not in their place.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError

FILES = 1_000_000
"""At most so many members. No archive of a published dataset has a tenth of it."""

RATIO = 100
"""At most so many bytes for each byte of the archive; text is packed to a twentieth at best."""

SMALL = 1 << 20
"""What an archive may always unpack to, however small it is."""

HEADER = 1 << 20
"""At most so many bytes are read at once while a tar archive is listed: its headers are smaller."""

PACKED = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open}
"""How a packed tar archive begins → what reads it."""

DRIVE = re.compile(r"[A-Za-z]:")
UNREADABLE = (
    *(OSError, EOFError, ValueError, NotImplementedError, RuntimeError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What the libraries raise for an archive that is cut short, encrypted or foreign."""


class BadArchiveError(UserError):
    """An archive that cannot be unpacked anywhere: cut short, foreign, or not to be trusted."""


@dataclass(frozen=True)
class Member:
    """What an archive says of one of its members; ``odd`` names what is neither file nor folder."""

    name: str
    size: int
    is_folder: bool
    odd: str | None
    info: tarfile.TarInfo | zipfile.ZipInfo


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip, .tar, .tar.gz or .tar.xz file into ``folder``, which must be empty.

    Raises `BadArchiveError`, and has written nothing then, if a member would lie outside the
    folder, is a link or a device, stands twice, or if the whole is out of proportion. Raises it
    also for what is damaged or no archive; ``folder`` is to be thrown away then. A disk that is too
    small or fails is a plain `UserError`.
    """
    from tqdm import tqdm

    try:
        with _opened(archive) as opened:
            members = _approved(archive, _members(opened), shutil.disk_usage(folder).free)
            for member in tqdm(members, f"unpacking {archive.name}", unit="file", disable=None):
                if isinstance(opened, tarfile.TarFile):
                    opened.extract(member.info, folder, set_attrs=False, filter="data")
                else:
                    opened.extract(member.info, folder)
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.strerror:  # of the system, not of a library
            raise UserError(
                f"{archive}: cannot be unpacked into {folder} ({error.strerror})"
            ) from error
        raise BadArchiveError(
            f"{archive}: cannot be unpacked, {_what(archive)} ({error})"
        ) from error


def _what(archive: Path) -> str:
    """In words, what a file is that should be an archive and is none or not whole."""
    with archive.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, not an archive"
    return "it is damaged, or no archive"


class _Stream(io.BufferedReader):
    """A stream that is never read in one go: what a tar archive calls a header may be huge."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= HEADER:
            raise tarfile.ReadError("a header larger than any")
        return super().read(size)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile | zipfile.ZipFile]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield opened
        return
    with archive.open("rb") as file:
        start = file.read(6)
    how = next((how for magic, how in PACKED.items() if start.startswith(magic)), None)
    with (
        how(archive) if how else archive.open("rb", buffering=0) as raw,
        _Stream(raw) as stream,
        tarfile.open(fileobj=stream, mode="r:") as opened,
    ):
        yield opened


def _members(opened: tarfile.TarFile | zipfile.ZipFile) -> Iterator[Member]:
    """One by one: the next header of a tar archive is only looked for once this one is approved."""
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            odd = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "a link or a device"
            odd = "encrypted" if info.flag_bits & 1 else odd
            yield Member(info.orig_filename, info.file_size, info.filename.endswith("/"), odd, info)
        return
    for info in opened:
        plain = (info.isreg() or info.isdir()) and not info.issparse()
        yield Member(
            info.name, info.size, info.isdir(), None if plain else "a link or a device", info
        )


def _approved(archive: Path, members: Iterable[Member], free: int) -> list[Member]:
    most = max(RATIO * archive.stat().st_size, SMALL)
    total, approved, files = 0, [], set()
    for member in members:
        path = tuple(part for part in member.name.split("/") if part not in ("", "."))
        total += member.size
        problem = None
        if wrong := unsafe(member.name) or member.odd:
            problem = f"{member.name[:80]!r} is {wrong}"
        elif path in files:
            problem = f"{member.name[:80]!r} stands twice"
        elif member.size < 0 or total > most:
            problem = f"it would unpack to more than {most:,} bytes, {RATIO} times its size"
        elif total > free:
            raise UserError(f"{archive}: it needs more than the {free / 1e9:.1f} GB that are free")
        elif len(approved) == FILES:
            problem = f"it has more than {FILES} members"
        if problem:
            raise BadArchiveError(f"{archive}: refused, nothing was unpacked: {problem}")
        if not member.is_folder:
            files.add(path)
        approved.append(member)
    return approved


def unsafe(name: str) -> str | None:
    """What is wrong with a member's name, or None if it is one below the folder.

    Drives and backslashes are refused on every system: what is a name here is a path elsewhere.
    """
    if not name.strip("./"):
        return None if name in (".", "./") else "a name of nothing"
    if name.startswith("/") or DRIVE.match(name):
        return "an absolute path"
    if ".." in name.split("/"):
        return "a path that leads out of the folder"
    if "\\" in name or not name.isprintable():
        return "a name with a backslash or a sign that cannot be printed"
    if any(len(part.encode(errors="replace")) > 255 for part in name.split("/")):
        return "a name longer than 255 bytes"
    return None
