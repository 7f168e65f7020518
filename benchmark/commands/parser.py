"""The arguments of every command. Nothing heavy is imported here: `--help` is instant."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmark import __version__
from benchmark.commands.arguments import Arguments
from benchmark.folders import default_cache, default_data_root
from benchmark.spec import PRECISIONS

EXAMPLES = """examples:
  python -m benchmark run --all
  python -m benchmark run --datasets lfmc --methods single,mdico --protocol standard --data-root DIR
  python -m benchmark run --all --executor slurm --slurm partition=gpu --dry-run
  python -m benchmark collect
  python -m benchmark tune --datasets lfmc --methods single,forest,kd,mdico --trials 20
  python -m benchmark run --hparams results/runs/tuned.json
  python -m benchmark train mdico lfmc --data-root DIR --out models/mdico
  python -m benchmark predict models/mdico/S2 new.csv --out predictions.csv
  python -m benchmark demo
  python -m benchmark study information
  python -m benchmark report
  python -m benchmark report --results mine --results results/reference --out both
  python -m benchmark verify --results results/reference
  python -m benchmark folds export lfmc --data-root DIR
  python -m benchmark score predictions.csv lfmc --as ours --modality S2 --data-root DIR
  python -m benchmark export models/S2 --format onnx
  python -m benchmark list methods
  python -m benchmark describe mdico
  python -m benchmark describe lfmc
  python -m benchmark check mdico
  python -m benchmark new method my_method
  python -m benchmark data status --data-root DIR
  python -m benchmark data fetch cropharvest_binary --data-root DIR
