"""What an adapter delivers, and what it has to say about itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from benchmark.errors import UserError
from benchmark.plugins import Registry, file_at_hand, identity
from benchmark.problem import ModalitySpec, TaskKind, TaskSpec

Source = Literal["real", "generated"]

PARTS = ("train", "val", "test")
"""Of an official split."""


@dataclass(frozen=True)
class View:
    """How much of a dataset a protocol looks at; `None` leaves it as published.

    samples: at most this many samples (stratified, of as many groups as there are; in proportion
        within the parts of an official split).
    dates: this many time steps, evenly spaced over the acquisitions of a long irregular series.
    window: "mean" averages a spatial window of a series. image_px: side of images, area-averaged.
    """

    samples: int | None = None
    dates: int | None = None
    window: Literal["mean"] | None = None
    image_px: int | None = None


@dataclass(frozen=True)
class Catalogue:
    """All that is known of a dataset's samples before their inputs are read, and how to read one.

    y: (N,) int64 class indices, (N, C) uint8 zeros and ones, or (N,) float64 target values.
    ids: (N,) unique strings. groups: (N,) strings that must stay in one part of a split, or None.
    split: (N,) "train", "val" or "test" for an official split, or None.
    dtypes: modality → dtype in which its array is kept: float32 with NaN where a value is missing,
        uint8, or uint16 for whole numbers of which some may be missing (NaN when read).
    read: sample number → modality → array of ``spec.shape``: NaN where nothing was to be
        expected (before a series that is shorter than others) or the publisher says so, infinite
        where a value was to be expected and the file has none; that is kept as NaN and counted on
        the screen. Raises `benchmark.errors.UserError` naming the file if it is truncated or
        foreign. Other processes may be given it: it holds names rather than what is behind them.
    notices: what was left out or found odd, a sentence each, with numbers ("138 of 284 labels have
        no features file"): shown on the screen whenever the data are used.
    places: (N, 2) latitude and longitude in degrees, or None where they are not known.
    months: series → (N, T) months of the time steps, 1 to 12, 0 where one is not known; not there
        where none is. They and places are no inputs: an encoder that was trained with them gets
        them beside the modality (`benchmark.planning.context`).
    scaling: modality → scale and offset (C,) by which what the files store became values; not there
        where values are as stored.
    form: which of the forms that the dataset is distributed in was read (`datasets.common.forms`);
        "" where there is one.
    """

    modalities: Mapping[str, ModalitySpec]
    task: TaskSpec
    y: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None
    split: np.ndarray | None
    dtypes: Mapping[str, np.dtype]
    read: Callable[[int], Mapping[str, np.ndarray]]
    notices: tuple[str, ...] = ()
    places: np.ndarray | None = None
    months: Mapping[str, np.ndarray] = field(default_factory=dict)
    scaling: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    form: str = ""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class EODataset:
    """A prepared dataset: specs, and arrays that are read-only memory maps.

    x: modality → (N, *spec.shape), float32 or uint8 (`datasets.common.packed.Packed` is kept in
        less and reads as float32). y, ids, groups, split: as in `Catalogue`.
    fingerprint: sha256 over x of the chosen modalities, y, ids, groups and split; of users' own
        data also over channels, units, task, when and where.
    source: whether the native files were the publisher's or generated ones.
    notices: those of the `Catalogue`, and what was found when the inputs were read.
    form, places, months: as in `Catalogue`. group_kind, split_of, plugin: as in `Adapter`. origin:
    title, licence, citation and url of its adapter. view: what was looked at of it. Both are known
    where an adapter prepares it, not where its arrays are opened again.
    """

    name: str
    modalities: Mapping[str, ModalitySpec]
    task: TaskSpec
    x: Mapping[str, np.ndarray]
    y: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None
    split: np.ndarray | None
    source: Source
    fingerprint: str
    notices: tuple[str, ...] = ()
    form: str = ""
    group_kind: str | None = None
    split_of: str = ""
    plugin: Mapping[str, str] | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    view: View | None = None
    places: np.ndarray | None = None
    months: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Unlabelled:
    """Samples of which only the inputs are known: x (N, *spec.shape) by modality, the rest as in
    `Catalogue`.
    """

    name: str
    modalities: Mapping[str, ModalitySpec]
    x: Mapping[str, np.ndarray]
    ids: np.ndarray
    notices: tuple[str, ...] = ()
    places: np.ndarray | None = None
    months: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


class MissingFilesError(UserError):
    """A dataset's folder lacks files that every reader needs."""


@dataclass(frozen=True)
class Download:
    """A file that a publisher offers.

    gives: what readers look for below the dataset's folder: the file itself, or what an archive
    is unpacked to. sha256, md5: as published, in hexadecimal digits; None where they are not.
    folder: the one below the dataset's in which all that is, where files have the same name.
    """

    url: str
    gives: str
    sha256: str | None = None
    md5: str | None = None
    folder: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def is_archive(self) -> bool:
        return self.gives != self.name


@dataclass(frozen=True)
class Published:
    """What a publisher counts; what is here may be less.

    samples: those that have what is predicted, in words. size: bytes of the files that are read,
    roughly. how: a command that brings what `data fetch` does not, with ``{folder}`` in it.
    """

    task: TaskKind
    samples: str
    size: float
    how: str = ""


def listing(root: Path, folder: str, suffix: str) -> list[str]:
    """Names below ``root`` of the files in ``folder`` that end so, sorted; `MissingFilesError`.

    There may be a hundred thousand: they are strings, and no file is looked at.
    """
    found = sorted(os.listdir(root / folder)) if (root / folder).is_dir() else []
    names = [f"{folder}/{name}" for name in found if name.endswith(suffix)]
    if not names:
        raise MissingFilesError(f"{root} has no {suffix} files in {folder}")
    return names


class Adapter:
    """Reads, and can generate, one dataset in its publisher's own layout.

    name: on the command line. folder: the dataset's folder below the data root (adapters may share
    one). modalities: all that the files hold; default_modalities: the published choice. notes: what
    a modality's name does not say, or says wrongly, by modality; `list datasets` and tables show
    it. layout: the expected tree, shown when files lack. group_kind: what a group is ("site"), or
    None. split_of: the dataset of which it is another split: across datasets both count once.
    downloads: what `data fetch` brings, in this order. published: what a publisher counts;
    None where there is none. ways: other forms of it, and how to get each. by_name_only: whether it
    is looked at where `--datasets` names it alone, so that `run --all` stays a matter of minutes.
    reader_version: raised when the same files give other arrays. root: where the files are, for an
    adapter that is not looked for below a data root (`datasets.described`).
    generated_samples: size of the generated stand-in; generator_version: raised when it changes.
    control: nobody publishes it, it is generated always and shows that the benchmark finds what is
    there. needed: further facts, of a kind of adapter that has some.
    plugin: "file" of the plug-in that registered it (`register` says so), and "sha256" of this and
    of the modules beside it that it imports, or of its whole package: an edit of them stands for
    other versions of reader and generator.
    """

    needed: tuple[str, ...] = ()

    name: str
    folder: str
    title: str
    citation: str
    licence: str
    url: str
    layout: str
    modalities: tuple[str, ...]
    default_modalities: tuple[str, ...]
    notes: Mapping[str, str] = MappingProxyType({})
    group_kind: str | None = None
    official_split: bool = False
    split_of: str = ""
    downloads: tuple[Download, ...] = ()
    published: Published | None = None
    ways: Mapping[str, str] = MappingProxyType({})
    by_name_only: bool = False
    reader_version: int = 1
    root: Path | None = None
    generated_samples: int = 1_000
    generator_version: int = 1
    control: bool = False
    plugin: Mapping[str, str] | None = None

    @property
    def origin(self) -> dict[str, str]:
        """What is to be said of the data by whatever was made of them; "" of one not registered."""
        return {name: getattr(self, name, "") for name in ("title", "licence", "citation", "url")}

    def source_files(self, root: Path) -> list[str]:
        """Names of the native files below ``root``, the dataset's own folder, in a fixed order.

        Raises `MissingFilesError` if one that every reader needs is not there.
        """
        raise NotImplementedError

    def lacks(self, root: Path) -> str:
        """What of the files keeps the dataset from being read, as far as names tell, or ""."""
        try:
            self.source_files(root)
        except UserError as error:
            return str(error)
        return ""

    def form_of(self, root: Path) -> str:
        """Which of several forms of it is below ``root``, as in `Catalogue`; "" where there is one.

        Raises `UserError` if none is, or more than one.
        """
        return ""

    def to_fetch(self, root: Path) -> list[Download]:
        """Which of `downloads` are not below ``root``, the dataset's own folder, in any layout."""
        return [file for file in self.downloads if not (root / file.folder / file.gives).exists()]

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        """Read labels and metadata below ``root``; inputs are read later, sample by sample.

        Raises `benchmark.errors.UserError`, naming the file, for anything truncated, foreign or
        incomplete, NaN targets included.
        """
        raise NotImplementedError

    def open_unlabelled(self, files: Sequence[Path]) -> Unlabelled | None:
        """Samples of native files, one a place, that need no label; None if none of them is such.

        Raises `benchmark.errors.UserError`, naming the file, if some are and another is not.
        """
        return None

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        """Write a simulated dataset as native files below ``root``.

        ``structure`` sets the strengths of the shared and the specific parts of the signal (see
        `datasets.common.simulation`). An adapter that leaves this out has no stand-in.
        """
        raise NotImplementedError

    @property
    def can_generate(self) -> bool:
        return type(self).generate is not Adapter.generate


ADAPTERS: Registry[Adapter] = Registry("dataset")

NAME = re.compile(r"\w[\w-]*")
"""Of a dataset, its folder and a modality: files of the cache and of the records bear it."""

NEEDED = (
    *("name", "folder", "title", "citation", "licence", "url", "layout"),
    *("modalities", "default_modalities"),
)


def register(adapter: Adapter) -> Adapter:
    """Make ``adapter`` known by its name.

    Raises `UserError` for a name that is taken or no name of a file, and for a fact that lacks.
    """
    lacking = [fact for fact in (*adapter.needed, *NEEDED) if not hasattr(adapter, fact)]
    if lacking:
        raise UserError(f"dataset adapter {type(adapter).__name__}: lacks {', '.join(lacking)}")
    for name in (adapter.name, adapter.folder, *adapter.modalities):
        if not NAME.fullmatch(name):
            raise UserError(
                f"dataset adapter {type(adapter).__name__}: '{name}' cannot be a name; use "
                "letters, digits, '_' and '-'"
            )
    for m in (*adapter.default_modalities, *adapter.notes):
        if m not in adapter.modalities:
            raise UserError(f"dataset '{adapter.name}': '{m}' is not among its modalities")
    ADAPTERS.add(adapter.name, adapter)
    if file := file_at_hand():  # only of what was taken: it may be another's, given once more
        adapter.plugin = identity(file)
    return adapter
