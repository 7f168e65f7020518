"""Stage artefacts on disk: trained predictors that several runs build on, keyed by their spec.

    <results>/artefacts/<id>.pt

Whoever lacks one trains it and writes it by an atomic rename; whoever finds one in place uses it,
unless other code made it: then it is trained again and takes its place. Deleting the folder changes
no number, only the time that a run takes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.planning.code import codes
from benchmark.spec import RunSpec
from benchmark.stopping import finishing
from benchmark.training.fit import Predictors, StageLog, Trained, Training
from benchmark.writers import atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtefactStore:
    """Artefacts below a results folder; called as `benchmark.training.fit.Obtain`."""

    results: Path

    def __call__(
        self, spec: RunSpec, predictors: Predictors, train: Callable[[], Training]
    ) -> Training:
        """The trained artefact of ``spec``: loaded into ``predictors``, or trained and kept."""
        found = self._load(spec, predictors)
        if found is None:
            trained = yield from train()
            # Another process may have been quicker; the first to write is what all then use.
            found = self._load(spec, predictors)
            if found is None:
                self._save(spec, trained)
                return trained
        return found

    def _path(self, spec: RunSpec) -> Path:
        return self.results / "artefacts" / f"{spec.id}.pt"

    def _load(self, spec: RunSpec, predictors: Predictors) -> Trained | None:
        path = self._path(spec)
        if not os.path.lexists(path):
            return None
        try:
            with zipfile.ZipFile(path) as file:  # torch itself does not look at check sums
                if file.testzip() is not None:
                    raise ValueError("a check sum is wrong")
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["id"] != spec.id:
                raise ValueError("the artefact of another run")
            if content.get("code") != codes(spec):
                log.info("%s was made by other code: trained again", path)
                return None
            for m, predictor in predictors.items():
                predictor.load_state_dict(content["states"][m])
            stages = [StageLog(**stage) for stage in json.loads(content["stages"])]
            return Trained(predictors, stages, content["training_parameters"])
        except Exception as error:  # whatever torch makes of a file that is not one of these
            aside = path.with_suffix(".damaged")
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("%s is damaged (%s): moved to %s, trained again", path, reason, aside.name)
            with suppress(FileNotFoundError):  # another process was quicker
                path.replace(aside)
            return None

    def _save(self, spec: RunSpec, trained: Trained) -> None:
        content = {
            "id": spec.id,
            "code": codes(spec),
            # Copies, as torch saves all of the memory that a tensor may share with others.
            "states": {
                m: {name: value.clone() for name, value in predictor.state_dict().items()}
                for m, predictor in trained.predictors.items()
            },
            "stages": json.dumps([stage.as_json() for stage in trained.stages], allow_nan=False),
            "training_parameters": trained.training_parameters,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)  # to memory: torch reports a full disk as an error of its own
        with finishing(), atomic(self._path(spec)) as file:
            file.write(buffer.getbuffer())
