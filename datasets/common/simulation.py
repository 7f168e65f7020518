"""A seeded simulation with a known information structure, for datasets that are generated.

Every sample has latent variables: c, which all modalities observe, and s_m, which only modality m
observes. A target is a mixture of both plus noise that nobody observes, so that it is known what
each modality can tell, what two tell better than one, and what none can. The adapters turn the
latents into signals that are plausible in range, season, speckle and cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Structure:
    """The shares of a target's variance that are shared and specific; what is left is noise.

    Setting a share to zero turns that part into noise, so that whoever observed it must do worse.
    """

    shared: float
    specific: Mapping[str, float]

    def changed(
        self, shared: float | None = None, specific: Mapping[str, float] | None = None
    ) -> Structure:
        """This structure with some shares replaced; ``specific`` may name some modalities."""
        share = self.shared if shared is None else shared
        return Structure(share, {**self.specific, **(specific or {})})

    def target(self, latents: Latents, rng: np.random.Generator) -> np.ndarray:
        """Scores of unit variance, the shape of one latent: what labels are made from."""
        noise = 1 - self.shared - sum(self.specific.values())
        if noise < 0:
            raise ValueError("the shares of a target's variance add up to more than 1")
        scores = np.sqrt(self.shared) * latents.shared
        for m, share in self.specific.items():
            scores = scores + np.sqrt(share) * latents.specific[m]
        return scores + np.sqrt(noise) * rng.normal(size=scores.shape)


@dataclass(frozen=True)
class Latents:
    """c and, by modality, s_m: arrays of one shape whose entries have unit variance."""

    shared: np.ndarray
    specific: Mapping[str, np.ndarray] = field(default_factory=dict)


def independent_latents(
    rng: np.random.Generator, modalities: tuple[str, ...], shape: tuple[int, ...]
) -> Latents:
    """Latents that are independent between samples."""
    return Latents(rng.normal(size=shape), {m: rng.normal(size=shape) for m in modalities})


def autoregressive(
    rng: np.random.Generator, series: int, steps: int, persistence: float, between: float
) -> np.ndarray:
    """``series`` stationary series of unit variance, (series, steps).

    ``between`` is the share of the variance that lies between the series (a site effect); the rest
    is a first-order autoregressive process with the given ``persistence``.
    """
    site = rng.normal(size=(series, 1))
    process = np.empty((series, steps))
    process[:, 0] = rng.normal(size=series)
    innovation = np.sqrt(1 - persistence**2)
    for t in range(1, steps):
        process[:, t] = persistence * process[:, t - 1] + innovation * rng.normal(size=series)
    return np.sqrt(between) * site + np.sqrt(1 - between) * process


def speckle_db(rng: np.random.Generator, shape: tuple[int, ...], looks: float) -> np.ndarray:
    """Multiplicative gamma speckle of ``looks`` looks, in decibels."""
    return 10 * np.log10(rng.gamma(looks, 1 / looks, size=shape))


def clouds(rng: np.random.Generator, shape: tuple[int, ...], often: float) -> np.ndarray:
    """How much of an observation is cloud: 0 mostly, and ``often`` (a share) 0.1 to 0.5."""
    return np.where(rng.random(shape) < often, rng.uniform(0.1, 0.5, shape), 0.0)


CLOUD = 0.6
"""Reflectance of a thick cloud, in all bands."""

SOIL = {
    "blue": 0.08, "green": 0.11, "red": 0.15, "edge1": 0.18, "edge2": 0.20, "edge3": 0.22,
    "nir": 0.24, "narrow_nir": 0.25, "vapour": 0.26, "swir1": 0.34, "swir2": 0.28,
}  # fmt: skip
VEGETATION = {
    "blue": 0.03, "green": 0.07, "red": 0.03, "edge1": 0.09, "edge2": 0.26, "edge3": 0.34,
    "nir": 0.38, "narrow_nir": 0.40, "vapour": 0.40, "swir1": 0.17, "swir2": 0.08,
}  # fmt: skip
"""Typical reflectances of dry soil and of a green canopy, by band."""


def reflectance(band: str, cover: np.ndarray, moisture: np.ndarray | float = 0.0) -> np.ndarray:
    """Linear mixture of soil and vegetation by their cover (0 to 1).

    ``moisture`` (unit variance) darkens the shortwave infrared, the more the longer the wave.
    """
    mixed = (1 - cover) * SOIL[band] + cover * VEGETATION[band]
    absorption = {"swir1": 0.12, "swir2": 0.18, "vapour": 0.03}.get(band, 0.0)
    return mixed * np.exp(-absorption * np.asarray(moisture))


def normalised_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a - b) / (a + b), for reflectances that are positive."""
    return (a - b) / (a + b)
