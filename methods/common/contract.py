"""The contract between a method and whoever trains it.

A method is built from modality specs, a task, an encoder factory and its hyper-parameters. It says
in `Method.stages` what is trained in which order, and gives for each modality a predictor that
sees this modality alone. It never sees a dataset's name, a fold or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from benchmark.terms import ALL


@dataclass(frozen=True)
class Batch:
    """A batch of training or validation samples.

    x: modality name → (B, *spec.shape), standardised, missing values 0.
    y: targets as `TaskSpec.loss` takes them.
    index: (B,) positions of the samples within their part, 0 ... n-1.
    epoch: number of the epoch within the stage, from 0.
    group: (B,) numbers of the groups (sites, fields) that the samples are of; where a dataset has
        none, and by default, each sample is a group of its own.
    """

    x: Mapping[str, Tensor]
    y: Tensor
    index: Tensor
    epoch: int
    group: Tensor = field(default=None)

    def __post_init__(self) -> None:
        if self.group is None:
            object.__setattr__(self, "group", self.index)


class EncoderFactory(Protocol):
    """Builds the protocol's encoder for a modality: x_m (B, *spec.shape) → z_m (B, dim)."""

    dim: int

    def __call__(self, spec: ModalitySpec, *, layer_norm: bool | None = None) -> nn.Module:
        """A freshly initialised encoder. ``layer_norm`` None leaves the choice to the protocol."""
        ...


@dataclass(frozen=True)
class Stage:
    """One training stage: what is optimised, by which loss terms, and what validation watches.

    modules: their parameters are optimised and they are in training mode; everything else of the
        method is frozen and in eval mode, BatchNorm buffers included.
    losses: batch → named terms, each already weighted; their sum is minimised. With
        ``paired=False`` the argument is a dict modality → `Batch`, each modality shuffled on its
        own (``Batch.x`` then holds this modality alone).
    predictors: the deployments that this stage trains. Each is watched on ℓ(predictor_m(x_m), y)
        of the validation part and keeps its best state.
    select_from: the first epoch, from 0, whose state may be the best one; patience is counted from
        it. For a warm-up or a ramp: a state of an epoch in which the method's own losses do not
        act yet is not this method's. Where a protocol's epochs end before, their last state is it.
    validate: batch → scalar to watch instead, for a stage without predictors (a teacher's hints,
        a contrastive pre-training). The best state of ``modules`` is kept.
    on_start: called once with the number of training samples (a memory bank).
    on_validation: called once with the validation batches (re-iterable), in eval mode without
        gradients, before the first epoch (a choice among teachers).
    after_step: called with the batch after each optimiser step.
    after_epoch: called with the epoch and the validation batches (re-iterable), in eval mode
        without gradients, after each epoch.
    """

    name: str
    modules: Sequence[nn.Module]
    losses: Callable[[Any], dict[str, Tensor]]
    predictors: tuple[str, ...] = ()
    select_from: int = 0
    validate: Callable[[Batch], Tensor] | None = None
    paired: bool = True
    on_start: Callable[[int], None] | None = None
    on_validation: Callable[[Iterable[Batch]], None] | None = None
    after_step: Callable[[Batch], None] | None = None
    after_epoch: Callable[[int, Iterable[Batch]], None] | None = None

    def __post_init__(self) -> None:
        if bool(self.predictors) == (self.validate is not None):
            raise ValueError(f"stage '{self.name}' needs either predictors or validate")
        if self.select_from < 0:
            raise ValueError(f"stage '{self.name}': select_from must not be negative")


@dataclass(frozen=True)
class FitStage:
    """A stage that learns without gradients, from all of the training part at once.

    modules: what it sets; everything else of the method stays as it is.
    fit: called once with the training batches (re-iterable, in order), in eval mode without
        gradients. It leaves what it has learnt in parameters and buffers of ``modules``. Their
        shapes may depend on the data, as long as a fresh instance loads their state_dict. It
        returns how many operations that took (additions, products, comparisons), which stands
        beside the FLOPs of trained stages; None if that is not known.
    predictors: the deployments that are ready then.
    on_validation: called once afterwards with the validation batches (re-iterable), likewise (a
        choice among what was fitted).
    """

    name: str
    modules: Sequence[nn.Module]
    fit: Callable[[Iterable[Batch]], int | None]
    predictors: tuple[str, ...]
    on_validation: Callable[[Iterable[Batch]], None] | None = None


@dataclass(frozen=True)
class Artefact:
    """Trained predictors of another method that a method builds on (a teacher, say).

    The harness trains it on the same fold with a seed stream of its own, or takes it from the
    cache; either way the dependent method gets the same frozen predictors in `Method.given`.
    Another ``stream`` gives the same net from another initialisation and batch order.
    """

    method: str
    modalities: tuple[str, ...]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    stream: str = ""


class Method(nn.Module):
    """Base of all methods. Sub-classes add hyper-parameters as keyword-only arguments."""

    sees_all = False
    """True for a bound: its only deployment is `ALL` and gets x by modality."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__()
        self.modalities = dict(modalities)
        self.task = task
        self.given: dict[str, dict[str, nn.Module]] = {}
        """Artefact name → deployment → frozen predictor; filled by the harness, never trained."""

    @property
    def deployed(self) -> tuple[str, ...]:
        """Names of the deployments that `predictor` serves."""
        return (ALL,) if self.sees_all else tuple(self.modalities)

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        """Artefacts that this method needs on these modalities, by a name of its choice."""
        return {}

    def stages(self) -> list[Stage | FitStage]:
        """The training stages in order; empty if all is in the artefacts."""
        raise NotImplementedError

    def predictor(self, m: str) -> nn.Module:
        """Module x_m → output (B, task.outputs) that works from its own state alone.

        For a bound, ``m`` is `ALL` and the input is x by modality. A module that also has
        ``features``, x_m → part ("shared", "specific", "unused") → (B, D), is in the pictures of
        the feature space. ``operations`` of a module are those of one prediction that torch's
        counter of FLOPs does not see (comparisons along a tree).
        """
        raise NotImplementedError
