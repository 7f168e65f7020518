"""Presto: a transformer over pixels' series, pre-trained on 21 million of them.

Tseng, Cartuyvels, Zvonkov, Purohit, Rolnick, Kerner 2023, "Lightweight, Pre-trained Transformers
for Remote Sensing Timeseries", arXiv 2304.14065. Weights: github.com/nasaharvest/presto (MIT).

A token is the projection of a channel group plus an embedding of its month, its group and its place
in the series side by side; the place on Earth is a token of its own. The features are the mean
of the tokens after the last block, normalised.

Its weights see radar in dB + 25 over 25, reflectances, temperature (K - 272.15) / 35, precipitation
in 3 cm, elevation in 2 km and slope in 50°. Left out: the token of Dynamic World's land cover,
which no modality here has. Without months the series begins in January, and without a place there
is no token of it, as in later use by its authors, who then say July for every step. The mask is a
bias of the attention in place of tokens that are moved to the end: the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec
from methods.common import weights as files
from methods.common.encoders import Backbone, Statistics, register
from methods.common.pixel_series import (
    GROUPS,
    LONGEST,
    OPTICAL,
    STATIC,
    Pixels,
    Tokens,
    Transformer,
    initialise,
    load,
    month_table,
    pixels,
    pooled,
    statistics,
)

NAME = "presto"
WIDTH, DEPTH, HEADS, RATIO = 128, 2, 8, 4
PARTS = {"month": 32, "channel": 32, "position": 64}
"""How an embedding of `WIDTH` is divided."""

SCALE = {
    **dict.fromkeys(GROUPS["S1"], (-25.0, 25.0)),
    **dict.fromkeys(sum(OPTICAL.values(), ()), (0.0, 1e4)),
    **{"temperature_2m": (272.15, 35.0), "total_precipitation": (0.0, 0.03)},
    **{"elevation": (0.0, 2000.0), "slope": (0.0, 50.0), "NDVI": (0.0, 1.0)},
}

COMMIT = "13173d028f035abcbcc3b13829314323a5c15d02"
FILES = {
    "default": files.Published(
        f"https://github.com/nasaharvest/presto/raw/{COMMIT}/data/default_model.pt",
        ("presto-559c9d76.pt", "presto.safetensors"),
    )
}


class Presto(nn.Module):
    """(B, *spec.shape), as `methods.common.pixel_series` standardises it → (B, 128)."""

    out_features = WIDTH

    def __init__(self, seen: Pixels) -> None:
        super().__init__()
        self.tokens = Tokens(seen, SCALE, [t % 12 for t in range(seen.steps)])
        self.embed = nn.ModuleDict(
            {name: nn.Linear(len(GROUPS[name]), WIDTH) for name in seen.groups}
        )
        self.place = None if seen.place is None else nn.Linear(3, WIDTH)
        self.transformer = Transformer(WIDTH, DEPTH, HEADS, RATIO)
        self.norm = nn.LayerNorm(WIDTH)
        initialise(self)
        self.channel = nn.Parameter(torch.randn(len(seen.groups), PARTS["channel"]))
        position = _positions(PARTS["position"])[: seen.steps]
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("month", month_table(PARTS["month"]), persistent=False)

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens after the last block (B, N, 128), and which of them are there (B, N).

        The place is first, if it is known; then the groups in their order, each by time.
        """
        groups, months, place = self.tokens(x)
        month, B = self.month[months], x.shape[0]
        position = self.position.expand(B, -1, -1)
        tokens, there = [], []
        if place is not None:
            tokens.append(self.place(place[0]))
            there.append(place[1])
        for (name, (values, here)), channel in zip(groups.items(), self.channel, strict=True):
            steps = values.shape[1]
            parts = [month, channel.expand(B, steps, -1), position]
            if name == STATIC:
                parts = [
                    torch.zeros_like(month[:, :1]),
                    parts[1],
                    torch.zeros_like(position[:, :1]),
                ]
            tokens.append(self.embed[name](values) + torch.cat(parts, dim=-1))
            there.append(here)
        return self.transformer(torch.cat(tokens, dim=1), torch.cat(there, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(pooled(*self.hidden(x)))


def _positions(width: int) -> Tensor:
    """(24, width): sines and cosines in turn, periods from 2π to 2π · 1000 steps."""
    column = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(LONGEST)[:, None] / 1000 ** (2 * (column // 2) / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()


def _own(state: Mapping[str, Tensor], net: Presto) -> dict[str, Tensor]:
    """The values of the release by our names, as far as a net has them."""
    names = {"embed": "eo_patch_embed", "place": "latlon_embed", "norm": "norm"}
    found = {}
    for key in net.state_dict():
        first, _, rest = key.partition(".")
        if first == "channel":
            rows = [list(GROUPS).index(name) for name in net.embed]
            found[key] = state["encoder.channel_embed.weight"][rows]
        elif first == "transformer":
            rest = rest.replace("qkv", "attn.qkv").replace("proj", "attn.proj")
            found[key] = state[f"encoder.{rest.replace('fc', 'mlp.fc')}"]
        else:
            found[key] = state[f"encoder.{names[first]}.{rest}"]
    return found


def _file(options: Mapping[str, Any], fetch: bool) -> Path | None:
    named = options.get("weights", "default")
    return None if named is None else files.found_file(named, FILES, fetch=fetch)


def build(
    spec: ModalitySpec,
    *,
    weights: str | None = "default",
    bands: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> nn.Module:
    """weights: default for the published ones, the path of a file, or none for random ones.
    bands: band (B8, VV, temperature_2m, …) → channel that is called otherwise. ignore: channels
    that are not seen.
    """
    net = Presto(pixels(NAME, spec, {"bands": bands, "ignore": ignore}))
    if weights is not None:
        load(net, NAME, partial(_file, {"weights": weights}, False), _own)
    return net


def _statistics(spec: ModalitySpec, options: Mapping[str, Any]) -> Statistics:
    return statistics(NAME, spec, options, SCALE)


register(
    Backbone(
        *(NAME, ("series", "vector"), build, "Presto, pre-trained on series of pixels."),
        statistics=_statistics,
        weights=_file,
        random={"weights": None},
        context=True,
    )
)
