"""Stage artefacts on disk: trained predictors that several runs build on, keyed by their spec.

    <results>/artefacts/<id>.pt

Whoever lacks one trains it and writes it by an atomic rename; whoever finds one in place uses it.
Deleting the folder changes no number, only the time that a run takes.
"""

from __future__ import annotations

import io
import json
import logging
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.fit import Predictors, StageLog, Trained
from benchmark.records import atomic
from benchmark.spec import RunSpec
from benchmark.stopping import finishing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtefactStore:
    """Artefacts below a results folder; called as `benchmark.fit.Obtain`."""

    results: Path

    def __call__(
        self, spec: RunSpec, predictors: Predictors, train: Callable[[], Trained]
    ) -> Trained:
        """The trained artefact of ``spec``: loaded into ``predictors``, or trained and kept."""
        path = self.results / "artefacts" / f"{spec.id}.pt"
        found = self._load(path, predictors)
        if found is None:
            trained = train()
            # Another process may have been quicker; the first to write is what all then use.
            found = self._load(path, predictors)
            if found is None:
                self._save(path, trained)
                return trained
        return found

    def _load(self, path: Path, predictors: Predictors) -> Trained | None:
        if not path.exists():
            return None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            for m, predictor in predictors.items():
                predictor.load_state_dict(content["states"][m])
            stages = [StageLog(**stage) for stage in json.loads(content["stages"])]
            return Trained(predictors, stages, content["training_parameters"])
        except (RuntimeError, OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as e:
            aside = path.with_suffix(".damaged")
            reason = str(e).splitlines()[0] if str(e) else type(e).__name__
            log.warning("%s is damaged (%s): moved to %s, trained again", path, reason, aside.name)
            with suppress(FileNotFoundError):  # another process was quicker
                path.replace(aside)
            return None

    def _save(self, path: Path, trained: Trained) -> None:
        content = {
            "states": {m: predictor.state_dict() for m, predictor in trained.predictors.items()},
            "stages": json.dumps([stage.as_json() for stage in trained.stages]),
            "training_parameters": trained.training_parameters,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)  # to memory: torch reports a full disk as an error of its own
        with finishing(), atomic(path) as file:
            file.write(buffer.getbuffer())
