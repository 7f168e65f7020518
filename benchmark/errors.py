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


def numpy_says(error: Exception) -> str:
    """What is wrong with a file that numpy cannot read.

    Of whatever it does not know, numpy says that it may be loaded by unpickling, which nothing here
    does: opening a pickle executes what it says.
    """
    reason = " ".join(str(error).split()) or type(error).__name__
    if "Python objects" in reason or "Object arrays" in reason:
        return (
            "holds Python objects, which are never loaded; save numbers or text, as in "
            "np.save(file, array.astype(float))"
        )
    return "has not the form of numpy's files" if "pickle" in reason else f"{reason:.200}"


def number_of(n: int, what: str) -> str:
    """How many of something, in a sentence: "1 sample", "2,000 samples"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def several(names: Sequence[str], kind: str = "methods") -> str:
    """Names in a sentence: all of a few; how many there are, and the first, of more."""
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{len(names)} {kind} ({', '.join(names[:FEW])}, …)"


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Error for a name that is not among the ``known`` ones: with the nearest, or with all."""
    known = sorted(known)
    nearest = near(name, known)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"known: {listed(known)}."
    return UserError(f"unknown {kind} '{name}': {hint}")


def near(name: str, known: Sequence[str]) -> list[str]:
    """The ``known`` names that a name may be meant for, three at most, the nearest first.

    Names that differ in upper and lower case alone are the nearest.
    """
    folded: dict[str, list[str]] = {}
    for each in known:
        folded.setdefault(each.casefold(), []).append(each)
    # A wrong letter weighs more in a short name; what shares half of its letters is no typo.
    cutoff = 0.65 if len(name) < 6 else 0.72
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=cutoff)
    return [each for match in close for each in folded[match]][:3]


def listed(names: Sequence[str]) -> str:
    """Names for the end of an error."""
    return ", ".join(names[:MANY]) + (", …" if len(names) > MANY else "") or "none"
