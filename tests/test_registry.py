"""What a method may call itself, and what is said of one that may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

import methods
from benchmark.commands import main as cli
from benchmark.errors import UserError
from methods.common.registry import REGISTRY, register

methods.load()
SINGLE = REGISTRY["single"]

PLUGIN = """
from dataclasses import replace
from methods.common.registry import REGISTRY, register
register(replace(REGISTRY["mdico"], {changes}))
"""

BAD = {
    "key='kd/v2'": "a method cannot have the key 'kd/v2': it names a folder, so use 1 to 100",
    "key='../up'": "a method cannot have the key '../up'",
    "key=''": "a method cannot have the key ''",
    "key='a,b'": "a method cannot have the key 'a,b'",
    "key='what*'": "a method cannot have the key 'what*'",
    "key='x' * 101": "a method cannot have the key 'xxx",
    "key=7": "a method cannot have the key 7",
    "key='mdico'": "a method named 'mdico' is registered already: choose another name",
    "key='mine', family='mine'": "method 'mine': family cannot be 'mine'; choose one of 'control',",
    "key='mine', role='winner'": "role cannot be 'winner'; choose one of 'method', 'bound',",
    "key='mine', defaults_from='me'": "defaults_from cannot be 'me'; choose one of 'these data",
    "key='mine', overrides={'w': 1}": "no such hyper-parameters: w; MDiCo has w_main, w_aux,",
}


@pytest.mark.parametrize("changes", BAD)
def test_a_plugin_with_a_bad_entry_is_one_sentence(changes, tmp_path, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN.format(changes=changes))
    before = dict(REGISTRY)
    assert cli.main(["list", "methods", "--plugin", str(plugin)]) == 2
    said = capsys.readouterr().err.strip()
    assert BAD[changes] in said and str(plugin) in said
    assert "\n" not in said and "Traceback" not in said
    assert before == REGISTRY


@pytest.mark.parametrize("key", ["kd2", "MDiCo_v2.1+x", "my-method"])
def test_usual_names_are_taken(key):
    assert replace(SINGLE, key=key).key == key


def test_a_taken_key_is_refused():
    with pytest.raises(UserError, match="registered already"):
        register(SINGLE)


def test_a_variant_does_not_claim_what_its_authors_configured():
    mdico = REGISTRY["mdico"]
    assert "lfmc" in mdico.defaults_for
    assert replace(mdico, key="mine", overrides={"w_con": 5.0}).defaults_for == ()
    assert REGISTRY["com_gated"].defaults_for == ("cropharvest_multi",)


def test_only_entries_that_say_so_claim_datasets_and_all_those_exist():
    import datasets

    known = set(datasets.load())
    for entry in REGISTRY.values():
        assert set(entry.defaults_for) <= known
        assert bool(entry.defaults_for) == (entry.defaults_from == "these datasets")
