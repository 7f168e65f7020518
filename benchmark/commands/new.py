"""`new`: a small commented plug-in to begin with, and its test."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmark.commands.browsing import browse
from benchmark.errors import UserError, not_writable, unknown
from benchmark.writers import claim, part_of

TEMPLATES = Path(__file__).with_name("templates")

NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")

LIKES = {"align": "method", "ema": "method_ema"}
"""Methods that a new one may be like, the default first, and their templates."""


def new(options: argparse.Namespace) -> int:
    """Write NAME.py and test_NAME.py; what is there is never overwritten."""
    kind, name = options.kind, options.name
    if options.like and kind != "method":
        raise UserError("--like is for `new method`")
    if options.like and options.like not in LIKES:
        raise unknown("example", options.like, LIKES)
    if not NAME.fullmatch(name):
        raise UserError(
            f"the file of a plug-in cannot be named '{name}': use lower-case letters, digits and "
            "'_', the first of them a letter"
        )
    if name in browse(lambda: set(_taken(kind))):
        a = "an" if kind == "encoder" else "a"
        raise UserError(f"{a} {kind} named '{name}' is there already: choose another name")
    template = LIKES[options.like or "align"] if kind == "method" else kind
    test = f"test_{kind}"
    files = {
        options.out / f"{name}.py": _text(template, name),
        options.out / f"test_{name}.py": _text(test, name),
    }
    for path in files:
        if path.exists():
            raise UserError(f"{path}: is there already, and is not overwritten; give another name")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            _write(path, text)
    except OSError as error:
        raise not_writable(options.out, error, "choose another --out") from error
    print("\n".join(f"wrote {path}" for path in files))
    file = options.out / f"{name}.py"
    print(f"then: python -m benchmark {COMMANDS[kind].format(name=name, file=file)}")
    print(f"      python -m pytest {options.out / f'test_{name}.py'}")
    return 0


COMMANDS = {
    "method": "check {name} --plugin {file}",
    "dataset": "check --dataset {name} --plugin {file}",
    "encoder": "check --encoder {name} --plugin {file}",
}


def _taken(kind: str) -> set[str]:
    import datasets
    from methods.common.encoders import BACKBONES
    from methods.common.registry import REGISTRY

    return {"method": REGISTRY, "dataset": datasets.load(), "encoder": BACKBONES}[kind].keys()


def _text(template: str, name: str) -> str:
    text = (TEMPLATES / f"{template}.py.txt").read_text(encoding="utf-8")
    title = "".join(part.capitalize() for part in name.split("_"))
    return text.replace("{{name}}", name).replace("{{Name}}", title)


def _write(path: Path, text: str) -> None:
    part = path.with_name(part_of(path.name))
    try:
        part.write_text(text, encoding="utf-8")
        if not claim(part, path):
            raise UserError(f"{path}: is there already, and is not overwritten; give another name")
    finally:
        part.unlink(missing_ok=True)
