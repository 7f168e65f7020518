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
    "plugin": WORDS,
    "placebo": WORDS,
    "training": MAPPINGS,
    "trial": st.integers(1, 9),
    "tuned": MAPPINGS,
    "brought": st.dictionaries(WORDS, MAPPINGS, min_size=1, max_size=2),
}


@given(st.data())
def test_whatever_decides_the_numbers_changes_the_id(data):
    name = data.draw(st.sampled_from(sorted(DECIDES_NUMBERS)))
    value = data.draw(DECIDES_NUMBERS[name])
    assert replace(SPEC, **{name: value}).id != SPEC.id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from([0.0, -0.0, 0, False, "0", 1, 1.0, True, "é", "e\u0301"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)  # fmt: skip


def canonical(value):
    """What tells JSON values apart: also 1 from 1.0 and from True, and 0.0 from -0.0."""
    if isinstance(value, dict):
        return frozenset((key, canonical(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(canonical, value))
    return type(value).__name__, repr(value)


@given(JSON, JSON)
def test_two_values_have_one_id_only_if_they_are_the_same(one, other):
    ids = {replace(SPEC, hyperparameters={"value": value}).id for value in (one, other)}
    assert (len(ids) == 1) == (canonical(one) == canonical(other))


def shuffled(value):
    """The same with every mapping in reverse order."""
    if isinstance(value, dict):
        return {key: shuffled(inner) for key, inner in reversed(value.items())}
    return [shuffled(inner) for inner in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=2))
def test_neither_order_nor_a_way_through_json_changes_the_id(values):
    before = replace(SPEC, hyperparameters=values, encoders={"options": values})
    for other in (shuffled(values), json.loads(json.dumps(values))):
        assert replace(SPEC, hyperparameters=other, encoders={"options": other}).id == before.id


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_has_no_number_for_has_no_id(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(SPEC, hyperparameters={"value": value}).id  # noqa: B018


@given(dataset=WORDS, source=st.sampled_from(["real", "generated"]), differs=MAPPINGS)
def test_names_and_places_do_not_change_the_id(dataset, source, differs):
    assert replace(SPEC, dataset=dataset, source=source, differs=differs).id == SPEC.id


def test_every_field_is_either_a_name_or_decides_numbers():
    assert {f.name for f in fields(RunSpec)} == {*DECIDES_NUMBERS, "dataset", "source", "differs"}


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
