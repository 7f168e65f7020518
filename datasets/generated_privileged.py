"""Positive control: simulated data in which another modality provably helps while one trains.

Every sample has a value c ~ N(0, 1). The label is y = c + τ ε, or whether that is above 0: labels
are noisy. The deployed modality x_m, `noisy`, has P channels: c along one direction that nobody
knows, other things of the same size along all others, and measurement noise on top, of which a
share ν of every channel's variance is made. The other one x_j, `privileged`, has few channels, all
of them d·c and noise of unit variance: d is the dial, the signal-to-noise ratio of a channel. At
d = 0 it knows nothing.

Why it must help: of x_m, E[c | x_m] = √(1 - ν) aᵀx_m is linear. Least squares from n samples has an
excess risk of s² P / (n - P - 1), where s² is the variance of what is fitted that x_m leaves open.
On labels s² = ν + τ². On the mean of a label and of what a teacher says who knows c, as `kd` and
`gen_distill` fit it with weights of a half, s² = ν + τ²/4: the teacher takes label noise out of the
targets. At d = 0 a teacher of x_j knows the mean of y alone, and nothing is gained.

Where labels are classes, the teacher's logits say besides how far from the border a sample is; and
a teacher that sees x_m, too, as that of `kd`, smooths targets at any d: what little that gains
needs no x_j, as `kd_self` and a placebo show.

The setting is a simulation of Lopez-Paz et al. 2016, "Unifying distillation and privileged
information", arXiv 1511.03643, in which clean labels are the privileged information.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.problem import TaskSpec
from datasets.common.contract import register
from datasets.common.simulated import FILE, SimulatedVectors

NOISY, PRIVILEGED = "noisy", "privileged"


@dataclass(frozen=True)
class Dials:
    """What can be set of the simulation.

    privileged: d, the signal-to-noise ratio of a channel of x_j, 0 for nothing. noise: ν, the share
    of the variance of x_m that is measurement noise. label_noise: τ, in standard deviations of c.
    channels: of x_m and of x_j. binary: whether labels are classes.
    """

    privileged: float
    noise: float = 0.1
    label_noise: float = 1.4
    channels: tuple[int, int] = (400, 2)
    binary: bool = False

    def ceiling(self, m: str) -> float:
        """The best score that anybody can have who sees ``m`` alone and knows how it was made.

        R² of a value, or for classes the share that is right, which is macro F1, too: classes are
        of one size and mistakes of one kind as frequent as of the other.
        """
        known = 1 - self.noise
        if m == PRIVILEGED:
            signal = self.channels[1] * self.privileged**2
            known = signal / (1 + signal)
        r2 = known / (1 + self.label_noise**2)
        # Of two normal values with correlation r, both have one sign in 1 - arccos(r)/π of cases.
        return 1 - math.acos(math.sqrt(r2)) / math.pi if self.binary else r2

    def simulate(self, seed: int, samples: int) -> dict[str, np.ndarray]:
        """x_m (N, P) and x_j (N, Q) in float32 by name, and y (N,)."""
        rng = np.random.default_rng(seed)
        P, Q = self.channels
        c, e = rng.normal(size=samples), rng.normal(size=samples)
        direction = rng.normal(size=P)
        direction /= np.linalg.norm(direction)
        z = rng.normal(size=(samples, P))
        z += np.outer(c - z @ direction, direction)
        u = rng.normal(size=(samples, P))
        value = c + self.label_noise * e
        return {
            NOISY: (math.sqrt(1 - self.noise) * z + math.sqrt(self.noise) * u).astype(np.float32),
            PRIVILEGED: (self.privileged * c[:, None] + rng.normal(size=(samples, Q))).astype(
                np.float32
            ),
            "y": (value > 0).astype(np.int64) if self.binary else value,
        }


class GeneratedPrivileged(SimulatedVectors):
    """The simulation at one setting of its dials."""

    citation = "simulated by this benchmark, after Lopez-Paz et al. 2016, arXiv 1511.03643"
    url = "https://arxiv.org/abs/1511.03643"
    modalities = default_modalities = (NOISY, PRIVILEGED)
    generated_samples = 4_000

    def __init__(self, name: str, dials: Dials) -> None:
        super().__init__(name)
        self.dials = dials
        what = "classes" if dials.binary else "values"
        self.title = (
            f"Positive control, always generated: {what} of which {PRIVILEGED} tells with a signal "
            f"to noise of {dials.privileged:g}."
        )
        metric = "F1" if dials.binary else "R²"
        self.notes = {
            m: f"nobody can have a better {metric} from it than {dials.ceiling(m):.3f}"
            for m in self.modalities
        }

    def task(self) -> TaskSpec:
        if self.dials.binary:
            return TaskSpec("binary", 2, class_names=("below", "above"))
        return super().task()

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        np.savez(root / FILE, **self.dials.simulate(seed, samples))


CLASSES = {"label_noise": 0.3, "binary": True}
for name, dials in {
    "generated_privileged": Dials(privileged=8),
    "generated_privileged_weak": Dials(privileged=0.5),
    "generated_privileged_none": Dials(privileged=0),
    "generated_privileged_binary": Dials(privileged=8, **CLASSES),
    "generated_privileged_binary_none": Dials(privileged=0, **CLASSES),
}.items():
    register(GeneratedPrivileged(name, dials))
