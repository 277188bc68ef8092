"""The layers of a model as a stopwatch runs them: one after the other, each timed (see runtime.stopwatch)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from runtime.cuda_graphs import Captured
    from runtime.models import Chain
    from runtime.shares import Share

# On a GPU, kernels are loaded, algorithms chosen and clocks raised by the first runs: so many, or so long.
_WARM_UP_RUNS = {"cpu": 1, "cuda": 5}
_WARM_UP_S = 0.25
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pass through all layers: seconds by the clock and by the processor, layer by layer.

    `answered_s` is the time until the last layer is done, `total_s` until the next pass may begin.
    """

    total_s: float
    answered_s: float
    layer_s: tuple[float, ...]
    processor_s: tuple[float, ...]


class Course:
    """The layers of a model, loaded, and an input for the first."""

    def __init__(self, chain: Chain, device: str, share: Share) -> None:
        self._chain = chain
        self.device = device
        self.share = share
        self.context_mb = _cuda_context_mb(device) if device != "cpu" else 0.0
        self.layers: list[nn.Module] = [
            chain.fragment(layer, layer + 1, device=device) for layer in range(chain.depth)
        ]
        self.sample: torch.Tensor = chain.example(1).to(device)
        self.captured: list[Captured] | None = None
        self._can_capture = device != "cpu"

    def prepare(self, batch: int) -> None:
        """Take batches of this size from now on, and run once so that nothing is new to the next run."""
        if len(self.sample) != batch or self.device != "cpu":
            self.sample = self._chain.example(batch).to(self.device)
            self._capture()
            began = time.perf_counter()
            for _ in range(_WARM_UP_RUNS[self.device.partition(":")[0]]):
                self.run()
                if time.perf_counter() - began > _WARM_UP_S:
                    break

    def forget(self) -> None:
        """Let go of the sample and of what was captured for it."""
        self.captured = None
        self.sample = self._chain.example(1).to(self.device)

    def _capture(self) -> None:
        self.captured = None
        if self._can_capture:
            from runtime.cuda_graphs import capture_chain

            self.captured = capture_chain(self.layers, self.sample)
            self._can_capture = self.captured is not None

    def run(self) -> Run:
        """One pass, timed layer by layer; pausing included where that is what enforces the share."""
        return self._run_on_cpu() if self.device == "cpu" else self._run_on_gpu()

    def _run_on_cpu(self) -> Run:
        value = self.sample
        self.share.begin()
        clock, processor = [time.perf_counter()], [time.thread_time()]
        for number, layer in enumerate(self.layers, 1):
            value = layer(value)
            processor.append(time.thread_time())
            self.share.step(last=number == len(self.layers))
            clock.append(time.perf_counter())
        self.share.pace(clock[-1] - clock[0])
        end = time.perf_counter()
        return Run(
            total_s=end - clock[0],
            answered_s=clock[-1] - clock[0],
            layer_s=_differences(clock),
            processor_s=_differences(processor),
        )

    def _run_on_gpu(self) -> Run:
        import torch

        value = self.sample
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(len(self.layers) + 1)]
        began = time.perf_counter()
        marks[0].record()
        if self.captured is not None:
            for graph, mark in zip(self.captured, marks[1:], strict=True):
                graph.replay()
                mark.record()
        else:
            for layer, mark in zip(self.layers, marks[1:], strict=True):
                value = layer(value)
                mark.record()
        torch.cuda.synchronize()
        self.share.pace(time.perf_counter() - began)
        layer_s = tuple(first.elapsed_time(second) / 1e3 for first, second in itertools.pairwise(marks))
        # The device's own time where it is MPS that holds the share; the clock's where it is pausing.
        total_s = time.perf_counter() - began if self.share.enforced_by == "pause" else sum(layer_s)
        return Run(total_s=total_s, answered_s=sum(layer_s), layer_s=layer_s, processor_s=layer_s)


def _cuda_context_mb(device: str) -> float:
    """What a process takes of the GPU's memory before it has put anything there."""
    import torch

    index = torch.device(device).index or 0
    torch.zeros(1, device=device)
    free, total = torch.cuda.mem_get_info(index)
    used_by_all = total - free
    ours = torch.cuda.memory_reserved(index)
    return max(0.0, (used_by_all - ours) / _MIB)


def _differences(marks: Sequence[float]) -> tuple[float, ...]:
    return tuple(second - first for first, second in itertools.pairwise(marks))
