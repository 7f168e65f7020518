"""Samples that are simulated as vectors, in one file: what such adapters have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.errors import UserError, numpy_says
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common.contract import Adapter, Catalogue, MissingFilesError, View
from datasets.common.subsample import subsample

FILE = "samples.npz"
"""An array (n, channels) for each modality, and y (n,)."""


class SimulatedVectors(Adapter):
    """Always generated; ``generate`` writes `FILE`."""

    licence = "that of this benchmark"
    control = by_name_only = True

    def __init__(self, name: str) -> None:
        self.name = self.folder = name
        self.layout = f"{name}/\n  {FILE}"

    def task(self) -> TaskSpec:
        """Of y."""
        return TaskSpec("regression", 1)

    def split(self, samples: int) -> np.ndarray | None:
        """The part of each sample (n,), where the parts are drawn."""
        return None

    def source_files(self, root: Path) -> list[str]:
        if not (root / FILE).is_file():
            raise MissingFilesError(f"{root} lacks {FILE}")
        return [FILE]

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        path = root / self.source_files(root)[0]
        try:
            with np.load(path, allow_pickle=False) as file:
                x, y = {m: file[m] for m in modalities}, file["y"]
        except Exception as error:  # whatever numpy makes of a file that is not its own
            reason = numpy_says(error)
            raise UserError(f"{path}: not what was generated ({reason}); remove it") from error
        task, split = self.task(), self.split(len(y))
        chosen = subsample(task, y, None, split, view.samples)
        specs = {}
        for m in modalities:
            names = tuple(str(i) for i in range(x[m].shape[1]))
            specs[m] = ModalitySpec(m, "vector", x[m].shape[1:], names, "1")
        return Catalogue(
            modalities=specs,
            task=task,
            y=y[chosen],
            ids=np.array([f"{i}" for i in chosen]),
            groups=None,
            split=None if split is None else split[chosen],
            dtypes=dict.fromkeys(modalities, np.dtype(np.float32)),
            read=lambda i: {m: values[chosen[i]] for m, values in x.items()},
        )
