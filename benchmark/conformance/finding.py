"""What a check of a dataset or an encoder finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Of one check: a sentence for each fault, or why it does not apply."""

    check: str
    faults: tuple[str, ...] = ()
    not_checked: str = ""


class NotCheckedError(Exception):
    """A check does not apply; the message says why."""
