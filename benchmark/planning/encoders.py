"""The encoders of a protocol as they enter ids of runs: known, tried, their weights here."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from benchmark.errors import UserError
from benchmark.planning.code import plugin_code
from benchmark.planning.context import digest, extended_spec
from benchmark.planning.protocol import Protocol
from benchmark.problem import ModalitySpec
from datasets.common.contract import EODataset
from methods.common.encoders import (
    BACKBONES,
    CONTEXT,
    FROZEN,
    KINDS,
    MODEL,
    PLUGIN,
    SHA256,
    UNNAMED,
    Backbone,
    backbone_of,
    build_backbone,
)
from methods.common.weights import WeightsError, published_digits, sha256

log = logging.getLogger(__name__)

PLURAL = {"series": "series are", "image": "images are", "vector": "vectors are"}


def check(protocol: Protocol) -> None:
    """Raise `UserError` for an encoder or a setting in the protocol that nothing has."""
    for kind in KINDS:
        _backbone(_at(protocol, kind), kind, protocol.encoders[kind])
    # Of which kind a modality is, its dataset says: `resolve` checks that.


def as_features(spec: ModalitySpec, width: int) -> ModalitySpec:
    """A modality as methods see it where its encoder is frozen: a vector of features."""
    channels = tuple(f"feature {i}" for i in range(width))
    return ModalitySpec(spec.name, "vector", (width,), channels, f"features of {spec.kind}")


def resolve(
    dataset: EODataset, protocol: Protocol
) -> tuple[dict[str, Any], dict[str, ModalitySpec]]:
    """Keyword arguments of `methods.common.encoders.Encoders`, and the modalities as methods see
    them.

    Every encoder is built once and encodes two samples, so that what cannot be done is told before
    any run begins. A modality stands by itself where its options are not its kind's, or where it is
    frozen. Pretrained weights that cannot be had are turned off, and said so: the spec, and with it
    the id, the record and the heading of every table, states what was used. Raises `UserError` if
    encoders cannot be built, or not for the modalities of the dataset, and for one that is to be
    frozen in weights that cannot be had.
    """
    stated: dict[str, dict[str, Any]] = {}
    named: dict[str, dict[str, Any]] = {}
    seen = {}
    for m, spec in dataset.modalities.items():
        own = protocol.encoder_of(dataset.name, m)
        where = _at(protocol, spec.kind if own is None else f"modalities.{dataset.name}.{m}")
        options = protocol.encoders[spec.kind] if own is None else own
        known = _context(where, dataset, m, options)
        if known:
            spec = extended_spec(dataset, m)
        width = _try(where, dataset, spec, options)
        if where not in stated:
            what = f"{dataset.name}: {PLURAL[spec.kind] if own is None else f'{m} is'}"
            stated[where] = _with_weights(where, what, spec, options)
        named[m] = {**stated[where], **known}
        seen[m] = as_features(spec, width) if named[m].get(FROZEN) else spec
    resolved = protocol.encoders_for(dataset.name, set())
    for kind in sorted({seen[m].kind for m in seen if not named[m].get(FROZEN)}):
        # Also where each has options of its own: of several, a method may make one of the kind.
        options = stated.get(_at(protocol, kind), {FROZEN: True})
        trained = _of_kind(protocol, kind) if options.get(FROZEN) else options
        resolved["options"][kind] = trained
    own = {
        m: options
        for m, options in named.items()
        if options != resolved["options"].get(dataset.modalities[m].kind)
    }
    return {**resolved, **({"modalities": own} if own else {})}, seen


def brought(
    dataset: EODataset, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, ModalitySpec]]:
    """As `resolve`, of a method that brings its own frozen encoder for all modalities.

    Settings by modality as they enter an id, and the modalities as the method sees them. Raises
    `UserError` for a dataset that it does not encode, and for weights that cannot be had.
    """
    named, seen, given = {}, {}, {}
    where = f"its encoder '{options[MODEL]}'"
    for m, spec in dataset.modalities.items():
        named[m] = _context(where, dataset, m, options)
        given[m] = extended_spec(dataset, m) if named[m] else spec
        seen[m] = as_features(spec, _try(where, dataset, given[m], options))
    for m, spec in given.items():  # what is encoded is worth a download
        what = f"{dataset.name}: {m} is"
        named[m] = {**_with_weights(where, what, spec, options), **named[m]}
    return named, seen


def _context(where: str, dataset: EODataset, m: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The option that says which months and places an encoder is given, if any."""
    backbone, _ = _backbone(where, dataset.modalities[m].kind, options)
    wanted = options.get(CONTEXT, backbone.context)
    if not isinstance(wanted, bool) or (wanted and not backbone.context):
        what = "true or false" if backbone.context else "false, if anything"
        raise _wrong(where, f"{CONTEXT} of '{backbone.name}' is {what}")
    known = digest(dataset, m) if wanted else ""
    return {CONTEXT: known} if known else {}


def _of_kind(protocol: Protocol, kind: str) -> dict[str, Any]:
    """The options of a kind for what no weights know: random ones, which are trained."""
    backbone, own = _backbone(_at(protocol, kind), kind, protocol.encoders[kind])
    return _stated(backbone, kind, {**own, **backbone.random}, {})


