"""README and docs/: links lead somewhere, commands exist, tables are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

import methods
from benchmark.commands.methods import by_family, table
from benchmark.commands.parser import parser
from benchmark.errors import UserError
from benchmark.report.frame import COLUMNS
from methods.common.registry import Entry
from tests.pages import PAGES, ROOT, blocks, prose, text_of

WORDS = 1_500


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def commands(path: Path) -> list[str]:
    """What is given to `python -m benchmark` in the blocks of a page, and in its sentences."""
    lines = [line for block in blocks(path) for line in block.commands]
    printed = [line for line in lines if re.match(r"\$?\s*python -m benchmark\b", line)]
    return [*printed, *re.findall(r"`(python -m benchmark [^`]*)`", prose(path))]


def registered() -> list[Entry]:
    """The methods of this project, without plug-ins of other tests."""
    return [entry for entry in methods.load().values() if entry.plugin is None]


def test_the_readme_is_short():
    words = len(text_of(ROOT / "README.md").split())
    assert words <= WORDS, f"README.md has {words} words: put something into docs/"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for link in links:
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT) and target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", text_of(ROOT / "README.md")))
    assert linked == {f"docs/{path.name}" for path in PAGES if path.parent.name == "docs"}


def test_the_site_has_every_page():
    nav = yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]
    *listed, made = [page for entry in nav for page in entry.values()]
    assert sorted(listed) == sorted(
        ["leaderboard.md", *(path.relative_to(ROOT).as_posix() for path in PAGES)]
    )
    kinds = {path.removeprefix("reference/") for entry in made for path in entry.values()}
    assert kinds == {"methods.md", "datasets.md", "protocols.md", "encoders.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_printed_commands_are_understood(page):
    for command in commands(page):
        words = shlex.split(command, comments=True)
        try:
            parser().parse_args(words[words.index("benchmark") + 1 :])
        except UserError as error:
            pytest.fail(f"{page.name}: {command}\n{error}")


def test_every_command_is_printed_somewhere():
    printed = {shlex.split(c, comments=True)[3] for page in PAGES for c in commands(page)}
    (known,) = [a.choices for a in parser()._actions if a.dest == "command"]
    assert printed == set(known)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_printed_code_is_code(page):
    for block in blocks(page, "python"):
        compile(block.text, page.name, "exec")
    for block in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(block.text), dict)


def test_the_tables_of_methods_are_those_of_the_registry():
    entries = registered()
    readme, full = text_of(ROOT / "README.md"), text_of(ROOT / "docs" / "methods.md")
    assert table(entries) in full, f"put into docs/methods.md:\n{table(entries)}"
    assert by_family(entries) in readme, f"put into README.md:\n{by_family(entries)}"
    assert f"\n{len(entries)} methods run under one protocol" in readme


def test_the_columns_of_scores_are_those_that_are_written():
    section = text_of(ROOT / "docs" / "results.md").partition("\n## scores.csv\n")[2]
    section = section.partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == COLUMNS
