"""A worker's layers, loaded and run in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from runtime import priority
from runtime.batching import ExecEstimate, sizes_up_to
from runtime.errors import ServingError
from runtime.pacing import Steps
from runtime.shares import Share
from runtime.transport import Channel, clock_ns
from runtime.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from runtime.cuda_graphs import GraphedStage
    from runtime.models import Chain


class Stage:
    """The layers `[start, end)`, loaded and ready to run; `share` is what the process is held to."""

    def __init__(self, spec: WorkerSpec, chain: Chain, device: str, share: Share | None = None) -> None:
        import torch

        if not 0 <= spec.start < spec.end <= chain.depth:
            raise ServingError(
                f"{spec.model}: there are no layers [{spec.start}, {spec.end}); it has {chain.depth}"
            )
        self.batch = spec.batch
        self.input_shape = tuple(chain.cut_shapes[spec.start])
        self.output_shape = tuple(chain.cut_shapes[spec.end])
        self.input_dtype = chain.cut_dtypes[spec.start]
        self.output_dtype = chain.cut_dtypes[spec.end]
        self.output_bytes = chain.cut_bytes[spec.end]
        self.estimate = ExecEstimate()
        self._device = device
        self._share = share or Share(100, "none")
        self._share_pct = spec.share
        self._inputs = torch.empty(spec.batch, *self.input_shape, dtype=self.input_dtype)
        self._writes_input = False
        self._module = self._load(chain, spec.start, spec.end)
        self._graphed: GraphedStage | None = None

    def warm_up(self) -> None:
        """Run at the batch sizes that will come, so that the first request is no slower than the others."""
        import torch

        sizes = sizes_up_to(self.batch)
        if self._device != "cpu":
            from runtime.cuda_graphs import GraphedStage

            assert isinstance(self._module, torch.nn.Module)
            with torch.inference_mode():
                self._graphed = GraphedStage(self._module, sizes, self.input_shape, self.input_dtype)
        for size in sizes:
            sample = torch.zeros(size, *self.input_shape, dtype=self.input_dtype)
            for _ in range(3):
                self._share.begin()
                timed = priority.Undisturbed(100 if self._device != "cpu" else self._share_pct)
                self._forward(sample)
                self.estimate.record(size, timed.elapsed_ms(), clock_ns())
        self._writes_input = self._would_write_input()

    def execute(self, requests: Sequence[Request]) -> Executed:
        """Run requests together, as one batch."""
        import torch

        began = clock_ns()
        tensors = [
            torch.frombuffer(request.tensor, dtype=self.input_dtype).view(request.samples, *self.input_shape)
            for request in requests
        ]
        samples = sum(request.samples for request in requests)
        # A single tensor is read where it lies, unless the model would write to it: it may be wanted again.
        joined = len(tensors) > 1 or self._writes_input
        if not joined:
            inputs = tensors[0]
        elif samples <= self.batch:
            inputs = torch.cat(tensors, out=self._inputs[:samples])
        else:
            inputs = torch.cat(tensors)
        if samples <= self.batch:
            output = self._forward(inputs)
        else:  # one request larger than the batch
            output = torch.cat([self._forward(piece) for piece in inputs.split(self.batch)])
        parts = output.split([request.samples for request in requests])
        answers = [memoryview(part.numpy()).cast("B") for part in parts]
        now = clock_ns()
        exec_ms = (now - began) / 1e6
        self.estimate.record(samples, exec_ms, now)
        return Executed(answers, exec_ms, samples, joined)

    def check_device(self) -> None:
        """Raises ServingError where the GPU answers this process no more: after some errors it never does."""
        if self._device != "cpu":
            import torch

            try:
                torch.cuda.synchronize()
            except RuntimeError as error:
                raise ServingError(f"the GPU is lost to this process: {error}") from None

    def _load(self, chain: Chain, start: int, end: int) -> nn.Module | Steps[torch.Tensor]:
        """Layers `[start, end)`; one by one where the process holds to its share from layer to layer."""
        if self._device != "cpu" or self._share_pct >= 100:
            return chain.fragment(start, end, device=self._device)
        return Steps([chain.fragment(layer, layer + 1) for layer in range(start, end)], self._share)

    def _would_write_input(self) -> bool:
        """Whether the first layer works in place; negative numbers show it, zeros survive a ReLU."""
        import torch

        sample = torch.full((1, *self.input_shape), -1.5).to(self.input_dtype)
        before = sample.clone()
        try:
            self._forward(sample)
        except Exception:  # not an input this model takes; then it cannot be told
            return True
        return not torch.equal(sample, before)

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            if self._graphed is not None:
                return self._graphed(inputs, self.output_dtype)
            return self._module(inputs.to(self._device)).contiguous().to("cpu", self.output_dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What one gateway wants: the answer to one tensor of `samples` samples, in `output` if that is given."""

    channel: Channel
    id: int
    samples: int
    tensor: memoryview
    output: memoryview | None


class Executed(NamedTuple):
    """A batch that was run: each request's answer, and whether the inputs had to be copied together."""

    answers: list[memoryview]
    exec_ms: float
    samples: int
    joined: bool
    # Whom the answers are for, where some have left on the way.
    requests: Sequence[Request] | None = None
