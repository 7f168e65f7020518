"""Galileo (nano): a transformer over series of many sensors, here of single pixels.

Tseng, Fuller, Reil, Herzog, Beukema, Bastani, Green, Shelhamer, Kerner, Rolnick 2025, "Galileo:
Learning Global & Local Features of Many Remote Sensing Modalities", arXiv 2502.09356. Weights:
github.com/nasaharvest/galileo (MIT).

A token is the projection of a channel group plus four embeddings side by side: its group, its place
in the series, its month, its place in the image; what has no time or no image has zeros there. The
features are the mean of the normalised tokens after the last block.

Its weights see each band as (x - mean + 2 std) / (4 std) of the pre-training, and NDVI as it is,
which is made of B8 and B4 as in pre-training (the release's helper for other people's arrays leaves
it out). Precipitation was the sum of a month (ERA5-Land's monthly aggregates), not a mean day's. A
sample is one pixel: of the projections of patches, 8 × 8 kernels that the release shrinks to the
size of its patches, the one for 1 × 1 is kept. Left out: the groups that no modality here has
(TerraClimate, night lights, population and land cover), and stochastic depth. Without months it is
June, and without a place there is no token of it, as in the release. From scratch, projections
start as the rest does; those of the release keep a convolution's default.
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
    DAYS,
    GROUPS,
    LONGEST,
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

NAME = "galileo"
WIDTH, DEPTH, HEADS, RATIO = 128, 4, 8, 4
PART = 32
"""A quarter of `WIDTH`: of each embedding."""

JUNE = 5

ROWS = {
    "s_t_channel_embed": [name for name in GROUPS if name not in ("ERA5", "SRTM")],
    "sp_channel_embed": ["SRTM"],
    "t_channel_embed": ["ERA5"],
}
"""The release's embeddings of groups, and their first rows."""

PROJECTIONS = {
    **dict.fromkeys(ROWS["s_t_channel_embed"], "space_time_embed"),
    **{"ERA5": "time_embed", "SRTM": "space_embed"},
}

PRETRAINING = {
    "VV": (-11.728724389184965, 4.887145774840316),
    "VH": (-18.85558188024017, 5.730270320384293),
    "B2": (1395.3408730676722, 917.7041440370853),
    "B3": (1338.4026921784578, 913.2988423581528),
    "B4": (1343.09883810357, 1092.678723527555),
    "B5": (1543.8607982512297, 1047.2206083460424),
    "B6": (2186.2022069512263, 1048.0101611156767),
    "B7": (2525.0932853316694, 1143.6903026819996),
    "B8": (2410.3377187373408, 1098.979177731649),
    "B8A": (2750.2854646886753, 1204.472755085893),
    "B11": (2234.911100061487, 1145.9774063078878),
    "B12": (1474.5311266077113, 980.2429840007796),
    "temperature_2m": (271.5674963541667, 79.80828940314429),
    "total_precipitation_sum": (0.08554303677156568, 0.11669547098151486),
    "elevation": (673.0152819503361, 983.0697298296237),
    "slope": (5.930092668915115, 8.167406789813247),
}
"""Mean and standard deviation of each band in the data that it was pre-trained on."""

SCALE = {band: (mean - 2 * std, 4 * std) for band, (mean, std) in PRETRAINING.items()}
SCALE["total_precipitation"] = tuple(v / DAYS for v in SCALE.pop("total_precipitation_sum"))
SCALE["NDVI"] = (0.0, 1.0)

COMMIT = "0f0b5b95ac81acef4b74cf4686dc877202f4541b"
FILES = {
    "nano": files.Published(
        f"https://github.com/nasaharvest/galileo/raw/{COMMIT}/data/models/nano/encoder.pt",
        ("galileo_nano-eab6acac.pt", "galileo_nano.safetensors"),
    )
}


