"""What may stop a run before its end: SIGINT and SIGTERM, the death of its parent, a time limit.

None of them stops a write: `finishing` lets it end first.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GRACE = 20.0
"""Seconds that a run which is out of time has to reach its next Python instruction."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived; not an `Exception`, so that no method takes it for its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class OutOfTime(BaseException):
    """The run took longer than it may."""


class _State:
    """Of this process: what is being written, what waits for it, and whether others replace it."""

    writing = 0
    waiting: int | None = None
    busy = False
    stopped: int | None = None
    expendable = False


_lock = threading.Lock()


@contextmanager
def finishing() -> Iterator[None]:
    """What is done inside ends before a signal or the parent's death stops the process."""
    with _lock:
        _State.writing += 1
    try:
        yield
    finally:
        with _lock:
            _State.writing -= 1
            waiting = None
            if not _State.writing:
                waiting, _State.waiting = _State.waiting, None
        if waiting is not None:
            signal.raise_signal(waiting)


@contextmanager
def interruptible(signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """SIGINT and SIGTERM raise `Interrupted` inside; a second one has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if _State.writing:
            _State.waiting = number
            return
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(number)

    before = [signal.signal(each, handle) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def may_end_process() -> None:
    """Let a run that cannot be stopped otherwise end this process: another takes its place."""
    _State.expendable = True


def end_with(parent: int) -> None:
    """End this process when ``parent``, which started it, does; what it writes is written first."""

    def gone() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)

    _end_after(gone)


def end_with_starter() -> None:
    """The same where a server has forked this process for the one that asked for it."""
    _end_after(parent_process().join)


def _end_after(wait: Callable[[], object]) -> None:
    def watch() -> None:
        wait()
        while _State.writing:
            time.sleep(0.01)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def become_worker() -> None:
    """Make this process one that runs jobs for another, and ends when that process does.

    SIGINT, which a terminal sends to all, and SIGUSR2, which SLURM does, are left to the parent.
    SIGTERM stops the job at hand and all that follow; the process itself stays until the parent
    ends it.
    """

    def handle(number: int, frame: object) -> None:
        _State.stopped = number
        if _State.writing:
            _State.waiting = number
        elif _State.busy:
            raise Interrupted(number)

    may_end_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, handle)
    end_with_starter()


@contextmanager
def working() -> Iterator[None]:
    """Around a job in a process that has become a worker."""
    if _State.stopped is not None:
        raise Interrupted(_State.stopped)
    _State.busy = True
    try:
        yield
    finally:
        _State.busy = False


@contextmanager
def deadline(seconds: float | None, abandon: Callable[[], None]) -> Iterator[None]:
    """Raise `OutOfTime` in this thread if what is done inside takes longer than ``seconds``.

    It is raised between two Python instructions. A call that does not return within `GRACE`
    seconds more cannot be stopped: ``abandon`` is called and the process ends, if it may; it is
    said otherwise.
    """
    if seconds is None:
        yield
        return
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    over = threading.Event()

    def guard() -> None:
        if over.wait(seconds):
            return
        with lock:
            if not over.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OutOfTime))
        if over.wait(GRACE):
            return
        if _State.expendable:
            abandon()
            os._exit(1)
        log.warning(
            "a run is out of time, but nothing can stop it in this process: interrupt it and run "
            "again with --executor processes"
        )

    threading.Thread(target=guard, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            over.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
