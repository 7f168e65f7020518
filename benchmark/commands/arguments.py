"""Arguments as the standard library parses them, but that what is wrong is one sentence."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from benchmark.errors import UserError, near


class Arguments(argparse.ArgumentParser):
    """A parser that leaves the usage to ``--help``, and knows what a mistyped option was meant for.

    Raises `UserError` where its base class ends the process.
    """

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (`{self.prog} --help` says what there is)")

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        found, others = super().parse_known_args(args, namespace)
        known = re.findall(r"--([\w-]+)", self.format_usage())
        for word in others:
            meant = near(word[2:].partition("=")[0], known) if word.startswith("--") else ()
            if meant:
                self.error(f"unknown option {word}: did you mean --{' or --'.join(meant)}?")
        return found, others