class Galileo(nn.Module):
    """(B, *spec.shape), as `methods.common.pixel_series` standardises it → (B, 128)."""

    out_features = WIDTH

    def __init__(self, seen: Pixels) -> None:
        super().__init__()
        self.tokens = Tokens(seen, SCALE, [JUNE] * seen.steps)
        self.embed = nn.ModuleDict(
            {name: nn.Linear(len(GROUPS[name]), WIDTH) for name in seen.groups}
        )
        self.place = None if seen.place is None else nn.Linear(3, WIDTH)
        self.transformer = Transformer(WIDTH, DEPTH, HEADS, RATIO)
        self.norm = nn.LayerNorm(WIDTH)
        initialise(self)
        self.channel = nn.Parameter(torch.zeros(len(seen.groups), PART))
        if self.place is not None:
            self.place_channel = nn.Parameter(torch.zeros(PART))
        self.register_buffer("position", _positions()[: seen.steps], persistent=False)
        self.register_buffer("month", month_table(PART), persistent=False)
        # Of the only token of an image: the sine and the cosine of 0, for both of its axes.
        corner = torch.tensor([0.0, 1.0]).repeat_interleave(PART // 4).repeat(2)
        self.register_buffer("corner", corner, persistent=False)

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised tokens after the last block (B, N, 128), and which are there (B, N).

        The groups in their order, each by time; then the place, if it is known.
        """
        groups, months, place = self.tokens(x)
        month, B = self.month[months], x.shape[0]
        position, corner = self.position.expand(B, -1, -1), self.corner.expand(B, 1, -1)
        tokens, there = [], []
        for (name, (values, here)), channel in zip(groups.items(), self.channel, strict=True):
            steps = values.shape[1]
            parts = [channel.expand(B, steps, -1), position, month, corner.expand(-1, steps, -1)]
            if name == STATIC:
                parts[1:3] = [torch.zeros_like(corner)] * 2
            elif name == "ERA5":
                parts[3] = torch.zeros_like(parts[3])
            tokens.append(self.embed[name](values) + torch.cat(parts, dim=-1))
            there.append(here)
        if place is not None:
            own = nn.functional.pad(self.place_channel, (0, WIDTH - PART))
            tokens.append(self.place(place[0]) + own)
            there.append(place[1])
        z, there = self.transformer(torch.cat(tokens, dim=1), torch.cat(there, dim=1))
        return self.norm(z), there

    def forward(self, x: Tensor) -> Tensor:
        return pooled(*self.hidden(x))


def _positions() -> Tensor:
    """(24, 32): sines, then cosines. The release divides the exponents by 2 where its source
    multiplies them, so that the slowest period is 2π · 10 steps."""
    exponent = torch.arange(PART // 2, dtype=torch.float64) / PART / 2
    angle = torch.arange(LONGEST)[:, None] / 10_000**exponent
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


def _pixel(kernel: Tensor) -> Tensor:
    """(D, C, 8, 8) → (D, C): what the release makes of a kernel for patches of a pixel.

    It is the kernel that does to a pixel what the large one does to the pixel's enlargement, by the
    pseudo-inverse of how torch shrinks an image (Beyer et al. 2023, FlexiViT, arXiv 2212.08013).
    """
    pixels = kernel.shape[-2] * kernel.shape[-1]
    one_each = torch.eye(pixels, dtype=kernel.dtype).reshape(pixels, 1, *kernel.shape[-2:])
    shrunk = nn.functional.interpolate(one_each, (1, 1), mode="bicubic", antialias=True).flatten()
    return kernel.flatten(2) @ (shrunk / shrunk.square().sum())


def _own(state: Mapping[str, Tensor], net: Galileo) -> dict[str, Tensor]:
    """The values of the release by our names, as far as a net has them."""
    found = {}
    channels = {name: state[key][i] for key, names in ROWS.items() for i, name in enumerate(names)}
    for key in net.state_dict():
        first, _, rest = key.partition(".")
        if first == "channel":
            found[key] = torch.stack([channels[name] for name in net.embed])
        elif first == "place_channel":
            found[key] = state["st_channel_embed"][1]
        elif first == "place":
            found[key] = state[f"static_embed.location.{rest}"]
        elif first == "embed":
            name, part = rest.split(".")
            if name == "ERA5":
                found[key] = state[f"time_embed.ERA5.{part}"]
            else:
                values = state[f"{PROJECTIONS[name]}.{name}.proj.{part}"]
                found[key] = _pixel(values) if part == "weight" else values
        elif "qkv" in rest:
            found[key] = torch.cat([state[rest.replace("qkv", f"attn.{one}")] for one in "qkv"])
        elif first == "transformer":
            found[key] = state[rest.replace("proj", "attn.proj").replace("fc", "mlp.fc")]
        else:
            found[key] = state[key]
    return found


def _file(options: Mapping[str, Any], fetch: bool) -> Path | None:
    named = options.get("weights", "nano")
    return None if named is None else files.found_file(named, FILES, fetch=fetch)


def build(
    spec: ModalitySpec,
    *,
    weights: str | None = "nano",
    bands: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> nn.Module:
    """weights: nano for the published ones, the path of a file, or none for random ones.
    bands: band (B8, VV, temperature_2m, …) → channel that is called otherwise. ignore: channels
    that are not seen.
    """
    net = Galileo(pixels(NAME, spec, {"bands": bands, "ignore": ignore}))
    if weights is not None:
        load(net, NAME, partial(_file, {"weights": weights}, False), _own)
    return net


def _statistics(spec: ModalitySpec, options: Mapping[str, Any]) -> Statistics:
    return statistics(NAME, spec, options, SCALE)


register(
    Backbone(
        *(NAME, ("series", "vector"), build, "Galileo (nano), pre-trained on many sensors."),
        statistics=_statistics,
        weights=_file,
        random={"weights": None},
        context=True,
    )
)
