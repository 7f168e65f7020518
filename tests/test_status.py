"""`data status`: what is there of a dataset, how to get the rest; README's table of datasets."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from benchmark import plugins
from benchmark.commands.main import main
from benchmark.commands.parser import parser
from benchmark.commands.status import in_bytes, table
from datasets.common.status import status
from tests import own
from tests.layouts import ADAPTERS, copied, generated, opened

ROOT = Path(__file__).parents[1]
PUBLISHED = [name for name, adapter in ADAPTERS.items() if adapter.published]


def told(capsys, *arguments: str) -> str:
    assert main(["data", "status", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_without_a_data_root_all_that_there_is_is_told_with_where_it_comes_from(capsys):
    said = told(capsys)
    paragraphs = {text.partition(":")[0]: text for text in said.strip().split("\n\n")}
    assert set(paragraphs) == set(ADAPTERS)
    for name, adapter in ADAPTERS.items():
        text = re.sub(r"\s+", " ", paragraphs[name])
        assert f"licence: {adapter.licence}" in text and adapter.citation in text
        if adapter.control:
            assert f"{name}: always generated" in text and "to do: nothing" in text
            continue
        assert f"{name}: not looked for, as there is no --data-root; generated data" in text
        for file in adapter.downloads:
            assert f"(not here) from: {file.url.partition('?')[0]}" in text
        assert f"published: {adapter.published.samples} samples, " in text
        wanted = f"data fetch {name} --data-root DIR" if adapter.downloads else adapter.url
        assert wanted in text


def test_every_command_that_is_told_is_one(tmp_path, capsys):
    for text in told(capsys, "--data-root", tmp_path).strip().split("\n\n"):
        name, todo = text.partition(":")[0], text.rpartition("to do: ")[2]
        if "python" not in todo:
            assert todo == "nothing" or todo.startswith(f"get it from {ADAPTERS[name].url} to ")
            continue
        _, *arguments = shlex.split(todo)
        if arguments[0] == "-m":
            assert parser().parse_args(arguments[2:]).datasets == (name,)
        else:
            reads = ADAPTERS[name].reads.rpartition(".")[2]
            folder = tmp_path / ADAPTERS[name].folder
            call = f"{reads}('{folder}', download=True)"
            assert arguments == ["-c", f"from torchgeo.datasets import {reads}; {call}"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_there_is_told_with_its_size(name, tmp_path, capsys):
    if name == "bigearthnet":
        pytest.importorskip("pyarrow", reason="its table is written with pyarrow")
    folder = copied(name, 30, tmp_path)
    said = told(capsys, name, "--data-root", tmp_path)
    assert said.startswith(f"{name}: REAL, in {folder}\n")
    found = status(ADAPTERS[name], tmp_path)
    names = ADAPTERS[name].source_files(folder)
    assert sum(files.count for files in found.here) == len(names)
    plain = [folder / each for each in names if (folder / each).is_file()]
    assert sum(files.size or 0 for files in found.here) == sum(p.stat().st_size for p in plain)
    assert ", ".join(f.name for f in found.here).split(", ")[0] in said


def test_what_keeps_a_dataset_from_being_read_is_told_and_what_is_there_of_it(tmp_path, capsys):
    folder = copied("treesatai_ts", 30, tmp_path)
    shutil.rmtree(folder / "split")
    said = told(capsys, "treesatai_ts", "--data-root", tmp_path)
    assert f"treesatai_ts: INCOMPLETE in {folder}, cannot be read" in said
    assert "lacks split/train_filenames.lst" in re.sub(r"\s+", " ", said)
    assert "split (not here) from: " in said and "aerial (here) from: " in said
    assert "to do: python -m benchmark data fetch treesatai_ts" in said


FORMS = {
    "cropharvest_binary": ("cropharvest_binary.nc",),
    "cropharvest_multi": ("cropharvest_multi_train.nc",),
    "treesatai_ts": ("treesat_train.nc", "treesat_val.nc", "treesat_test.nc"),
    "lfmc": ("lfmc_train.nc",),
}


@pytest.mark.parametrize("name", FORMS)
def test_files_of_another_form_are_what_is_here_and_no_download_is(name, tmp_path, capsys):
    folder = tmp_path / ADAPTERS[name].folder
    folder.mkdir()
    for file in FORMS[name]:
        (folder / file).touch()
    said = told(capsys, name, "--data-root", tmp_path)
    assert said.startswith(f"{name}: REAL, in {folder}\n") and "to do: nothing" in said
    assert "    form: the views of MDiCo's authors\n" in said and "(here)" not in said
    assert said.count("(not here, and not needed) from: ") == len(ADAPTERS[name].downloads)
    page = "https://github.com/fmenat/MDiCo/tree/main/data"
    assert f"or the views of MDiCo's authors: {', '.join(FORMS[name])} from {page}\n" in said


def test_a_download_that_lies_beside_another_form_is_here(tmp_path, capsys):
    folder = tmp_path / "cropharvest"
    folder.mkdir()
    for file in ("cropharvest_binary.nc", "labels.geojson"):
        (folder / file).touch()
    said = told(capsys, "cropharvest_binary", "--data-root", tmp_path)
    assert "labels.geojson (here) from" in said and "features (not here, and not needed)" in said


def test_the_publishers_own_form_is_named_and_all_ways_to_get_a_dataset_are(tmp_path, capsys):
    copied("lfmc", 30, tmp_path)
    assert "form: its publisher's table\n" in told(capsys, "lfmc", "--data-root", tmp_path)
    for root, folder in (
        (("--data-root", tmp_path / "no"), tmp_path / "no" / "lfmc"),
        ((), "DIR/lfmc"),
    ):
        said = told(capsys, "lfmc", *root)
        assert f"W('{folder}', download=True)" in said and "lfmc_train.nc from " in said


def test_an_empty_folder_a_data_root_that_is_none_and_two_of_one_kind(tmp_path, capsys):
    (tmp_path / "lfmc").mkdir()
    assert "lfmc: not in " in told(capsys, "lfmc", "--data-root", tmp_path)
    assert "lfmc: not in " in told(capsys, "lfmc", "--data-root", tmp_path / "none")
    folder = copied("dea_cropmask", 30, tmp_path)
    shutil.copy(folder / "western" / "training_data.txt", folder / "western_training_data.txt")
    said = told(capsys, "dea_cropmask", "--data-root", tmp_path)
    assert "INCOMPLETE" in said and "keep one of them" in said


def test_parts_in_another_layout_are_there_and_are_not_fetched_again(tmp_path, capsys, real_data):
    for name in ("dea_cropmask", "idtrees"):
        assert status(ADAPTERS[name], real_data).to_fetch == ()
    folder = tmp_path / "dea_cropmask"
    folder.mkdir()
    for path in (real_data / "dea_cropmask").iterdir():
        (folder / path.name).symlink_to(path)
    assert main(["data", "fetch", "dea_cropmask", "--data-root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("is there already, in another layout") == 8
    assert len(list(folder.iterdir())) == 8
    (folder / "western_training_data.txt.gz").unlink()
    said = told(capsys, "dea_cropmask", "--data-root", tmp_path)
    assert "REAL" in said and "western/training_data.txt (not here) from: " in said
    assert "to do: python -m benchmark data fetch dea_cropmask" in said


def test_descriptions_and_plug_ins_are_told_like_others(tmp_path, capsys):
    description = own.write(tmp_path) | {"licence": "CC BY 4.0", "url": "https://example.org/vines"}
    path = own.save(description, tmp_path)
    said = told(capsys, path)
    assert f"vines: REAL, in {tmp_path}" in said and "licence: CC BY 4.0" in said
    assert "*.npy (3 files, " in said and "from: https://example.org/vines" in said
    (tmp_path / "s1.npy").unlink()
    said = re.sub(r"\s+", " ", told(capsys, path))
    assert "vines: INCOMPLETE" in said and "s1.npy: there is no such file" in said
    assert f"to do: have the files where {path} says" in said
    assert main(["new", "dataset", "meadow", "--out", str(tmp_path / "plug")]) == 0
    capsys.readouterr()
    plugin = tmp_path / "plug" / "meadow.py"
    try:
        said = told(capsys, "meadow", "--plugin", plugin, "--data-root", tmp_path)
        assert said.startswith("meadow: not in ")
    finally:
        plugins.unload([plugin], ADAPTERS)


def test_a_name_that_nothing_has_is_exit_code_2(capsys):
    assert main(["data", "status", "lfm"]) == 2
    assert "unknown dataset 'lfm': did you mean lfmc?" in capsys.readouterr().err


def test_sizes_have_a_unit():
    sizes = (0, 999, 1_000, 9_949_000, 43e6, 168e9, 3e15)
    assert [in_bytes(size) for size in sizes] == [
        *("0 bytes", "999 bytes", "1.0 kB", "9.9 MB", "43 MB", "168 GB", "3000 TB"),
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_task_that_is_told_is_that_of_the_reader(name):
    adapter = ADAPTERS[name]
    declared = getattr(adapter, "task", None)  # of what torchgeo reads
    task = declared or opened(name, generated(name, 30)).task
    assert adapter.published.task == task.kind


def test_the_readmes_table_is_that_of_the_adapters():
    """Where it is not, put what `benchmark.commands.status.table` gives in its place."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Real data\n")[2].partition("\n## ")[0]
    found = next(text for text in section.strip().split("\n\n") if text.startswith("| dataset"))
    assert found == table(ADAPTERS.values())
