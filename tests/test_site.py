"""The site that `make docs` builds: a page for each method, dataset, protocol and encoder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from benchmark.commands import main as cli
from benchmark.commands.describing import Part, prose
from benchmark.commands.pages import write
from datasets.common.contract import ADAPTERS
from methods.common.registry import REGISTRY

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The pages that are made from the code."""
    folder = tmp_path_factory.mktemp("site")
    assert len(write(folder)) > 80
    return folder


def test_every_method_has_a_page_from_its_docstring(site):
    ours = {key: entry for key, entry in REGISTRY.items() if entry.plugin is None}
    assert {path.stem for path in (site / "methods").iterdir()} == set(ours)
    for key, entry in ours.items():
        text = (site / "methods" / f"{key}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {key}\n\n{entry.summary}\n")
        assert entry.method.__doc__.strip().splitlines()[0] in text
        for name, value in entry.hyperparameters.items():
            assert f"- `{name}={value!r}`: " in text
        if entry.publication:
            assert entry.publication.reference in text


def test_every_dataset_has_a_page_with_its_sensors_and_its_licence(site):
    ours = {name: adapter for name, adapter in ADAPTERS.items() if adapter.plugin is None}
    assert {path.stem for path in (site / "datasets").iterdir()} == set(ours)
    for name, adapter in ours.items():
        text = (site / "datasets" / f"{name}.md").read_text(encoding="utf-8")
        for m in adapter.modalities:
            assert re.search(rf"^- `{m}`: (series|image|vector) of \d+", text, re.MULTILINE)
        assert f"- licence: {adapter.licence}" in text
        if adapter.published:
            assert f"- task: {adapter.published.task}" in text
    text = (site / "datasets" / "lfmc.md").read_text(encoding="utf-8")
    assert "- `S1`: series of 4 × 3: vv, vh, vh_vv; dB, Sentinel-1\n" in text


def test_the_indices_lead_to_all_pages(site):
    for index in site.glob("*.md"):
        links = re.findall(r"\]\(([^)]+)\)", index.read_text(encoding="utf-8"))
        assert sorted(site / link for link in links) == sorted((site / index.stem).iterdir())


def test_a_page_says_what_describe_says(site, capsys):
    assert cli.main(["describe", "kd"]) == 0
    letters = lambda text: re.sub(r"\W+", "", text).lower()  # noqa: E731
    said = letters(capsys.readouterr().out)
    page = (site / "methods" / "kd.md").read_text(encoding="utf-8")
    for line in page.splitlines():
        if not line.startswith("```"):
            assert letters(line) in said, line


def test_a_docstring_is_shown_as_it_is_written():
    """Formulas keep their letters; what is between backticks is code; a drawing stays one."""
    assert prose("L = *a*_m [z] < `x*_m` and_so") == r"L = \*a\*\_m \[z] &lt; `x*_m` and_so"
    assert (
        prose("- one `a`\n  two\n\n    a  b\n    c") == "- one `a`\n  two\n\n```text\na  b\nc\n```"
    )
    assert prose("an odd ` one") == r"an odd \` one"
    assert Part("model", text="Σ_m", verbatim=True).as_markdown() == "## Model\n\n```text\nΣ_m\n```"


@pytest.mark.soak
def test_the_site_is_built_without_a_warning():
    """Strict: no link leads nowhere."""
    if not ((ROOT / "build/site/bin/mkdocs").exists() and (ROOT / ".venv/.ready").exists()):
        pytest.skip("`make docs` has not made its environment here")
    environment = {**os.environ, "MAKEFLAGS": ""}
    done = subprocess.run(
        shlex.split("make docs"), cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("index", "docs/concepts", "reference/methods/kd", "reference/datasets/lfmc"):
        assert (ROOT / "build" / "docs" / f"{page}.html").exists()
