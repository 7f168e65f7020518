"""Simulated sensors whose information about the label is known, and can be turned part by part.

A sample has five independent values ~ N(0, 1): c, which both sensors show; s_d and s_o, which the
deployed and the other one show alone; g_d and g_o, likewise, which matter together only; and ε,
which nobody sees. The label is

    y = √R c + √U_d s_d + √U_o s_o + √S g_d g_o + √T ε

so that redundancy R, unique information U_d and U_o, synergy S and label noise T are variances in
one unit, and none of them moves another: the decomposition of Williams and Beer 2010,
"Nonnegative decomposition of multivariate information", arXiv 1004.2515, by construction. A sensor
shows its three values along three directions that nobody knows, and other things of the same size
along all others; a share ν of every channel's variance is measurement noise. The other sensor may
be privileged besides: K channels show the label without its noise, with a signal-to-noise ratio of
d each (Lopez-Paz et al. 2016, arXiv 1511.03643).

What anybody can know is arithmetic. x is normal with unit variance in every direction, so that
E[c | x] = √(1 - ν) aᵀx for its direction a, and c keeps the variance ν; of a product of two
independent values the mean is the product of the means. Privileged channels are further normal
measurements of a normal value, unless there is synergy: then no closed form is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.seeds import stream
from datasets.common.contract import register
from datasets.common.simulated import FILE, SimulatedVectors

DEPLOYED, OTHER, BOTH = "deployed", "other", "all"

TEST = 1_000
"""Samples of the test part, whatever the dials are."""

VALIDATION = 0.2
"""Share of the labels that validate."""


@dataclass(frozen=True)
class Simulated:
    """Arrays of one draw, the test part first.

    x: sensor → (N, channels) float32. y: (N,). best: sensor, or `BOTH` → (N,), the mean of y given
    what these show; None where no closed form is known.
    """

    x: Mapping[str, np.ndarray]
    y: np.ndarray
    best: Mapping[str, np.ndarray | None]


@dataclass(frozen=True)
class Dials:
    """What can be set of the simulation.

    redundancy, unique_deployed, unique_other, synergy, label_noise: R, U_d, U_o, S and T. noise,
    noise_other: ν of the sensors. privileged: d, 0 for nothing. labels: number of samples that
    train and validate. channels: of the sensors; clean: K.
    """

    redundancy: float = 0.5
    unique_deployed: float = 0.5
    unique_other: float = 0.5
    synergy: float = 0.0
    noise: float = 0.3
    labels: int = 800
    label_noise: float = 2.0
    privileged: float = 0.0
    noise_other: float = 0.1
    channels: tuple[int, int] = (120, 8)
    clean: int = 2

    @property
    def signal(self) -> float:
        """Variance of the label without its noise."""
        return self.redundancy + self.unique_deployed + self.unique_other + self.synergy

    def left(self, seen: str) -> float | None:
        """Variance of y that nobody can explain who sees a sensor, or `BOTH`; None if unknown."""
        open_ = self._open(seen)
        if self._clean(seen):
            if self.synergy:
                return None
            open_ = 1 / (1 / open_ + self._precision) if open_ else 0.0
        return open_ + self.label_noise

    def simulate(self, draw: int, labels: int | None = None) -> Simulated:
        """One draw of everything, of the same values for other dials; labels: another number."""
        N = TEST + (self.labels if labels is None else labels)

        def normal(what: str, *shape: int) -> np.ndarray:
            # Rows of their own generator: more of them change none that come before.
            rng = np.random.default_rng(stream("information", draw, what))
            return rng.normal(size=shape)

        c, s_d, s_o, g_d, g_o = (normal(f"value {i}", N) for i in range(5))
        known: dict[str, np.ndarray] = {}
        x = {}
        for sensor, noise, own, channels in (
            (DEPLOYED, self.noise, (c, s_d, g_d), self.channels[0]),
            (OTHER, self.noise_other, (c, s_o, g_o), self.channels[1]),
        ):
            directions = np.linalg.qr(normal(f"{sensor} directions", channels, len(own)))[0]
            z = normal(f"{sensor} channels", N, channels)
            z += (np.stack(own, axis=1) - z @ directions) @ directions.T
            z = math.sqrt(1 - noise) * z
            z += math.sqrt(noise) * normal(f"{sensor} noise", N, channels)
            x[sensor] = z
            known[sensor] = math.sqrt(1 - noise) * z @ directions
        parts = (self.redundancy, self.unique_deployed, self.unique_other, self.synergy)
        R, U_d, U_o, S = map(math.sqrt, parts)
        f = R * c + U_d * s_d + U_o * s_o + S * g_d * g_o
        y = f + math.sqrt(self.label_noise) * normal("label noise", N)
        both = self._both(known[DEPLOYED][:, 0], known[OTHER][:, 0])
        best: dict[str, np.ndarray | None] = {
            DEPLOYED: R * known[DEPLOYED][:, 0] + U_d * known[DEPLOYED][:, 1],
            OTHER: R * known[OTHER][:, 0] + U_o * known[OTHER][:, 1],
            BOTH: R * both
            + U_d * known[DEPLOYED][:, 1]
            + U_o * known[OTHER][:, 1]
            + S * known[DEPLOYED][:, 2] * known[OTHER][:, 2],
        }
        size = self.privileged / math.sqrt(self.signal) if self.signal else 0.0
        clean = size * f[:, None] + normal("clean noise", N, self.clean)
        x[OTHER] = np.concatenate([x[OTHER], clean], axis=1)
        for seen in (OTHER, BOTH):
            if self._clean(seen):
                best[seen] = None if self.synergy else self._sharper(seen, best[seen], clean, size)
        return Simulated({m: v.astype(np.float32) for m, v in x.items()}, y, best)

    @property
    def _precision(self) -> float:
        """Of the privileged channels, all together, as measurements of the noiseless label."""
        return self.clean * self.privileged**2 / self.signal

    def _clean(self, seen: str) -> bool:
        return seen != DEPLOYED and self.privileged > 0 and self.signal > 0

    def _open(self, seen: str) -> float:
        """Variance of the noiseless label that is open without the privileged channels."""
        nu, mu = self.noise, self.noise_other
        if seen == DEPLOYED:
            return (self.redundancy + self.unique_deployed) * nu + self.unique_other + self.synergy
        if seen == OTHER:
            return (self.redundancy + self.unique_other) * mu + self.unique_deployed + self.synergy
        shared = self.redundancy * nu * mu / (nu + mu - nu * mu) if nu + mu else 0.0
        own = self.unique_deployed * nu + self.unique_other * mu
        return shared + own + self.synergy * (1 - (1 - nu) * (1 - mu))

    def _both(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """E[c | both], from the means given each."""
        nu, mu = self.noise, self.noise_other
        if not (nu and mu):
            return second if nu else first
        # Precisions of independent measurements add up; the prior counts once.
        return (first / nu + second / mu) / (1 / nu + 1 / mu - 1)

    def _sharper(self, seen: str, mean: np.ndarray, clean: np.ndarray, size: float) -> np.ndarray:
        """The mean of the noiseless label when its privileged measurements are known besides."""
        open_ = self._open(seen)
        if not open_:
            return mean
        return (mean / open_ + size * clean.sum(axis=1)) / (1 / open_ + self._precision)


class GeneratedInformation(SimulatedVectors):
    """One draw of the simulation at one setting of its dials."""

    citation = "simulated by this benchmark, after Williams and Beer 2010, arXiv 1004.2515"
    url = "https://arxiv.org/abs/1004.2515"
    modalities = default_modalities = (DEPLOYED, OTHER)
    official_split = True

    def __init__(self, name: str, dials: Dials, draw: int = 0) -> None:
        super().__init__(name)
        self.dials, self.draw = dials, draw
        self.generated_samples = dials.labels + TEST
        self.title = (
            "Sensors of known information, always generated: redundancy "
            f"{dials.redundancy:g}, unique {dials.unique_deployed:g} and {dials.unique_other:g}, "
            f"synergy {dials.synergy:g}, label noise {dials.label_noise:g}."
        )
        self.notes = {
            m: f"nobody can have a lower RMSE from it than {math.sqrt(left):.3f}"
            for m in self.modalities
            if (left := dials.left(m)) is not None
        }

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        drawn = self.dials.simulate(self.draw + seed, labels=max(5, samples - TEST))
        np.savez(root / FILE, **drawn.x, y=drawn.y)

    def split(self, samples: int) -> np.ndarray:
        labels = samples - TEST
        validate = max(1, round(VALIDATION * labels))
        return np.repeat(["test", "val", "train"], [TEST, validate, labels - validate])


register(GeneratedInformation("generated_information", Dials()))
