"""Floating-point operations, by the formulas of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Counts the floating-point operations of what is done inside: `total`.

    It counts what torch's `FlopCounterMode` does, as one sum, but for higher-order operators
    (`torch.cond`), which are not supported. That one also keeps books on modules, and imports
    torch's compiler to be let alone by it, which takes a second of every process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(getattr(func, "overloadpacket", None))
        if formula is None:
            with self:  # what is made up of others is counted by them
                out = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if out is NotImplemented else out
        out = func(*args, **kwargs)
        self.total += formula(*args, **kwargs, out_val=out)
        return out
