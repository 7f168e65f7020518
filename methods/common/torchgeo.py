"""Encoders of images with weights that were trained on Earth observation: those of torchgeo.

A protocol names them: ``image: {model: torchgeo/resnet50, weights: SENTINEL2_ALL_MOCO}``.

What the weights expect is done as torchgeo's transforms say it. Bands are found by name
(`methods.common.bands`). Values are brought to the weights' units where one factor does it
(reflectances × 10⁴ from reflectances), and are refused otherwise (power for decibels); then they
are standardised by the weights' own statistics in the place of the training part's, and resized.
Two things differ: an image is resized as a whole to the size that torchgeo crops from the middle of
a larger one, so that nothing of a patch is cut away; and a missing value, like a band that nothing
stands for, is 0 after all that, the weights' mean.

DOFA (Xiong et al. 2024, arXiv 2403.15356), Panopticon (Waldmann et al. 2025, arXiv 2503.10845),
Copernicus-FM (Wang et al. 2025, arXiv 2503.11849) and CROMA (Fuller, Millard, Green 2023, arXiv
2311.00566) come without statistics: they are given what is standardised by those of the data at
hand, here the training part's. CROMA then maps mean ± 2 standard deviations to 0 to 1, and clips,
as its authors do. Copernicus-FM takes place, date and area as unknown, for which it has tokens.
Without weights DOFA and Copernicus-FM start with the sines and cosines of a patch's place that
their authors set; torchgeo leaves them at 0, and they are never learnt.

The library is `torchgeo`; it is imported when such an encoder is planned or built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError, unknown
from benchmark.problem import ModalitySpec
from methods.common import weights as files
from methods.common.bands import RADAR, WAVELENGTHS, canonical, factor, match
from methods.common.encoders import Backbone, register

PREFIX = "torchgeo/"

TIMM = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "resnet152": "ResNet-152",
    "vit_small_patch16_224": "ViT-S/16",
    "vit_base_patch16_224": "ViT-B/16",
    "vit_large_patch16_224": "ViT-L/16",
    "vit_huge_patch14_224": "ViT-H/14",
    "vit_small_patch14_dinov2": "ViT-S/14",
    "vit_base_patch14_dinov2": "ViT-B/14",
}
SWIN = {"swin_v2_t": "Swin v2 Tiny", "swin_v2_b": "Swin v2 Base"}
DOFA = {
    "dofa_base_patch16_224": "DOFA Base, for any bands of known wavelength",
    "dofa_large_patch16_224": "DOFA Large, for any bands of known wavelength",
}
CROMA = {
    "croma_base": "CROMA Base, its radar or its optical encoder",
    "croma_large": "CROMA Large, its radar or its optical encoder",
}

PANOPTICON = {"panopticon_vitb14": "Panopticon, for any bands of known wavelength"}
COPERNICUS = {
    "copernicusfm_base": "Copernicus-FM Base, for any bands of known wavelength and width"
}

STEPS = {
    **dict.fromkeys(CROMA, 8),
    **dict.fromkeys(PANOPTICON, 14),
    **dict.fromkeys(COPERNICUS, 16),
}
"""Pixels along a side of one patch of a model, of which images of any size are made."""

FIXED = {*DOFA, *(name for name in TIMM if name.startswith("vit"))}
"""Models whose positions are those of one size of image."""

UNITS = {
    ("SSL4EO-S12", "SENTINEL2"): "reflectance × 10⁴",
    ("SSL4EO-S12", "SENTINEL1"): "dB",
    ("SSL4EO-L", "LANDSAT"): "counts, 0 to 255",
    ("SeCo Dataset", "SENTINEL2"): "counts, 0 to 255",
    ("SSL4Eco Dataset", "SENTINEL2"): "reflectance × 10⁴",
    ("CrisisLandMark", "SENTINEL2"): "reflectance × 10⁴",
    ("fMoW Dataset", "FMOW"): "counts, 0 to 255",
    ("SatlasPretrain", "NAIP"): "counts, 0 to 255",
    ("SatlasPretrain", "SENTINEL1"): "counts, 0 to 255",
}
"""(what weights were trained on, first word of their name) → units, as those data have them.

