"""The one exception that stands for bad input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message says what is wrong, where, and what to do.

    The command line prints the message alone and exits with code 2.
    """


class NotWritableError(UserError):
    """A folder that cannot be written to, or a full disk: nothing more can be recorded there."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Error for a name that is not among the ``known`` ones, with the nearest of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}."
    return UserError(f"unknown {kind} '{name}': {hint}")
