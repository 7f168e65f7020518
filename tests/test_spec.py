"""The run id: what must not change it does not, what must change it does."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.spec import RunSpec
from tests.problems import dataset, run_spec

SPEC = run_spec("kd", dataset())
WORDS = st.text(min_size=1, max_size=8)
VALUES = st.one_of(st.integers(-5, 5), st.floats(-5, 5), WORDS, st.booleans())
MAPPINGS = st.dictionaries(WORDS, VALUES, min_size=1, max_size=3)

DECIDES_NUMBERS = {
    "fingerprint": WORDS,
    "modalities": st.lists(WORDS, min_size=2, max_size=4, unique=True).map(tuple),
    "method": WORDS,
    "version": st.integers(2, 9),
    "hyperparameters": MAPPINGS,
    "artefacts": st.dictionaries(WORDS, MAPPINGS, min_size=1, max_size=2),
    "encoders": MAPPINGS,
    "precision": st.sampled_from(["bfloat16", "tf32"]),
    "protocol": MAPPINGS,
    "fold": st.integers(1, 9),
    "seed": st.integers(1, 9),
    "stream": WORDS,
    "compiled": st.just(True),
}


@given(st.data())
def test_whatever_decides_the_numbers_changes_the_id(data):
    name = data.draw(st.sampled_from(sorted(DECIDES_NUMBERS)))
    value = data.draw(DECIDES_NUMBERS[name])
    assert replace(SPEC, **{name: value}).id != SPEC.id


@given(dataset=WORDS, source=st.sampled_from(["real", "generated"]))
def test_names_and_places_do_not_change_the_id(dataset, source):
    assert replace(SPEC, dataset=dataset, source=source).id == SPEC.id


def test_every_field_is_either_a_name_or_decides_numbers():
    assert {f.name for f in fields(RunSpec)} == {*DECIDES_NUMBERS, "dataset", "source"}


@given(st.permutations(sorted(SPEC.protocol.items())))
def test_the_order_of_settings_does_not_change_the_id(items):
    assert replace(SPEC, protocol=dict(items)).id == SPEC.id


def test_the_order_of_modalities_changes_the_id():
    assert replace(SPEC, modalities=SPEC.modalities[::-1]).id != SPEC.id


@pytest.mark.parametrize("name", ["hyperparameters", "protocol", "encoders"])
def test_each_single_setting_changes_the_id(name):
    mapping = getattr(SPEC, name)
    for key in mapping:
        assert replace(SPEC, **{name: {**mapping, key: "another"}}).id != SPEC.id


def test_a_teacher_of_another_version_changes_the_id():
    artefacts = json.loads(json.dumps(SPEC.artefacts))
    artefacts["teacher"]["version"] += 1
    assert replace(SPEC, artefacts=artefacts).id != SPEC.id


def test_a_spec_survives_json():
    document = json.loads(json.dumps({f.name: getattr(SPEC, f.name) for f in fields(RunSpec)}))
    assert RunSpec(**document).id == SPEC.id
