"""Numbers and foreign text as Markdown, LaTeX and plain text."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence

MISSING = "–"


class Strong(str):
    """Text that is shown in bold."""


def number(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """A number with fixed decimals and a true minus sign; "–" for None. Never "-0.0"."""
    if value is None or math.isnan(value):
        return MISSING
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if not float(text):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def decimals_for(values: Iterable[float | None]) -> int:
    """Decimals that give the largest of ``values`` four significant digits, 6 at most."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    if not largest:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def one_line(text: str) -> str:
    """``text`` without line breaks and other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shortened(text: str, length: int = 160) -> str:
    text = one_line(text)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def markdown(text: str) -> str:
    """``text`` as it is, in a Markdown table. Underscores within a word need no escape."""
    escaped = html.escape(one_line(text), quote=False)
    escaped = re.sub(r"([\\`*\[|~#])", r"\\\1", escaped)
    escaped = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)
    return f"**{escaped}**" if isinstance(text, Strong) else escaped


LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": r"--",
    "²": r"$^2$",
    "κ": r"$\kappa$",
    "√": r"$\surd$",
    "·": r"$\cdot$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "…": r"\dots{}",
}


def latex(text: str) -> str:
    """``text`` as it is, in LaTeX (text mode; amssymb for the marks)."""
    escaped = "".join(LATEX.get(character, character) for character in one_line(text))
    return rf"\textbf{{{escaped}}}" if isinstance(text, Strong) else escaped


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """A table in Markdown; the first ``text_columns`` to the left, numbers to the right."""
    from tabulate import tabulate

    return tabulate(
        [[markdown(cell) for cell in row] for row in rows],
        headers=[markdown(cell) for cell in header],
        tablefmt="pipe",
        colalign=["left"] * text_columns + ["right"] * (len(header) - text_columns),
        disable_numparse=True,
    )


def latex_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    text_columns: int,
    *,
    caption: str,
    label: str,
) -> str:
    """A table for booktabs, ready to paste."""
    line = lambda cells: " & ".join(latex(cell) for cell in cells) + r" \\"  # noqa: E731
    columns = "l" * text_columns + "r" * (len(header) - text_columns)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex(caption)}}}",
            rf"\label{{tab:{re.sub(r'[^A-Za-z0-9:-]+', '-', label)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *(line(row) for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """A table for the console."""
    from tabulate import tabulate

    return tabulate(
        [[one_line(cell) for cell in row] for row in rows],
        headers=list(header),
        tablefmt="simple",
        colalign=["left"] * text_columns + ["right"] * (len(header) - text_columns),
        disable_numparse=True,
    )
