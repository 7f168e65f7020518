"""Protocol files: the shipped ones say what the design promises, others are checked."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import protocol
from benchmark.errors import UserError

QUICK = (protocol.FOLDER / "quick.yaml").read_text()


def test_quick_is_the_first_of_the_four():
    assert protocol.names() == ["quick", "paper", "random", "standard"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quick", {"folds": 3, "epochs": 15, "split": "grouped", "repetitions": 3}),
        ("standard", {"folds": 10, "epochs": 200, "split": "grouped", "patience": 15}),
        ("random", {"folds": 10, "epochs": 200, "split": "stratified", "stop_on": "predictors"}),
        (
            "paper",
            {
                "folds": 10,
                "epochs": 100,
                "split": "shuffled",
                "validation": "test",
                "statistics": "all",
                "stop_on": "objective",
                "patience": 5,
                "min_delta": 0.01,
                "split_seed": 10,
            },
        ),
    ],
)
def test_shipped_protocols_have_the_values_of_the_design(name, expected):
    loaded = protocol.load(name)
    assert {key: getattr(loaded, key) for key in expected} == expected
    assert loaded.values_for("lfmc")["batch_size"] == 32
    assert loaded.values_for("treesatai_ts")["batch_size"] == 128
    assert loaded.encoders_for("lfmc", {"series"})["layer_norm"] is True
    assert loaded.encoders_for("treesatai_ts", {"series"})["layer_norm"] is False


def test_paper_is_for_single_and_mdico_alone():
    paper = protocol.load("paper")
    assert paper.applies_to("single") and paper.applies_to("mdico_no_con")
    assert not paper.applies_to("kd") and not paper.applies_to("single_wide")


def test_a_copy_that_was_changed_is_a_protocol_of_its_own(tmp_path):
    copy = tmp_path / "mine.yaml"
    copy.write_text(QUICK.replace("learning_rate: 0.001", "learning_rate: 1e-2"))
    loaded = protocol.load(str(copy))
    assert loaded.name == "mine" and loaded.learning_rate == 0.01


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("folds: 3", "folds: three", "'folds: three' cannot be read"),
        ("folds: 3", "folds: 1", "folds must be at least 2"),
        ("folds: 3", "fold: 3", "lacks folds and has fold too much"),
        ("split: grouped", "split: magic", "expected one of grouped, stratified, shuffled"),
        ("default: 128", "default: 1", "batch_size needs a default"),
        ("window: mean", "window: max", "can only be 'mean'"),
        ("dim: 64", "dim: 63", "even number"),
        ("evidence: false", "evidence: perhaps", "true or false"),
        ("epochs: 15 ", "epochs: .inf ", "'epochs: inf' cannot be read"),
        ("min_delta: 0.0", "min_delta: .inf", "expected a finite number"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path, old, new, sentence):
    path = tmp_path / "wrong.yaml"
    path.write_text(QUICK.replace(old, new, 1))
    with pytest.raises(UserError, match=sentence) as caught:
        protocol.load(str(path))
    assert "wrong.yaml" in str(caught.value)


def test_an_unknown_name_comes_with_the_nearest():
    with pytest.raises(UserError, match="did you mean standard"):
        protocol.load("standart")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(yaml.safe_load(QUICK))), value=JSON)
@settings(max_examples=300, deadline=None)
def test_an_odd_value_is_a_clear_error_or_a_protocol(tmp_path_factory, key, value):
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(QUICK), key: value}))
    try:
        assert protocol.load(str(path)).name == "odd"
    except UserError as error:
        assert "odd.yaml" in str(error)


@given(st.binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_odd_bytes_are_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="odd.yaml"):
        protocol.load(str(path))
