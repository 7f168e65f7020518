"""The command line. Heavy packages are imported by the commands, not here."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.choosing import load_plugins
from benchmark.commands.parser import parser
from benchmark.errors import UserError
from benchmark.stopping import Interrupted, interruptible

NEEDED = ("torch", "pandas", "tabulate", "yaml")
"""Packages by which an environment is known to be another one."""


def check_packages() -> None:
    """Make sure that this is the project's environment, with its own ``datasets`` and ``methods``.

    Hugging Face's library has the name of our package ``datasets``.
    """
    if not all(map(importlib.util.find_spec, NEEDED)):
        raise UserError(
            f"{sys.executable} has not the packages of this project: activate its environment "
            "(`make env`, then `. .venv/bin/activate`)"
        )
    root = Path(__file__).resolve().parents[2]
    for package in ("datasets", "methods"):
        found = importlib.util.find_spec(package)
        origin = Path(found.origin).resolve() if found and found.origin else None
        if origin != root / package / "__init__.py":
            raise UserError(
                f"the package '{package}' was found at {origin}, not in {root}: another library of "
                "that name (Hugging Face's datasets?) hides it; run from the project's folder, or "
                "uninstall the other"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns 0, 1 if a run failed, 2 for bad input, or 130 or 143 after SIGINT or SIGTERM.
    """
    try:
        options = parser().parse_args(arguments)
        logging.basicConfig(
            level=logging.INFO if getattr(options, "verbose", False) else logging.WARNING,
            format="%(message)s",
            stream=sys.stderr,
        )
        # Of a machine without semaphores; what that means here is said where it matters.
        warnings.filterwarnings("ignore", message=".*joblib will operate in serial mode")
        check_packages()
        with interruptible():
            load_plugins(getattr(options, "plugin", ()))
            return _command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # nobody reads any longer: not an error of the disk
        raise
    except OSError as error:
        print(f"error: {error.filename or 'the disk'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(f"interrupted: {_resume(options)}", file=sys.stderr)
        return 128 + interrupted.number


def _resume(options: argparse.Namespace) -> str:
    """What remains of an interrupted command, and how to go on with it."""
    if options.command not in ("run", "tune", "study"):
        return "give the same command again"
    return (
        f"every run that was finished is recorded in {options.results}; "
        "give the same command again to go on with the others"
    )


def _command(options: argparse.Namespace) -> int:
    if options.command == "run":
        from benchmark.commands.run import run

        return run(options)
    if options.command == "train":
        from benchmark.commands.train import train

        return train(options)
    if options.command == "predict":
        from benchmark.commands.predict import predict

        return predict(options)
    if options.command == "tune":
        from benchmark.commands.tune import tune

        return tune(options)
    if options.command == "study":
        from benchmark.commands.study import study

        return study(options)
    if options.command == "collect":
        from benchmark.commands.submission import collect

        return collect(options)
    if options.command == "report":
        from benchmark.commands.report import report

        return report(options)
    if options.command == "answer":
        from benchmark.commands.answer import answer

        return answer(options)
    if options.command == "verify":
        from benchmark.commands.verify import verify

        return verify(options)
    if options.command == "check" and (options.dataset or options.encoder):
        from benchmark.commands.check_inputs import check_inputs

        return check_inputs(options)
    if options.command == "check":
        from benchmark.commands.check import check

        return check(options)
    if options.command == "new":
        from benchmark.commands.new import new

        return new(options)
    if options.command == "demo":
        from benchmark.commands.demo import demo

        return demo(options)
    if options.command == "folds":
        from benchmark.commands.folds import export

        return export(options)
    if options.command == "export":
        from benchmark.commands.export import export as write

        return write(options)
    if options.command == "score":
        from benchmark.commands.score import score

        return score(options)
    if options.command == "submit":
        from benchmark.commands.submit import submit

        return submit(options)
    if options.command == "pack":
        from benchmark.commands.pack import pack

        return pack(options)
    if options.command == "data":
        from benchmark.commands import data

        return getattr(data, options.task)(options)
    from benchmark.commands import listing

    return listing.describe(options) if options.command == "describe" else listing.show(options)
