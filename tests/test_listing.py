"""`list methods` and `describe`: the registry as a table, and one entry with its losses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import datasets
import methods
from benchmark.commands import main as cli
from benchmark.terms import FAMILIES
from methods.common.registry import REGISTRY

methods.load()
KEYS = tuple(REGISTRY)

PROMISED = {
    "control": "constant forest kd_self single single_again single_ensemble single_wide",
    "bound": "fusion_concat fusion_avg late_ensemble",
    "dropout fusion": "isensd fsensd dsensd dsensd_plus esensi com_avg com_gated com_cross "
    "com_memory",
    "distillation": "kd kd_cross fitnet rkd crd dml mmanet",
    "privileged information": "gen_distill hallucination tram",
    "shared-specific": "discom_kd discom_kd_released shaspec",
    "contrastive": "clip_sup gmc gmc_sup",
    "proposed": "mdico mdico_released mdico_no_con mdico_no_mod mdico_no_aux mdico_main_only "
    "mdico_no_split mdico_auto_weight mdico_shared_only mdico_specific_only mdico_adv",
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


def test_datasets_say_what_the_names_of_their_modalities_do_not(capsys):
    flat = " ".join(shown(capsys, "list", "datasets").split())
    assert "S2: Landsat-8 in fact; S2 is what the release of MDiCo calls it." in flat
    assert flat.count("S2: the last channel, published as NDVI, is (B7-B3)/(B7+B3).") == 2


def test_datasets_that_run_only_where_they_are_named_say_so(capsys):
    flat = " ".join(shown(capsys, "list", "datasets").split())
    named = [adapter for adapter in datasets.load().values() if adapter.by_name_only]
    assert flat.count("Runs where --datasets names it.") == len(named) == 10


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("list", "methods", "--family", "distilation"), "did you mean distillation"),
        (("describe", "mdicko"), "did you mean mdico"),
        (("list", "datasets", "--family", "bounds"), "--family is for `list methods`"),
        (("list", "protocols", "--plugin", "mine.py"), "--plugin is for `list methods`"),
    ],
)
def test_what_does_not_exist_or_fit_is_told_in_one_sentence(capsys, arguments, phrase):
    assert cli.main([*arguments]) == 2
    assert phrase in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f'"{sys.executable}" -u -m benchmark list methods | head -n 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("method") and done.stderr == ""
