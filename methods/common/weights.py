"""Files of pretrained weights: brought by torch's hub, known by their sha256, never unpickled."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch

from benchmark.errors import UserError, unknown
from benchmark.folders import stamp_of

PROBE_TIMEOUT = 5.0
"""Seconds to wait for a first answer; a download may then take longer."""


FOLDER = "EO_COLEARN_WEIGHTS"
"""The environment variable that names a folder of weights, which is looked into first."""

FORMS = (".safetensors", ".pt", ".pth")
"""How the names of files of weights end."""


class WeightsError(Exception):
    """Why weights cannot be had, as a clause: "https://… cannot be downloaded (…)"."""


@dataclass(frozen=True)
class Published:
    """A file of weights as its publisher offers it.

    names: what it, or a copy of it in another form, is called in `FOLDER`; the first one, which
    ends with digits of its sha256, is its name in torch's hub folder, too.
    """

    url: str
    names: tuple[str, ...]


def found_file(named: str, published: Mapping[str, Published], *, fetch: bool) -> Path:
    """Where weights are that go by one of the ``published`` names, or a file by its own path.

    Raises `WeightsError` if it is not here and, with ``fetch``, cannot be brought; `UserError` for
    a name that none has.
    """
    if not isinstance(named, str):
        raise UserError(f"weights is a name ({', '.join(published)}) or the path of a file")
    if named not in published:
        path = Path(named).expanduser()
        if path.suffix not in FORMS:
            raise unknown("weights", named, published)
        if not path.is_file():
            raise WeightsError(f"there is no file {named}")
        return path
    one = published[named]
    if folder := os.environ.get(FOLDER):
        for path in (Path(folder).expanduser() / name for name in one.names):
            if path.is_file():
                return path
    return hub_file(one.url, fetch=fetch, name=one.names[0])


def hub_file(url: str, *, fetch: bool, name: str | None = None) -> Path:
    """Where torch's hub keeps what is at an address; with ``fetch`` it is brought there.

    name: what it is called there, if not as in the address.
    The digits that a name ends with ("resnet50-59bfdff9.pth") are compared with the sha256 of what
    has arrived. One short question goes before, so that a machine without network learns it at
    once. Raises `WeightsError`.
    """
    import urllib.request

    name = name or PurePosixPath(urlsplit(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    if not fetch:
        raise WeightsError(f"{name} is not in {path.parent}")
    try:
        urllib.request.urlopen(url, timeout=PROBE_TIMEOUT).close()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), published_digits(path))
    except Exception as error:  # of the network, the disk, and of what has arrived
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{url} cannot be downloaded ({reason})") from error
    return path


def published_digits(path: Path) -> str | None:
    """The first digits of the sha256 of what was published, where a file's name ends with them."""
    found = torch.hub.HASH_REGEX.search(path.name)
    return found[1] if found and len(found[1]) >= 8 else None


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits; computed again when it has changed."""
    return _sha256(path, stamp_of(path))


def read(path: Path) -> dict[str, Any]:
    """The tensors of a .safetensors file or of one that torch has saved, by name, nothing else.

    Raises `UserError` for a file that holds other things, or is damaged.
    """
    return _read(path, stamp_of(path))


@lru_cache(maxsize=64)
def _sha256(path: Path, stamp: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=2)
def _read(path: Path, stamp: tuple[int, int]) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds no tensors by name")
    except Exception as error:  # whatever torch makes of a file that is not one of these
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as weights ({reason})") from error
    return state
