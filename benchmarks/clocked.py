"""Models that take the same time of the processor on every machine, at every moment.

A virtual machine's processor is now faster and now slower, and a layer finds its caches as others have left
them. So where a simulation is off, that may be what the machine did meanwhile. A clocked layer passes on
what it is given and works until the thread has used so many milliseconds of processor time: whatever is off
then lies in queues, batches, shares, copies or scheduling. Its processor has one speed, so the yardstick of
the process that measures it shows one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import register_flop_formula

from runtime.yardstick import Yardstick

# A second sample costs less than the first.
_FIXED, _EACH = 0.35, 0.65
_SHAPE = (8, 32, 32)
_YARDSTICK_S = 1e-4

# Milliseconds of a layer for one sample: as regnet_y_400mf and mobilenet_v2 take them at 128x128 here.
_REGNET_MS = (
    *(0.29, 0.84, 0.66, 0.44, 0.41, 0.57, 0.46, 0.41, 0.41),
    *(0.41, 0.41, 0.41, 0.41, 0.41, 0.36, 0.36, 0.27, 0.09),
)
_MOBILENET_MS = (
    *(0.28, 0.30, 0.53, 0.44, 0.32, 0.26, 0.23, 0.23, 0.23, 0.23),
    *(0.23, 0.23, 0.27, 0.27, 0.27, 0.23, 0.23, 0.23, 0.18, 0.09),
)

_operators = torch.library.Library("clocked", "DEF")
_operators.define("work(Tensor given, float ms) -> Tensor")


def _work(given: torch.Tensor, ms: float) -> torch.Tensor:
    until_ns = time.thread_time_ns() + int(1e6 * ms * (_FIXED + _EACH * len(given)))
    answer = given.clone()
    while time.thread_time_ns() < until_ns:
        pass
    return answer


_operators.impl("work", _work, "CPU")
_operators.impl("work", lambda given, _: torch.empty_like(given), "Meta")


@register_flop_formula(torch.ops.clocked.work)
def _flops(given_shape: Sequence[int], ms: float, **_: object) -> int:
    return max(1, int(1e6 * ms) * given_shape[0])


class Clocked(nn.Module):
    """One layer."""

    def __init__(self, ms: float) -> None:
        super().__init__()
        self.ms = ms

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """The same tensor, some time later."""
        answer: torch.Tensor = torch.ops.clocked.work(given, self.ms)
        return answer


def regnet() -> nn.Module:
    """18 layers, 7.6 ms in all."""
    return _chain(_REGNET_MS)


def mobilenet() -> nn.Module:
    """20 layers, 5.3 ms in all."""
    return _chain(_MOBILENET_MS)


def _chain(layers_ms: Sequence[float]) -> nn.Module:
    Yardstick.seconds = lambda _: _YARDSTICK_S  # type: ignore[method-assign]
    model = nn.Sequential(*(Clocked(ms) for ms in layers_ms))
    model.example_input = _SHAPE  # type: ignore[assignment]
    return model
