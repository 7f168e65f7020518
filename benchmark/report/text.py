"""Numbers and foreign text as Markdown, LaTeX and plain text."""

from __future__ import annotations

import csv
import html
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


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
    "—": r"---",
    "…": r"\dots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "√": r"$\surd$",
    "∞": r"$\infty$",
    "∑": r"$\sum$",
    "∂": r"$\partial$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "ℓ": r"$\ell$",
    "°": r"\textdegree{}",
    "µ": r"$\mu$",
    "€": r"\texteuro{}",
    "‰": r"\textperthousand{}",
    "§": r"\S{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
}

ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0328": "k",
}
"""Combining character → LaTeX's command for the accent."""


def latex(text: str) -> str:
    """``text`` as it is, in LaTeX (text mode; amssymb for the marks), in ASCII alone.

    A character that has no name there, of another script for one, is given as its number, so that
    every table compiles.
    """
    escaped = "".join(_latex(character) for character in one_line(text))
    return rf"\textbf{{{escaped}}}" if isinstance(text, Strong) else escaped


def _latex(character: str) -> str:
    if character in LATEX:
        return LATEX[character]
    if character.isascii():
        return character
    base, *marks = unicodedata.normalize("NFD", character)
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (FINAL )?(\w+)", unicodedata.name(base, ""))
    if greek:
        return _greek(base, *greek.groups())
    if base.isascii() and base.isalpha() and marks and all(mark in ACCENTS for mark in marks):
        for mark in marks:
            base = rf"\{ACCENTS[mark]}{{{base}}}"
        return base
    kind, _, plain = unicodedata.decomposition(character).partition(" ")
    if kind in ("<super>", "<sub>") and plain and " " not in plain:
        script = _latex(chr(int(plain, 16)))
        return rf"\text{kind[1:-1]}script{{{script}}}"
    return f"[U+{ord(character):04X}]"


def _greek(letter: str, case: str, final: str | None, name: str) -> str:
    """A Greek letter in mathematics; those that look like a Latin one have no command."""
    latin = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo", strict=True))
    if letter in latin:
        return rf"$\mathrm{{{latin[letter]}}}$"
    command = {"LAMDA": "lambda"}.get(name, name.lower())
    if command not in GREEK.split():
        return f"[U+{ord(letter):04X}]"
    command = "varsigma" if final else command
    return rf"$\{command if case == 'SMALL' else command.capitalize()}$"


GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega"
)


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
    """A table for booktabs and graphicx, ready to paste."""
    line = lambda cells: " & ".join(latex(cell) for cell in cells) + r" \\"  # noqa: E731
    columns = "l" * text_columns + "r" * (len(header) - text_columns)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex(caption)}}}",
            rf"\label{{tab:{re.sub(r'[^A-Za-z0-9:-]+', '-', label)}}}",
            # A table that is wider than the text is made as narrow as that.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *(line(row) for row in rows),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def csv_line(cells: Iterable[Any]) -> str:
    """Cells as a line of CSV, without its end."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)  # which it quotes within a cell
    return buffer.getvalue()[:-1]


def csv_number(value: float | None) -> str:
    """A number as exactly as it is; nothing for what is undefined."""
    return "" if value is None or value != value else repr(float(value))


def csv_table(rows: Sequence[Mapping[str, Any]], header: Sequence[str] = ()) -> str:
    """Rows by column as CSV, with the columns of all of them; None is an empty cell.

    Numbers of a column are written alike: all as floats, if one is, or if one is missing.
    """
    names = list(dict.fromkeys([*header, *(name for row in rows for name in row)]))
    columns = [_csv_column([row.get(name) for row in rows]) for name in names]
    return "".join(f"{csv_line(cells)}\n" for cells in (names, *zip(*columns, strict=True)))


def _csv_column(values: Sequence[Any]) -> list[Any]:
    known = [v for v in values if v is not None and v == v]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    if numbers and (len(known) < len(values) or any(isinstance(v, float) for v in known)):
        return [csv_number(value) for value in values]
    return list(values)


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
