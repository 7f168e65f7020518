"""What a frozen encoder saves: process seconds of runs on its features against training it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.planning.protocol import FOLDER

ROOT = Path(__file__).parents[2]

IMAGE = "image: {model: test_resnet, pretrained: false}"
RESNET = "image: {model: resnet50, pretrained: false%s}"
METHODS = "single,mdico,gen_distill"

RUN = """
import sys
from benchmark.commands import main, run
run.report_all = lambda *_: None
sys.exit(main.main(sys.argv[1:]))
"""


def process_seconds(folder: Path, frozen: bool) -> float:
    """Of three seeds of a few methods under `quick`, all that a process does included."""
    text = (FOLDER / "quick.yaml").read_text()
    assert IMAGE in text
    name = "frozen" if frozen else "trained"
    file = folder / f"{name}.yaml"
    file.write_text(text.replace(IMAGE, RESNET % (", frozen: true" if frozen else "")))
    command = ["run", "--datasets", "treesatai_ts", "--methods", METHODS, "--workers", "1"]
    command += ["--protocol", str(file), "--cache", str(folder / "cache")]
    command += ["--results", str(folder / name)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", RUN, *command], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.perf
def test_runs_on_features_of_a_frozen_encoder_cost_a_quarter_at_most(tmp_path, report):
    """With random weights, which cost what others do; the features are computed in it."""
    trained = process_seconds(tmp_path, frozen=False)
    frozen = process_seconds(tmp_path, frozen=True)
    figure = f"process seconds, {METHODS} × 3 seeds, ResNet-50 frozen / trained"
    assert report(figure, "0.25", [frozen], [trained]) <= 0.25
