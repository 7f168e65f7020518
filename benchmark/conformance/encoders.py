"""What an encoder has to keep, on made-up inputs of its kinds: a sentence for what is not so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.conformance.finding import Finding
from benchmark.errors import UserError
from benchmark.problem import ModalitySpec
from methods.common.encoders import Backbone

SHAPES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "series": ((12, 2), (5, 11), (4, 3, 3, 2)),
    "image": ((32, 32, 4), (48, 32, 3)),
    "vector": ((1,), (18,)),
}
"""Of the modalities that a kind is checked with: odd ones among them."""

RADAR, OPTICAL = ("VV", "VH"), ("B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B11", "B12")
PLACES = ("elevation", "slope", "temperature_2m", "total_precipitation", "latitude", "longitude")
CHANNELS: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    "series": {2: RADAR, 11: (*RADAR, *OPTICAL)},
    "image": {3: ("B02", "B03", "B04"), 4: ("B02", "B03", "B04", "B08")},
    "vector": {1: ("B8A",), 18: (*PLACES, *RADAR, *OPTICAL, "B8")},
}
"""Of so many channels, for encoders that have to know what they see."""

BATCH = 6


def check(backbone: Backbone, options: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Put an encoder through all checks, with its default settings or with ``options``.

    Its weights are random: what they are trained for is not in the inputs.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, one in CHECKS.items():
        faults: list[str] = []
        for spec in _specs(backbone):
            build = partial(_built, backbone, spec, {**backbone.random, **(options or {})})
            try:
                faults += [f"{spec.kind} {spec.shape}: {fault}" for fault in one(build, spec)]
            except UserError as error:
                faults.append(f"{spec.kind} {spec.shape}: {error}")
            except Exception as error:  # whatever an encoder does is a fault of it
                said = " ".join(f"{type(error).__name__}: {error}".split())
                faults.append(f"{spec.kind} {spec.shape}: {said}")
        yield Finding(name, tuple(faults))
        if faults and one is encodes:  # the others would say the same again
            return


def _specs(backbone: Backbone) -> Iterator[ModalitySpec]:
    for kind in backbone.kinds:
        for shape in SHAPES[kind]:
            yield ModalitySpec(kind, kind, shape, CHANNELS[kind][shape[-1]], "1")


def _built(
    backbone: Backbone, spec: ModalitySpec, options: Mapping[str, Any], seed: int = 0
) -> nn.Module:
    torch.manual_seed(seed)
    return backbone.build(spec, **options)


def _x(spec: ModalitySpec) -> Tensor:
    return torch.randn(BATCH, *spec.shape, generator=torch.Generator().manual_seed(1))


def _encoded(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.eval()(x)


Build = Callable[..., nn.Module]


def encodes(build: Build, spec: ModalitySpec) -> Iterator[str]:
    """Any number of samples becomes (B, out_features), finite also where all is missing (0)."""
    net = build()
    width = getattr(net, "out_features", None)
    if not isinstance(width, int):
        yield f"its out_features is {width!r}: set it to the width of what forward() returns"
        return
    for n in (1, BATCH):
        z = _encoded(net, _x(spec)[:n])
        if z.shape != (n, width) or z.dtype != torch.float32:
            yield f"{n} samples become {z.dtype} {tuple(z.shape)}, not float32 {(n, width)}"
            return
    if not _encoded(net, torch.zeros(BATCH, *spec.shape)).isfinite().all():
        yield "a sample of which all is missing (0) does not become finite numbers"


def seeds(build: Build, spec: ModalitySpec) -> Iterator[str]:
    """A seed decides the weights and what training draws, and another seed gives other weights."""
    first, same, other = build(0), build(0), build(1)
    pairs = list(zip(first.state_dict().items(), same.state_dict().values(), strict=True))
    if any(not torch.equal(a, b) for (_, a), b in pairs):
        yield "its weights are not decided by torch's seed: draw from torch's global generator"
        return
    if all(map(torch.equal, first.parameters(), other.parameters())):
        yield "its weights are the same for every seed"
    outputs = []
    for net in (first, same):
        torch.manual_seed(2)
        outputs.append(net.train()(_x(spec)))
    if not torch.equal(*outputs):
        yield "the same seed gives other outputs in training"


def company(build: Build, spec: ModalitySpec) -> Iterator[str]:
    """In eval mode a sample's features do not depend on which others are in the batch."""
    net, x = build(), _x(spec)
    together = _encoded(net, x)
    other = _encoded(net, torch.cat([x[:1], 100 * x[1:] + 1]))
    if not torch.allclose(together[:1], other[:1], rtol=1e-4, atol=1e-5):
        yield "a sample's features depend on the others in its batch, in eval mode"


def gradients(build: Build, spec: ModalitySpec) -> Iterator[str]:
    """A gradient reaches every parameter."""
    net = build().train()
    z = net(_x(spec))
    (z * torch.randn(z.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    without = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    if without:
        yield f"no gradient reaches {', '.join(without)}"


def inputs(build: Build, spec: ModalitySpec) -> Iterator[str]:
    """Every channel of the input changes the features."""
    net, x = build(), _x(spec)
    with torch.no_grad():  # running statistics as after training, so that no unit is dead for good
        net.train()(x)
    reference = _encoded(net, x)
    for channel in range(spec.shape[-1]):
        changed = x.clone()
        changed[..., channel] += 3 * torch.randn(
            changed[..., channel].shape, generator=torch.Generator().manual_seed(4)
        )
        if torch.equal(reference, _encoded(net, changed)):
            yield f"channel {channel} of {spec.shape[-1]} changes nothing"


def state(build: Build, spec: ModalitySpec) -> Iterator[str]:
    """Its state, loaded into another one, gives the same features."""
    first, second = build(0), build(1)
    with torch.no_grad():
        first.train()(_x(spec))
    second.load_state_dict(first.state_dict())
    if not torch.equal(_encoded(first, _x(spec)), _encoded(second, _x(spec))):
        yield "its state_dict() does not hold all that it needs: use parameters and buffers"


def learns(build: Build, spec: ModalitySpec) -> Iterator[str]:
    """Trained with a linear head, it tells two easy classes apart better than by chance."""
    net = build().train()
    y = torch.arange(8 * BATCH) % 2
    x = torch.randn(len(y), *spec.shape, generator=torch.Generator().manual_seed(5))
    x = x + (2.0 * y - 1).reshape(-1, *[1] * len(spec.shape))
    head = nn.Linear(net.out_features, 2)
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(STEPS):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(net(x)), y).backward()
        optimiser.step()
    loss = nn.functional.cross_entropy(head(net.train()(x)), y).item()
    if not loss < math.log(2) - 0.1:
        yield f"after {STEPS} steps on two easy classes the loss is {loss:.2f}; chance is 0.69"


STEPS = 40

Check = Callable[[Build, ModalitySpec], Iterator[str]]

CHECKS: Mapping[str, Check] = {
    "encodes": encodes,
    "seeds": seeds,
    "company": company,
    "gradients": gradients,
    "inputs": inputs,
    "state": state,
    "learns": learns,
}
