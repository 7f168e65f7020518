"""Encoders E_m: x_m → z_m, registered by name for kinds of modalities, and their factory."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError, unknown
from benchmark.plugins import Registry, file_at_hand
from benchmark.problem import ModalityKind, ModalitySpec
from methods.common.weights import WeightsError


class Dropout(nn.Dropout):
    """Dropout with 16 random bits an element: p to within 2^-17, its scale exact for that p.

    torch draws one number of its generator for each element, which on a CPU costs as much as a
    convolution; here one draw serves four. x must be dense in memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x, or in training mode x with about p of its elements 0 and the others scaled up."""
        if not self.training or self.p in (0, 1):
            return super().forward(x)
        draws = x.new_empty(self.draws(x.numel()), dtype=torch.int64)
        self.draw_(draws)
        kept = self.kept(draws)[: x.numel()]
        return x * kept.as_strided(x.size(), x.stride())

    @staticmethod
    def draws(n: int) -> int:
        """How many numbers are drawn for ``n`` elements."""
        return -(-n // 4)

    @staticmethod
    def draw_(draws: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw all bits of ``draws``, 64-bit integers."""
        draws.random_(-(2**63), None, generator=generator)

    def kept(self, draws: Tensor) -> Tensor:
        """(..., D) draws → (..., 4D) factors of the elements, 0 or the scale, in their order.

        The draws are overwritten: less than half the time of a mask of truth values.
        """
        dropped = round(self.p * 2**16)
        bits = draws.view(torch.int16)
        return (
            bits.ge_(dropped - 2**15).to(torch.get_default_dtype()).mul_(2**16 / (2**16 - dropped))
        )


class TemporalConvolution(nn.Conv2d):
    """Convolution over time of series as images one pixel high: (B, C, 1, T) → (B, width, 1, T).

    Its weights are (width, 1, kernel, C), so that they lie in memory with the channels last, where
    the convolution wants them, and are contiguous all the same, as the optimiser wants them.
    """

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__(channels, width, (1, kernel), padding=(0, kernel // 2))
        self.weight = nn.Parameter(self.weight.detach().permute(0, 2, 3, 1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 1, T) → (B, width, 1, T), best with the channels of x last in memory."""
        return F.conv2d(x, self.weight.permute(0, 3, 1, 2), self.bias, padding=self.padding)


class TempCNN(nn.Module):
    """Temporal convolutions without pooling over time: (B, T, ...) → (B, dense).

    Source: Pelletier, Webb, Petitjean 2019, Remote Sensing 11(5):523. Three convolutional blocks
    as in the releases of Mena et al.: their configurations say ``n_layers: 2``, a value that never
    reaches the network. A series of windows (B, T, H, W, C) is flattened at each time step.

    To torch a series is an image one pixel high with its channels last in memory, as the input
    comes, and the dense layer takes it in that order: a step needs three quarters of the time that
    one-dimensional layers need, and nothing is ever transposed.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: int = 128,
        blocks: int = 3,
        kernel: int = 5,
        dense: int = 512,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        steps, channels = shape[0], int(torch.Size(shape[1:]).numel())
        layers: list[nn.Module] = []
        for _ in range(blocks):
            layers += [
                TemporalConvolution(channels, width, kernel),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                Dropout(dropout),
            ]
            channels = width
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * steps, dense),
            nn.BatchNorm1d(dense),
            nn.ReLU(),
            Dropout(dropout),
        )
        self.out_features = dense

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) or (B, T, H, W, C) → (B, dense)."""
        z = self.convolutions(x.flatten(2).transpose(1, 2).unsqueeze(2))
        return self.dense(z.squeeze(2).transpose(1, 2))


class VectorMLP(nn.Sequential):
    """Multi-layer perceptron for static vectors: (B, C) → (B, width).

    Each layer is Linear, ReLU, BatchNorm, Dropout, in the order of the releases of Mena et al.
    """

    def __init__(
        self, shape: tuple[int, ...], *, width: int = 128, layers: int = 2, dropout: float = 0.2
    ) -> None:
        channels, parts = shape[0], []
        for _ in range(layers):
            parts += [
                nn.Linear(channels, width),
                nn.ReLU(),
                nn.BatchNorm1d(width),
                nn.Dropout(dropout),
            ]
            channels = width
        super().__init__(*parts)
        self.out_features = width


class TimmImage(nn.Module):
    """A timm model without its classifier: (B, H, W, C) → (B, features).

    A model that is made for images of one size is made for those of this size, where timm can.

    model: a name that timm knows, with its tag where the weights matter: "resnet50.tv2_in1k".
    pretrained: start from the weights that timm publishes for it, which `pretrained_problem` has
        put into the local cache; timm adapts their first convolution to the number of bands.

    Raises `UserError` for a model that timm does not know or that cannot take such images, and if
    the weights are wanted and not in the cache: building an encoder never downloads, and never
    falls back to random weights.
    """

    def __init__(self, shape: tuple[int, ...], *, model: str, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        overlay = {}
        repository = _repository(model)
        if pretrained:
            file = _cached_weights(repository)
            if file is None:
                raise UserError(
                    f"the pretrained weights of '{model}' are not on this machine; run once with "
                    "access to them, or set pretrained: false in the protocol"
                )
            overlay = {"file": file}
        sized, self.out_features = _fitting(model, shape)
        self.net = timm.create_model(
            model,
            pretrained=pretrained,
            pretrained_cfg_overlay=overlay,
            num_classes=0,
            in_chans=shape[-1],
            **sized,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) → (B, features)."""
        return self.net(x.permute(0, 3, 1, 2).contiguous())


