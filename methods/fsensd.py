"""FSensD: sensor dropout at the features.

A baseline of Mena, Ienco, Dantas, Interdonato, Dengel 2025, "Multi-sensor model for Earth
observation robust to missing data via sensor dropout and mutual distillation", IEEE Access
13:83930-83943, doi 10.1109/ACCESS.2025.3568706 (fmenat/DSensDp). The same idea, with a
Transformer that merges: Chen et al. 2024, TGRS, doi 10.1109/TGRS.2024.3387837.

What differs from the released code, and why: S is the random subset, of which the release hands on
only the first name (see `methods.dsensd`), and the complete input is not run through the net too.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import MeanNet, mlp_head
from methods.common.registry import Entry, Publication, Range, register
from methods.common.subsets import SensorDropout


class FSensD(Method):
    """L = ℓ(h(mean_{m ∈ S} z_m), y), with one random subset S of modalities per batch."""

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        ratio: float = 0.5,
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.dropout = SensorDropout(tuple(modalities), ratio)
        self.net = MeanNet(modalities, encoder, mlp_head(encoder.dim, task.outputs))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        S = self.dropout.subset()
        return {"task": self.task.loss(self.net({m: batch.x[m] for m in S}), batch.y)}

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self.net], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return nn.Sequential(self.net.encoders[m], self.net.head)


register(
    Entry(
        key="fsensd",
        method=FSensD,
        family="dropout fusion",
        summary="Mean of the features of a random subset of sensors, one head for all subsets.",
        losses="ℓ(h(mean_{m ∈ S} z_m), y), S random",
        publication=Publication(
            "Mena, Ienco, Dantas, Interdonato, Dengel",
            2025,
            "Multi-sensor model for Earth observation robust to missing data via sensor dropout "
            "and mutual distillation",
            "doi 10.1109/ACCESS.2025.3568706",
        ),
        defaults_from="these datasets",
        defaults_note="ratio of the released example (fmenat/DSensDp)",
        configured={"fsensd": ("cropharvest_multi",)},
        tuning={"ratio": Range(0.1, 0.9)},
    )
)
