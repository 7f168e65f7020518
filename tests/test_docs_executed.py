"""What README and docs/ print is executed as printed, page by page, on little data.

A page is a session in a folder of its own: its blocks are executed from the first to the last. A
block of the shell is executed line by line, `python -m benchmark` within this process; a Python
block is executed with the names of those before it; a block that is a file is written to it. What
is not executed says so in the page, with the reason. CONTRIBUTING.md: tests/test_contributing.py.
"""

from __future__ import annotations

import subprocess
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark import plugins, report
from benchmark.commands import main as cli
from benchmark.commands.parser import parser
from benchmark.planning import protocol
from datasets.common.contract import ADAPTERS
from methods.common.encoders import BACKBONES
from methods.common.registry import REGISTRY
from tests import own
from tests.layouts import copied
from tests.pages import BENCHMARK, PAGES, ROOT, Block, blocks, targets, words_of
from tests.shipped import packed

EXECUTED = [page for page in PAGES if page.name != "CONTRIBUTING.md"]

MOST = 10
"""Blocks that may say that they are not executed."""

SMALL: dict[str, Any] = {
    "protocol": "tiny.yaml",
    "data_root": "DIR",
    "folds": "0",
    "trials": 2,
    "workers": 1,
    "device": "cpu",
}
"""Option → what a command gets in the place of what is printed, if it has that option.

A protocol of the page's own stays as it is.
"""

DATA = {"lfmc": 60, "cropharvest_binary": 60, "treesatai_ts": 40}
"""Native files that lie below DIR, by dataset, and their number of samples."""


