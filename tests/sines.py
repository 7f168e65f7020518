"""Weights and batches that do not depend on any random generator, for figures taken elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch
from methods.common.encoders import TempCNN


def sines(*shape: int, phase: float = 0.0) -> Tensor:
    """sin(k² / 7 + phase) for k = 0, 1, ...: no two rows alike."""
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(k**2 / 7 + phase).float().reshape(shape)


def filled(module: nn.Module) -> nn.Module:
    """The module in eval mode, each parameter filled with sines over the root of its rows' size.

    Within a `TempCNN` they run channel by channel and then over time, as releases order weights.
    """
    with torch.no_grad():
        for i, (_, p) in enumerate(sorted(module.named_parameters())):
            fan_in = p[0].numel() if p.dim() > 1 else 4
            p.copy_(sines(*p.shape, phase=i) * 2 / fan_in**0.5)
        for net in module.modules():
            if isinstance(net, TempCNN):
                convolutions = net.convolutions[::4]
                channels = [c.in_channels for c in convolutions] + [convolutions[0].out_channels]
                layers = [*convolutions, net.dense[1]]
                for layer, size in zip(layers, channels, strict=True):
                    by_channel = layer.weight.clone().reshape(len(layer.weight), size, -1)
                    layer.weight.copy_(by_channel.transpose(1, 2).reshape(layer.weight.shape))
    return module.eval()


def batch(specs: Mapping[str, ModalitySpec], task: TaskSpec, size: int = 8) -> Batch:
    """Inputs of sines; targets that go round."""
    x = {m: 2 * sines(size, *s.shape, phase=i) for i, (m, s) in enumerate(specs.items())}
    k = torch.arange(size)
    if task.is_classification:
        y = k % task.outputs
    elif task.kind == "multilabel":
        y = ((k[:, None] + torch.arange(task.outputs)) % 3 == 0).float()
    else:
        y = sines(size, 1, phase=9)
    return Batch(x, y, k, 0)