"""

LAYOUT = """inputs:
  .csv, .tsv, .txt (also .gz), .parquet
      a row a sample; columns of a vector are called like its channels, those of a series
      CHANNEL_STEP, steps from 1 or from 0, unless --columns and --steps say otherwise; other
      columns are not used, but for the ids; an empty cell is a missing value
  .npy, .npz, .h5, .nc
      (samples, ...), the channels last; in a file of several arrays called like the modality; NaN
      is a missing value
  NAME or mine.yaml
      all samples of a dataset, by its name (--data-root DIR: its publisher's files) or description
  .tif, .vrt
      one or several that lie on each other: a map; raw exports of CropHarvest, or folders of them,
      are places for its models

outputs:
  .csv, .parquet: id; prediction (in the target's unit), or a probability by the name of each class,
      and predicted, the likeliest class, or all labels from 0.5 on
  .npy: the predictions alone; .npz: ids, predictions, classes
"""

DEFAULT_RESULTS = Path("results/runs")

MANY = 10_000
"""Numbers that an argument may list."""


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list of names, in the order given."""
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise argparse.ArgumentTypeError("give at least one name")
    if len(set(items)) < len(items):
        raise argparse.ArgumentTypeError(f"a name stands twice in '{text}'")
    return items


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers and ranges, as in ``0,2,5-7``."""
    result: dict[int, None] = {}
    for item in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", item.strip())
        if not match:
            raise argparse.ArgumentTypeError(f"'{text}' is not a list like 0,2,5-7")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < MANY:
            raise argparse.ArgumentTypeError(f"'{item}' is not a range from low to high")
        result.update(dict.fromkeys(range(first, last + 1)))
        if len(result) > MANY:
            raise argparse.ArgumentTypeError(f"more than {MANY} numbers")
    return tuple(result)


def shares(text: str) -> tuple[float, ...]:
    """Shares above 0 and at most 1, as in ``0.05,0.25,1``."""
    wrong = argparse.ArgumentTypeError(f"'{text}' is not a list of shares like 0.05,0.25,1")
    try:
        found = tuple(float(item) for item in text.split(","))
    except ValueError:
        raise wrong from None
    if not all(0 < share <= 1 for share in found) or len(set(found)) < len(found):
        raise wrong
    return found


def replicas(text: str) -> int | None:
    """How many runs are trained at once: 1 for ``off``, None for ``auto``."""
    if text == "auto":
        return None
    if text != "off" and not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not auto, off or a number from 1")
    return 1 if text == "off" else int(text)


def _protocol(default: str) -> Arguments:
    parent = Arguments(add_help=False)
    parent.add_argument(
        "--protocol",
        default=default,
        metavar="NAME|FILE",
        help="quick, standard, random, paper, or the path of a YAML file (default: %(default)s)",
    )
    return parent


def _work() -> Arguments:
    """How whatever trains does its work: `run`, `tune` and `study`."""
    parent = Arguments(add_help=False)
    parent.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parent.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        default="fp32",
        help="of training: fp32 (default), tf32 on a GPU, or bf16 (torch's autocast); scores are "
        "computed in fp32 always",
    )
    parent.add_argument("--compile", action="store_true", help="train through torch.compile")
    parent.add_argument(
        "--executor",
        choices=("serial", "processes", "dask", "slurm"),
        help="how runs are executed (default: processes, or serial with one worker)",
    )
    parent.add_argument(
        "--dask-address",
        metavar="ADDRESS",
        help="tcp://... of a Dask scheduler, or its scheduler file (default: a local cluster)",
    )
    parent.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of sbatch, as in --slurm partition=gpu --slurm time=60 (minutes); "
        "may be given several times",
    )
    parent.add_argument(
        "--runs-per-job", type=int, metavar="N", help="runs in one SLURM job (default: 10)"
    )
    parent.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="runs at the same time (default: one a core; 20 jobs with --executor slurm)",
    )
    parent.add_argument(
        "--replicas",
        type=replicas,
        default=1,
        metavar="auto|off|N",
        help="train so many folds and seeds of a method at once, as one batched model; auto: as "
        "many as a GPU holds, off without one (default: off)",
    )
    parent.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="record a run that takes longer as failed (default: none does)",
    )
    parent.add_argument(
        "--retry",
        choices=("failed", "changed", "all"),
        help="run again what is recorded as failed, or was made by code that has changed since, or "
        "all; a record stays until there is another that is done",
    )
    parent.add_argument(
        "--dry-run", action="store_true", help="list what would run, or would be submitted"
    )
    return parent


def _folds() -> Arguments:
    parent = Arguments(add_help=False)
    parent.add_argument("--folds", type=numbers, metavar="0,2-4", help="these folds only, from 0")
    return parent


def parser() -> Arguments:
    """The parser of all commands."""
    root = Arguments(
        prog="python -m benchmark",
        description="Earth-observation co-learning benchmark: train with all sensors, deploy one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=__version__)
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    cache = Arguments(add_help=False)
    cache.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="DIR",
        help="prepared and generated data (default: $EO_COLEARN_CACHE or results/cache)",
    )
    folders = Arguments(add_help=False, parents=[cache])
    folders.add_argument(
        "--results",
        type=Path,
        default=DEFAULT_RESULTS,
        metavar="DIR",
        help="where records and reports go (default: %(default)s)",
    )
    inputs = Arguments(add_help=False)
    inputs.add_argument(
        "--modalities",
        type=names,
        metavar="A,B",
        help="these modalities (default: the published choice, or all of your own data)",
    )
    inputs.add_argument(
        "--data-root",
        type=Path,
        default=default_data_root(),
        metavar="DIR",
        help="real data, one folder a dataset (default: $EO_COLEARN_DATA); else it is generated",
    )
    quick, standard = _protocol("quick"), _protocol("standard")
    plugins = Arguments(add_help=False)
    plugins.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file with methods, datasets or encoders of your own; may be given several "
        "times",
    )
    verbose = Arguments(add_help=False)
    verbose.add_argument("-v", "--verbose", action="store_true", help="say more")

    only, work = _folds(), _work()
    run = commands.add_parser(
        "run",
        parents=[inputs, quick, folders, plugins, verbose, only, work],
        help="train, score and record; then report",
    )
    run.add_argument(
        "--all", action="store_true", help="every method, on every dataset of the leaderboard"
    )
    run.add_argument(
        "--datasets",
        type=names,
        metavar="A,B",
        help="these datasets; mine.yaml is the description of one of your own",
    )
    run.add_argument(
        "--methods",
        type=names,
        metavar="A,B",
        help="these methods, and constant and forest, which need no network; mdico* is a pattern",
    )
    run.add_argument(
        "--placebo",
        action="store_true",
        help="run each method once more for every deployed modality, with the other modalities of "
        "other samples: what it gains so, no other sensor gave it",
    )
    run.add_argument("--seeds", type=numbers, metavar="0,1", help="these seeds")
    run.add_argument(
        "--labels",
        type=shares,
        metavar="0.1,1",
        help="with labels for these shares of the groups that train and validate; of several, the "
        "report shows scores against the share (default: the protocol's, mostly all)",
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="a hyper-parameter, or learning_rate, weight_decay or encoder_dropout, of one method, "
        "as in --set kd.alpha=0.1; its runs get a row of their own; may be given several times",
    )
    run.add_argument(
        "--hparams",
        type=Path,
        metavar="FILE",
        help="values that `tune` has chosen; by default, of all its datasets and methods",
    )
    run.add_argument(
        "--keep-features",
        action="store_true",
        help="keep the features of test samples, for the feature-space figure; runs that are "
        "recorded already are not run again for it",
    )
    run.add_argument(
        "--keep-models",
        action="store_true",
        help="keep what is deployed of each run as RESULTS/models/ID/MODALITY, for `predict`; runs "
        "that are recorded already are not run again for it",
    )

    train = commands.add_parser(
        "train",
        parents=[inputs, standard, cache, plugins, verbose],
        help="one final model, on all samples but a validation part",
    )
    train.add_argument("method", metavar="METHOD", help="its name")
    train.add_argument("dataset", metavar="DATASET", help="its name, or its description (YAML)")
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="gets a folder for each modality"
    )
    train.add_argument("--modality", metavar="M", help="keep what is deployed for this one alone")
    train.add_argument(
        "--seeds",
        type=numbers,
        default=(0,),
        metavar="0,1",
        help="one model; of several seeds, the mean of their predictions (default: 0)",
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="a value in place of its default, as for `run`; may be given several times",
    )
    train.add_argument("--hparams", type=Path, metavar="FILE", help="values that `tune` has chosen")
    train.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    train.set_defaults(executor=None, dask_address=None)

    predict = commands.add_parser(
        "predict",
        parents=[cache, plugins, verbose],
        help="a kept model on new samples, or on a map",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=LAYOUT,
    )
    predict.add_argument(
        "model", type=Path, metavar="MODEL", help="folder of a kept model, or an exported .onnx"
    )
    predict.add_argument(
        "input",
        type=Path,
        nargs="+",
        metavar="INPUT",
        help="a table, arrays, a dataset, or GeoTIFFs; see below",
    )
    predict.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help=".csv, .parquet, .npy or .npz; of a map .tif",
    )
    predict.add_argument(
        "--columns",
        metavar="PATTERN",
        help="how the columns of a table are called, as in 't{step}.{channel}'",
    )
    predict.add_argument(
        "--steps",
        type=names,
        metavar="A,B",
        help="what the steps of a series are called there, in order (default: numbers)",
    )
    predict.add_argument("--ids", metavar="NAME", help="column or array of the ids (default: id)")
    predict.add_argument("--key", metavar="NAME", help="of the array, in a file of several")
    predict.add_argument(
        "--bands", type=names, metavar="A,B", help="channels of a GeoTIFF's bands, in order"
    )
    predict.add_argument(
        "--probabilities", action="store_true", help="of GeoTIFFs, a map of each class as well"
    )
    predict.add_argument("--workers", type=int, metavar="N", help="threads (default: cores)")
    predict.add_argument(
        "--data-root",
        type=Path,
        default=default_data_root(),
        metavar="DIR",
        help="of a dataset: real data, one folder a dataset (default: $EO_COLEARN_DATA)",
    )

    demo = commands.add_parser(
        "demo",
        parents=[cache, verbose],
        help="two small maps from generated data, within a minute",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("results/demo"), metavar="DIR", help="(%(default)s)"
    )

    tune = commands.add_parser(
        "tune",
        parents=[inputs, quick, folders, plugins, verbose, only, work],
        help="choose hyper-parameters with the same number of trials for every method",
    )
    tune.add_argument(
        "--datasets", type=names, metavar="A,B", help="these datasets (default: as `run --all`)"
    )
    tune.add_argument(
        "--methods", type=names, required=True, metavar="A,B", help="these methods, or patterns"
    )
    tune.add_argument(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="of each method, the first with its defaults (default: %(default)s)",
    )
    tune.add_argument(
        "--tune-on",
        choices=("each-fold", "fold-0"),
        default="each-fold",
        help="choose for each fold on its own validation part (default), or once on that of fold "
        "0: less work, but its training part holds test samples of the other folds",
    )
    tune.add_argument(
        "--out", type=Path, metavar="FILE", help="chosen values (default: RESULTS/tuned.json)"
    )

    study = commands.add_parser(
        "study",
        parents=[cache, plugins, verbose, work],
        help="a question that is asked of generated data: at what kind of information is a method "
        "good",
    )
    study.add_argument("question", choices=("information",))
    study.add_argument(
        "--methods",
        type=names,
        metavar="A,B",
        help="these methods, or patterns (default: the study's own); they join what the folder of "
        "the results has already",
    )
    study.add_argument("--dials", type=names, metavar="A,B", help="these dials only")
    study.add_argument("--levels", type=numbers, metavar="0,2,4", help="these levels only, from 0")
    study.add_argument(
        "--seeds", type=numbers, metavar="0,1", help="these draws of the data (default: 0 to 4)"
    )
    study.add_argument(
        "--results",
        type=Path,
        default=Path("results/studies/information"),
        metavar="DIR",
        help="where records, tables and figures go (default: %(default)s)",
    )
    study.set_defaults(modalities=None)

    commands.add_parser(
        "collect",
        parents=[folders, verbose],
        help="what has become of runs submitted to SLURM; then report",
    )

    report = commands.add_parser(
        "report",
        parents=[cache, plugins, verbose],
        help="tables, figures and leaderboard from records",
    )
    report.add_argument(
        "--results",
        type=Path,
        action="append",
        metavar="DIR",
        help="where the records are (default: results/runs), also an archive of `submit`; of "
        "several, all are shown together",
    )
    report.add_argument(
        "--out", type=Path, metavar="DIR", help="default: the results folder that is named first"
    )
    report.add_argument("--datasets", type=names, metavar="A,B", help="these datasets only")
    report.add_argument("--methods", type=names, metavar="A,B", help="these methods only")
    report.add_argument("--protocol", metavar="NAME", help="this protocol only")
    report.add_argument(
        "--compare",
        type=Path,
        metavar="DIR",
        help="only say how runs differ from those of this results folder: bit for bit the same, "
        "equal up to seed noise, or other (exit code 1)",
    )

    answer = commands.add_parser(
        "answer",
        parents=[folders, verbose],
        help="one question to the records: runs, versus METHOD, placebo, baseline, encoders, "
        "folds, seeds, labels or power",
    )
    answer.add_argument("question", nargs="*", metavar="QUESTION", help="as in versus mdico")
    answer.add_argument(
        "--protocol", metavar="NAME", help="of this protocol alone, by its name in the tables"
    )
    answer.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="answer all questions of a document in it instead: <!-- answer: versus mdico -->",
    )

    commands.add_parser(
        "verify",
        parents=[folders, verbose],
        help="compute every score anew from the predictions and the data at hand",
    )

    folds = commands.add_parser("folds", help="which samples train, validate and test")
    parts = folds.add_subparsers(dest="task", required=True, metavar="TASK")
    export = parts.add_parser(
        "export",
        parents=[inputs, standard, cache, plugins, verbose],
        help="as a CSV file, for whoever trains elsewhere",
    )
    export.add_argument("dataset", metavar="NAME|FILE", help="its name, or its description (YAML)")
    export.add_argument("--out", type=Path, metavar="CSV", help="where the file goes")

    taken = commands.add_parser(
        "export", parents=[plugins, verbose], help="a kept model as one file for other programs"
    )
    taken.add_argument("model", type=Path, metavar="MODEL", help="the folder of a kept model")
    taken.add_argument(
        "--format",
        choices=("onnx", "torch"),
        default="onnx",
        help="ONNX (default), or a program of torch.export; neither needs this project",
    )
    taken.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="its name, which ends with .onnx or .pt2 (default: METHOD_DATASET_MODALITY)",
    )

    score = commands.add_parser(
        "score",
        parents=[inputs, standard, folders, plugins, verbose],
        help="score predictions that were made elsewhere, on our folds; then report",
    )
    score.add_argument("file", type=Path, metavar="CSV", help="columns: fold, id, predictions")
    score.add_argument("dataset", metavar="NAME|FILE", help="whose test samples they are for")
    score.add_argument(
        "--as", dest="name", required=True, metavar="NAME", help="what tables call them"
    )
    score.add_argument(
        "--modality", metavar="M", help="what was deployed, where no column 'modality' says it"
    )
    score.add_argument(
        "--reference",
        default="",
        metavar="TEXT",
        help="where the method is published; report.html alone shows it, with the row's evidence",
    )

    submit = commands.add_parser(
        "submit", parents=[folders, verbose], help="records as one checked archive, to hand on"
    )
    submit.add_argument(
        "--out", type=Path, default=Path("submission.zip"), metavar="ZIP", help="(%(default)s)"
    )

    pack = commands.add_parser(
        "pack",
        parents=[verbose],
        help="records as one small archive a dataset, which is read alike",
    )
    pack.add_argument(
        "--results",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="where the records are; may be given several times",
    )
    pack.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the results folder to pack them into; what it has already stays",
    )

    data = commands.add_parser("data", help="fetch, look for, prepare, describe or clear data")
    tasks = data.add_subparsers(dest="task", required=True, metavar="TASK")
    fetch = tasks.add_parser(
        "fetch", parents=[plugins, verbose], help="download what publishers offer"
    )
    fetch.add_argument("datasets", type=names, metavar="A,B", help="these datasets")
    fetch.add_argument(
        "--data-root",
        type=Path,
        default=default_data_root(),
        metavar="DIR",
        help="where to: one folder a dataset (default: $EO_COLEARN_DATA)",
    )
    fetch.add_argument(
        "--mirror", metavar="URL", help="where the files lie under their names, instead"
    )
    there = tasks.add_parser(
        "status",
        parents=[plugins, verbose],
        help="what is there of each dataset, where it comes from, how to get what is not",
    )
    there.add_argument(
        "datasets",
        type=names,
        nargs="?",
        metavar="A,B",
        help="these datasets, or the description (YAML) of one of your own (default: all)",
    )
    there.add_argument(
        "--data-root",
        type=Path,
        default=default_data_root(),
        metavar="DIR",
        help="where to look: one folder a dataset (default: $EO_COLEARN_DATA)",
    )
    ahead = tasks.add_parser(
        "prepare",
        parents=[inputs, quick, cache, plugins, verbose],
        help="what `run` would do first, on a login node for example",
    )
    ahead.add_argument("--datasets", type=names, metavar="A,B", help="these (default: all)")
    about = tasks.add_parser(
        "describe",
        parents=[inputs, standard, cache, plugins, verbose],
        help="what is understood of a dataset, and a picture of it",
    )
    about.add_argument("dataset", metavar="NAME|FILE", help="its name, or its description (YAML)")
    about.add_argument("--out", type=Path, metavar="PNG", help="where the picture goes")
    new = tasks.add_parser("new", help="a first description of data of your own")
    new.add_argument("name", metavar="NAME", help="of the dataset; NAME.yaml is written")
    new.add_argument(
        "--from",
        dest="files",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="files, or folders of one GeoTIFF a sample",
    )
    clear = tasks.add_parser(
        "clear", parents=[cache, plugins, verbose], help="remove prepared and generated data"
    )
    clear.add_argument("--datasets", type=names, metavar="A,B", help="of these (default: all)")

    listing = commands.add_parser("list", parents=[plugins], help="what there is")
    listing.add_argument("what", choices=("methods", "datasets", "protocols", "encoders"))
    listing.add_argument("--family", help="methods of this family only")

    describe = commands.add_parser(
        "describe",
        parents=[plugins],
        help="all about one method, dataset, protocol or encoder",
    )
    describe.add_argument(
        "name",
        nargs="+",
        metavar="[KIND] NAME",
        help="as in lfmc; KIND (method, dataset, protocol or encoder) where a name is of two",
    )

    new = commands.add_parser(
        "new", help="a small commented file of a method, dataset or encoder to begin with"
    )
    new.add_argument("kind", choices=("method", "dataset", "encoder"))
    new.add_argument("name")
    new.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where its file and its test go (default: this folder)",
    )
    new.add_argument(
        "--like", metavar="EXAMPLE", help="of methods: align (default), or ema, an averaged teacher"
    )

    check = commands.add_parser(
        "check",
        parents=[cache, plugins, verbose],
        help="whether methods, datasets and encoders keep what every number rests on",
    )
    check.add_argument("methods", nargs="*", metavar="METHOD", help="a name, or a pattern: mdico*")
    check.add_argument("--all", action="store_true", help="every method")
    check.add_argument(
        "--dataset",
        type=names,
        metavar="A,B",
        help="these datasets instead; mine.yaml is the description of one of your own",
    )
    check.add_argument(
        "--encoder", type=names, metavar="A,B", help="these encoders instead, also models of timm"
    )
    check.add_argument("--protocol", default="quick", metavar="NAME|FILE", help="for --dataset")
    check.add_argument(
        "--data-root",
        type=Path,
        default=default_data_root(),
        metavar="DIR",
        help="for --dataset: real data; else it is generated",
    )
    check.add_argument(
        "--workers", type=int, metavar="N", help="parallel processes (default: cores)"
    )
    return root