def is_long(words: list[str]) -> bool:
    """Whether a command is left to `make soak`: what checks a method trains it a hundred times."""
    if words[:3] != BENCHMARK or words[3] != "check":
        return False
    options = parser().parse_args(words[3:])
    return bool(options.methods or options.all)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Real data, as far as the commands can tell."""
    folder = tmp_path_factory.mktemp("data")
    for name, samples in DATA.items():
        copied(name, samples, folder)
    return folder


@pytest.fixture
def reader(tmp_path, data, monkeypatch) -> Path:
    """The folder of a reader who has data in DIR, and some of the shipped records."""
    monkeypatch.delenv("EO_COLEARN_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "write_report", partial(report.write_report, figures=False))
    Path("DIR").symlink_to(data)
    packed("lfmc", Path("results/reference"))
    Path("benchmark").symlink_to(ROOT / "benchmark")
    quick = yaml.safe_load((protocol.FOLDER / "quick.yaml").read_text())
    tiny = {**quick, "epochs": 1, "view": {"default": {"samples": 60, "image_px": 8, "dates": 4}}}
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    return tmp_path


def vines() -> None:
    own.write(Path())


def describe_vines() -> None:
    """What a reader makes of the first description: that of docs/own-data.md."""
    (block,) = [b for b in blocks(ROOT / "docs" / "own-data.md", "yaml") if b.file == "vines.yaml"]
    Path("vines.yaml").write_text(block.text, encoding="utf-8")


def predict_lfmc() -> None:
    """The predictions of another framework, for the folds that the page exports."""
    import pandas as pd

    folds = pd.read_csv("lfmc_tiny_folds.csv")
    tests = folds.loc[folds["part"] == "test", ["fold", "id"]]
    tests.assign(prediction=100.0).to_csv("predictions.csv", index=False)


def described_vines() -> None:
    vines()
    describe_vines()


def new_samples() -> None:
    """Samples for the model that the page has trained, as a table and as an array."""
    import numpy as np
    import pandas as pd

    from benchmark import api

    spec = api.load_model("models/kd/S2").spec
    x = np.random.default_rng(0).normal(size=(5, *spec.shape))
    columns = [f"{c}_{step + 1}" for step in range(spec.shape[0]) for c in spec.channels]
    pd.DataFrame(x.reshape(5, -1), columns=columns).to_csv("new.csv", index=False)
    np.save("new.npy", x)


def new_places() -> None:
    """Raw exports of places without labels."""
    from tests.test_cropharvest_exports import drawn, export

    for name in ("1-own_2019-02-06_2020-02-01.tif", "2-own_2019-02-06_2020-02-01.tif"):
        export(Path("places/eo_data") / name, drawn())


GIVEN: dict[str, Callable[[], None]] = {
    "README.md": vines,
    "own-data.md": vines,
    "models.md": described_vines,
}
"""Page → what its reader has before the first block."""

BY_HAND: dict[tuple[str, str], Callable[[], None]] = {
    ("README.md", "data new vines"): describe_vines,
    ("results.md", "folds export lfmc"): predict_lfmc,
    ("models.md", "train kd lfmc"): new_samples,
    ("data.md", "train kd cropharvest_binary"): new_places,
}
"""Page and command → what its reader does after it."""


def smaller(words: list[str]) -> list[str]:
    """The arguments of a command, with `SMALL` after what is printed: the last one counts."""
    if words[0] in ("report", "answer"):  # their --protocol is one of the records'
        return words
    options: Namespace = parser().parse_args(words)
    more = []
    for name, value in SMALL.items():
        printed = getattr(options, name, MISSING)
        wanted = printed is not MISSING and not str(printed).endswith((".yaml", ".yml"))
        if wanted and not (name == "data_root" and words[:2] == ["data", "fetch"]):
            more += [f"--{name.replace('_', '-')}", str(value)]
    return [*words, *more]


MISSING = object()


def execute(page: Path, block: Block, names: dict[str, Any], *, long: bool) -> None:
    """Execute a block; what it has done is there for the next one."""
    where = f"{page.name}, line {block.line}"
    if block.file:
        path = Path(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.text, where, "exec"), names)
    elif block.language == "sh":
        for command in block.commands:
            words = words_of(command)
            if words[0] == "make":
                assert words[1] in targets()
            elif words[:3] == BENCHMARK:
                if not is_long(words) or long:
                    assert cli.main(smaller(words[3:])) == 0, f"{where}: {command}"
            else:
                subprocess.run(command, shell=True, check=True)
            for (name, start), do in BY_HAND.items():
                if name == page.name and " ".join(words[3:]).startswith(start):
                    do()


def session(page: Path, *, long: bool) -> None:
    GIVEN.get(page.name, lambda: None)()
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for block in blocks(page):
            if not block.not_executed:
                execute(page, block, names, long=long)
    finally:
        files = [path for path in Path().rglob("*.py") if not path.is_symlink()]
        plugins.unload(files, REGISTRY, ADAPTERS, BACKBONES)


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.name)
def test_what_a_page_prints_works(page, reader):
    session(page, long=False)


LONG = [
    p for p in EXECUTED if any(is_long(words_of(c)) for b in blocks(p, "sh") for c in b.commands)
]


@pytest.mark.soak
@pytest.mark.parametrize("page", LONG, ids=lambda page: page.name)
def test_what_takes_long_works_as_well(page, reader):
    session(page, long=True)


def test_a_file_that_is_printed_is_used_by_a_command_below():
    for page in EXECUTED:
        found = blocks(page)
        for i, block in enumerate(found):
            later = [command for b in found[i:] if b.language == "sh" for command in b.commands]
            assert not block.file or any(block.file in c for c in later), (page.name, block.file)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```sh\npython -m benchmark describe kdd\n```\n", "kdd"),
        ("```sh\nfalse\n```\n", "false"),
        ("```sh\nmake benchmarks\n```\n", "benchmarks"),
        ("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "^$"),
        ("<!-- not executed: -->\n```sh\nfalse\n```\n", "false"),
        ("<!-- not executed: needs a reason -->\n```sh\nfalse\n```\n", None),
        ("Here is `a.txt`:\n\n```text\n1\n```\n\n```sh\ngrep 1 a.txt\n```\n", None),
    ],
)
def test_what_does_not_work_is_noticed(text, fault, reader):
    Path("page.md").write_text(text)
    if fault is None:
        session(Path("page.md"), long=False)
        return
    with pytest.raises((AssertionError, subprocess.CalledProcessError), match=fault):
        session(Path("page.md"), long=False)


def test_few_blocks_are_not_executed():
    skipped = [
        (page.name, b.not_executed) for page in PAGES for b in blocks(page) if b.not_executed
    ]
    assert len(skipped) <= MOST, skipped