Not in it are those whose units are not said, or differ from band to band.
"""

COLOUR_PICTURES = ("SENTINEL2_MI_RGB_SATLAS", "SENTINEL2_SI_RGB_SATLAS")
"""Of three bands of Sentinel-2, as pictures."""

CROMA_OPTICAL = tuple(name for name in WAVELENGTHS if name[0] == "B" and name != "B10")

RADAR_FREQUENCY = 5.405
"""What DOFA's authors give for both polarisations of Sentinel-1 in the place of a wavelength."""

COPERNICUS_BANDS = {
    **{"B1": (0.440, 0.020), "B2": (0.490, 0.065), "B3": (0.560, 0.035), "B4": (0.665, 0.030)},
    **{"B5": (0.705, 0.015), "B6": (0.740, 0.015), "B7": (0.783, 0.020), "B8": (0.842, 0.115)},
    **{"B8A": (0.860, 0.020), "B9": (0.940, 0.020), "B10": (1.370, 0.030)},
    **{"B11": (1.610, 0.090), "B12": (2.190, 0.180)},
    **{"red": (0.665, 0.030), "green": (0.560, 0.035), "blue": (0.490, 0.065)},
}
"""Centre and width of bands in µm as Copernicus-FM was trained with them: it knows them to nm."""

COPERNICUS_RADAR = (5e4, 1e6)
"""The same of Sentinel-1, for both polarisations."""

HEADS = ("fc.", "head.", "norm.", "fc_norm.")
"""Of what a file may have more, or less, than an encoder: torchgeo allows the same."""


class TorchgeoImage(nn.Module):
    """A model of torchgeo without its classifier: (B, H, W, C) → (B, out_features).

    index: for each band that the model sees the number of the channel, or None for 0.
    gain, shift: of each band, where two see one channel by other statistics.
    size: of the images that the model sees, or None for that which they have.
    """

    def __init__(
        self,
        net: nn.Module,
        width: int,
        index: Sequence[int | None],
        size: int | None,
        gain: np.ndarray | None = None,
        shift: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.net, self.out_features, self.size = net, width, size
        there = np.array([i is not None for i in index], dtype=np.float32)
        gain = there if gain is None else there * gain
        shift = np.zeros_like(there) if shift is None else there * shift
        self.index = [0 if i is None else i for i in index]
        for name, values in (("gain", gain), ("shift", shift)):
            buffer = torch.tensor(values, dtype=torch.float32)[:, None, None]
            self.register_buffer(name, buffer, persistent=False)  # not learnt: of the protocol
        self.plain = bool((gain == 1).all() and (shift == 0).all())

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) standardised → (B, out_features)."""
        x = x.permute(0, 3, 1, 2)[:, self.index].contiguous()
        if not self.plain:
            x = x * self.gain + self.shift
        if self.size is not None and x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return self.net(x)


class DofaFeatures(nn.Module):
    """DOFA's pooled features of bands of given wavelengths, in micrometres."""

    def __init__(self, model: nn.Module, wavelengths: Sequence[float]) -> None:
        super().__init__()
        self.model, self.wavelengths = model, list(wavelengths)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, size, size) standardised → (B, features)."""
        return self.model.forward_features(x, self.wavelengths)


class PanopticonFeatures(nn.Module):
    """Panopticon's class token of channels by their wavelengths in nm, or negative numbers."""

    def __init__(self, model: nn.Module, channels: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("channels", torch.tensor(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, size, size) standardised → (B, features)."""
        channels = self.channels.repeat(x.shape[0], 1)  # torchgeo writes into them
        return self.model({"imgs": x, "chn_ids": channels})


class CopernicusFeatures(nn.Module):
    """Copernicus-FM's pooled features of bands of given centres and widths, in nm."""

    def __init__(self, model: nn.Module, centres: Sequence[float], widths: Sequence[float]) -> None:
        super().__init__()
        self.model, self.centres, self.widths = model, list(centres), list(widths)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, size, size) standardised → (B, features)."""
        unknown_place = x.new_full((x.shape[0], 4), math.nan)
        return self.model.forward_features(x, unknown_place, self.centres, self.widths)


class CromaFeatures(nn.Module):
    """The pooled features of one of CROMA's two encoders of single sensors."""

    def __init__(self, model: nn.Module, sensor: str) -> None:
        super().__init__()
        self.model, self.sensor = model, sensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, size, size) standardised → (B, features)."""
        x = ((x + 2) / 4).clamp(0, 1)
        return self.model(**{f"x_{self.sensor}": x})[f"{self.sensor}_GAP"]


def _library() -> Any:
    try:
        import torchgeo.models
    except ImportError as error:
        raise UserError(f"encoders of torchgeo need it: pip install torchgeo ({error})") from error
    return torchgeo.models


def _entry(name: str, weights: str) -> Any:
    """What torchgeo knows of some weights: address, transforms and meta data."""
    library = _library()
    try:
        entries = {entry.name: entry for entry in library.get_model_weights(name)}
    except KeyError:
        entries = {}
    if weights not in entries:
        raise unknown(f"weights of {PREFIX}{name}", str(weights), entries)
    return entries[weights]


def _units(entry: Any) -> str | None:
    """In which units weights expect the values of a modality; None if nobody says."""
    if entry.name in COLOUR_PICTURES:
        return "counts, 0 to 255"
    if "NDVI" in _bands(entry):
        return None
    return UNITS.get((entry.meta.get("dataset"), entry.name.partition("_")[0]))


def _bands(entry: Any) -> list[str]:
    """The bands that weights see, in their order."""
    bands = entry.meta.get("bands")
    if bands is None and entry.meta.get("in_chans") == 3:
        return ["R", "G", "B"]
    return list(bands or ())


def _transforms(entry: Any) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Mean and standard deviation of each band, and the size of images, of torchgeo's transforms.

    Several normalisations in a row are one. Raises `UserError` for transforms of other kinds.
    """
    n = len(_bands(entry))
    mean, std, size = np.zeros(n), np.ones(n), None
    transforms = entry.transforms
    for step in transforms if isinstance(transforms, nn.Sequential) else [transforms]:
        kind = type(step).__name__
        if kind == "Normalize":
            mean = mean + std * np.asarray(step.mean, dtype=float)
            std = std * np.asarray(step.std, dtype=float)
        elif kind in ("Resize", "CenterCrop"):
            size = int(step.size[0] if isinstance(step.size, Sequence) else step.size)
        elif kind != "Identity":
            raise UserError(f"weights {entry.name}: what {kind} does to images is not known here")
    return mean, std, size


