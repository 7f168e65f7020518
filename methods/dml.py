"""DML: one net a modality, and each net learns from the outputs of the others.

Zhang, Xiang, Hospedales, Lu 2018, "Deep mutual learning", CVPR, arXiv 1706.00384.

What differs from the publication, and why: its peers see the same input, here each sees another
modality of the same sample. All nets take their step at once; the publication updates one after
the other and predicts anew in between. The release (YingZhangDUT/Deep-Mutual-Learning) sums over
the peers, the publication takes their mean, as here; for two nets this is the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


class DML(Method):
    """L = Σ_m ℓ(s_m, y) + λ / (M - 1) Σ_{j≠m} KD_1(s_m, s_j), no gradient through s_j.

    KD_1 is KL(p_j ‖ p_m) on classes, and what stands for it on the other tasks
    (`benchmark.problem.TaskSpec.soft_target_distance`).
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        lam: float = 1.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not lam >= 0:
            raise UserError(f"dml: lam must not be negative, but is {lam}")
        self.lam = lam
        self.nets = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        s = {m: net(batch.x[m]) for m, net in self.nets.items()}
        terms = {"task": sum(self.task.loss(s_m, batch.y) for s_m in s.values())}
        if self.lam:
            KD = self.task.soft_target_distance
            mutual = sum(KD(s[m], s[j], 1.0) for m in s for j in s if j != m)
            terms["mutual"] = self.lam * mutual / (len(s) - 1)
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("mutual", [self.nets], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


register(
    Entry(
        key="dml",
        method=DML,
        family="distillation",
        summary="One net a modality; each imitates the soft outputs of the others as they learn.",
        losses="ℓ(s_m, y) + λ / (M - 1) Σ_{j≠m} KL(p_j ‖ p_m)",
        publication=Publication(
            "Zhang, Xiang, Hospedales, Lu",
            2018,
            "Deep mutual learning",
            "arXiv 1706.00384",
        ),
        defaults_from="elsewhere",
        defaults_note="λ = 1 and temperature 1 of the publication, for image classification",
        tuning={"lam": Range(0.1, 10, log=True)},
    )
)
