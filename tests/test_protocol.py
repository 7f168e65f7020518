"""Protocol files: the shipped ones say what the design promises, others are checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import datasets
from benchmark.errors import UserError
from benchmark.planning import protocol
from datasets.common.contract import View
from tests.odd import altered, mutated

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
        ("folds: 3", "fold: 3", "unknown setting 'fold': did you mean folds"),
        ("folds: 3", "", "it lacks folds"),
        ("window: mean", "windw: mean", "unknown setting 'windw': did you mean window"),
        ("  series:", "  serie:", "unknown kind or setting 'serie': did you mean series"),
        ("target_quantiles: 10", "target_quantiles: 1", "must be 0"),
        ("piece: nearest", "piece: last", "expected one of first, nearest"),
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


VALUES = yaml.safe_load(QUICK)


def loads_or_is_refused(path: Path, content: bytes) -> None:
    """A protocol whose values can be a part of a run's id, or an error that names the file."""
    path.write_bytes(content)
    try:
        found = protocol.load(str(path))
    except UserError as error:
        assert path.name in str(error)
        return
    for dataset in ("lfmc", "treesatai_ts"):
        used = [found.values_for(dataset), found.encoders_for(dataset, {"series", "image"})]
        json.dumps(used, allow_nan=False)
        View(**found.view_for(dataset))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("protocol") / "odd.yaml"


@given(altered(VALUES))
def test_odd_values_are_a_clear_error_or_a_protocol(path, document):
    loads_or_is_refused(path, yaml.safe_dump(document).encode("utf-8", "surrogatepass"))


@given(mutated(QUICK.encode()))
def test_odd_bytes_are_a_clear_error_or_a_protocol(path, content):
    loads_or_is_refused(path, content)


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
YAML = [
    "&a [*a]", "? [1, 2]\n: 3", "- 1", "a: b: c", "{", "\t", "%YAML 9.9\n---\na", "--- a\n--- b",
    "!!python/object/apply:os.system ['touch executed']", "!!python/name:os.system", "!!set {a}",
    "!!binary aGk=", "!foreign 1", "2001-12-14t21:59:43.10-05:00", ".inf", "-.Inf", ".nan",
    "0x1F", "0o17", "1_000", "12:30:45", "~", "yes", "1e3", "&a 3", "<<: {a: 1}", "9" * 400,
    "9" * 5000, "2024-02-31", '"\\ud800"', '"\\0"', "[" * 400,
]  # fmt: skip


@given(st.sampled_from(sorted(VALUES)), st.sampled_from(YAML))
def test_all_that_yaml_can_do_is_a_clear_error_or_a_protocol(path, monkeypatch, key, value):
    monkeypatch.chdir(path.parent)
    lines = [line for line in QUICK.splitlines() if not line.startswith(f"{key}:")]
    loads_or_is_refused(path, "\n".join([*lines, f"{key}: {value}", ""]).encode())
    loads_or_is_refused(path, value.encode())
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing was executed"


def test_a_bomb_of_references_is_refused_at_once(path):
    """10^12 numbers in 1 kB: they are never counted out."""
    loads_or_is_refused(path, BOMB.encode())
    loads_or_is_refused(path, f"{BOMB}{QUICK}view: *a11\n".encode())
    path.write_text(QUICK.replace("flags: []", "") + BOMB + "flags: *a11\n")
    with pytest.raises(UserError):
        protocol.load(str(path))


def test_a_setting_that_stands_twice_is_named_as_the_last_would_count(path):
    path.write_text(QUICK + "folds: 2\n")
    with pytest.raises(UserError, match=r"odd.yaml: .*'folds' stands twice, again in line \d+"):
        protocol.load(str(path))


def test_a_file_that_is_far_too_large_is_refused_unread(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="odd.yaml: .*too large"):
        protocol.load(str(path))


@pytest.mark.parametrize(
    ("old", "new", "setting"),
    [
        ("layer_norm: [lfmc]", "layer_norm: [lfcm]", "encoders.layer_norm"),
        ("lfmc: 32", "lfcm: 32", "batch_size"),
        ("treesatai_ts: {", "lfcm: {", "view"),
    ],
)
def test_a_dataset_that_nobody_knows_is_named_with_the_nearest(tmp_path, old, new, setting):
    """It would have been given the default, in silence."""
    path = tmp_path / "mine.yaml"
    path.write_text(QUICK.replace(old, new))
    loaded = protocol.load(str(path))
    sentence = f"protocol 'mine', {setting}: unknown dataset 'lfcm': did you mean lfmc"
    with pytest.raises(UserError, match=sentence):
        protocol.check_datasets(loaded, datasets.load())


def test_values_that_older_protocols_had_not_are_not_in_the_ids_of_their_runs():
    paper = protocol.load("paper").values_for("lfmc")
    assert not {"target_quantiles", "validation_piece"} & paper.keys()
