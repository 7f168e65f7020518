"""The exceptions that stand for bad input: all are `UserError`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

FEW = 4
"""Names that a sentence takes."""

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


def several(names: Sequence[str], kind: str = "methods") -> str:
    """Names in a sentence: all of a few; how many there are, and the first, of more."""
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{len(names)} {kind} ({', '.join(names[:FEW])}, …)"


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Error for a name that is not among the ``known`` ones, with the nearest of them.

    Names that differ in upper and lower case alone are the nearest.
    """
    known = sorted(known)
    folded: dict[str, list[str]] = {}
    for each in known:
        folded.setdefault(each.casefold(), []).append(each)
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    near = [each for match in close for each in folded[match]][:3]
    listed = ", ".join(known[:MANY]) + (", …" if len(known) > MANY else "")
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {listed or 'none'}."
    return UserError(f"unknown {kind} '{name}': {hint}")
