"""`list` and `describe`: tables of what there is, and all about one method, dataset, …"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import datasets
import methods
from benchmark.commands import main as cli
from benchmark.terms import FAMILIES
from methods.common.registry import REGISTRY

ROOT = Path(__file__).parents[1]

methods.load()
KEYS = tuple(REGISTRY)

PROMISED = {
    "control": "constant forest kd_self single single_again single_ensemble single_wide "
    "presto_probe presto_probe_no_context galileo_probe galileo_probe_no_context",
    "bound": "fusion_concat fusion_avg late_ensemble",
    "dropout fusion": "isensd fsensd dsensd dsensd_plus esensi com_avg com_gated com_cross "
    "com_memory",
    "balanced fusion": "ogm",
    "distillation": "kd kd_cross fitnet rkd crd dml mmanet dkd kd_std c2kd mst_distill",
    "privileged information": "gen_distill hallucination reconstruct tram",
    "shared-specific": "crodino dis2 discom_kd discom_kd_released shaspec",
    "contrastive": "clip_pretrain clip_sup clip_sup_masked decur decur_common gmc gmc_sup "
    "supcon_cross supcon_cross_masked",
    "proposed": "mdico mdico_released mdico_no_con mdico_no_mod mdico_no_aux mdico_main_only "
    "mdico_no_split mdico_auto_weight mdico_shared_only mdico_specific_only mdico_adv mdico_masked",
}


def shown(capsys, *arguments: str) -> str:
    assert cli.main([*arguments]) == 0
    return capsys.readouterr().out


def test_the_registry_is_what_the_documents_promise():
    assert tuple(PROMISED) == FAMILIES
    for family, keys in PROMISED.items():
        assert {key for key in KEYS if REGISTRY[key].family == family} == set(keys.split())


def test_the_registry_is_a_table_with_the_origin_of_defaults(capsys):
    header, _, *rows = shown(capsys, "list", "methods").splitlines()
    assert header.split("  ")[0] == "method" and "defaults from" in header
    found = {row.split()[0]: row for row in rows if not row.startswith(" ")}
    assert set(KEYS) <= set(found)
    for key in KEYS:
        entry = REGISTRY[key]
        assert entry.family in found[key] and entry.defaults_from in found[key]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_alone(capsys, family):
    rows = shown(capsys, "list", "methods", "--family", family).splitlines()[2:]
    found = {row.split()[0] for row in rows if not row.startswith(" ")}
    assert found >= set(PROMISED[family].split())
    assert all(REGISTRY[key].family == family for key in found)


@pytest.mark.parametrize("key", KEYS)
def test_an_entry_is_described_with_its_losses(capsys, key):
    entry = REGISTRY[key]
    text = shown(capsys, "describe", key)
    flat = " ".join(text.split())
    assert text.startswith(f"{key}: {entry.summary}\n")
    assert f"loss: {' '.join(entry.losses.split())}" in flat
    assert f"defaults from: {entry.defaults_from}" in flat
    for name, value in entry.hyperparameters.items():
        assert f"{name}={value!r}" in flat
    if entry.publication:
        assert entry.publication.reference in flat
    path = next(line for line in text.splitlines() if line.startswith("file: ")).split(": ")[1]
    assert (Path(methods.__file__).parents[1] / path).is_file()


def test_a_dataset_is_described_with_its_files_and_its_licence(capsys):
    text = shown(capsys, "describe", "lfmc")
    assert text.startswith("lfmc: Live fuel moisture content of 150 sites")
    for line in (
        "modalities: S1, S2, static, land_cover",
        "published choice: S1, S2",
        "groups: site",
        "licence: CC BY-NC-ND 4.0",
        "generated stand-in: 2,600 samples",
        "file: datasets/lfmc.py",
        "      training_features.csv",
    ):
        assert f"\n{line}\n" in text
    assert shown(capsys, "describe", "dataset", "lfmc") == text


def test_a_protocol_is_described_with_its_values(capsys):
    text = shown(capsys, "describe", "standard")
    assert text.startswith("standard: Standard: the tables;")
    for line in ("folds: 10", "evidence: true", "min_delta: 0.0", "split: grouped"):
        assert f"\n{line}\n" in text


def test_encoders_are_listed_with_their_settings_and_described(capsys):
    rows = shown(capsys, "list", "encoders").splitlines()[2:]
    assert [row.split()[:2] for row in rows[:3]] == [
        ["tempcnn", "series"],
        ["mlp", "vector"],
        ["timm", "image"],
    ]
    names = {row.split()[0] for row in rows}
    assert {f"torchgeo/{m}" for m in ("resnet50", "croma_base", "dofa_base_patch16_224")} <= names
    assert "width=128, blocks=3, kernel=5, dense=512, dropout=0.2" in rows[0]
    text = shown(capsys, "describe", "tempcnn")
    assert "settings: width=128, blocks=3" in text and "Pelletier, Webb, Petitjean 2019" in text
    text = shown(capsys, "describe", "torchgeo/resnet50")
    assert "settings: weights=None, size=None, bands=None" in text and "missing value" in text


def test_a_name_of_two_things_asks_which(capsys, monkeypatch):
    monkeypatch.setitem(REGISTRY, "lfmc", REGISTRY["kd"])
    assert cli.main(["describe", "lfmc"]) == 2
    said = capsys.readouterr().err
    assert "'lfmc' is a method and a dataset: say describe method lfmc or describe dataset" in said
    assert shown(capsys, "describe", "method", "lfmc").startswith("kd: ")


# --- Without torch ------------------------------------------------------------------------------

FRESH = """
import sys
from benchmark.commands.main import main
code = main(sys.argv[1:])
print("torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def fresh(*arguments: str, root: Path = ROOT) -> tuple[str, bool]:
    """What a command prints in a process of its own, and whether that has imported torch."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.split()[-1] == "True"


@pytest.mark.parametrize(
    "arguments",
    ["list methods", "list encoders", "list datasets", "describe mdico", "describe lfmc"],
)
def test_no_torch_is_imported_and_nothing_differs(arguments, capsys):
    """Here, in this process, torch is loaded, so that the same command reads the real thing."""
    text, torch = fresh(*arguments.split())
    assert not torch
    assert text == shown(capsys, *arguments.split())


def test_what_is_listed_is_never_out_of_date(tmp_path):
    """Files that are added, edited or removed; one that looks at torch; and one that is wrong."""
    for package in ("benchmark", "datasets", "methods"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    own = tmp_path / "methods" / "own.py"
    entry = "from dataclasses import replace\nfrom methods.kd import KD_ENTRY\n"
    entry += "from methods.common.registry import register\n"
    own.write_text(entry + "register(replace(KD_ENTRY, key='own', summary='First words.'))")
    text, torch = fresh("list", "methods", root=tmp_path)
    assert "First words." in text and not torch
    own.write_text(
        entry
        + "import torch\nwords = 'odd' if torch.cuda.device_count() > 99 else 'Second words.'\n"
        "register(replace(KD_ENTRY, key='own', summary=words))"
    )
    text, torch = fresh("list", "methods", root=tmp_path)
    assert "Second words." in text and torch
    own.unlink()
    text, torch = fresh("list", "methods", root=tmp_path)
    assert "words." not in text and not torch


def test_datasets_say_what_the_names_of_their_modalities_do_not(capsys):
    flat = " ".join(shown(capsys, "list", "datasets").split())
    assert "S2: Landsat-8 in fact; S2 is what the release of MDiCo calls it." in flat
    assert flat.count("S2: the last channel, published as NDVI, is (B7-B3)/(B7+B3).") == 2


def test_datasets_that_run_only_where_they_are_named_say_so(capsys):
    flat = " ".join(shown(capsys, "list", "datasets").split())
    named = [adapter for adapter in datasets.load().values() if adapter.by_name_only]
    assert flat.count("Runs where --datasets names it.") == len(named) == 13


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("list", "methods", "--family", "distilation"), "did you mean distillation"),
        (("describe", "mdicko"), "did you mean mdico"),
        (("list", "datasets", "--family", "bounds"), "--family is for `list methods`"),
        (("describe", "lfmcc"), "unknown name 'lfmcc': did you mean lfmc"),
        (("describe", "dataset", "mdico"), "unknown dataset 'mdico': known: "),
        (("describe", "encoder", "tempcn"), "unknown encoder 'tempcn': did you mean tempcnn"),
        (("describe", "thing", "lfmc"), "describe takes one name, or what it is of (method, data"),
        (("describe", "mine.yaml"), "describe takes names; of data of your own: data describe mi"),
    ],
)
def test_what_does_not_exist_or_fit_is_told_in_one_sentence(capsys, arguments, phrase):
    assert cli.main([*arguments]) == 2
    assert phrase in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f'"{sys.executable}" -u -m benchmark list methods | head -n 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("method") and done.stderr == ""
