"""A stage that lets easy inputs go (docs/exits.md): the layers in pieces, a ramp between them.

After each exit in use, requests that are sure leave with the ramp's answer, which is sent at once; the rest
is compacted and goes on. A request of several samples leaves when all of them are sure, so that its
answer is one tensor. Where everybody has left, the layers behind are not run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from runtime.errors import ModelError
from runtime.ramps import confidence, load_ramps
from runtime.transport import clock_ns
from runtime.worker_spec import WorkerSpec
from runtime.worker_stage import Executed, Request, Stage

if TYPE_CHECKING:
    from runtime.models import Chain
    from runtime.shares import Share

# Who leaves with which answer, the milliseconds since the batch began, its size, and the exit's layer.
LetGo = Callable[[Sequence[Request], Sequence[memoryview], float, int, int], None]


class ExitStage(Stage):
    """The layers `[start, end)` with the exits of the specification in use."""

    def __init__(self, spec: WorkerSpec, chain: Chain, device: str, share: Share | None = None) -> None:
        super().__init__(spec, chain, device, share)
        if any(not spec.start < layer <= spec.end for layer in spec.exits):
            raise ModelError(
                f"{spec.model}: exits {list(spec.exits)} are not within ({spec.start}, {spec.end}]"
            )
        ramps = load_ramps(spec.model, chain.cut_shapes)
        self.let_go: LetGo = _keep
        # How many requests came to each exit, and how many left there.
        self.observed: dict[int, list[int]] = {layer: [0, 0] for layer in spec.exits}
        self._ramps = [
            (layer, module.to(device), threshold)
            for layer in spec.exits
            for module, threshold in [ramps.at(layer)]
        ]
        cuts = sorted({spec.start, *spec.exits, spec.end})
        self._pieces = [self._load(chain, first, last) for first, last in itertools.pairwise(cuts)]
        del self._module  # the pieces hold the weights

    def execute(self, requests: Sequence[Request]) -> Executed:
        """Run requests together; the answer names those that did not leave on the way."""
        began = clock_ns()
        tensors = [
            torch.frombuffer(request.tensor, dtype=self.input_dtype).view(request.samples, *self.input_shape)
            for request in requests
        ]
        samples = sum(request.samples for request in requests)
        left = list(requests)
        with torch.inference_mode():
            value = torch.cat(tensors).to(self._device)
            for number, piece in enumerate(self._pieces):
                value = piece(value)
                if number < len(self._ramps):
                    value, left = self._exit(number, value, left, began, samples)
                    if not left:
                        break
        answers: list[memoryview] = []
        if left:
            output = value.contiguous().to("cpu", self.output_dtype)
            parts = output.split([request.samples for request in left])
            answers = [memoryview(part.numpy()).cast("B") for part in parts]
        now = clock_ns()
        exec_ms = (now - began) / 1e6
        self.estimate.record(samples, exec_ms, now)
        return Executed(answers, exec_ms, samples, True, left)

    def _exit(
        self, number: int, value: torch.Tensor, requests: list[Request], began: int, samples: int
    ) -> tuple[torch.Tensor, list[Request]]:
        """What goes on past an exit: tensor and requests."""
        layer, ramp, threshold = self._ramps[number]
        logits = ramp(value)
        sure = (confidence(logits) >= threshold).cpu()
        sizes = [request.samples for request in requests]
        leaving = [bool(part.all()) for part in sure.split(sizes)]
        self.observed[layer][0] += len(requests)
        if not any(leaving):
            return value, requests
        self.observed[layer][1] += sum(leaving)
        answers = logits.contiguous().to("cpu", self.output_dtype).split(sizes)
        gone = [
            (request, memoryview(answer.numpy()).cast("B"))
            for request, answer, leaves in zip(requests, answers, leaving, strict=True)
            if leaves
        ]
        spent_ms = (clock_ns() - began) / 1e6
        self.let_go(
            [request for request, _ in gone], [answer for _, answer in gone], spent_ms, samples, layer
        )
        stay = torch.repeat_interleave(~torch.tensor(leaving), torch.tensor(sizes)).to(value.device)
        return value[stay], [request for request, leaves in zip(requests, leaving, strict=True) if not leaves]

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Everything, for everybody: what warming up measures is the longest it can take."""
        with torch.inference_mode():
            value = inputs.to(self._device)
            for number, piece in enumerate(self._pieces):
                value = piece(value)
                if number < len(self._ramps):
                    confidence(self._ramps[number][1](value))
            return value.contiguous().to("cpu", self.output_dtype)


def _keep(*_: object) -> None:
    """Nobody listens yet: warming up."""
