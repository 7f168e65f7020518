#!/usr/bin/env bash
# Optuna: a seeded study that is resumed draws its first points again; with two threads the seed is not kept at all.
#
# Versions: optuna 5.0.0, Python 3.11 (November 2026).
# Behaviour: a study in SQLite with `RandomSampler(seed=1)`, 3 trials, opened again (`load_if_exists`) for 3 more: trials 3, 4, 5 have the
#   points of trials 0, 1, 2, so that half of the budget is spent twice. `TPESampler(seed=1)` does the same, although it knows the first
#   three. With `n_jobs=2` two studies of the same seed draw different points.
# Expected: the stream goes on where it was (or the second half is refused), and a seed decides the points.
# Seen: [0.417022004702574, 0.7203244934421581, 0.00011437481734488664] twice, for both samplers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    return trial.suggest_float("x", 0, 1)


for kind in (optuna.samplers.RandomSampler, optuna.samplers.TPESampler):
    for _ in range(2):
        study = optuna.create_study(
            storage="sqlite:///studies.db",
            study_name=kind.__name__,
            sampler=kind(seed=1),
            load_if_exists=True,
        )
        study.optimize(objective, n_trials=3)
    points = [trial.params["x"] for trial in study.trials]
    print(kind.__name__, points)
    assert points[:3] == points[3:], "the behaviour has changed"

drawn = []
for _ in range(2):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=4, n_jobs=2)
    drawn.append(sorted(trial.params["x"] for trial in study.trials))
print("n_jobs=2", *drawn)
assert drawn[0] != drawn[1], "the behaviour has changed"
PY
