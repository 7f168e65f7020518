"""The exceptions that stand for bad input: all are `UserError`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

MANY = 100
"""Names that an error lists at most."""


class UserError(Exception):
    """Bad input: the message says what is wrong, where, and what to do.

    The command line prints the message alone and exits with code 2.
    """


class NotWritableError(UserError):
    """A folder that cannot be written to, or a full disk: nothing more can be recorded there."""


class UnfinishedError(UserError):
    """Work was cut short, not found to be impossible: what is there is kept, to go on from."""


def not_writable(
    folder: Path,
    error: OSError,
    advice: str = "make room or give the right to write, then run again: what is recorded stays",
) -> NotWritableError:
    """The error for a folder that cannot be written to."""
    reason = error.strerror or error
    return NotWritableError(f"{folder}: cannot be written to ({reason}); {advice}")


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Error for a name that is not among the ``known`` ones, with the nearest of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    listed = ", ".join(known[:MANY]) + (", …" if len(known) > MANY else "")
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {listed or 'none'}."
    return UserError(f"unknown {kind} '{name}': {hint}")
