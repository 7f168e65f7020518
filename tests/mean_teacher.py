"""A plug-in with a teacher that is a moving average of its student, for tests: hooks by example.

After Tarvainen, Valpola 2017, "Mean teachers are better role models", arXiv 1703.01780; here the
teacher of each modality teaches all of them.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from benchmark.errors import UserError
from methods.common.contract import Method, Stage
from methods.common.nets import UnimodalNet, mean_of_predictions
from methods.common.registry import Entry, register


class MeanTeacher(Method):
    """L = Σ_m ℓ(s_m, y) + λ KD_1(s_m, t), t the mean prediction of the teachers.

    A teacher's weights are θ' ← d θ' + (1 - d) θ after each step, θ those of its student. Teachers
    are deployed.
    """

    def __init__(self, modalities, task, encoder, *, lam: float = 1.0, decay: float = 0.9):
        super().__init__(modalities, task, encoder)
        if not (lam >= 0 and 0 <= decay < 1):
            raise UserError(f"mean_teacher: lam must be >= 0, decay in [0, 1): {lam}, {decay}")
        self.lam, self.decay = lam, decay
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )
        self.teachers = deepcopy(self.students)

    def losses(self, batch):
        s = {m: student(batch.x[m]) for m, student in self.students.items()}
        with torch.no_grad():
            teaching = [teacher(batch.x[m]) for m, teacher in self.teachers.items()]
            t = mean_of_predictions(teaching, self.task)
        soft = sum(self.task.soft_target_distance(s_m, t, 1.0) for s_m in s.values())
        task = sum(self.task.loss(s_m, batch.y) for s_m in s.values())
        return {"task": task, "consistency": self.lam * soft}

    @torch.no_grad()
    def follow(self, batch):
        pairs = zip(self.teachers.parameters(), self.students.parameters(), strict=True)
        for teacher, student in pairs:
            teacher.lerp_(student, 1 - self.decay)

    def stages(self):
        modules = [self.students, self.teachers]
        return [
            Stage("joint", modules, self.losses, predictors=self.deployed, after_step=self.follow)
        ]

    def predictor(self, m):
        return self.teachers[m]


register(
    Entry(
        "mean_teacher",
        MeanTeacher,
        "distillation",
        "Each net imitates the moving averages of all nets.",
        "Σ_m ℓ(s_m, y) + λ KD_1(s_m, t)",
        None,
        "this benchmark",
        never_trained=("teachers.*",),
    )
)
