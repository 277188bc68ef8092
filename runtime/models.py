"""Models as chains of layers that can be cut.

`open_chain("resnet101")` traces a model and finds its cut points; `chain.fragment(12, chain.depth)` is
layers 12 … L as a torch module with their weights and no others. A model is named

* as torchvision names its classification models: `resnet101`, `vit_b_16`, `inception_v3`, or
* `package.module:factory`, a callable without arguments that returns a `torch.nn.Module`. What the model
  takes is the attribute `example_input` of the module or of the factory: a tensor of one sample with its
  batch dimension, `[1, …]`, or the shape of one sample without it, such as `(3, 224, 224)`.

Either may end in the shape of one sample, `:CxHxW`: `resnet18:3x128x128`. torchvision's models take the
size they were trained for otherwise (299 for inception_v3, 600 for efficientnet_b7, else mostly 224).
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from runtime import cutting, weights
from runtime.errors import ModelError, UncuttableModelError, UnknownModelError

_SHAPE = re.compile(r"^\d+(x\d+)*$")


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """A model of L layers and its L+1 cut points; cut 0 is its input, cut L its answer.

    `cut_shapes` and `cut_bytes` (L+1) are the crossing tensor's, for one sample and without the batch
    dimension; `cut_dtypes` its type. `weight_mb` and `activation_mb` (L, in MiB) are a layer's parameters and
    buffers, and the most that is alive at once while it runs one sample, its input included. `flops` (L)
    counts multiplications and additions of one sample. `weights_file` holds the whole model's weights
    under the keys of its `state_dict`.
    """

    name: str
    seed: int
    layout: cutting.Layout
    build: Callable[[], nn.Module]
    calibrate: Callable[[int], torch.Tensor] | None

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the L layers: paths of the model's modules, such as `layer1.0`."""
        return self.layout.layers

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.layout.layers)

    @property
    def cut_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the tensor at cut 0 … L, one sample, without the batch."""
        return self.layout.cut_shapes

    @property
    def cut_dtypes(self) -> tuple[torch.dtype, ...]:
        """Types of the tensor at cut 0 … L."""
        return self.layout.cut_dtypes

    @property
    def cut_bytes(self) -> tuple[int, ...]:
        """Sizes of the tensor at cut 0 … L, one sample."""
        return self.layout.cut_bytes

    @cached_property
    def weight_mb(self) -> tuple[float, ...]:
        """MiB of parameters and buffers of each layer."""
        sizes = {
            name: tensor.numel() * tensor.element_size()
            for name, tensor in (
                *self.layout.graph_module.named_parameters(),
                *self.layout.graph_module.named_buffers(),
            )
        }
        return tuple(sum(sizes[name] for name in names) / cutting.MIB for names in self.layout.tensors)

    @property
    def activation_mb(self) -> tuple[float, ...]:
        """MiB alive at once within each layer, one sample."""
        return tuple(size / cutting.MIB for size in self.layout.activation_bytes)

    @property
    def flops(self) -> tuple[int, ...]:
        """Floating-point operations of each layer, one sample."""
        return self.layout.flops

    @cached_property
    def weights_file(self) -> Path:
        """The whole model's weights, a safetensors file; written on first use, once a machine."""
        return weights.ensure_weights(
            self.name.split(":")[0] if self.calibrate else self.name,
            self.build,
            seed=self.seed,
            calibrate=self.calibrate,
        )

    @property
    def own_weights_name(self) -> str:
        """The file that is taken for the model's weights in the directory `REGRAFT_WEIGHTS`."""
        return weights.own_name(self.name.split(":")[0] if self.calibrate else self.name)

    def fragment(self, start: int, end: int, *, device: str | torch.device = "cpu") -> nn.Module:
        """Layers `[start, end)` in eval mode, holding their weights and no others.

        It takes one tensor `[b, *cut_shapes[start]]` and returns one `[b, *cut_shapes[end]]`.
        Raises ModelError for a range outside 0 … L, WeightsError where the weights do not fit.
        """
        if not 0 <= start < end <= self.depth:
            raise ModelError(
                f"{self.name} has cut points 0 to {self.depth}; [{start}, {end}) is no range of layers"
            )
        module = cutting.extract(self.layout, start, end)
        weights.materialise(module, self.weights_file, constants=self.layout.constants, device=device)
        return module

    def example(self, batch: int, *, cut: int = 0, seed: int = 0) -> torch.Tensor:
        """A seeded random batch `[batch, *cut_shapes[cut]]`, smooth enough at cut 0 to tell inputs apart."""
        generator = torch.Generator().manual_seed(seed)
        return _random_batch(self.cut_shapes[cut], self.cut_dtypes[cut], batch, generator)


def open_chain(name: str, *, seed: int = 0) -> Chain:
    """Trace a model by its name and find its cut points; weights are read when a fragment asks for them.

    Raises UnknownModelError (with close matches), UncuttableModelError.
    """
    source = _find(name)
    skeleton = weights.skeleton(source.build)
    shape, dtype = source.shape, torch.float32
    if shape is None:
        shape, dtype = _own_input(name, source, skeleton)
    given_shape, given_dtype = shape, dtype

    def example(batch: int) -> torch.Tensor:
        return torch.empty((batch, *given_shape), dtype=given_dtype, device="meta")

    try:
        layout = cutting.lay_out(skeleton, example)
    except UncuttableModelError as error:
        raise UncuttableModelError(f"{name}: {error}") from error
    calibrate = None
    if source.torchvision:
        trained_shape, _ = _own_input(name, source, skeleton)

        def calibrate(samples: int) -> torch.Tensor:
            generator = torch.Generator().manual_seed(seed)
            return _random_batch(trained_shape, torch.float32, samples, generator)

    return Chain(name=name, seed=seed, layout=layout, build=source.build, calibrate=calibrate)