@lru_cache
def _fitting(model: str, shape: tuple[int, ...]) -> tuple[dict[str, Any], int]:
    """Keyword arguments with which a timm model takes images of a shape, and its output's width.

    Only a forward pass tells: ``num_features`` is another number for many models, and some that
    are said to be of a fixed size take any. It is made by a net of its own, without the numbers
    that are drawn for others.
    """
    import timm

    published = timm.get_pretrained_cfg(model)
    choices: list[dict[str, Any]] = [{}]
    if published and published.fixed_input_size:
        choices.append({"img_size": shape[:2]})
    problem = ""
    for sized in choices:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
            try:
                net = timm.create_model(model, num_classes=0, in_chans=shape[-1], **sized).eval()
                output = net(torch.zeros(1, shape[-1], *shape[:2]))
            except Exception as error:  # whatever timm's models make of a size that is not theirs
                if not (problem and isinstance(error, TypeError)):  # it takes no img_size
                    problem = str(error).strip().partition("\n")[0] or type(error).__name__
                continue
        if output.dim() == 2:
            return sized, output.shape[1]
        problem = f"its features have the shape {tuple(output.shape)} instead of (1, width)"
    height, width = shape[:2]
    raise UserError(f"timm model '{model}' does not encode {height} × {width} images: {problem}")


WEIGHTS = "model.safetensors"
"""The only file that is ever loaded from outside: safetensors hold arrays and nothing else."""

PROBE_TIMEOUT = 5.0
"""Seconds to wait for an answer about pretrained weights; their download may then take longer."""


def pretrained_problem(model: str) -> str | None:
    """Why the pretrained weights of a timm model cannot be had, or None once they are in the cache.

    One short question is asked before anything is downloaded, so that a machine without network
    learns it at once. Raises `UserError` for a model that timm does not know.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    repository = _repository(model)
    if repository is None:
        return f"timm publishes no weights of '{model}'"
    if _cached_weights(repository):
        return None
    try:
        get_hf_file_metadata(hf_hub_url(repository, WEIGHTS), timeout=PROBE_TIMEOUT)
        hf_hub_download(repository, WEIGHTS)
    except Exception as error:  # network errors are of other classes in every version of the hub
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"{repository} cannot be downloaded ({reason})"
    return None


def _repository(model: str) -> str | None:
    """Where timm publishes the weights of a model, or None if it publishes none."""
    import timm

    # The lists are long, and every encoder that is built comes here.
    tagged = "." in model
    if not (timm.models.is_model_pretrained(model) if tagged else timm.is_model(model)):
        known = {*timm.list_models(), *timm.list_pretrained(), *BACKBONES}
        raise unknown("timm model", model, known)
    published = timm.get_pretrained_cfg(model)
    return (published and published.hf_hub_id) or None


def _cached_weights(repository: str | None) -> str | None:
    """The weights' file in the local cache, without asking any network."""
    from huggingface_hub import try_to_load_from_cache

    found = repository and try_to_load_from_cache(repository, WEIGHTS)
    return found if isinstance(found, str) else None


