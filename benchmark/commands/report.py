"""`report`, with which `run` and `collect` end."""

from __future__ import annotations

import argparse


def report(options: argparse.Namespace) -> int:
    """Write tables, figures and leaderboard from the records of a results folder.

    With ``compare``, say instead how its runs differ from those of another folder; 1 if some do by
    more than another seed would make them.
    """
    import datasets
    from benchmark.report import compare, compare_text, summary_text, write_report

    if options.compare:
        found = compare(options.results, options.compare)
        print(compare_text(found, options.results, options.compare))
        return 0 if found.same else 1
    names = options.datasets and tuple(map(datasets.name_of, options.datasets))
    out = options.out or options.results
    written = write_report(
        options.results,
        out,
        datasets=names,
        methods=options.methods,
        protocol=options.protocol,
        cache=options.cache,
    )
    print(summary_text(written))
    return 0


def report_all(options: argparse.Namespace) -> int:
    """The report over everything in the results folder of another command."""
    everything = {"out": None, "datasets": None, "methods": None, "protocol": None, "compare": None}
    return report(argparse.Namespace(**{**vars(options), **everything}))
