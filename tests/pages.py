"""The pages of the documentation, and the blocks that they print."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_EXECUTED = re.compile(r"<!-- not executed: (.+) -->")
"""Stands in the line above a block that no test executes, with the reason."""

FILE = re.compile(r"`([\w./-]+\.\w+)`[^`]*:$")
"""Ends the sentence above a block that is a file: "Here is `vines.yaml`:"."""

BENCHMARK = ["python", "-m", "benchmark"]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what is in it, the file that it is, why it is not executed."""

    language: str
    text: str
    line: int
    file: str
    not_executed: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell, with what goes on in the next one."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """What stands outside of fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in their order; of all, if none is named."""
    text, found = text_of(page), []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        above = [line for line in text[: match.start()].splitlines() if line.strip()]
        last = above[-1] if above else ""
        skipped = NOT_EXECUTED.fullmatch(last)
        file = FILE.search(last) if match[1] != "sh" else None
        block = Block(
            language=match[1],
            text=match[2],
            line=text[: match.start()].count("\n") + 1,
            file=file[1] if file else "",
            not_executed=skipped[1] if skipped else "",
        )
        if not languages or block.language in languages:
            found.append(block)
    return found


def words_of(command: str) -> list[str]:
    """A command as words, without its comment."""
    return shlex.split(command, comments=True)


def targets() -> set[str]:
    """What `make` makes."""
    return set(re.findall(r"^(\w+):", text_of(ROOT / "Makefile"), re.MULTILINE))
