"""A dataset made up for tests of the prepared cache; also run as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common import filling, prepared
from datasets.common.contract import Adapter, Catalogue, View

SAMPLES = 150
PIECE = 16
"""Instead of `filling.PIECE`."""


class Counting(Adapter):
    """One value a sample from a text file; it can be told to fail, or to be killed, at a sample."""

    name = folder = "counting"
    layout = "counting/\n  values.txt"
    modalities = default_modalities = ("a", "b")
    generated_samples = SAMPLES

    def __init__(self, kill_at: int | None = None, fail_at: int | None = None) -> None:
        self.kill_at, self.fail_at, self.read = kill_at, fail_at, []

    def source_files(self, root):
        return ["values.txt"]

    def open(self, root, modalities, view):
        values = np.loadtxt(root / "values.txt")
        specs = {m: ModalitySpec(m, "vector", (2,), ("x", "y"), "1") for m in modalities}

        def read(i):
            if i == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if i == self.fail_at:
                raise UserError("value 70 is foreign")
            self.read.append(i)
            return {m: np.array([values[i], np.nan if i % 3 else -i]) for m in specs}

        return Catalogue(
            modalities=specs,
            task=TaskSpec("binary", 2),
            y=np.arange(len(values)) % 2,
            ids=np.array([f"s{i}" for i in range(len(values))]),
            groups=None,
            split=None,
            dtypes={"a": np.dtype(np.float32), "b": np.dtype(np.float32)},
            read=read,
        )

    def generate(self, root, *, seed, samples, **structure):
        np.savetxt(root / "values.txt", np.random.default_rng(seed).normal(size=samples))


def prepare(adapter: Counting, native: Path, cache: Path):
    """The dataset and its folder."""
    return prepared.prepare(adapter, native, "real", adapter.modalities, View(), cache)


if __name__ == "__main__":
    filling.PIECE = PIECE
    kill_at = int(sys.argv[3]) if len(sys.argv) > 3 else None
    for folder in sys.argv[2].split(","):
        print(prepare(Counting(kill_at), Path(sys.argv[1]), Path(folder))[0].fingerprint)
