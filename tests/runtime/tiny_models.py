"""Models small enough to start in a moment, for tests that run real workers.

The functions are leaves of the traced graph (`fx.wrap`): they run with each batch, not while tracing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import fx, nn

PAUSE_S = 0.03
# The variable of the environment that names the file without which `gated` does not answer.
GATE = "REGRAFT_TEST_GATE"


@fx.wrap
def pause(inputs: torch.Tensor) -> torch.Tensor:
    """Takes a known time, whatever the batch, without using the processor."""
    if inputs.device.type != "meta":
        time.sleep(PAUSE_S)
    return inputs


@fx.wrap
def refuse_negative(inputs: torch.Tensor) -> torch.Tensor:
    """Raises on negative input."""
    if inputs.device.type != "meta" and bool((inputs < 0).any()):
        raise ValueError("negative input")
    return inputs


@fx.wrap
def wait_for_gate(inputs: torch.Tensor) -> torch.Tensor:
    """Takes until the file that GATE names is there."""
    if inputs.device.type != "meta":
        while GATE in os.environ and not Path(os.environ[GATE]).exists():
            time.sleep(0.002)
    return inputs


class Gate(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return wait_for_gate(inputs)


class Pause(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return pause(inputs)


class RefuseNegative(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return refuse_negative(inputs)


def tiny() -> nn.Module:
    """Three layers on [3, 8, 8], ten answers."""
    return _model(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, stride=2),
        nn.Flatten(),
        nn.Linear(36, 10),
    )


def _held_up_by(layer: nn.Module) -> nn.Module:
    return _model(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 4, 3, stride=2),
        layer,
        nn.Flatten(),
        nn.Linear(36, 10),
    )


def gated() -> nn.Module:
    """As tiny, and its second layer waits until it may go on."""
    return _held_up_by(Gate())


def slow() -> nn.Module:
    """As tiny, and every batch of its second layer takes PAUSE_S more."""
    return _held_up_by(Pause())


def choosy() -> nn.Module:
    """Two layers; it raises on negative input."""
    return _model(RefuseNegative(), nn.Conv2d(3, 1, 3), nn.Flatten(), nn.Linear(36, 10))


@fx.wrap
def double(inputs: torch.Tensor) -> torch.Tensor:
    """Overwrites what it is given."""
    return inputs.mul_(2)


class Double(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return double(inputs)


def in_place() -> nn.Module:
    """Two layers; the first overwrites its input."""
    return _model(Double(), nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(288, 10))


class Marked(nn.Module):
    """Three channels, and beside them the first of what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([inputs[:, :1], self.convolution(inputs)], dim=1)


class Bright(nn.Module):
    """A ramp that is sure of inputs whose first channel is bright, and of no other."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("sure", torch.eye(1, classes) * 50)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, 0].mean(dim=(1, 2)).unsqueeze(1) * self.sure


def bright(_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Makes such a ramp."""
    return Bright(classes)


def marked() -> nn.Module:
    """Three layers on [3, 8, 8]; a ramp after the first knows how bright the input was."""
    return _model(Marked(), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(288, 10))


def _model(*layers: nn.Module) -> nn.Module:
    model = nn.Sequential(*layers)
    model.example_input = (3, 8, 8)
    return model
