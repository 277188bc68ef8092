"""A network for scikit-learn's digits that batches as a GPU does: many small layers, so that a batch of 16
takes hardly more than two samples."""

from __future__ import annotations

from torch import nn

from tests.runtime.digit_models import Block

WIDTH, BLOCKS, GROUPS = 16, 8, 7


def deep() -> nn.Module:
    """A stem, GROUPS groups of residual blocks, a head: GROUPS + 2 layers."""
    stem = nn.Sequential(nn.Conv2d(1, WIDTH, 3, stride=2, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU())
    groups = [nn.Sequential(*(_block() for _ in range(BLOCKS))) for _ in range(GROUPS)]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, 10))
    model = nn.Sequential(stem, *map(Group, groups), head)
    model.example_input = (1, 8, 8)  # type: ignore[assignment]
    return model


class Group(nn.Module):
    """Some blocks as one layer of the model: what came in goes round them, so nothing is cut between."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, inputs):  # type: ignore[no-untyped-def]
        return 0.5 * inputs + 0.5 * self.blocks(inputs)


def _block() -> Block:
    """A block that changes nothing before it has learned."""
    block = Block(WIDTH)
    norm = block.second[1]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    return block
