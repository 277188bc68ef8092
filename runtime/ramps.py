"""Ramps: small classifiers at cut points of a model, by which easy inputs leave (docs/exits.md).

A ramp reads the tensor that crosses its cut point and gives what the model gives, one number a class. An
input whose largest softmax probability reaches the ramp's threshold leaves with the ramp's answer.

The ramps of a model are one safetensors file, `<model>.exits.safetensors`, beside its trained weights in the
directory that `REGRAFT_WEIGHTS` names; its metadata has their cut points, thresholds and factory.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from runtime.errors import ModelError, UnknownModelError, WeightsError

# What makes a ramp of the shape of one sample at the cut point, and the number of classes.
RampFactory = Callable[[tuple[int, ...], int], nn.Module]

DEFAULT = "runtime.ramps:pooled"
_FORMAT = "regraft.ramps/v1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Ramps:
    """The ramps of one model by rising layer: `modules[n]` reads cut point `layers[n]`.

    `thresholds` are probabilities; above 1 nobody leaves. `factory` is the name of what made them.
    """

    model: str
    classes: int
    layers: tuple[int, ...]
    thresholds: tuple[float, ...]
    modules: tuple[nn.Module, ...]
    factory: str = DEFAULT

    def at(self, layer: int) -> tuple[nn.Module, float]:
        """The ramp of this layer and its threshold. Raises ModelError where there is none."""
        if layer not in self.layers:
            raise ModelError(f"{self.model}: no ramp at cut point {layer}; there are some at {self.layers}")
        number = self.layers.index(layer)
        return self.modules[number], self.thresholds[number]

    def weight_mb(self, layer: int) -> float:
        """MiB of parameters and buffers."""
        tensors = self.at(layer)[0].state_dict().values()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20


def pooled(shape: tuple[int, ...], classes: int) -> nn.Module:
    """The default ramp: the tensor pooled (2 × 2 of an image, the mean of tokens), and two linear layers."""
    match shape:
        case (channels, height, width):
            size = min(2, height, width)
            pool: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Flatten())
            features = channels * size * size
        case (_, features):
            pool = _TokenMean()
        case (features,):
            pool = nn.Identity()
        case _:
            raise ModelError(f"there is no default ramp for a tensor of shape {list(shape)}; give a factory")
    return nn.Sequential(pool, nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, classes))


def confidence(logits: torch.Tensor) -> torch.Tensor:
    """[N]: the largest softmax probability of each row of [N, classes]."""
    return logits.float().softmax(dim=1).max(dim=1).values


def ramp_factory(name: str) -> RampFactory:
    """The factory `package.module:function`. Raises UnknownModelError."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        found = None
    if not callable(found):
        raise UnknownModelError(
            name, problem=f"{name!r} is no factory of ramps: expected package.module:name"
        )
    factory: RampFactory = found
    return factory


def check_layers(model: str, depth: int, layers: Sequence[int]) -> tuple[int, ...]:
    """The layers as they may stand in a profile. Raises ModelError."""
    inside = all(0 < layer < depth for layer in layers)
    if not layers or not inside or any(after <= before for before, after in pairwise(layers)):
        raise ModelError(
            f"{model}: ramps at {list(layers)}: expected rising cut points inside the model, 1 to {depth - 1}"
        )
    return tuple(layers)


def file_name(model: str) -> str:
    """`<model>.exits.safetensors`, with what a file name cannot hold replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", model) + ".exits.safetensors"


def save_ramps(ramps: Ramps, directory: Path) -> Path:
    """Write the ramps' file. Raises WeightsError."""
    metadata = {
        "format": _FORMAT,
        "model": ramps.model,
        "classes": ramps.classes,
        "layers": ramps.layers,
        "thresholds": ramps.thresholds,
        "factory": ramps.factory,
    }
    tensors = {
        f"{layer}.{name}": tensor.contiguous()
        for layer, module in zip(ramps.layers, ramps.modules, strict=True)
        for name, tensor in module.state_dict().items()
    }
    path = directory / file_name(ramps.model)
    temporary = path.with_suffix(".partial")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata={"regraft": json.dumps(metadata)})
        os.replace(temporary, path)
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {error.strerror}") from None
    return path


def load_ramps(model: str, shapes: Sequence[tuple[int, ...]], directory: Path | None = None) -> Ramps:
    """The ramps of a model whose tensors at cut points 0 … L have these shapes; ready to run.

    `directory` defaults to `REGRAFT_WEIGHTS`. Raises WeightsError.
    """
    if directory is None:
        own = os.environ.get("REGRAFT_WEIGHTS")
        if not own:
            raise WeightsError(f"{model}: where are its ramps? Set REGRAFT_WEIGHTS to their directory")
        directory = Path(own)
    path = directory / file_name(model)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("regraft", "{}"))
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from None
    if metadata.get("format") != _FORMAT or metadata.get("model") != model:
        raise WeightsError(f"{path}: holds no {_FORMAT} of {model}")
    layers = check_layers(model, len(shapes) - 1, metadata["layers"])
    factory = ramp_factory(metadata["factory"])
    modules = []
    for layer in layers:
        module = factory(tuple(shapes[layer]), metadata["classes"])
        mine = {
            name.partition(".")[2]: tensor
            for name, tensor in tensors.items()
            if name.partition(".")[0] == str(layer)
        }
        try:
            module.load_state_dict(mine)
        except RuntimeError as error:
            raise WeightsError(f"{path}: does not fit the ramp at {layer}: {error}") from None
        modules.append(module.eval().requires_grad_(False))
    return Ramps(
        model=model,
        classes=metadata["classes"],
        layers=layers,
        thresholds=tuple(metadata["thresholds"]),
        modules=tuple(modules),
        factory=metadata["factory"],
    )


class _TokenMean(nn.Module):
    """[N, tokens, features] → [N, features]."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean(dim=1)
