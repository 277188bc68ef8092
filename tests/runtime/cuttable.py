"""Small models, each with one thing that makes cutting hard."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    """Two convolutions and a way around them; without `around` it is a chain."""

    def __init__(self, channels: int, *, around: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.around = around

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.second(self.relu(self.first(x)))
        return x + inner if self.around else inner


class Reshaping(nn.Module):
    """A number taken from the input's shape is used after the second convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Linear(4 * 64, 5)
        self.last = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        samples, _, height, width = x.shape
        x = self.second(self.first(x))
        x = x.reshape(samples, 4 * height * width)
        return self.last(self.third(x))


class Offsetting(nn.Module):
    """A parameter and a value computed from it are made first and used last."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.randn(4))
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.third = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        twice = self.offset * 2.0
        return self.third(self.second(self.first(x))) + twice


class Carrying(nn.Module):
    """Computes with a tensor that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.steps = torch.arange(4, dtype=torch.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x) + self.steps)


class Eager(nn.Module):
    """A second layer that begins with an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8))
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.layers(self.act(x))))


class Twice(nn.Module):
    """Calls the same layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x))


class Deciding(nn.Module):
    """What it does depends on what it sees: not traceable."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else x


class Pair(nn.Module):
    """Takes two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + y


class Transposing(nn.Module):
    """Returns the batch in the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).transpose(0, 1)


def blocks() -> nn.Module:
    """A stem, two residual blocks, one block of their class without the way around, and a head."""
    return _taking(
        (3, 8, 8),
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Sequential(Residual(4), Residual(4)),
            Residual(4, around=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 10),
        ),
    )


def reshaping() -> nn.Module:
    return _taking((3, 8, 8), Reshaping())


def offsetting() -> nn.Module:
    return _taking((4,), Offsetting())


def carrying() -> nn.Module:
    return _taking((4,), Carrying())


def eager() -> nn.Module:
    return _taking((4,), Eager())


def twice() -> nn.Module:
    return _taking((4,), Twice())


def deciding() -> nn.Module:
    return _taking((4,), Deciding())


def pair() -> nn.Module:
    return _taking((4,), Pair())


def transposing() -> nn.Module:
    return _taking((4,), Transposing())


def idle() -> nn.Module:
    """Nothing to do."""
    return _taking((4,), nn.Sequential(nn.ReLU(), nn.Flatten()))


def shapeless() -> nn.Module:
    """Does not say what it takes."""
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def words() -> nn.Module:
    """Takes numbers of words."""
    model = nn.Sequential(nn.Embedding(2, 8), nn.Flatten(), nn.Linear(24, 4), nn.Linear(4, 2))
    model.example_input = torch.zeros((1, 3), dtype=torch.int64)
    return model


def trained() -> nn.Module:
    """Brings weights of its own."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model.load_state_dict(
        {
            "0.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
            "0.bias": torch.zeros(2),
            "1.weight": torch.tensor([[1.0, -1.0]]),
            "1.bias": torch.tensor([0.5]),
        }
    )
    return _taking((2,), model)


def heavy() -> nn.Module:
    """256 MiB, in its second layer."""
    return _taking((16,), nn.Sequential(nn.Linear(16, 8192), nn.Linear(8192, 8192)))


not_a_factory = 7


def _taking(shape: tuple[int, ...], model: nn.Module) -> nn.Module:
    model.example_input = shape
    return model