def _backbone(where: str, kind: str, options: Mapping[str, Any]) -> tuple[Backbone, dict[str, Any]]:
    """What options name for a kind, and those that are its own; `UserError` if there is none."""
    try:
        backbone, own = backbone_of(kind, options)
        backbone.check(own)
    except UserError as error:
        raise _wrong(where, error) from error
    return backbone, own


def _at(protocol: Protocol, place: str) -> str:
    """Where in a protocol settings stand, for a message."""
    return f"protocol '{protocol.name}', encoders.{place}"


def _wrong(where: str, reason: object) -> UserError:
    return UserError(f"{where}: {reason}")


def _stated(
    backbone: Backbone, kind: str, own: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options as they enter an id: with the code of a plug-in, if it is one.

    The built-in encoder is the same whether it is named or not.
    """
    named = {} if backbone.name == UNNAMED[kind] else {MODEL: backbone.name}
    stated = {**named, **own}
    if code := plugin_code(backbone):
        stated[PLUGIN] = code
    if options.get(FROZEN):
        stated[FROZEN] = True
    return stated


def _with_weights(
    where: str, what: str, spec: ModalitySpec, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options as they enter an id, with the sha256 of the weights' file, which is brought.

    Of images that timm's weights encode only if they are frozen: their ids are older.
    """
    backbone, own = _backbone(where, spec.kind, options)
    stated = _stated(backbone, spec.kind, own, options)
    try:
        file = backbone.weights(own, True)
    except WeightsError as error:
        if options.get(FROZEN):
            random = ", ".join(
                f"{k}: {json.dumps(v, allow_nan=False)}" for k, v in backbone.random.items()
            )
            reason = f"{what} to be frozen in weights that cannot be had: {error}"
            reason += f"; frozen random ones would be {{{random}, frozen: true}}"
            raise _wrong(where, reason) from error
        log.warning("%s encoded from random weights: %s", what, error)
        return {**stated, **backbone.random}
    if file is None:
        return stated
    found, wanted = sha256(file), options.get(SHA256)
    if wanted not in (None, found):
        raise _wrong(where, f"{file} has the sha256 {found}, not {wanted}")
    if not found.startswith(published_digits(file) or ""):
        log.warning("%s: is not the file that was published: its sha256 is %s", file, found)
    try:
        build_backbone(spec, stated)
    except UserError as error:
        raise _wrong(where, error) from error
    if options.get(FROZEN) or backbone.name != UNNAMED[spec.kind]:
        stated[SHA256] = found
    return stated


def _try(
    where: str,
    dataset: EODataset,
    spec: ModalitySpec,
    options: Mapping[str, Any],
) -> int:
    """Encode two samples of a modality without weights: how many features each has.

    What weights want of a modality is compared with it, too.
    """
    backbone, own = _backbone(where, spec.kind, options)
    try:
        backbone.statistics(spec, own)
        with torch.no_grad():
            net = backbone.build(spec, **{**own, **backbone.random}).eval()
            return net(torch.zeros(2, *spec.shape)).shape[1]
    except Exception as error:  # whatever torch and timm make of options that are not theirs
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        reason = f"{spec.name} of {dataset.name} cannot be encoded so ({reason})"
        raise _wrong(where, reason) from error


def changed_weights(encoders: Mapping[str, Any]) -> list[str]:
    """Encoders of a spec whose weights' file is not the one that it was planned with.

    Or is not on this machine. Frozen ones are not looked at: all that is needed of them may be
    there already, and else it is computed from what their options say, or not at all.
    """
    every = (*encoders["options"].values(), *encoders.get("modalities", {}).values())
    return [
        options[MODEL]
        for options in every
        if not options.get(FROZEN) and not weights_are_here(options)
    ]


def weights_are_here(options: Mapping[str, Any]) -> bool:
    """Whether the file of weights that options name has the sha256 that they state, if any."""
    if SHA256 not in options:
        return True
    backbone = BACKBONES.get(options[MODEL], BACKBONES[UNNAMED["image"]])
    own = backbone_of(backbone.kinds[0], options)[1]
    try:
        file = backbone.weights(own, False)
    except WeightsError:
        return False
    return file is not None and sha256(file) == options[SHA256]


def trained(
    encoders: Mapping[str, Any], dataset: EODataset
) -> Iterator[tuple[Backbone, dict[str, Any]]]:
    """The backbones of a dataset's modalities that are trained, with their own options."""
    for m, spec in dataset.modalities.items():
        options = encoders.get("modalities", {}).get(m, encoders["options"].get(spec.kind, {}))
        if not options.get(FROZEN):
            yield backbone_of(spec.kind, options)


def without_weights(
    encoders: Mapping[str, Any], modalities: Mapping[str, ModalitySpec]
) -> dict[str, Any]:
    """Encoders of a spec with random weights: to try what can be built, or to load others into."""

    def random(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
        return {**options, **backbone_of(kind, options)[0].random}

    own = encoders.get("modalities", {})
    return {
        **encoders,
        "options": {kind: random(kind, given) for kind, given in encoders["options"].items()},
        "modalities": {m: random(modalities[m].kind, given) for m, given in own.items()},
    }
