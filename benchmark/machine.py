"""What of this machine a process may use: cores, and whether it can start others."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")

SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
"""What a SLURM job was given, the first where its user asked for a number; SLURM need not enforce
it."""

SEMAPHORES = 32
"""More than a pool of processes has."""


def cores() -> int:
    """How many cores this process may use: of the machine, of its affinity, of the quotas of its
    control groups (of both versions, and of those above its own), and of its SLURM job; at least 1.
    """
    from joblib.externals.loky import cpu_count  # affinity, a container, LOKY_MAX_CPU_COUNT

    given = next((os.environ[name] for name in SLURM if name in os.environ), "")
    of_slurm = [int(given)] if given.isdecimal() else []
    return max(1, min([cpu_count(), *of_slurm, *_quotas()]))


def _quotas() -> Iterator[int]:
    """Cores, rounded up, by each quota in force; joblib sees none but that of the topmost group."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers if controllers else CGROUPS
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            with suppress(OSError, ValueError):  # no such file, or "max": no quota
                if controllers:
                    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                    quota, period = (int((folder / name).read_text()) for name in names)
                else:
                    quota, period = map(int, (folder / "cpu.max").read_text().split())
                if quota > 0 and period > 0:
                    yield math.ceil(quota / period)


def fork_server(module: str) -> ForkServerContext:
    """Of processes that are forks of one which has imported a module and done nothing else.

    It is begun at once, beside this process; one that was begun before has what that imported.
    """
    from multiprocessing import forkserver, get_context

    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    forkserver.ensure_running()
    return context


@contextmanager
def without_main() -> Iterator[None]:
    """While processes are started that need nothing of what this one was started with.

    Python would execute its main module, somebody's script perhaps, in each of them again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def no_processes() -> str | None:
    """Why no worker processes can be started here, or None if they can.

    They wait for each other by semaphores, which a Linux machine keeps in /dev/shm.
    """
    import multiprocessing

    try:
        context = multiprocessing.get_context("fork")  # of which nothing stays behind
        for _ in [context.Semaphore() for _ in range(SEMAPHORES)]:
            pass
    except (OSError, ImportError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"no worker processes can be started here (/dev/shm: {reason})"
    return None
