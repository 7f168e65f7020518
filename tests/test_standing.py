"""What a protocol says of its tables travels with the records; values decide what is compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark import records
from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.report import write_report
from benchmark.report.wording import slug
from tests import made_up

METHODS = {"single": 0.0, "kd": 9.0, "rkd": 4.0}


def report(tmp_path, made):
    made_up.write(made, tmp_path)
    return write_report(tmp_path, tmp_path / "out", figures=False)


def runs(values=None, standing=None, **options):
    """Made-up runs under a protocol with other values, or with something to say of itself."""
    options = {"source": "real", "protocol": "standard", "folds": 5, **options}
    made = made_up.runs(METHODS, **options)
    specs = [replace(r.spec, protocol={**r.spec.protocol, **(values or {})}) for r in made]
    return [
        replace(r, spec=spec, id=spec.id, standing=standing or {})
        for r, spec in zip(made, specs, strict=True)
    ]


MINE = {"title": "Mine", "evidence": True, "flags": [], "rope": None, "view": {}}


@pytest.mark.parametrize("evidence", [True, False])
def test_a_copied_protocol_says_itself_whether_it_is_evidence(tmp_path, evidence):
    standing = {**MINE, "evidence": evidence, "flags": ["five weeks\nof one year"]}
    written = report(tmp_path, runs({"name": "mine"}, standing))
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "FLAG: five weeks of one year" in text
    (summary,) = written.summaries
    assert summary.tested == ("▲" in text) == any(row.best for row in summary.rows) == evidence
    assert ("(smoke run)" in text) == (not evidence)


def test_records_that_do_not_say_have_what_the_shipped_protocol_of_their_values_says(tmp_path):
    (same,) = report(tmp_path / "same", runs()).results.groups
    assert not same.smoke and not same.flags
    for values in ({"name": "mine"}, {"epochs": 1}):
        (other,) = report(tmp_path / str(values), runs(values)).results.groups
        assert other.smoke and "do not say whether the protocol is evidence" in other.flags[0]
    (shipped,) = report(tmp_path / "quick", runs(protocol="quick")).results.groups
    assert shipped.smoke and shipped.flags == ("smoke run",)


def test_a_group_is_evidence_only_if_all_its_records_say_so(tmp_path):
    made = runs({"name": "mine"}, MINE)
    made[-1] = replace(made[-1], standing={**MINE, "evidence": False})
    (group,) = report(tmp_path, made).results.groups
    assert group.smoke


def test_the_region_of_practical_equality_is_the_protocols(tmp_path):
    written = report(tmp_path, runs({"name": "mine"}, {**MINE, "rope": 0.02}))
    assert written.results.groups[0].rope == 0.02
    assert set(written.summaries[0].ropes.values()) == {0.02}
    assert "±0.020, as the protocol says" in (tmp_path / "out" / "leaderboard.md").read_text()


@pytest.mark.parametrize("name", ["standard", "mine"])
def test_records_of_other_values_never_supersede_each_other(tmp_path, name):
    weak = runs({"name": name, "epochs": 1}, MINE, created="2031")
    views = runs({"name": name}, {**MINE, "view": {"samples": 9}}, fingerprint="f9", created="2032")
    written = report(tmp_path, [*runs({"name": name}, MINE), *weak, *views])
    assert not written.results.exclusions
    groups = written.results.groups
    assert len(groups) == 3 == len({slug(group) for group in groups})
    names = {group.protocol_name for group in groups}
    assert (
        f"{name} (epochs 200, view.samples 9)" in names
        and f"{name} (epochs 1, view.samples none)" in names
    )
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert all(f"protocol {each}" in text for each in names)


def test_data_that_changed_under_the_same_view_do_supersede(tmp_path):
    old = runs({"name": "mine"}, MINE)
    new = runs({"name": "mine"}, MINE, fingerprint="f1", created="2031")
    written = report(tmp_path, [*old, *new])
    assert {e.reason for e in written.results.exclusions} == {
        "newer records have another fingerprint of the data (f0 → f1)"
    }


def test_a_run_records_what_its_protocol_says(run, place):
    text = (place.folder / "tiny.yaml").read_text()
    own = place.folder / "weeks.yaml"
    own.write_text(text.replace("flags: [smoke run]", "flags: [five weeks]\nrope: 1.5"))
    command = "standing", "--folds", "0", "--protocol", str(own)
    assert run(*command) == 0
    (record, *_) = records.read_all(place.folder / "standing")[0]
    said = {"evidence": False, "flags": ["five weeks"], "rope": 1.5}
    assert {key: record.standing[key] for key in said} == said


def test_what_a_protocol_says_of_itself_changes_no_id_and_is_noticed(run, place, capsys):
    text = (place.folder / "tiny.yaml").read_text()
    own = place.folder / "mine.yaml"
    own.write_text(text)
    command = "restated", "--folds", "0", "--protocol", str(own)
    assert run(*command) == 0
    own.write_text(text.replace("evidence: false", "evidence: true"))
    capsys.readouterr()
    assert run(*command) == 0
    assert "recorded runs have another title, evidence, flags" in capsys.readouterr().out
    assert run(*command, "--retry", "all") == 0
    assert all(r.standing["evidence"] for r in records.read_all(place.folder / "restated")[0])


def test_the_name_of_a_shipped_protocol_is_for_its_values(tmp_path):
    shipped = (protocol.FOLDER / "standard.yaml").read_text()
    path = tmp_path / "standard.yaml"
    path.write_text(shipped + "\n# my copy\n")
    assert protocol.load(str(path)) == protocol.load("standard")
    path.write_text(shipped.replace("epochs: 200", "epochs: 2"))
    with pytest.raises(UserError, match="shipped protocol 'standard' and another epochs; give the"):
        protocol.load(str(path))


@pytest.mark.parametrize(
    ("rope", "told"),
    [
        ("0.5", 0.5),
        ("null", None),
        ("-1", "above 0"),
        ("wide", "cannot be read"),
        (".inf", "above"),
    ],
)
def test_the_region_is_a_number_above_0_or_left_to_the_report(tmp_path, rope, told):
    path = tmp_path / "mine.yaml"
    path.write_text((protocol.FOLDER / "quick.yaml").read_text() + f"\nrope: {rope}\n")
    if isinstance(told, str):
        with pytest.raises(UserError, match=told):
            protocol.load(str(path))
    else:
        assert protocol.load(str(path)).rope == told