def check_name(name: str) -> None:
    """Raises UnknownModelError (with close matches) when no model has this name; traces nothing."""
    _find(name)


def known_models() -> tuple[str, ...]:
    """The names of torchvision's classification models."""
    models = import_torchvision().models
    return tuple(models.list_models(module=models))


@lru_cache
def import_torchvision() -> Any:
    """torchvision, also where its compiled part does not load.

    With the CPU build of torch, importing torchvision may fail with "operator torchvision::nms does not
    exist"; no classification model needs the operators, so declaring their schemas is enough. Where the
    compiled part does load it declares them itself, and a second declaration would end the process.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for operator in ("nms", "qnms"):
            with contextlib.suppress(RuntimeError):  # declared by somebody else in this process
                _LIBRARY.define(operator + schema)
    torchvision = importlib.import_module("torchvision")
    importlib.import_module("torchvision.models")
    return torchvision


# Schemas live as long as their library object.
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


@dataclass(frozen=True, kw_only=True)
class _Source:
    """How a model is built, and the input shape given with its name."""

    build: Callable[[], nn.Module]
    torchvision: bool
    shape: tuple[int, ...] | None
    factory: Any = None


def _find(name: str) -> _Source:
    parts = name.split(":")
    shape = None
    if len(parts) > 1 and _SHAPE.match(parts[-1]):
        shape = tuple(int(size) for size in parts.pop().split("x"))
    if len(parts) == 1:
        known = known_models()
        if parts[0] not in known:
            raise UnknownModelError(name, difflib.get_close_matches(parts[0], known, n=3))
        models = import_torchvision().models
        builder = models.get_model_builder(parts[0])
        return _Source(build=_torchvision_build(parts[0], builder), torchvision=True, shape=shape)
    if len(parts) != 2 or not all(parts):
        raise UnknownModelError(
            name,
            problem=f"{name!r} is no model: expected a torchvision name or package.module:factory[:CxHxW]",
        )
    factory = _factory(name, *parts)
    return _Source(build=factory, torchvision=False, shape=shape, factory=factory)


def _torchvision_build(name: str, builder: Callable[..., nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        if name in ("googlenet", "inception_v3"):
            # Their own initialisation takes minutes (scipy's truncated normal) and is drawn over anyway.
            return builder(weights=None, init_weights=False)
        return builder(weights=None)

    return build


def _factory(name: str, module: str, attribute: str) -> Callable[[], nn.Module]:
    try:
        target: Any = importlib.import_module(module)
    except ImportError as error:
        raise UnknownModelError(
            name, problem=f"cannot import {module!r} for the model {name!r}: {error}"
        ) from error
    for step in attribute.split("."):
        if not hasattr(target, step):
            close = difflib.get_close_matches(step, dir(target), n=3)
            raise UnknownModelError(name, close, problem=f"{module!r} has no {attribute!r}")
        target = getattr(target, step)
    if not callable(target):
        raise UnknownModelError(
            name, problem=f"{name!r} is not callable; expected a factory of a torch.nn.Module"
        )
    return target


def _own_input(name: str, source: _Source, skeleton: nn.Module) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape (one sample, without the batch) and type of what the model takes when its name does not say."""
    if source.torchvision:
        size = getattr(skeleton, "image_size", None) or _trained_size(name.split(":")[0])
        return (3, size, size), torch.float32
    example = getattr(skeleton, "example_input", None)
    if example is None:
        example = getattr(source.factory, "example_input", None)
    if isinstance(example, torch.Tensor) and example.dim() > 1:
        return tuple(example.shape[1:]), example.dtype
    if isinstance(example, tuple | list) and example and all(isinstance(size, int) for size in example):
        return tuple(example), torch.float32
    raise UncuttableModelError(
        f"{name}: what does it take? Give the model or its factory an attribute `example_input` (a tensor "
        "[1, …], or the shape of one sample), or end the name in a shape, such as :3x224x224"
    )


def _trained_size(name: str) -> int:
    models = import_torchvision().models
    first = next(iter(models.get_model_weights(name)))
    return int(first.transforms().crop_size[0])


def _random_batch(
    shape: tuple[int, ...], dtype: torch.dtype, batch: int, generator: torch.Generator
) -> torch.Tensor:
    """Seeded samples that differ at a glance: noise, and for images coarse patches under it.

    White noise alone would be the same to a model that averages over the image.
    """
    if not dtype.is_floating_point:
        return torch.randint(0, 2, (batch, *shape), generator=generator).to(dtype)
    noise = torch.randn((batch, *shape), generator=generator)
    if len(shape) == 3 and math.prod(shape[1:]) > 1:
        coarse = torch.randn((batch, shape[0], 4, 4), generator=generator)
        patches = nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")
        noise = 0.5 * noise + patches
    return noise.to(dtype)
