"""The control without a network: extremely randomised trees on one modality.

Geurts, Ernst, Wehenkel 2006, "Extremely randomized trees", Machine Learning 63(1):3-42,
doi 10.1007/s10994-006-6226-1. The trees are grown by scikit-learn and then kept as tensors, so that
they are scored, shipped and loaded like any other predictor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, FitStage, Method
from methods.common.registry import Entry, Publication, Range, register

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeRegressor


class Flatten(nn.Module):
    """What the trees see of a modality: (B, *shape) → (B, features).

    Series (T, C) and vectors as they are, flattened. Of an image the mean and the standard
    deviation of each channel, of a series of windows (T, H, W, C) the mean at each time step: trees
    choose single features, and a single pixel says nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return torch.cat([x.mean(dim=(1, 2)), x.std(dim=(1, 2), correction=0)], dim=1)
        if x.dim() == 5:
            x = x.mean(dim=(2, 3))
        return x.flatten(1)


class Forest(nn.Module):
    """Mean over trees of the value of the leaf that a sample falls into, as an output of the task.

    (B, features) → (B, outputs). The nodes of all trees stand in a row: a sample at a node goes on
    to ``left`` if its ``feature`` is at most ``threshold``, else to ``right``; a leaf leads to
    itself.
    """

    NODES = ("feature", "threshold", "left", "right", "value", "roots")

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        self.task = task
        self.threshold = nn.Parameter(torch.zeros(0), requires_grad=False)
        self.value = nn.Parameter(torch.zeros(0, task.outputs), requires_grad=False)
        for name in ("feature", "left", "right", "roots"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.long))
        self.depth = 0

    def plant(self, trees: Sequence[DecisionTreeRegressor]) -> None:
        """Take over trees grown by scikit-learn; they give the same predictions here."""
        grown = [tree.tree_ for tree in trees]
        sizes = np.array([tree.node_count for tree in grown])
        roots = sizes.cumsum() - sizes
        own, start = np.arange(sizes.sum()), roots.repeat(sizes)

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(tree, name) for tree in grown])

        leaf = joined("children_left") < 0
        threshold = joined("threshold")
        # x is float32: rounding the thresholds down leaves every x on its side.
        rounded = threshold.astype(np.float32)
        above = rounded > threshold
        rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
        nodes = {
            "feature": np.where(leaf, 0, joined("feature")),
            "threshold": np.where(leaf, 0, rounded).astype(np.float32),
            "left": np.where(leaf, own, joined("children_left") + start),
            "right": np.where(leaf, own, joined("children_right") + start),
            "value": joined("value")[:, :, 0].astype(np.float32),
            "roots": roots,
        }
        device = self.threshold.device
        self.load_state_dict({k: torch.from_numpy(v).to(device) for k, v in nodes.items()})

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """As of any module, but the number of nodes and trees is that of the state."""
        for name in self.NODES:
            if prefix + name in state:
                own = getattr(self, name)
                own.data = own.new_empty(state[prefix + name].shape)
        super()._load_from_state_dict(state, prefix, *args)
        self.depth = self._count_levels()

    def _count_levels(self) -> int:
        """Steps from the roots to the deepest leaf."""
        depth, nodes = 0, self.roots
        while len(nodes := nodes[self.left[nodes] != nodes]):
            nodes = torch.cat([self.left[nodes], self.right[nodes]])
            depth += 1
        return depth

    @property
    def operations(self) -> int:
        """Of one prediction: a comparison at each level of each tree, the mean of its leaves."""
        return len(self.roots) * (self.depth + self.task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        node = self.roots.expand(x.shape[0], -1)
        for _ in range(self.depth):
            smaller = x.gather(1, self.feature[node]) <= self.threshold[node]
            node = torch.where(smaller, self.left[node], self.right[node])
        return self.task.output(self.value[node].mean(dim=1))


def _operations(tree: DecisionTreeRegressor, outputs: int) -> int:
    """An estimate of what growing a tree took.

    At every split each candidate feature of each sample is compared for the least and the largest
    value and with the threshold, and the sample's targets are added to one side's sum.
    """
    grown = tree.tree_
    split = grown.children_left >= 0
    return int(grown.n_node_samples[split].sum()) * tree.max_features_ * (3 + outputs)


class ExtraTrees(Method):
    """One forest a modality, grown to lower the squared error of the targets as numbers.

    On one-hot targets the squared error is the Gini impurity, so that this is the usual forest on
    every kind of task. Classes have the weights that they have in ℓ.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        trees: int = 100,
        min_leaf: int = 3,
        max_features: float = 1.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if trees < 1 or min_leaf < 1 or not 0 < max_features <= 1:
            raise UserError(
                "forest: trees and min_leaf must be at least 1 and max_features in (0, 1], not "
                f"{trees}, {min_leaf} and {max_features}"
            )
        self.options = {
            "n_estimators": trees,
            "min_samples_leaf": min_leaf,
            "max_features": float(max_features),
        }
        self.nets = nn.ModuleDict({m: nn.Sequential(Flatten(), Forest(task)) for m in modalities})

    def fit(self, batches: Iterable[Batch]) -> int:
        from sklearn.ensemble import ExtraTreesRegressor

        y = torch.cat([batch.y for batch in batches])
        weight = None
        if self.task.class_weights is not None:
            weight = np.array(self.task.class_weights)[y.cpu()]
        numbers = self.task.numbers(y).squeeze(1).cpu().numpy()
        operations = 0
        for m, (flatten, forest) in self.nets.items():
            x = torch.cat([flatten(batch.x[m]) for batch in batches]).cpu().numpy()
            seed = int(torch.randint(2**31 - 1, ()))
            grown = ExtraTreesRegressor(**self.options, random_state=seed)
            forest.plant(grown.fit(x, numbers, weight).estimators_)
            operations += sum(_operations(tree, self.task.outputs) for tree in grown.estimators_)
        return operations

    def stages(self) -> list[FitStage]:
        return [FitStage("grow", [self.nets], self.fit, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


register(
    Entry(
        key="forest",
        method=ExtraTrees,
        family="control",
        role="control",
        summary="Extremely randomised trees on one modality: what needs no network.",
        losses="Σ over leaves of (y - mean y)²",
        publication=Publication(
            "Geurts, Ernst, Wehenkel",
            2006,
            "Extremely randomized trees",
            "doi 10.1007/s10994-006-6226-1",
        ),
        defaults_from="this benchmark",
        defaults_note="scikit-learn's number of trees and of features to choose from; leaves of at "
        "least three samples are chosen here",
        per_modality=True,
        tuning={"min_leaf": Range(1, 20, log=True), "max_features": Range(0.1, 1)},
        network=False,
    )
)
