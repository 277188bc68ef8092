"""The layers of a model as a stopwatch runs them: one after the other, each timed (see runtime.stopwatch)."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runtime.pacing import LEAST_WORK_S
from runtime.yardstick import Yardstick

if TYPE_CHECKING:
    import torch
    from torch import nn

    from runtime.cuda_graphs import Captured
    from runtime.models import Chain
    from runtime.shares import Share

# On a GPU, kernels are loaded, algorithms chosen and clocks raised by the first runs: so many, or so long.
_WARM_UP_RUNS = {"cpu": 1, "cuda": 5}
_WARM_UP_S = 0.25
# Long enough for others to take the caches, and the host the processor.
REST_S = 0.05
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pass through all layers: seconds by the clock and by the processor, layer by layer.

    `answered_s` is the time until the last layer is done, `total_s` until the next pass may begin, and
    `yardstick_s` how fast the processor was (`runtime.yardstick`); 0 on a GPU.
    """

    total_s: float
    answered_s: float
    layer_s: tuple[float, ...]
    processor_s: tuple[float, ...]
    yardstick_s: float = 0.0


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
        self._random = random.Random(0)
        self._yardstick = Yardstick()

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

    def run_rested(self, start: int, end: int) -> Run:
        """Layers `[start, end)` as a worker's stage runs them that had nothing to do for a while (on a CPU).

        Their input is a tensor that another process has written.
        """
        import torch

        time.sleep(REST_S)
        dtype, shape = self._chain.cut_dtypes[start], self._chain.cut_shapes[start]
        content = bytearray(self._chain.example(1, cut=start).numpy().tobytes())
        self.share.begin()
        began = time.thread_time()
        value = torch.frombuffer(content, dtype=dtype).view(1, *shape)
        return self._timed(self.layers[start:end], value, began)

    def _run_on_cpu(self) -> Run:
        # A stage may begin at any layer, so the sleeps within a run come after any: were they always at the
        # same layers, these would have all of what waking up costs, and a stage without them nothing.
        self.share.begin()
        yardstick_s = self._yardstick.seconds()
        self.share.step(last=True)
        self.share.begin(self._random.uniform(0.0, LEAST_WORK_S))
        return replace(self._timed(self.layers, self.sample, time.thread_time()), yardstick_s=yardstick_s)

    def _timed(self, layers: Sequence[nn.Module], value: torch.Tensor, began: float) -> Run:
        clock, processor = [time.perf_counter()], [began]
        for number, layer in enumerate(layers, 1):
            value = layer(value)
            processor.append(time.thread_time())
            self.share.step(last=number == len(layers))
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
