"""What a study shows: a page of tables, their numbers as CSV, and a figure a dial."""

from __future__ import annotations

from pathlib import Path

from benchmark.report.statistics import Comparison
from benchmark.report.text import MISSING, csv_table, listed, markdown, markdown_table, number
from benchmark.study.gains import Gains, Level
from benchmark.study.information import CEILING, HELD, LEVELS, REFERENCE, TITLES
from benchmark.writers import atomic
from datasets.generated_information import BOTH, DEPLOYED

DECIMALS = 3
COLUMNS = ("dial", "level", "method", "draws", "rmse", "gain", "low", "high")
BEST = {DEPLOYED: "the best from the deployed sensor alone", BOTH: "the best from all sensors"}
"""What is seen → what the best possible prediction from it is called."""


def write_study(found: Gains, out: Path, *, figures: bool = True) -> list[Path]:
    """Write ``information.md``, ``information.csv`` and ``figures/information-<dial>.png``, .svg.

    The figures carry the same notes as the page. Returns the paths of the files.
    """
    files = {
        "information.md": page(found).encode(),
        "information.csv": csv_table(rows(found), COLUMNS).encode(),
    }
    if figures:
        from benchmark.study.figures import drawn

        for dial in found.levels:
            for suffix, content in drawn(found, dial, notes(found)).items():
                files[f"figures/information-{dial}.{suffix}"] = content
    for name, content in files.items():
        with atomic(out / name) as file:
            file.write(content)
    return [out / name for name in files]


def notes(found: Gains) -> list[str]:
    """How the numbers are to be read, for the page and below each figure."""
    held = ", ".join(f"{dial} {getattr(HELD, dial):g}" for dial in LEVELS)
    draws = len(found.draws)
    interval = (
        f"95 % intervals by Student's t over {draws} independent draws of the data and seeds of "
        "the training, not adjusted for their number"
        if draws > 1
        else "one draw: no interval is known"
    )
    lines = [
        f"Generated data. Gain in RMSE over {REFERENCE} on the deployed sensor alone, higher is "
        f"better; {interval}. The other dials are held: {held}. The best: what the mean of the "
        "label given the inputs, which is known in closed form, reaches on the same test samples."
    ]
    if found.missing:
        parts = (f"{method} {n} of {found.runs}" for method, n in found.missing.items())
        lines.append(f"Runs that are not there: {listed(list(parts))}.")
    return lines


def page(found: Gains) -> str:
    """The tables in Markdown, one a dial."""
    lines = ["# At what kind of information is a method good?", ""]
    lines += [f"{markdown(note)}  " for note in notes(found)] + [""]
    for dial, levels in found.levels.items():
        header = ["method", *(f"{value:g}" for value in levels)]
        table = [[m, *(_gain(level, m) for level in levels.values())] for m in found.families]
        if REFERENCE in found.families:
            of_reference = [number(v.mean(REFERENCE), DECIMALS) for v in levels.values()]
            table = [[m, *cells] for m, *cells in table if m != REFERENCE]
            table.insert(0, [f"RMSE of {REFERENCE}", *of_reference])
        for seen, name in BEST.items():
            table.append([name, *(_text(level.most(seen)) for level in levels.values())])
        lines += [f"## {TITLES[dial]}", "", markdown_table(header, table, text_columns=1), ""]
    lines += [
        f"{CEILING} sees all sensors also when it predicts: what is left of the gap is no method's "
        "to close. Where privileged channels meet synergy, the best from all sensors has no closed "
        f"form ({MISSING}).",
        "",
    ]
    return "\n".join(lines)


def _gain(level: Level, method: str) -> str:
    return _text(level.gain(method))


def _text(gain: Comparison | float | None) -> str:
    if not isinstance(gain, Comparison):
        return number(gain, DECIMALS, signed=True)
    low, middle, high = (number(v, DECIMALS, signed=True) for v in (gain.low, gain.mean, gain.high))
    return f"{middle} ({low} to {high})"


def rows(found: Gains) -> list[dict[str, object]]:
    """One for each dial, level and method, and for the best predictions."""
    table = []
    for dial, levels in found.levels.items():
        for value, level in levels.items():
            places = [
                (m, level.mean(m), level.gain(m), level.scores.get(m)) for m in found.families
            ]
            places += [
                (name, level.mean_best(seen), level.most(seen), level.best[seen])
                for seen, name in BEST.items()
            ]
            for name, rmse, gain, own in places:
                whole = isinstance(gain, Comparison)
                table.append(
                    {
                        "dial": dial,
                        "level": value,
                        "method": name,
                        "draws": len(own or ()),
                        "rmse": rmse,
                        "gain": gain.mean if whole else gain,
                        "low": gain.low if whole else None,
                        "high": gain.high if whole else None,
                    }
                )
    return table