def _matched(
    name: str, spec: ModalitySpec, weights: str, options: Mapping[str, Any]
) -> tuple[Any, list[int | None], np.ndarray, np.ndarray]:
    """Weights with bands of their own: entry, channel of each band, its mean and spread.

    Mean and spread are in the modality's units. Raises `UserError` for bands that are not matched
    and units that are not the weights'.
    """
    entry = _entry(name, weights)
    bands, wanted = _bands(entry), _units(entry)
    if wanted is None:
        raise UserError(
            f"weights {weights}: torchgeo does not say in which units their bands are, or these "
            "differ from band to band"
        )
    by_name = not weights.startswith("LANDSAT")
    chosen, ignored = options.get("bands") or {}, options.get("ignore") or ()
    index = match(spec, bands, chosen, ignored, by_name=by_name)
    times = factor(spec.units, wanted)
    if times is None:
        raise UserError(
            f"{spec.name} is in '{spec.units}', and the weights {weights} were trained on values "
            f"in {wanted}: no factor makes one of the other"
        )
    mean, std, _ = _transforms(entry)
    return entry, index, mean / times, std / times


def _statistics(
    name: str, spec: ModalitySpec, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and spread (C,) by which the channels are standardised; NaN for those not seen."""
    weights = options.get("weights")
    if weights is None:
        return None
    _, index, means, stds = _matched(name, spec, weights, options)
    mean, std = np.full((2, len(spec.channels)), np.nan)
    for channel, m, s in reversed(list(zip(index, means, stds, strict=True))):
        if channel is not None:  # the first band that sees a channel decides
            mean[channel], std[channel] = m, s
    return mean, std


def _file(name: str, options: Mapping[str, Any], fetch: bool) -> Path | None:
    weights = options.get("weights")
    return None if weights is None else files.hub_file(_entry(name, weights).url, fetch=fetch)


def _state(name: str, weights: str) -> dict[str, Any]:
    try:
        return files.read(_file(name, {"weights": weights}, fetch=False))
    except files.WeightsError as error:
        raise UserError(
            f"the weights {weights} of '{PREFIX}{name}' are not on this machine ({error}); run "
            "once with access to them, or set weights: null in the protocol for random ones"
        ) from error


def _load(net: nn.Module, state: Mapping[str, Any], what: str) -> None:
    """Put weights into a net; what a classifier has more or less does not count."""
    try:
        missing, unexpected = net.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _other_model(what, reason) from error
    other = [key for key in (*missing, *unexpected) if not key.startswith(HEADS)]
    if other:
        raise _other_model(what, other[0])


def _other_model(weights: str, reason: str) -> UserError:
    return UserError(f"the file of the weights {weights} holds those of another model ({reason})")


def _size(name: str, size: Any, default: int | None, fixed: bool) -> int | None:
    """The size of images that a model sees."""
    step = STEPS.get(name, 1)
    whole = size is None or (isinstance(size, int) and not isinstance(size, bool))
    if not whole or (size is not None and (size < 8 or size % step)):
        raise UserError(f"size: {size} is no number of pixels, from 8 on, that {step} divides")
    if fixed and size not in (None, default):
        raise UserError(f"'{PREFIX}{name}' with weights sees images of {default} pixels only")
    return default if size is None else size


def _plain(
    name: str, spec: ModalitySpec, weights: str | None, size: int | None, options: dict[str, Any]
) -> nn.Module:
    """Models that see the bands of their weights, and without weights all that is not ignored."""
    library = _library()
    ignored = options.get("ignore") or ()
    index: list[int | None] = [i for i, c in enumerate(spec.channels) if c not in ignored]
    gain = shift = None
    fixed = name in FIXED
    default = 224 if fixed else None
    if weights is not None:
        entry, index, means, stds = _matched(name, spec, weights, options)
        default = default or _transforms(entry)[2]
        mean, std = _statistics(name, spec, {**options, "weights": weights})
        channel = [0 if i is None else i for i in index]
        gain, shift = std[channel] / stds, (mean[channel] - means) / stds
        gain, shift = np.nan_to_num(gain), np.nan_to_num(shift)
    size = _size(name, size, default, fixed and weights is not None)
    build, bands = getattr(library, name), len(index)
    if name in SWIN:
        net = build()
        first = net.features[0][0]
        net.features[0][0] = nn.Conv2d(
            bands, first.out_channels, first.kernel_size, stride=first.stride
        )
        width, net.head = net.head.in_features, nn.Identity()
    else:
        net = build(in_chans=bands, num_classes=0, **({"img_size": size} if fixed else {}))
        width = net.num_features
    if weights is not None:
        _load(net, _state(name, weights), weights)
    return TorchgeoImage(net, width, index, size, gain, shift)


def _seen(spec: ModalitySpec, options: Mapping[str, Any]) -> list[int]:
    """Numbers of the channels that a model for any sensor sees: those that are not ignored."""
    ignored = options.get("ignore") or ()
    if isinstance(ignored, str):
        raise UserError("ignore is a list of channels")
    _check_channels(spec, ignored)
    index = [number for number, channel in enumerate(spec.channels) if channel not in ignored]
    if not index:
        raise UserError(f"ignore leaves no channel of {spec.name}")
    return index


def _check_channels(spec: ModalitySpec, names: Iterable[str]) -> None:
    for channel in names:
        if channel not in spec.channels:
            own = ", ".join(spec.channels)
            raise UserError(f"'{channel}' is no channel of {spec.name} ({own})")


def _micrometres(
    name: str,
    spec: ModalitySpec,
    index: Sequence[int],
    options: Mapping[str, Any],
    setting: str,
    optical: Mapping[str, float],
    radar: Mapping[str, float],
) -> list[float]:
    """What a setting, "wavelengths" or "bandwidths", says of the channels at ``index``, in µm.

    Or, where it says nothing, what is known by the names of bands. radar: what the model takes in
    its place, by polarisation.
    """
    given = options.get(setting) or {}
    if not isinstance(given, Mapping):
        raise UserError(f"{setting} is a mapping {{channel: µm}}")
    _check_channels(spec, given)
    found = []
    for channel in (spec.channels[number] for number in index):
        known = canonical(channel)
        value = given.get(channel, optical.get(known))
        if value is None and known in radar:
            _need_decibels(spec)
            found.append(radar[known])
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise UserError(
                f"'{PREFIX}{name}' must know the {setting.removesuffix('s')} of {channel} of "
                f"{spec.name} in µm: {setting}: {{{channel}: {EXAMPLES[setting]}}}, or "
                f"ignore: [{channel}]"
            )
        found.append(float(value))
    return found


EXAMPLES = {"wavelengths": 0.81, "bandwidths": 0.1}


def _set_places(net: nn.Module) -> None:
    """Tell the patches of a new DOFA or Copernicus-FM apart; the class token has no place."""
    from timm.layers import build_sincos2d_pos_embed

    side, width = math.isqrt(net.num_patches), net.pos_embed.shape[2]
    net.pos_embed.data[0, 1:] = build_sincos2d_pos_embed([side, side], width)


def _dofa(
    name: str, spec: ModalitySpec, weights: str | None, size: int | None, options: dict[str, Any]
) -> nn.Module:
    index = _seen(spec, options)
    radar = dict.fromkeys(RADAR, RADAR_FREQUENCY)
    waves = _micrometres(name, spec, index, options, "wavelengths", WAVELENGTHS, radar)
    size = _size(name, size, 224, weights is not None)
    net = getattr(_library(), name)(num_classes=0, img_size=size)
    if weights is None:
        _set_places(net)
    else:
        _load(net, _state(name, weights), weights)
    return TorchgeoImage(DofaFeatures(net, waves), net.embed_dim, index, size)


def _panopticon(
    name: str, spec: ModalitySpec, weights: str | None, size: int | None, options: dict[str, Any]
) -> nn.Module:
    index = _seen(spec, options)
    radar = {"VV": -1.0, "VH": -2.0}  # of an orbit that is not known
    waves = _micrometres(name, spec, index, options, "wavelengths", WAVELENGTHS, radar)
    size = _size(name, size, 224, False)
    net = getattr(_library(), name)(img_size=size).model
    if weights is not None:
        from torchgeo.models.copernicusfm import resize_abs_pos_embed

        state = {k: v for k, v in _state(name, weights).items() if k != "mask_token"}
        trained = state.get("pos_embed")
        if not isinstance(trained, Tensor):
            raise _other_model(weights, "no pos_embed")
        patches = math.isqrt(trained.shape[1] - 1)
        state["pos_embed"] = resize_abs_pos_embed(trained, size // STEPS[name], patches)
        _load(net, state, weights)
    ids = [wave if wave < 0 else 1000 * wave for wave in waves]  # nanometres
    return TorchgeoImage(PanopticonFeatures(net, ids), net.num_features, index, size)


def _copernicus(
    name: str, spec: ModalitySpec, weights: str | None, size: int | None, options: dict[str, Any]
) -> nn.Module:
    index = _seen(spec, options)
    known = [{band: pair[part] for band, pair in COPERNICUS_BANDS.items()} for part in (0, 1)]
    nanometres = []
    for part, setting in enumerate(("wavelengths", "bandwidths")):
        radar = dict.fromkeys(RADAR, COPERNICUS_RADAR[part])
        found = _micrometres(name, spec, index, options, setting, known[part], radar)
        nanometres.append([1000 * value for value in found])
    size = _size(name, size, 224, False)
    net = getattr(_library(), name)(num_classes=0)  # adapts its positions to the size it is given
    if weights is None:
        _set_places(net)
    else:
        _load(net, _state(name, weights), weights)
    width = net.cls_token.shape[-1]
    return TorchgeoImage(CopernicusFeatures(net, *nanometres), width, index, size)


def _croma(
    name: str, spec: ModalitySpec, weights: str | None, size: int | None, options: dict[str, Any]
) -> nn.Module:
    chosen, ignored = options.get("bands") or {}, options.get("ignore") or ()
    named = [canonical(str(band)) for band in (*spec.channels, *chosen)]
    radar = any(band in RADAR for band in named)
    if radar:
        _need_decibels(spec)
    index = match(spec, RADAR if radar else CROMA_OPTICAL, chosen, ignored)
    sensor, part = ("sar", "s1") if radar else ("optical", "s2")
    size = _size(name, size, 120, False)
    net = getattr(_library(), name)(modalities=[sensor], image_size=size)
    if weights is not None:
        state = _state(name, weights)
        for module in ("encoder", "GAP_FFN"):
            if not isinstance(state.get(f"{part}_{module}"), Mapping):
                raise UserError(f"the file of the weights {weights} has no {part}_{module}")
            _load(getattr(net, f"{part}_{module}"), state[f"{part}_{module}"], weights)
    return TorchgeoImage(CromaFeatures(net, sensor), net.encoder_dim, index, size)


def _need_decibels(spec: ModalitySpec) -> None:
    if factor(spec.units, "dB") is None:
        raise UserError(
            f"{spec.name} is in '{spec.units}', and these models were trained on radar in dB: no "
            "factor makes one of the other"
        )


Make = Callable[[str, ModalitySpec, str | None, int | None, dict[str, Any]], nn.Module]


def _build_by_band(name: str, make: Make) -> Callable[..., nn.Module]:
    """What builds a model that knows a channel by the name of a band."""

    def build(
        spec: ModalitySpec,
        *,
        weights: str | None = None,
        size: int | None = None,
        bands: Mapping[str, str | None] | None = None,
        ignore: Sequence[str] = (),
    ) -> nn.Module:
        return make(name, spec, weights, size, {"bands": bands, "ignore": ignore})

    return build


def _build_by_wavelength(name: str, make: Make) -> Callable[..., nn.Module]:
    """What builds a model that knows a channel by its wavelength."""

    def build(
        spec: ModalitySpec,
        *,
        weights: str | None = None,
        size: int | None = None,
        wavelengths: Mapping[str, float] | None = None,
        ignore: Sequence[str] = (),
    ) -> nn.Module:
        return make(name, spec, weights, size, {"wavelengths": wavelengths, "ignore": ignore})

    return build


def _build_by_wavelength_and_width(name: str, make: Make) -> Callable[..., nn.Module]:
    """What builds a model that knows a channel by its wavelength and how wide its band is."""

    def build(
        spec: ModalitySpec,
        *,
        weights: str | None = None,
        size: int | None = None,
        wavelengths: Mapping[str, float] | None = None,
        bandwidths: Mapping[str, float] | None = None,
        ignore: Sequence[str] = (),
    ) -> nn.Module:
        by_channel = {"wavelengths": wavelengths, "bandwidths": bandwidths, "ignore": ignore}
        return make(name, spec, weights, size, by_channel)

    return build


def _register(
    name: str, summary: str, build: Callable[..., nn.Module], *, own_bands: bool, doc: str
) -> None:
    """Make a model of torchgeo known as an encoder."""
    build.__doc__ = doc

    def statistics(spec: ModalitySpec, options: Mapping[str, Any]) -> Any:
        return _statistics(name, spec, options) if own_bands else None

    def file(options: Mapping[str, Any], fetch: bool) -> Path | None:
        return _file(name, options, fetch)

    register(
        Backbone(
            *(f"{PREFIX}{name}", ("image",), build, summary),
            statistics=statistics,
            weights=file,
            random={"weights": None},
        )
    )


COMMON = """weights: a name of torchgeo ("{example}"), or none for random ones. size: in
    pixels, to which images are resized; none for that of the weights. ignore: channels that are not
    seen."""
BANDS = """bands: band of the weights → channel that stands for it, or null for none: its values
    are the weights' mean. Others are matched by name."""
WAVES = """wavelengths: of channels that are called neither like a band of Sentinel-2 (B2, B8A, …)
    nor VV, VH, red, green or blue, in micrometres."""

WIDTHS = """bandwidths: the same, of how wide their bands are."""

FAMILIES = (
    (TIMM, _plain, _build_by_band, "SENTINEL2_ALL_MOCO", BANDS),
    (SWIN, _plain, _build_by_band, "SENTINEL2_SI_RGB_SATLAS", BANDS),
    (DOFA, _dofa, _build_by_wavelength, "DOFA_MAE", WAVES),
    (CROMA, _croma, _build_by_band, "CROMA_VIT", BANDS),
    (PANOPTICON, _panopticon, _build_by_wavelength, "VIT_BASE14", WAVES),
    (
        *(COPERNICUS, _copernicus, _build_by_wavelength_and_width, "CopernicusFM_ViT"),
        f"{WAVES}\n{WIDTHS}",
    ),
)

for _models, _make, _build, _example, _settings in FAMILIES:
    for _name, _summary in _models.items():
        _register(
            _name,
            f"{_summary}, with torchgeo's weights.",
            _build(_name, _make),
            own_bands=_make is _plain,
            doc=f"{COMMON.format(example=_example)}\n\n{_settings}",
        )
