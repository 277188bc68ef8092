"""Modules captured as CUDA graphs: all their kernels are launched by one call.

Run kernel by kernel, a model of three hundred small kernels takes as long as the processor needs to launch
them, and a share of the GPU makes no difference to it. A graph is captured for one batch size and reads from
one place; a smaller batch runs in the next larger graph. A module that cannot be captured (it looks at its
numbers while it runs) is run kernel by kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

Module = Callable[[torch.Tensor], torch.Tensor]

# Before a capture: libraries choose their algorithms and take their workspaces.
_RUNS_BEFORE = 2


class Captured:
    """One module at one batch size: `replay` reads `inputs` where it lies, and leaves `output`."""

    def __init__(self, module: Module, inputs: torch.Tensor, pool: Any = None) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_RUNS_BEFORE):
                module(inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self.output = module(inputs)

    def replay(self) -> torch.Tensor:
        """Launch it; the answer is there when the stream is."""
        self._graph.replay()
        return self.output


def capture_chain(layers: Sequence[Module], inputs: torch.Tensor) -> list[Captured] | None:
    """Each layer as a graph that reads what the one before it writes; None where one cannot be captured."""
    pool = torch.cuda.graph_pool_handle()
    captured: list[Captured] = []
    value = inputs
    try:
        for layer in layers:
            captured.append(Captured(layer, value, pool))
            value = captured[-1].output
        torch.cuda.synchronize()
    except Exception as error:  # whatever the module or the driver raises: it runs uncaptured
        print(f"not captured as a CUDA graph: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    return captured


class GraphedStage:
    """A stage on the GPU, from tensors in the computer's memory to a tensor there.

    Captured at every one of `sizes`; inputs and answers pass through pinned memory, which the GPU reads
    and writes by itself.
    """

    def __init__(
        self, module: Module, sizes: Sequence[int], shape: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        self._module = module
        self._sizes = sorted(sizes)
        largest = self._sizes[-1]
        self._staged = torch.zeros(largest, *shape, dtype=dtype, pin_memory=True)
        self._inputs = torch.zeros(largest, *shape, dtype=dtype, device="cuda")
        self._graphs: dict[int, Captured] = {}
        pool = torch.cuda.graph_pool_handle()
        try:
            for size in reversed(self._sizes):
                self._graphs[size] = Captured(module, self._inputs[:size], pool)
            torch.cuda.synchronize()
        except Exception as error:  # as above
            print(f"not captured as a CUDA graph: {type(error).__name__}: {error}", file=sys.stderr)
            self._graphs.clear()

    @property
    def captured(self) -> bool:
        """Whether it runs as graphs."""
        return bool(self._graphs)

    def __call__(self, inputs: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """The answer to a batch of at most the largest size, as a tensor of `dtype` of its own."""
        count = len(inputs)
        self._staged[:count].copy_(inputs)
        self._inputs[:count].copy_(self._staged[:count], non_blocking=True)
        if self._graphs:
            size = next(size for size in self._sizes if size >= count)
            output = self._graphs[size].replay()[:count]
        else:
            output = self._module(self._inputs[:count])
        return output.contiguous().to("cpu", dtype)
