"""From native files to prepared arrays: read once, then memory-mapped.

    <cache>/generated/<folder>-<key>/       native files of a generated dataset
    <cache>/prepared/<name>-<key>/          one .npy an array, context.npz (when and where, which
                                            are part of the fingerprint of users' own data alone)
                                            and meta.json
    <cache>/prepared/.<name>-<key>.part/    the same, still being filled

A folder appears by a rename when it is complete. Its key says what it was made from, so that a
changed source, reader or view gives another one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmark.errors import UnfinishedError, UserError, not_writable, numpy_says
from benchmark.problem import ModalitySpec, TaskSpec
from benchmark.writers import sync
from datasets.common.checking import check
from datasets.common.contract import (
    Adapter,
    Catalogue,
    EODataset,
    MissingFilesError,
    Source,
    View,
)
from datasets.common.filling import ANOTHER, CONTEXT_FILE, NOTES, appearing, fill, replace_with
from datasets.common.packed import Packed
from datasets.common.subsample import VERSION as SUBSAMPLE_VERSION

log = logging.getLogger(__name__)

FORM = 5
"""Of a prepared folder; raised when what stands in it changes for every dataset."""


def check_data_root(data_root: Path | None, adapters: Iterable[Adapter]) -> None:
    """Raise `UserError` if a data root is given in which there is no dataset at all."""
    if data_root is None:
        return
    folders = sorted({adapter.folder for adapter in adapters if not adapter.control})
    if not any((data_root / folder).is_dir() for folder in folders):
        state = (
            "has none of the folders" if data_root.is_dir() else "does not exist; it should have"
        )
        raise UserError(f"--data-root {data_root} {state} {', '.join(folders)}")


def resolve(
    adapter: Adapter, data_root: Path | None, cache: Path, *, named: bool
) -> tuple[Path, Source, str | None]:
    """Where a dataset's native files are, whether they are real, and what the user has to know.

    What is not below ``data_root`` is generated below ``cache``, and the notice says so. A real
    folder that lacks files is an error if the user ``named`` the dataset.
    """
    if adapter.root is not None:
        return adapter.root, "real", None
    if data_root is None or adapter.control:
        return _generated(adapter, cache, "no --data-root was given"), "generated", None
    native = data_root / adapter.folder
    if not native.is_dir():
        lack = f"{data_root} has no folder '{adapter.folder}'"
    else:
        try:
            adapter.source_files(native)
            return native, "real", None
        except MissingFilesError as error:
            if named:
                raise UserError(
                    f"{error}\nexpected below the data root:\n{adapter.layout}"
                ) from error
            lack = str(error)
    return _generated(adapter, cache, lack), "generated", f"{lack}; generated data stand in"


def _generated(adapter: Adapter, cache: Path, lack: str) -> Path:
    if not adapter.can_generate:
        raise UserError(
            f"{adapter.name}: {lack}, and it has no generated stand-in; its files are expected "
            f"below the data root:\n{adapter.layout}"
        )
    key = f"{adapter.folder}-{adapter.generated_samples}-v{adapter.generator_version}"
    if adapter.plugin:
        key += f"-{adapter.plugin['sha256'][:16]}"
    folder = cache / "generated" / key
    if not folder.is_dir():
        with appearing(folder) as part:
            adapter.generate(part, seed=0, samples=adapter.generated_samples)
    return folder


def prepare(
    adapter: Adapter,
    native: Path,
    source: Source,
    modalities: tuple[str, ...],
    view: View,
    cache: Path,
) -> tuple[EODataset, Path]:
    """The prepared dataset and its folder; native files are read only if they or the view changed.

    Inputs go piece by piece into memory maps, so that a dataset may be larger than memory, and
    what a killed process has read is not read again.
    Raises `UserError` for anything in the files that cannot be trained on.
    """
    key = _key(adapter, native, source, modalities, view)
    folder = cache / "prepared" / f"{adapter.name}-{key}"
    if folder.is_dir():
        try:
            dataset = _load(folder)
            shutil.rmtree(folder / NOTES, ignore_errors=True)  # of a process killed at the end
            return dataclasses.replace(dataset, origin=adapter.origin, view=view), folder
        except UserError as error:
            aside = folder.with_name(f"{folder.name}.damaged-{uuid.uuid4().hex[:8]}")
            log.warning("%s: moved to %s, prepared again", error, aside.name)
            with suppress(FileNotFoundError):  # another process was quicker
                folder.rename(aside)
            reopen.cache_clear()
    catalogue = adapter.open(native, modalities, view)
    check(adapter, native, modalities, catalogue)
    _make(adapter, source, catalogue, folder)
    return dataclasses.replace(_load(folder), origin=adapter.origin, view=view), folder


def _make(adapter: Adapter, source: Source, catalogue: Catalogue, folder: Path) -> None:
    """Fill a partial folder and give it its name; another process may do the same meanwhile."""
    part = folder.with_name(f".{folder.name}.part")
    while not folder.is_dir():
        try:
            found = fill(adapter.name, catalogue, part)
            _describe(adapter, source, catalogue, (*catalogue.notices, *found), part)
            for path in part.iterdir():
                sync(path)
            part.rename(folder)
            sync(folder.parent)
        except UnfinishedError:
            raise
        except UserError:  # what cannot be finished is not left behind
            shutil.rmtree(part, ignore_errors=True)
            raise
        except OSError as error:
            # Has another process finished? Then the partial folder is gone, or the name is taken.
            if not folder.is_dir() and part.is_dir():
                raise not_writable(folder.parent, error, ANOTHER) from error
    shutil.rmtree(folder / NOTES, ignore_errors=True)
    shutil.rmtree(part, ignore_errors=True)


def _key(
    adapter: Adapter, native: Path, source: Source, modalities: tuple[str, ...], view: View
) -> str:
    digest = hashlib.sha256()
    parts = [FORM, adapter.name, adapter.reader_version, source, modalities]
    parts.append(dataclasses.astuple(view))
    if adapter.plugin:
        parts.append(adapter.plugin["sha256"])
    if view.samples is not None:
        parts.append(SUBSAMPLE_VERSION)
    digest.update(repr(parts).encode())
    for name in adapter.source_files(native):
        try:
            stat = os.stat(f"{native}/{name}")
        except OSError as error:
            raise UserError(f"{native}/{name}: cannot be read ({error.strerror})") from error
        digest.update(os.fsencode(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]


def _describe(
    adapter: Adapter,
    source: Source,
    catalogue: Catalogue,
    notices: tuple[str, ...],
    folder: Path,
) -> None:
    """Write meta.json: all that is not an array, and what the arrays must be."""
    names = sorted(path.name for path in folder.glob("*.npy"))
    kept = [*names, *(path.name for path in folder.glob(CONTEXT_FILE))]
    meta = {
        "name": adapter.name,
        "source": source,
        "modalities": [dataclasses.asdict(spec) for spec in catalogue.modalities.values()],
        "task": dataclasses.asdict(catalogue.task),
        "files": {name: (folder / name).stat().st_size for name in kept},
        "fingerprint": _fingerprint([folder / name for name in names], _said(adapter, catalogue)),
        "notices": notices,
        "form": catalogue.form,
        "group_kind": adapter.group_kind,
        "split_of": adapter.split_of,
        "plugin": adapter.plugin,
    }
    replace_with(folder / "meta.json", json.dumps(meta, allow_nan=False), folder / NOTES)


def _said(adapter: Adapter, catalogue: Catalogue) -> dict[str, bytes]:
    """sha256 of what the user says of arrays, who may correct it while they stay what they are.

    Channels, units, when and where are seen by encoders that were trained with them, and the names
    and the unit of the target stand in the tables. The project's own adapters say it in code.
    """
    if adapter.root is None and adapter.plugin is None:
        return {}
    specs = [dataclasses.asdict(spec) for _, spec in sorted(catalogue.modalities.items())]
    words = json.dumps([specs, dataclasses.asdict(catalogue.task)], allow_nan=False)
    digest = hashlib.sha256(words.encode())
    places = {} if catalogue.places is None else {"places": catalogue.places}
    for name, array in sorted({**catalogue.months, **places}.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return {"said": digest.digest()}


def _fingerprint(files: list[Path], said: Mapping[str, bytes]) -> str:
    """sha256 over the names and the contents of the arrays, whose header holds dtype and shape, and
    over what is `_said` of them.

    The order of the modalities is not part of it: a run's id states it by itself.
    """
    digests = dict(said)
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").digest()
    return combined(digests)


def combined(digests: Mapping[str, bytes]) -> str:
    """The fingerprint of arrays: file's name → its sha256."""
    digest = hashlib.sha256()
    for name in sorted(digests):
        digest.update(name.encode())
        digest.update(digests[name])
    return digest.hexdigest()


