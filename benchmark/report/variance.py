"""How much of the spread is the fold's, the seed's, and of both; and how many seeds would help."""

from __future__ import annotations

import math

import numpy as np

from benchmark.report.rows import Row
from benchmark.report.statistics import ALPHA, POWER, Components, components
from benchmark.report.summary import MOST_SEEDS, REFERENCE, Summary
from benchmark.report.text import MISSING, markdown, markdown_table, number


def components_of(row: Row) -> Components | None:
    """Variance components of the primary metric; None unless all places of folds × seeds are there.

    A row takes two folds and two seeds at least.
    """
    seeds = {seed for by_seed in row.by_seed.values() for seed in by_seed}
    values = [[by_seed.get(s, math.nan) for s in sorted(seeds)] for by_seed in row.by_seed.values()]
    array = np.array(values)
    return components(array) if array.size and np.isfinite(array).all() else None


def variance_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what has a part in the variance of each method's primary metric."""
    rows = []
    for deployment in summary.group.deployments:
        for row in summary.at(deployment):
            shares = (found := components_of(row)) and found.shares
            if shares:
                parts = [number(100 * share, 0) for share in shares]
                rows.append([row.method, deployment, *parts, seeds_needed(row)])
    header = ["method", "modality", "fold (%)", "seed (%)", "both (%)", "seeds needed"]
    return header, rows


def seeds_needed(row: Row) -> str:
    """In words short enough for a cell."""
    if row.comparison is None or row.seeds_needed is None:
        return MISSING
    if math.isinf(row.seeds_needed):
        return "more seeds cannot do it"
    return str(row.seeds_needed)


def why_unknown(summary: Summary) -> str:
    """Why no part of the variance can be told from another, or ""."""
    group = summary.group
    if group.unit == "seed":
        return "one split: what another split would change cannot be known"
    if all(row.seeds < 2 for row in summary.rows):
        return "one seed a fold: what is the fold's and what is the seed's cannot be told apart"
    if summary.units < 2:
        return "one fold: what another fold would change cannot be known"
    if all(components_of(row) is None for row in summary.rows):
        return "no method has the same seeds on all folds"
    return ""


def seeds_line(summary: Summary) -> str:
    """How many seeds the gains that were seen would need, for every method that is compared."""
    family = [
        row for d in summary.group.modalities for row in summary.at(d) if row.p_holm is not None
    ]
    if not family:
        return ""
    head = (
        f"Seeds needed for the gain that was seen ({100 * POWER:.0f} % power at the level of the "
        f"marks, {100 * ALPHA:.0f} % over the number of methods; so many of the method and of "
        f"{REFERENCE}{' on every fold' * (summary.group.unit == 'fold')}): "
    )
    if all(row.seeds_needed is None for row in family):
        return head + "cannot be known with one seed a fold."
    parts = []
    for deployment in summary.group.modalities:
        own = [row for row in family if row.deployment == deployment]
        known = [f"{r.method} {seeds_needed(r)}" for r in own if not _hopeless(r)]
        hopeless = [r.method for r in own if _hopeless(r)]
        if hopeless:
            known.append(f"more seeds cannot do it for {', '.join(hopeless)}")
        if known:
            parts.append(f"{deployment}: {', '.join(known)}")
    return head + "; ".join(parts) + f". {MISSING}: one seed. At most {MOST_SEEDS} were tried."


def _hopeless(row: Row) -> bool:
    return row.seeds_needed is not None and math.isinf(row.seeds_needed)


NOTE = (
    "Parts of the variance of the primary metric over folds × seeds: of the fold, of the seed, and "
    "of both together, which holds the noise of a single run. Two-way layout with random effects; "
    "negative estimates are 0."
)


def variance_lines(summary: Summary) -> list[str]:
    """The table in Markdown, or why there is none."""
    lines = ["", "## Variance: fold, seed, and both", ""]
    unknown = why_unknown(summary)
    if unknown:
        lines += [markdown(unknown[0].upper() + unknown[1:] + ".")]
    else:
        lines += [markdown_table(*variance_table(summary), text_columns=2), "", NOTE]
    needed = seeds_line(summary)
    return [*lines, "", markdown(needed)] if needed else lines
