"""What makes the numbers of a process those of every other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmark.training.memory import keep_large_blocks


def reproducible(device: str, compiled: bool = False) -> None:
    """Make this process reproducible, for good: one thread, deterministic kernels."""
    torch.set_num_threads(1)
    keep_large_blocks()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same as `use_deterministic_algorithms`, which imports torch's compiler to tell it, too.
    torch.set_deterministic_debug_mode("error" if device == "cpu" else "warn")
    if compiled:
        torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a net for bugs that costs 3 %
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = False  # but in the steps of runs that ask for it


@contextmanager
def as_in_runs(device: str) -> Iterator[None]:
    """The same while it is open: the process, a notebook perhaps, is then as it was before."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    tf32 = [backend.allow_tf32 for backend in backends]
    try:
        with torch.random.fork_rng():
            reproducible(device)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = filled
        for backend, allowed in zip(backends, tf32, strict=True):
            backend.allow_tf32 = allowed
