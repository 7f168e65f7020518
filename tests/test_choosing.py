"""Which methods run: those that are named, and the yardsticks of a gain."""

from __future__ import annotations

import pytest

from benchmark.commands import main as cli
from tests.test_listing import KEYS


def planned(capsys, *arguments: str, protocol: str = "quick") -> tuple[set[str], str]:
    """The methods of a dry run on generated data, and what was said."""
    command = ["run", "--datasets", "lfmc", "--folds", "0", "--dry-run", "--protocol", protocol]
    assert cli.main([*command, *arguments]) == 0
    said = capsys.readouterr().out
    return {line.split()[2] for line in said.splitlines() if " fold " in line}, said


@pytest.fixture
def places(tmp_path_factory):
    """The results are new, the data are prepared once."""
    cache = tmp_path_factory.getbasetemp() / "choosing-cache"
    return ["--results", str(tmp_path_factory.mktemp("results")), "--cache", str(cache)]


@pytest.mark.parametrize(
    ("named", "added", "sentence"),
    [
        ("single,kd", {"constant", "forest"}, "constant and forest run too: a network that"),
        ("single", {"constant", "forest"}, "constant and forest run too: a network that"),
        ("late_ensemble", {"constant", "forest"}, "constant and forest run too"),
        ("kd,forest", {"constant"}, "constant runs too: a network that does not beat it has"),
        ("constant", set(), None),
        ("constant,forest", set(), None),
        ("single_again,kd_self", set(), None),
        ("single,constant,forest", set(), None),
    ],
)
def test_the_yardsticks_run_beside_what_is_measured(capsys, places, named, added, sentence):
    methods, said = planned(capsys, "--methods", named, *places)
    assert methods == {*named.split(","), *added}
    assert (sentence or "") in said
    assert (" too: a network that" in said) == bool(added)


def test_without_names_all_run_and_nothing_is_added(capsys, places):
    methods, said = planned(capsys, *places)
    assert methods == set(KEYS) and " too: a network that" not in said


def test_a_protocol_that_is_for_others_gets_no_yardsticks(capsys, places):
    methods, said = planned(capsys, "--methods", "single,mdico", *places, protocol="paper")
    assert methods == {"single", "mdico"} and " too: a network that" not in said