@lru_cache(maxsize=8)
def reopen(folder: Path) -> EODataset:
    """A prepared dataset, its inputs as read-only memory maps; kept open between runs.

    Raises `UserError` if the folder is incomplete or damaged.
    """
    return _load(folder)


def find(cache: Path, fingerprint: str) -> EODataset | None:
    """The dataset with a fingerprint, if it lies prepared in a cache; damaged ones are not it."""
    for meta in sorted((cache / "prepared").glob("*/meta.json")):
        try:
            if f'"fingerprint": "{fingerprint}"' in meta.read_text():
                return reopen(meta.parent)
        except (UserError, OSError, UnicodeDecodeError):
            continue
    return None


def _load(folder: Path) -> EODataset:
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        for name, size in meta["files"].items():
            if Path(name).name != name:
                raise ValueError(f"{name} is not the name of a file")
            if (folder / name).stat().st_size != size:
                raise ValueError(f"{name} has not its size")

        def array(name: str, mode: str | None = None) -> np.ndarray | None:
            if f"{name}.npy" not in meta["files"]:
                return None
            return np.load(folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False)

        def inputs(m: str) -> np.ndarray | Packed:
            stored = array(f"x-{m}", "r")
            return Packed(stored) if stored.dtype == np.uint16 else stored

        context = {}
        if CONTEXT_FILE in meta["files"]:
            with np.load(folder / CONTEXT_FILE, allow_pickle=False) as file:
                context = dict(file)
        specs = [_spec(ModalitySpec, values) for values in meta["modalities"]]
        return EODataset(
            name=meta["name"],
            modalities={spec.name: spec for spec in specs},
            task=_spec(TaskSpec, meta["task"]),
            x={spec.name: inputs(spec.name) for spec in specs},
            y=array("y"),
            ids=array("ids"),
            groups=array("groups"),
            split=array("split"),
            source=meta["source"],
            fingerprint=meta["fingerprint"],
            # A report may meet a folder of an earlier form.
            notices=tuple(meta.get("notices", ())),
            form=meta.get("form", ""),
            group_kind=meta.get("group_kind"),
            split_of=meta.get("split_of", ""),
            plugin=meta.get("plugin"),
            places=context.pop("places", None),
            months={name.removeprefix("months-"): array for name, array in context.items()},
        )
    except Exception as error:  # whatever numpy makes of files that are not ours
        raise UserError(f"{folder}: a damaged prepared dataset ({numpy_says(error)})") from error


def _spec(kind: type, values: dict) -> ModalitySpec | TaskSpec:
    """A spec from JSON, whose lists were tuples."""
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