def _timm_weights(options: Mapping[str, Any], fetch: bool) -> Path | None:
    """As `Backbone.weights`."""
    if not options.get("pretrained"):
        return None
    model = options["model"]
    if fetch and (problem := pretrained_problem(model)):
        raise WeightsError(problem)
    file = _cached_weights(_repository(model))
    return Path(file) if file else None


KINDS: tuple[str, ...] = get_args(ModalityKind)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]{0,99}")

MODEL, PLUGIN, FROZEN, SHA256 = "model", "plugin", "frozen", "sha256"
CONTEXT = "context"
"""Options that are not the backbone's: its name, the hash of a plug-in's code, whether its weights
stay as they are, the sha256 of the file that they come from, and whether, or by which hash, it is
given the months and the places that a dataset knows."""

OF_ALL = (PLUGIN, FROZEN, SHA256, CONTEXT)

Statistics = tuple[np.ndarray, np.ndarray]
"""Mean and standard deviation (C,) by which the channels of a modality are standardised."""


def _no_statistics(spec: ModalitySpec, options: Mapping[str, Any]) -> Statistics | None:
    return None


def _no_weights(options: Mapping[str, Any], fetch: bool) -> Path | None:
    return None


@dataclass(frozen=True)
class Backbone:
    """What encodes a kind of modality before the projection to D: an entry of `BACKBONES`.

    name: what a protocol calls it: ``series: {model: NAME, ...}``. kinds: of modalities that it
    takes. build: spec and keyword-only options with defaults → module (B, *spec.shape) → (B,
    ``out_features``), which has this attribute. summary: one sentence for ``list encoders``.
    statistics: spec, options → the statistics that its weights were trained with, in the
    modality's units, NaN for channels that it does not see; None for those of the training part.
    Raises `UserError` if the weights are not for such a modality. weights: options → the file that
    its weights come from, None for random ones; with ``fetch`` it is brought onto this machine.
    Raises `methods.common.weights.WeightsError`. random: the options that make them random.
    context: whether it makes something of the month and the place of a sample, given as channels
    (`benchmark.problem.CONTEXT`) of the modality where the dataset knows them.
    plugin: the plug-in file that registered it; `register` says so, not the entry.
    """

    name: str
    kinds: tuple[ModalityKind, ...]
    build: Callable[..., nn.Module]
    summary: str
    plugin: Path | None = None
    statistics: Callable[[ModalitySpec, Mapping[str, Any]], Statistics | None] = _no_statistics
    weights: Callable[[Mapping[str, Any], bool], Path | None] = _no_weights
    random: Mapping[str, Any] = field(default_factory=dict)
    context: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and NAME.fullmatch(self.name)):
            raise UserError(
                f"an encoder cannot have the name {self.name!r:.120}: use letters, digits and _.+-/"
            )
        if not (isinstance(self.kinds, tuple) and self.kinds and {*self.kinds} <= {*KINDS}):
            raise UserError(
                f"encoder '{self.name}': kinds cannot be {self.kinds!r:.80}; give a tuple of one "
                f"or more of {', '.join(KINDS)}"
            )
        if taken := {*OF_ALL} & self.options.keys():
            raise UserError(
                f"encoder '{self.name}': {' and '.join(sorted(taken))} cannot be settings of its "
                "own: they say the same of every encoder"
            )

    @property
    def options(self) -> dict[str, Any]:
        """Its options with their defaults; `inspect.Parameter.empty` where there is none."""
        parameters = inspect.signature(self.build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise `UserError` for an option that it does not have."""
        parameters = inspect.signature(self.build).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return
        for name in options:
            if name not in self.options:
                raise unknown("setting", name, {*self.options, MODEL})


BACKBONES: Registry[Backbone] = Registry("encoder")


def register(backbone: Backbone) -> Backbone:
    """Make a backbone known by its name. Raises `UserError` for a name that is taken."""
    return BACKBONES.add(backbone.name, replace(backbone, plugin=file_at_hand()))


def _of_shape(backbone: type[nn.Module]) -> Callable[..., nn.Module]:
    """What builds a backbone that needs to know of a modality its shape alone."""

    @wraps(backbone, updated=())
    def build(spec: ModalitySpec, **options: Any) -> nn.Module:
        return backbone(spec.shape, **options)

    return build


register(
    Backbone("tempcnn", ("series",), _of_shape(TempCNN), "Temporal convolutions without pooling.")
)
register(Backbone("mlp", ("vector",), _of_shape(VectorMLP), "Multi-layer perceptron."))
register(
    Backbone(
        *("timm", ("image",), _of_shape(TimmImage), "Any model of timm, by its name there."),
        weights=_timm_weights,
        random={"pretrained": False},
    )
)
UNNAMED = {"series": "tempcnn", "vector": "mlp", "image": "timm"}
"""The backbone of a kind for which a protocol names none of `BACKBONES`."""


def backbone_of(kind: str, options: Mapping[str, Any]) -> tuple[Backbone, dict[str, Any]]:
    """The backbone that the options of a kind name, and those options that are its own.

    Raises `UserError` for a name that nothing has, and for a backbone of other kinds.
    """
    own = {k: value for k, value in options.items() if k not in OF_ALL}
    backbone = BACKBONES[UNNAMED[kind]]
    named = own.get(MODEL)
    if isinstance(named, str) and named in BACKBONES:
        backbone = BACKBONES[own.pop(MODEL)]
    elif named is not None and MODEL not in backbone.options:
        raise unknown(f"encoder of {kind}", str(named), _of_kind(kind))
    if kind not in backbone.kinds:
        raise UserError(
            f"'{backbone.name}' encodes {' and '.join(backbone.kinds)}, not {kind}; encoders of "
            f"{kind}: {', '.join(_of_kind(kind))}"
        )
    return backbone, own


def _of_kind(kind: str) -> list[str]:
    return sorted(name for name, backbone in BACKBONES.items() if kind in backbone.kinds)


def build_backbone(spec: ModalitySpec, options: Mapping[str, Any]) -> nn.Module:
    """The backbone that options name, for a modality: (B, *spec.shape) → (B, out_features)."""
    backbone, own = backbone_of(spec.kind, options)
    return backbone.build(spec, **own)


class Features(nn.Identity):
    """Takes the place of a frozen backbone where its features are given: (B, F) → (B, F)."""

    def __init__(self, spec: ModalitySpec) -> None:
        super().__init__()
        (self.out_features,) = spec.shape


class Encoder(nn.Sequential):
    """Backbone, linear projection to D and, if wanted, LayerNorm: x_m → z_m (B, D)."""

    def __init__(self, backbone: nn.Module, dim: int, layer_norm: bool) -> None:
        norm = nn.LayerNorm(dim) if layer_norm else nn.Identity()
        super().__init__(backbone, nn.Linear(backbone.out_features, dim), norm)


class Encoders:
    """Encoder factory of a protocol (`methods.common.contract.EncoderFactory`).

    options: kind of modality → name ("model") and keyword arguments of its backbone, as
        `backbone_of` takes them. modalities: the same by name, for those that have others than
        their kind. One that is frozen is given as its backbone's features, a vector.
    dim: D, the size of z_m. layer_norm: whether z_m is normalised unless a method decides.
    """

    def __init__(
        self,
        *,
        dim: int,
        layer_norm: bool,
        options: Mapping[str, Mapping[str, Any]],
        modalities: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self.dim = dim
        self.layer_norm = layer_norm
        self.options = options
        self.modalities = modalities

    def __call__(self, spec: ModalitySpec, *, layer_norm: bool | None = None) -> Encoder:
        """A freshly initialised encoder for ``spec``."""
        options = self._options(spec)
        given = Features(spec) if options.get(FROZEN) else build_backbone(spec, options)
        norm = self.layer_norm if layer_norm is None else layer_norm
        return Encoder(given, self.dim, norm)

    def statistics(self, spec: ModalitySpec) -> Statistics | None:
        """By what ``spec`` is standardised for the weights of its encoder, as `Backbone` says."""
        backbone, own = backbone_of(spec.kind, self._options(spec))
        return backbone.statistics(spec, own)

    def _options(self, spec: ModalitySpec) -> Mapping[str, Any]:
        return self.modalities.get(spec.name, self.options.get(spec.kind, {}))
