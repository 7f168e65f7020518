"""`study`: a question that is asked of generated data, in one command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmark.commands import submission
from benchmark.commands.choosing import check_arithmetic, choose_device, choose_methods, is_here
from benchmark.commands.run import begin_workers, carry_out, check_work
from benchmark.planning import protocol as protocols
from benchmark.spec import PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmark.study.information import Design
    from datasets.common.contract import EODataset


def study(options: argparse.Namespace) -> int:
    """Plan the runs of the study, execute what is not recorded yet, then show all that is.

    Returns 1 if a run failed.
    """
    from benchmark.planning.plan import plan
    from benchmark.study.gains import gains
    from benchmark.study.information import ALWAYS, METHODS, PROTOCOL, design
    from benchmark.study.write import write_study

    of = design(options.dials, options.levels, options.seeds)
    protocol = protocols.load(str(PROTOCOL))
    check_work(options)
    begin_workers(options)
    options.methods = tuple(dict.fromkeys((*ALWAYS, *(options.methods or METHODS))))
    methods = choose_methods(options)
    request = submission.request(options) if options.executor == "slurm" else None
    device = choose_device(options, request)
    check_arithmetic(options, device, here=is_here(options))
    prepared = _prepared(of, options.cache)
    planned = [
        item
        for draw, datasets in prepared.items()
        for item in plan(
            datasets,
            methods,
            protocol,
            chosen_folds=None,
            seeds=(draw,),
            results=options.results.absolute(),
            device=device,
            plugins=tuple(plugin.resolve() for plugin in options.plugin),
            timeout=options.timeout,
            precision=PRECISIONS[options.precision],
            compiled=options.compile,
        )
    ]
    outcomes = carry_out(planned, options, device, request)
    if outcomes is None:
        return 0
    fingerprints = {d.name: d.fingerprint for own in prepared.values() for d, _ in own}
    found = gains(options.results, of, fingerprints)
    for path in write_study(found, options.results):
        print(path)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _prepared(of: Design, cache: Path) -> dict[int, list[tuple[EODataset, Path]]]:
    """Draw → the dataset of each setting, prepared, and its folder."""
    from tqdm import tqdm

    from datasets.common import prepared
    from datasets.common.contract import View

    found: dict[int, list[tuple[EODataset, Path]]] = {draw: [] for draw in of.draws}
    places = [(setting, draw) for draw in of.draws for setting in of.settings]
    for setting, draw in tqdm(places, "generating", unit="dataset", disable=None):
        adapter = setting.adapter(draw)
        folder, source, _ = prepared.resolve(adapter, None, cache, named=True)
        modalities = adapter.modalities
        dataset, where = prepared.prepare(adapter, folder, source, modalities, View(), cache)
        found[draw].append((dataset, where.absolute()))
    return found
