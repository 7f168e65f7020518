"""Words that methods, records and reports share, without torch."""

from __future__ import annotations

from typing import Literal, get_args

ALL = "all"
"""The deployment of a bound: it sees every modality."""

Family = Literal[
    "control",
    "bound",
    "dropout fusion",
    "balanced fusion",
    "distillation",
    "privileged information",
    "shared-specific",
    "contrastive",
    "proposed",
]
FAMILIES: tuple[str, ...] = get_args(Family)
"""In the order of rows; unknown ones, from records of other versions, go last."""

Role = Literal["method", "bound", "control", "ablation"]
DefaultsFrom = Literal["these datasets", "elsewhere", "this benchmark"]

EXTERNAL = "external"
"""The family of what was trained elsewhere; its predictions alone were scored here."""

DROPOUT = "encoder_dropout"
TRAINING = ("learning_rate", "weight_decay", DROPOUT)
"""Values of the protocol that a single run may have others of, by hand or because it was tuned."""

EACH, ONCE = "in each fold", "once, on fold 0"
"""On what `tune` chooses: for each fold on its validation part, or for all on that of fold 0."""
