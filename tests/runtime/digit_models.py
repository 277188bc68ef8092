"""Two models for scikit-learn's digits (8 × 8 pixels): a convolutional network and a vision transformer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

WIDTH = 32


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.relu(inputs + self.second(self.first(inputs)))


class Tokens(nn.Module):
    """An image as 16 patches of 2 × 2 pixels, and where they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.places = nn.Parameter(0.02 * torch.randn(1, 16, width))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.patches(inputs).flatten(2).transpose(1, 2) + self.places


class MeanHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(self.norm(inputs).mean(dim=1))


def convolutional() -> nn.Module:
    """A small residual network; its blocks are layers."""
    stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    narrow = nn.Sequential(nn.Conv2d(16, WIDTH, 3, stride=2, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, 10))
    return _model(stem, Block(16), narrow, Block(WIDTH), Block(WIDTH), Block(WIDTH), head)


def transformer() -> nn.Module:
    """A small vision transformer; its encoder layers are layers."""
    encoders = [
        nn.TransformerEncoderLayer(
            WIDTH, 4, dim_feedforward=64, dropout=0.0, batch_first=True, norm_first=True
        )
        for _ in range(3)
    ]
    return _model(Tokens(WIDTH), *encoders, MeanHead(WIDTH))


def write_digits(path: Path, *, seed: int = 0) -> Path:
    """The data of scikit-learn's package as `regraft exits` takes them, shuffled: writers come in a row."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    inputs = (digits.images[order][:, None] / 16.0).astype(np.float32)
    np.savez(path, inputs=inputs, labels=digits.target[order].astype(np.int64))
    return path


def _model(*layers: nn.Module) -> nn.Module:
    model = nn.Sequential(*layers)
    model.example_input = (1, 8, 8)
    return model
