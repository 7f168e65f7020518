"""The command line: instant help, and one clear sentence for what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.commands import main as cli

ROOT = Path(__file__).parents[1]

HEAVY = ("torch", "timm", "torchgeo", "pandas", "numpy", "sklearn", "joblib", "yaml", "seaborn")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "--workers", "x"]])
def test_help_and_wrong_arguments_import_nothing_heavy(arguments):
    code = (
        "import sys; from benchmark.__main__ import main\n"
        f"sys.argv[1:] = {arguments}\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"sys.exit(' '.join(m for m in {HEAVY} if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def error_of(capsys, *arguments: str) -> str:
    """The one sentence that a command ends with, by exit code 2."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    said = captured.err.removeprefix("loading the methods ...\n")  # `check` says that it began
    assert said.startswith("error: ") and "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--methods", "mdcio"], "unknown method 'mdcio': did you mean mdico"),
        (["run", "--datasets", "lfcm"], "unknown dataset 'lfcm': did you mean lfmc"),
        (["run", "--all", "--protocol", "standart"], "did you mean standard?"),
        (["run", "--all", "--protocol", "no/such.yaml"], "no protocol file at no/such.yaml"),
        (["run"], "say what to run"),
        (["run", "--all", "--modalities", "S1"], "at least two modalities"),
        (["run", "--all", "--workers", "0"], "--workers must be at least 1"),
        (["run", "--all", "--device", "cuda:99"], "--device cuda:99: cannot be used here"),
        (["run", "--all", "--plugin", "no/such.py"], "there is no such file"),
        (["run", "--all", "--device", "cpu", "--precision", "tf32"], "tf32: 'cpu' has none"),
        (["list", "methods", "--family", "distilation"], "did you mean distillation?"),
        (["describe", "singel"], "did you mean single"),
        (["check", "singel"], "did you mean single"),
        (["report"], "no records"),
        (["rnu"], "invalid choice: 'rnu'"),
        (["run", "--fodls", "1"], "unknown option --fodls: did you mean --folds?"),
        (["run", "--x"], "unrecognized arguments: --x"),
        (["data", "prepare", "--dataset-s=lfmc"], "did you mean --datasets?"),
        (["run", "--workers", "two"], "argument --workers: invalid int value: 'two' (`python -m"),
    ],
)
def test_what_is_not_there_is_one_sentence_with_the_nearest(
    tmp_path, monkeypatch, capsys, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    assert sentence in error_of(capsys, *arguments)
    assert not any(tmp_path.rglob("*.json"))


def test_a_modality_that_a_dataset_lacks_comes_with_the_nearest(tmp_path, capsys):
    folders = ["--results", str(tmp_path / "r"), "--cache", str(tmp_path / "c")]
    said = error_of(capsys, "run", "--datasets", "lfmc", "--modalities", "S1,S2,statik", *folders)
    assert "unknown modality of lfmc 'statik': did you mean static" in said


def test_what_runs_by_name_only_is_left_out_where_none_is_named(tmp_path, monkeypatch, capsys):
    import datasets

    for name in ("cropharvest_binary", "cropharvest_multi", "treesatai_ts"):  # one is enough
        monkeypatch.setattr(datasets.load()[name], "by_name_only", True)
    assert cli.main(["data", "prepare", "--cache", str(tmp_path)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "GENERATED" in line]
    assert [line.partition(":")[0] for line in told] == ["lfmc"]


def test_a_results_folder_that_cannot_be_written(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    said = error_of(capsys, "run", "--all", "--results", str(file / "runs"))
    assert (
        f"{file / 'runs'}: cannot be written to (Not a directory); choose another --results" in said
    )


def test_another_package_named_datasets_is_told_apart(tmp_path):
    other = tmp_path / "datasets"
    other.mkdir()
    (other / "__init__.py").write_text("def load_dataset(): ...\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
    code += "from benchmark.commands.main import main; sys.exit(main(['list', 'datasets']))"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "the package 'datasets' was found at" in done.stderr and "Hugging Face" in done.stderr


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
WORDS = st.one_of(
    st.sampled_from(
        ["run", "report", "list", "describe", "check", "--methods", "--datasets", "--folds"]
        + ["--seeds", "--protocol", "--workers", "--timeout", "--dry-run", "-v", "methods", "quick"]
        + ["--plugin", "--modalities", "--device", "--executor", "--dask-address", "--family", "--"]
    ),
    TEXT,
)


@given(st.lists(WORDS, max_size=6))
def test_odd_command_lines_end_with_exit_code_2_or_say_what_there_is(tmp_path, monkeypatch, words):
    """Nothing can be run here: no method has the name that is added."""
    monkeypatch.chdir(tmp_path)
    command = [*words, "--methods", "no such method"] if "run" in words[:1] else words
    if words[:1] == ["check"] and "--all" in words:
        return
    assert code_of(command) in (0, 2)
    assert not any(p for p in tmp_path.rglob("*") if p.is_file())


def code_of(command: list[str]) -> int:
    try:
        return cli.main(command)
    except SystemExit as leave:
        return leave.code


NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda n: ",".join(map(str, n))),
    st.tuples(st.integers(0, 9), st.integers(0, 10**6)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.sampled_from(["5-1", "0-2", "99999999999", "-1", "nan", "inf", "1e999", "0x1", "1_0", "٣"]),
    st.sampled_from(["", ",", "-", "0--1", "0-1-2", "²", "9" * 5000, "0-9999," * 5000 + "1"]),
    TEXT,
)
NAMES = st.one_of(
    st.sampled_from(
        ["", ",", "*", "[", "[!", "steady,*", "ste?dy", "x" * 10_000, "S1,S2", "S1,S1"]
    ),
    st.sampled_from(
        ["lfmc", "S2,S1,static", "quick", "../quick.yaml", "/", ".", "~", "cpu", "meta"]
    ),
    TEXT,
)
OPTIONS = {
    "--folds": NUMBERS, "--seeds": NUMBERS, "--workers": NUMBERS, "--timeout": NUMBERS,
    "--methods": NAMES, "--datasets": NAMES, "--modalities": NAMES, "--protocol": NAMES,
    "--device": NAMES, "--executor": NAMES, "--plugin": NAMES, "--retry": NAMES,
    "--data-root": NAMES, "--dask-address": NAMES,
}  # fmt: skip


@given(st.data())
def test_odd_arguments_of_run_end_with_exit_code_2_or_a_plan(run, place, capsys, data):
    """A run that is asked for with two odd values, and only planned."""
    names = data.draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=2, unique=True))
    odd = [f"{name}={data.draw(OPTIONS[name])}" for name in names]
    executor = () if "--executor" in names else ("--executor", "serial")
    command = [*place.arguments("odd", *executor), *odd, "--dry-run"]
    code = code_of(command)
    said = capsys.readouterr()
    assert code in (0, 2), said.err
    assert code or "runs to do" in said.out
    assert not place.records("odd")


def test_bytes_that_are_no_text_are_shown_and_not_a_traceback(tmp_path):
    command = [sys.executable, "-m", "benchmark", "report", "--results", b"no/such/\xff"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert done.returncode == 2
    assert b"no/such/\\udcff: no records there" in done.stderr


def test_another_environment_is_named(monkeypatch, capsys):
    monkeypatch.setattr("benchmark.commands.main.NEEDED", ("torch", "no_such_package"))
    assert cli.main(["list", "protocols"]) == 2
    told = capsys.readouterr().err
    assert "has not the packages of this project: activate its environment (`make env`" in told
