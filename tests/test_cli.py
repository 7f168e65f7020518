"""The command line: instant help, and one clear sentence for what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark import cli

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
    assert captured.err.startswith("error: ") and "Traceback" not in captured.err
    return captured.err


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
        (["run", "--all", "--plugin", "no/such.py"], "no Python file"),
        (["run", "--all", "--device", "cpu", "--precision", "tf32"], "tf32: 'cpu' has none"),
        (["list", "methods", "--family", "distilation"], "did you mean distillation?"),
        (["describe", "singel"], "did you mean single"),
        (["check", "singel"], "did you mean single"),
        (["report"], "no records"),
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


def test_a_results_folder_that_cannot_be_written(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    said = error_of(capsys, "run", "--all", "--results", str(file / "runs"))
    assert f"--results {file / 'runs'}: cannot be written to" in said


def test_another_package_named_datasets_is_told_apart(tmp_path):
    other = tmp_path / "datasets"
    other.mkdir()
    (other / "__init__.py").write_text("def load_dataset(): ...\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
    code += "from benchmark.cli import main; sys.exit(main(['list', 'datasets']))"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "the package 'datasets' was found at" in done.stderr and "Hugging Face" in done.stderr


WORDS = st.one_of(
    st.sampled_from(
        ["run", "report", "list", "describe", "check", "--methods", "--datasets", "--folds"]
        + ["--seeds", "--protocol", "--workers", "--timeout", "--dry-run", "-v", "methods", "quick"]
    ),
    st.text(max_size=12),
)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(WORDS, max_size=6))
def test_odd_command_lines_end_with_exit_code_2_or_say_what_there_is(tmp_path, monkeypatch, words):
    """Nothing can be run here: no method has the name that is added."""
    monkeypatch.chdir(tmp_path)
    command = [*words, "--methods", "no such method"] if "run" in words[:1] else words
    if words[:1] == ["check"] and "--all" in words:
        return
    try:
        code = cli.main(command)
    except SystemExit as leave:
        code = leave.code
    assert code in (0, 2)
    assert not any(p for p in tmp_path.rglob("*") if p.is_file())
