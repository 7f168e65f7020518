"""The positive control: another modality helps there, by arithmetic, and the benchmark finds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import datasets
from benchmark.commands.choosing import prepare_datasets
from benchmark.commands.main import main
from benchmark.commands.parser import parser
from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.report import write_report
from benchmark.report.statistics import ALPHA, corrected_t_test, holm
from datasets.common import prepared
from datasets.common.contract import MissingFilesError, View
from datasets.generated_privileged import NOISY, PRIVILEGED, Dials

TOP = Dials(privileged=8, channels=(20, 4))


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(x.astype(np.float64), y, rcond=None)[0]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"privileged": 0},
        {"privileged": 0.5},
        {"noise": 0.6},
        {"label_noise": 0.2},
        {"noise": 0},
    ],
)
def test_who_learns_from_many_samples_reaches_the_ceiling_and_nobody_passes_it(changes, binary):
    dials = replace(TOP, binary=binary, **changes)
    data = dials.simulate(seed=1, samples=40_000)
    y = 2.0 * data["y"] - 1 if binary else data["y"]
    for m in (NOISY, PRIVILEGED):
        found = data[m][20_000:] @ least_squares(data[m][:20_000], y[:20_000])
        test = y[20_000:]
        if binary:
            score = np.mean(np.sign(found) == test)
        else:
            score = 1 - np.mean((test - found) ** 2) / test.var()
        assert dials.ceiling(m) - 0.02 < score < dials.ceiling(m) + 0.02


def test_the_dials_move_the_ceilings_as_they_must():
    def ceilings(**changes):
        dials = replace(TOP, **changes)
        return dials.ceiling(NOISY), dials.ceiling(PRIVILEGED)

    for binary, nothing in ((False, 0.0), (True, 0.5)):
        by_dial = [ceilings(privileged=d, binary=binary) for d in (0, 0.5, 1, 2, 8)]
        assert len({noisy for noisy, _ in by_dial}) == 1  # x_m is the same whatever x_j knows
        known = [privileged for _, privileged in by_dial]
        assert known == sorted(set(known)) and known[0] == pytest.approx(nothing)
        for dial, which in (("noise", [0]), ("label_noise", [0, 1])):
            low, high = (ceilings(**{dial: value, "binary": binary}) for value in (0.1, 0.7))
            assert [i for i in (0, 1) if high[i] < low[i]] == which
    assert ceilings(noise=0, label_noise=0) == (1, pytest.approx(1, abs=0.01))


@pytest.mark.parametrize("privileged", [8, 0])
def test_targets_of_a_teacher_have_the_excess_risk_that_arithmetic_says(privileged):
    """Least squares on labels, and on the mean of labels and what least squares makes of x_j."""
    dials, n = Dials(privileged, channels=(60, 4)), 200
    excess = {"labels": [], "half teacher": []}
    for seed in range(40):
        data = dials.simulate(seed, n + 2000)
        x, y = data[NOISY], data["y"]
        teacher = data[PRIVILEGED][:n] @ least_squares(data[PRIVILEGED][:n], y[:n])
        best = (1 + dials.label_noise**2) * (1 - dials.ceiling(NOISY))
        for name, target in (("labels", y[:n]), ("half teacher", (y[:n] + teacher) / 2)):
            error = y[n:] - x[n:] @ least_squares(x[:n], target)
            excess[name].append(np.mean(error**2) - best)
    share = 60 / (n - 60 - 1)
    on_labels = (dials.noise + dials.label_noise**2) * share
    assert np.mean(excess["labels"]) == pytest.approx(on_labels, rel=0.1)
    if privileged:
        with_teacher = (dials.noise + dials.label_noise**2 / 4) * share
        assert np.mean(excess["half teacher"]) == pytest.approx(with_teacher, rel=0.2)
    else:  # half of what x_m knows is lost: (1 - ν) / 4, and a quarter of the excess stays
        lost = (1 - dials.noise) / 4 + on_labels / 4
        assert np.mean(excess["half teacher"]) == pytest.approx(lost, rel=0.2)


CONTROLS = [name for name, adapter in datasets.load().items() if adapter.control]


def prepared_names(monkeypatch, *arguments: str) -> list[str]:
    """The datasets that a command would prepare."""

    def resolve(adapter, *_, **__):
        raise UserError(adapter.name)

    monkeypatch.setattr("datasets.common.prepared.resolve", resolve)
    options = parser().parse_args(["data", "prepare", *arguments])
    with pytest.raises(UserError) as told:
        prepare_datasets(options, protocol.load("quick"))
    return str(told.value).split()


def test_controls_run_where_they_are_named_and_not_with_all_others(monkeypatch):
    published = [name for name, adapter in datasets.load().items() if not adapter.by_name_only]
    assert not set(CONTROLS) & set(published)
    assert prepared_names(monkeypatch) == published and len(CONTROLS) == 6
    assert prepared_names(monkeypatch, "--datasets", CONTROLS[0]) == [CONTROLS[0]]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_generated_beside_real_data_too_and_called_so(tmp_path, capsys, name):
    (tmp_path / "lfmc").mkdir()
    (tmp_path / name).mkdir()  # whatever it holds, it is not the data
    places = ["--data-root", str(tmp_path), "--cache", str(tmp_path / "cache")]
    assert main(["data", "prepare", "--datasets", name, *places]) == 0
    shown = capsys.readouterr().out
    sensors = ", ".join(datasets.load()[name].modalities)
    assert f"{name}: GENERATED data, 600 samples, {sensors}" in shown
    assert "stand in" not in shown
    assert main(["data", "fetch", name, "--data-root", str(tmp_path)]) == 2
    assert f"{name}: always generated, so that nothing can be fetched" in capsys.readouterr().err


def test_every_setting_of_the_dials_is_other_data_and_the_same_one_the_same(tmp_path):
    adapters = [datasets.load()[name] for name in CONTROLS]
    prints = []
    for cache in (tmp_path / "a", tmp_path / "b"):
        for adapter in adapters:
            folder, source, notice = prepared.resolve(adapter, None, cache, named=True)
            data, _ = prepared.prepare(
                adapter, folder, source, adapter.modalities, View(samples=50), cache
            )
            assert source == data.source == "generated" and notice is None
            prints.append(data.fingerprint)
    half = len(CONTROLS)
    assert prints[:half] == prints[half:] and len(set(prints)) == half


def test_a_file_that_was_not_generated_is_named(tmp_path):
    adapter = datasets.load()["generated_privileged"]
    with pytest.raises(MissingFilesError, match="lacks samples.npz"):
        adapter.open(tmp_path, adapter.modalities, View())
    (tmp_path / "samples.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="samples.npz: not what was generated .*remove it"):
        adapter.open(tmp_path, adapter.modalities, View())


@pytest.mark.soak  # minutes of training
def test_distillation_gains_at_the_top_of_the_dial_and_nothing_does_at_its_bottom(tmp_path):
    """By the test that tables of real data use; they themselves make none on generated data."""
    names = ("generated_privileged", "generated_privileged_none")
    places = ["--results", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]
    wanted = ["--datasets", ",".join(names), "--methods", "single,kd,gen_distill"]
    more = ["--protocol", "standard", "--device", "cpu"]
    assert main(["run", *wanted, *more, *places]) == 0
    written = write_report(tmp_path / "runs", tmp_path / "out", figures=False)
    p = {}
    for summary in written.summaries:
        rows = {row.method: row for row in summary.at(NOISY)}
        single = rows["single"].metric("r2")
        dials = datasets.load()[summary.group.dataset].dials
        assert 0 < single.mean < dials.ceiling(NOISY) + single.sd / single.n**0.5
        for method in ("kd", "gen_distill"):
            gains = list(rows[method].gain.values.values())
            p[summary.group.dataset, method] = corrected_t_test(gains, summary.ratio)
    top, bottom = ([p[name, method] for method in ("kd", "gen_distill")] for name in names)
    assert all(found.p < ALPHA and found.mean > 0 for found in top), p
    assert not any(
        adjusted < ALPHA and found.mean > 0
        for found, adjusted in zip(bottom, holm([found.p for found in bottom]), strict=True)
    ), p
