"""Transformers over the tokens of a pixel's series: what Presto and Galileo share.

A channel group (VV and VH; blue, green and red; temperature and precipitation; …) of a time step is
a token; elevation and slope are one without time. Channels are found by the names of their bands
and their units (`methods.common.bands`). A modality need not have all groups, but has each one
whole: half a group is nothing that such weights have seen.

The modality is standardised by what the weights expect instead of by the training part: to
v + `OFF` for their value v, so that 0 is no value that there is, and says "missing" as everywhere
here. A group of a time step with a missing channel is no token. Of a series of windows the mean
of the pixels counts.

The month of each time step and the place are taken from channels that say so
(`benchmark.problem.CONTEXT`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import LATITUDE, LONGITUDE, MONTH, ModalitySpec
from methods.common import weights as files
from methods.common.bands import WAVELENGTHS, canonical, factor_among
from methods.common.encoders import Statistics

OPTICAL = {
    "S2_RGB": ("B2", "B3", "B4"),
    "S2_Red_Edge": ("B5", "B6", "B7"),
    "S2_NIR_10m": ("B8",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
}
WEATHER = ("temperature_2m", "total_precipitation")
TERRAIN = ("elevation", "slope")
GROUPS = {"S1": ("VV", "VH"), **OPTICAL, "ERA5": WEATHER, "SRTM": TERRAIN, "NDVI": ("NDVI",)}
"""Channel groups by the names that the releases give them."""

STATIC = "SRTM"
"""The group without time: that of the first step counts."""

DROPPED = ("B1", "B9", "B10")
"""Bands of Sentinel-2 that the publications leave out."""

DAYS = 365.25 / 12
"""Of a month, on average."""

ALSO = {"total_precipitation_sum": ("total_precipitation", 1 / DAYS)}
"""Other names: band, and what makes its values of theirs. ERA5-Land calls the mean over a month's
days `total_precipitation` in its monthly means, and `…_sum` what its monthly aggregates add up."""

UNITS = {
    **dict.fromkeys(GROUPS["S1"], "dB"),
    **dict.fromkeys(sum(OPTICAL.values(), ()), "reflectance × 10⁴"),
    **dict(zip((*WEATHER, *TERRAIN), ("K", "m", "m", "degrees"), strict=True)),
}
"""What weights expect a band in, precipitation as m of a mean day; NDVI has no unit."""

OFF = 0.5123457
"""Where a missing value lies below 0 as the weights normalise values, and where a place below 0°:
reflectances, metres and slopes are never negative so far, and no measurement is this number. One
that were further off would cost digits."""

LONGEST = 24
"""Time steps that the publications know a position of."""

OTHERS = "others"
"""In place of channels to ignore: whatever is not seen."""

Scale = Mapping[str, tuple[float, float]]
"""Band → what is subtracted of a value in `UNITS`, and by what it is then divided."""


@dataclass(frozen=True)
class Pixels:
    """Which channel of a modality is what.

    groups: name → numbers of its channels; of NDVI those of B8 and B4 unless it is given itself.
    month, place: numbers of the channels that say it; several where a modality is made of several.
    """

    steps: int
    groups: Mapping[str, tuple[int, ...]]
    month: tuple[int, ...]
    place: tuple[tuple[int, ...], tuple[int, ...]] | None


def pixels(name: str, spec: ModalitySpec, options: Mapping[str, Any]) -> Pixels:
    """How an encoder sees a modality. Raises `UserError` for what it cannot make anything of.

    options: ``bands``, band → channel that stands for it, and ``ignore``, channels that are not
    seen, or `OTHERS`: all that is not known, and half groups.
    """
    steps = spec.shape[0] if spec.kind == "series" else 1
    if steps > LONGEST:
        raise UserError(
            f"'{name}' knows positions of {LONGEST} time steps, and {spec.name} has {steps}"
        )
    found, context = _bands(name, spec, options)
    groups: dict[str, tuple[int, ...]] = {}
    for group, bands in GROUPS.items():
        here = [band for band in bands if band in found]
        if here and len(here) < len(bands):
            if options.get("ignore") == OTHERS:
                continue
            lacking = [band for band in bands if band not in found]
            raise UserError(
                f"'{name}' sees {', '.join(bands)} together, and {spec.name} has no "
                f"{' and no '.join(lacking)} ({', '.join(spec.channels)}); say which channel it is "
                f"(bands: {{{lacking[0]}: …}}), or ignore: [{', '.join(found[b][1] for b in here)}]"
            )
        if here:
            groups[group] = tuple(found[band][0] for band in bands)
    if "B8" in found and "B4" in found:
        groups["NDVI"] = (found["B8"][0], found["B4"][0])
    if not groups:
        raise UserError(f"'{name}' sees no channel of {spec.name} ({', '.join(spec.channels)})")
    place = context[LATITUDE], context[LONGITUDE]
    return Pixels(steps, groups, context[MONTH], place if all(place) else None)


def _bands(
    name: str, spec: ModalitySpec, options: Mapping[str, Any]
) -> tuple[dict[str, tuple[int, str]], dict[str, tuple[int, ...]]]:
    """Band → number and name of its channel, and numbers of the channels of when and where."""
    chosen, ignored = options.get("bands") or {}, options.get("ignore") or ()
    leave_out, ignored = ignored == OTHERS, () if ignored == OTHERS else ignored
    if not isinstance(chosen, Mapping) or isinstance(ignored, str):
        raise UserError(
            f"bands is a mapping {{band: channel}}, ignore a list of channels or '{OTHERS}'"
        )
    own = ", ".join(spec.channels)
    for channel in (*chosen.values(), *ignored):
        if channel not in spec.channels:
            raise UserError(f"'{channel}' is no channel of {spec.name} ({own})")
    known = {canonical(band): band for bands in GROUPS.values() for band in bands}
    by_name = known
    if "landsat" in spec.units.lower():  # whose bands, and what is made of them, are others
        by_name = {name: b for name, b in known.items() if b not in WAVELENGTHS and b != "NDVI"}
    given = {}
    for band, channel in chosen.items():
        if canonical(str(band)) not in known:
            raise UserError(
                f"bands: '{band}' is none that '{name}' sees ({', '.join(known.values())})"
            )
        given[channel] = known[canonical(str(band))]
    found: dict[str, tuple[int, str]] = {}
    context: dict[str, tuple[int, ...]] = dict.fromkeys((MONTH, LATITUDE, LONGITUDE), ())
    unknown = []
    for number, channel in enumerate(spec.channels):
        called = canonical(ALSO.get(channel, (channel, 1.0))[0])
        if channel in ignored or (called in DROPPED and channel not in given):
            continue
        if channel in context:
            context[channel] += (number,)
        elif (band := given.get(channel, by_name.get(called))) is None:
            unknown.append(channel)
        elif band in found:
            raise UserError(
                f"channels {found[band][1]} and {channel} of {spec.name} are both {band}; "
                f"ignore: [{channel}], or the other"
            )
        else:
            found[band] = number, channel
    if unknown and not leave_out:
        raise UserError(
            f"'{name}' sees {', '.join(known.values())}, and none of them is "
            f"{', '.join(unknown)} of {spec.name}; say which one it is "
            f"(bands: {{B8: {unknown[0]}}}), or ignore: [{', '.join(unknown)}]"
        )
    return found, context


def statistics(
    name: str, spec: ModalitySpec, options: Mapping[str, Any], scale: Scale
) -> Statistics:
    """By what a modality is standardised for an encoder, in its own units; NaN if not seen.

    Raises `UserError` for units that no factor makes those of the weights.
    """
    found, context = _bands(name, spec, options)
    mean, std = np.full((2, len(spec.channels)), np.nan)
    for band, (number, channel) in found.items():
        wanted = UNITS.get(band)
        times = 1.0 if wanted is None else factor_among(spec.units, wanted)
        if times is None:
            raise UserError(
                f"{channel} of {spec.name} is in '{spec.units}', and '{name}' was trained on "
                f"values in {wanted}: no factor makes one of the other"
            )
        times *= ALSO.get(channel, (band, 1.0))[1]
        below, by = scale[band]
        mean[number], std[number] = (below - OFF * by) / times, by / times
    for channel, numbers in context.items():
        mean[list(numbers)] = 0.0 if channel == MONTH else -OFF
        std[list(numbers)] = 1.0
    return mean, std


class Tokens(nn.Module):
    """From a modality as `statistics` standardises it to what tokens are made of.

    months: of the time steps, 0 to 11, where none is known.
    """

    def __init__(self, seen: Pixels, scale: Scale, months: Sequence[int]) -> None:
        super().__init__()
        self.seen, self.scale = seen, scale
        self.register_buffer("months", torch.tensor(months), persistent=False)

    def forward(self, x: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor, Any]:
        """(B, *spec.shape) → values and presence by group, months, and place, if there is one.

        Values are (B, T, C), presence (B, T), T being 1 for `STATIC`; months are (B, T) from 0; of
        a place x, y and z on the unit sphere (B, 1, 3) and its presence (B, 1).
        """
        if x.dim() == 2:
            x = x.unsqueeze(1)
        there = x != 0
        if x.dim() == 5:  # missing pixels are 0 and do not count
            count = there.sum(dim=(2, 3))
            x, there = x.sum(dim=(2, 3)) / count.clamp_min(1), count > 0
        groups = {}
        for name, numbers in self.seen.groups.items():
            here = there[..., list(numbers)].all(-1)
            values = x[..., list(numbers)] - OFF
            if name == "NDVI" and len(numbers) == 2:
                values = self._ndvi(values)
            groups[name] = (values[:, :1], here[:, :1]) if name == STATIC else (values, here)
        return groups, self._months(x), self._place(x)

    def _ndvi(self, values: Tensor) -> Tensor:
        """(B, T, 2) normalised B8 and B4 → (B, T, 1), 0 where both are 0."""
        near, red = (
            values[..., i : i + 1] * self.scale[band][1] + self.scale[band][0]
            for i, band in enumerate(("B8", "B4"))
        )
        total = near + red
        return torch.where(total > 0, (near - red) / torch.where(total > 0, total, 1.0), 0.0)

    def _months(self, x: Tensor) -> Tensor:
        months = self.months.expand(x.shape[0], -1)
        if not self.seen.month:
            return months
        known = x[..., list(self.seen.month)].amax(-1).round().long()
        return torch.where(known > 0, (known - 1).clamp(0, 11), months)

    def _place(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        if self.seen.place is None:
            return None
        degrees = [x[:, 0, list(numbers)].amax(-1, keepdim=True) for numbers in self.seen.place]
        lat, lon = (torch.deg2rad(d - OFF) for d in degrees)
        sphere = [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
        return torch.stack(sphere, dim=-1), (degrees[0] != 0) & (degrees[1] != 0)


class Block(nn.Module):
    """A pre-norm transformer block (Dosovitskiy et al. 2021, arXiv 2010.11929)."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, N, D), and (B, 1, 1, N) that is -inf where nothing is to be looked at."""
        B, N, D = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, N, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / (D // self.heads) ** 0.5 + bias).softmax(dim=-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(B, N, D))
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    """Blocks over tokens of which some are not there."""

    def __init__(self, width: int, depth: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))

    def forward(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) and (B, N) → the same; of a sample without any all count, which are alike."""
        there = there | ~there.any(dim=1, keepdim=True)
        bias = torch.zeros_like(there, dtype=tokens.dtype).masked_fill(~there, -torch.inf)
        for block in self.blocks:
            tokens = block(tokens, bias[:, None, None])
        return tokens, there


def pooled(tokens: Tensor, there: Tensor) -> Tensor:
    """Mean of the tokens that are there: (B, N, D), (B, N) → (B, D)."""
    weight = there.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)


def month_table(width: int) -> Tensor:
    """(12, width): sine and cosine of the month as an angle, each width / 2 times."""
    angle = torch.arange(12, dtype=torch.float64) * (2 * np.pi / 12)
    half = [each[:, None].expand(12, width // 2) for each in (angle.sin(), angle.cos())]
    return torch.cat(half, dim=1).float()


def initialise(net: nn.Module) -> None:
    """As the releases do: Glorot and Bengio's uniform weights, biases of 0."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def load(
    net: nn.Module,
    name: str,
    file: Callable[[], Path],
    own: Callable[[Mapping[str, Tensor], nn.Module], Mapping[str, Tensor]],
) -> None:
    """Put weights into a net.

    file: where they are; raises `WeightsError`. own: the release's values by name, and the net →
    the net's. Raises `UserError` for weights that are not here, or are another model's.
    """
    try:
        path = file()
    except files.WeightsError as error:
        raise UserError(
            f"the weights of '{name}' are not on this machine ({error}); run once with access to "
            f"them, name a file (weights: …) or a folder ({files.FOLDER}), or set weights: null in "
            "the protocol for random ones"
        ) from error
    try:
        net.load_state_dict(own(files.read(path), net))
    except (KeyError, IndexError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} holds the weights of another model than '{name}' ({reason})"
        ) from error
