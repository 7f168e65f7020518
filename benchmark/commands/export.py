"""`export`: a kept model as one file that other programs run."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmark.errors import UserError

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""Format → what the names of its files end with."""


def export(options: argparse.Namespace) -> int:
    """Write a kept model as ONNX or as a program of torch.export; never over another file."""
    suffix = SUFFIXES[options.format]
    if options.out and options.out.suffix != suffix:
        raise UserError(
            f"{options.out}: --format {options.format} writes a file whose name ends with {suffix}"
        )
    _need_free(options.out)
    import methods
    from benchmark.deployment.export import to_onnx, to_torch
    from benchmark.deployment.model import load

    methods.load()
    model = load(options.model)
    out = options.out or Path(_name(model.about) + suffix)
    _need_free(out)
    apart = {"onnx": to_onnx, "torch": to_torch}[options.format](model, out)
    print(
        f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): {' + '.join(model.modalities)} → "
        f"{model.about['output']}; off the model's by at most {apart:.1g} on made-up samples"
    )
    return 0


def _need_free(out: Path | None) -> None:
    if out and out.exists():
        raise UserError(f"{out}: exists already; remove it, or name another file with --out")


def _name(about: dict) -> str:
    """A name for the file, of letters that every system takes."""
    parts = about["method"], about["dataset"]["name"], about["modality"]
    return re.sub(r"[^\w.+-]", "_", "_".join(parts))
