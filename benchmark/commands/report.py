"""`report`, with which `run` and `collect` end."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from benchmark.commands.parser import DEFAULT_RESULTS
from benchmark.merging import merged

if TYPE_CHECKING:
    from benchmark.report.write import Report


def report(options: argparse.Namespace) -> int:
    """Write tables, figures and leaderboard from the records of a results folder.

    With ``compare``, say instead how its runs differ from those of another folder; 1 if some do by
    more than another seed would make them.
    """
    from benchmark.report import compare, compare_text

    folders = options.results or [DEFAULT_RESULTS]
    options.out = options.out or folders[0]
    with merged(folders) as options.results:
        if options.compare:
            with merged([options.compare]) as other:
                found = compare(options.results, other)
            print(compare_text(found, " + ".join(map(str, folders)), options.compare))
            return 0 if found.same else 1
        _write(options)
    return 0


def report_all(options: argparse.Namespace, asked: Collection[str] = ()) -> None:
    """The report over everything in the results folder of another command.

    asked: ids of the runs that the command was about; which of them are not shown is said.
    """
    everything = {"out": None, "datasets": None, "methods": None, "protocol": None}
    written = _write(argparse.Namespace(**{**vars(options), **everything}))
    hidden = Counter(
        (e.method, e.reason)
        for e in written.results.exclusions
        if e.run in asked and e.status == "superseded"
    )
    for (method, reason), n in hidden.items():
        print(
            f"{method}: {n} of the runs asked for are recorded and not shown: {reason} "
            "(--retry all makes them the newest)"
        )


def _write(options: argparse.Namespace) -> Report:
    import datasets
    from benchmark.report import summary_text, write_report

    written = write_report(
        options.results,
        options.out or options.results,
        datasets=options.datasets and tuple(map(datasets.name_of, options.datasets)),
        methods=options.methods,
        protocol=options.protocol,
        cache=options.cache,
    )
    print(summary_text(written))
    return written
