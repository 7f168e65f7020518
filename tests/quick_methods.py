"""A plug-in of methods that take milliseconds, and of such that misbehave, for tests of runs."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.registry import Entry, register

LOG = "EO_TEST_LOG"
"""Names a file that gets a line whenever a run begins to train: process, seed, time."""

PAUSE = "EO_TEST_PAUSE"
"""Seconds that a step of the first epoch takes at least."""


HEAVY = ("torchgeo", "timm", "seaborn", "matplotlib", "torch._dynamo")
"""What takes seconds to import, and only reports, other data, or --compile need."""


class Net(nn.Module):
    """Linear in the flattened input: (B, *shape) → (B, outputs)."""

    def __init__(self, spec: ModalitySpec, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(int(torch.Size(spec.shape).numel()), outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


def nothing(method: Steady) -> None:
    """Behave."""


class Steady(Method):
    """One linear net per modality; ``misbehave`` is called when the first batch comes."""

    misbehave: Callable[[Steady], None] = nothing

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.nets = nn.ModuleDict({m: Net(s, task.outputs) for m, s in modalities.items()})

    def on_start(self, n: int) -> None:
        if LOG in os.environ:
            with open(os.environ[LOG], "a") as log:
                log.write(f"{os.getpid()} {torch.initial_seed()} {time.time()}\n")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        type(self).misbehave(self)
        time.sleep(float(os.environ.get(PAUSE, 0)))
        return {
            f"task_{m}": self.task.loss(net(batch.x[m]), batch.y) for m, net in self.nets.items()
        }

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "supervised",
                [self.nets],
                self.losses,
                predictors=self.deployed,
                on_start=self.on_start,
            )
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


def raises(method: Steady) -> None:
    raise ArithmeticError("two and two are five")


def raises_odd_text(method: Steady) -> None:
    raise FileNotFoundError("no file \udcff")


def refuses(method: Steady) -> None:
    raise UserError("refuses: there is nothing to do")


def exhausts_memory(method: Steady) -> None:
    torch.empty(1 << 60)


def exhausts_python(method: Steady) -> None:
    bytearray(1 << 62)


def fills_memory(method: Steady) -> None:
    method.filling = b"x" * (3 << 30)


def diverges(method: Steady) -> None:
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.fill_(float("nan"))


def exits(method: Steady) -> None:
    raise SystemExit(3)


def never_ends(method: Steady) -> None:
    while True:
        time.sleep(0.01)


def hangs(method: Steady) -> None:
    time.sleep(100_000)


def kills(method: Steady) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kills_once(method: Steady) -> None:
    mark = Path(os.environ[LOG] + ".killed")
    if not mark.exists():
        mark.touch()
        kills(method)


def tells(method: Steady) -> None:
    """Fail with what the process is like that executes the run, as JSON.

    A page that the process has copied is anonymous; one that is only dirty may be the file's own,
    not yet on the disk.
    """
    maps, mapped = Path("/proc/self/smaps").read_text(), {}
    for file, facts in re.findall(r"/(x-[^/]+\.npy)\n((?:\w+: .*\n)+)", maps):
        mapped[file] = sum(map(int, re.findall(r"^Anonymous: +(\d+)", facts, re.M)))
    told = {
        "process": os.getpid(),
        "threads": torch.get_num_threads(),
        "environment": [os.environ.get(n) for n in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")],
        "imported": [name for name in HEAVY if name in sys.modules],
        "kB of each map that are a copy": mapped,
    }
    raise UserError(json.dumps(told))


class PredictsNan(Steady):
    """Its losses and its validation are finite; its predictions of the test part are not."""

    class Predictor(Net):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y * torch.nan if torch.is_inference_mode_enabled() else y

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.nets = nn.ModuleDict(
            {m: self.Predictor(s, task.outputs) for m, s in modalities.items()}
        )


def _register(key: str, method: type[Method]) -> None:
    register(
        Entry(
            key=key,
            method=method,
            family="control",
            summary=f"For tests: {key}.",
            losses="Σ_m ℓ(w_m · x_m, y)",
            publication=None,
            defaults_from="this benchmark",
            role="control",
        )
    )


_register("steady", Steady)
_register("predicts_nan", PredictsNan)
for each in (
    raises,
    raises_odd_text,
    refuses,
    exhausts_memory,
    exhausts_python,
    fills_memory,
    diverges,
    exits,
    never_ends,
    hangs,
    kills,
    kills_once,
    tells,
):
    _register(each.__name__, type(each.__name__, (Steady,), {"misbehave": each}))
