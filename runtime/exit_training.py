"""Training of ramps, and of the model below them where it has not been trained (docs/exits.md).

Data are an .npz file with `inputs` [N, …] and `labels` [N]. Ramps are trained on a model that is held still,
as in E3 and PAME.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from runtime.errors import ModelError, SettingError
from runtime.models import Chain
from runtime.ramps import DEFAULT, Ramps, check_layers, confidence, ramp_factory

_BATCH = 64
# Above every probability: nobody leaves.
NEVER = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Inputs [N, …] of a model and their labels [N], whole numbers from 0."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: float, end: float) -> Samples:
        """The samples from one fraction of them to another."""
        first, last = round(start * len(self)), round(end * len(self))
        return Samples(inputs=self.inputs[first:last], labels=self.labels[first:last])


@dataclass(frozen=True, kw_only=True, eq=False)
class Opinions:
    """What every ramp and the model say of N samples.

    `sure` [E, N] is each ramp's confidence, `answers` [E + 1, N] the classes that ramps, and last the model,
    answer; `labels` [N] are the right ones.
    """

    sure: torch.Tensor
    answers: torch.Tensor
    labels: torch.Tensor

    def leaving(self, thresholds: Sequence[float]) -> torch.Tensor:
        """[N]: the number of the exit by which each sample leaves; E for those that go to the end."""
        count = len(self.sure)
        leaves = self.sure >= torch.tensor(thresholds).view(count, 1)
        last = torch.ones(1, leaves.shape[1], dtype=torch.bool)
        return torch.cat([leaves, last]).int().argmax(dim=0)

    def quality(self, thresholds: Sequence[float]) -> float:
        """The fraction of answers that are right at these thresholds."""
        answers = self.answers.gather(0, self.leaving(thresholds).view(1, -1))[0]
        return float((answers == self.labels).float().mean())


def read_samples(path: Path, chain: Chain) -> Samples:
    """The data of an .npz file. Raises SettingError where it does not fit the model."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = {"inputs", "labels"} - set(file.files)
            if missing:
                raise SettingError(f"{path}: has no {' and no '.join(sorted(missing))}")
            inputs, labels = file["inputs"], file["labels"]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SettingError(f"{path}: is no .npz file of arrays: {error}") from None
    shape, classes = chain.cut_shapes[0], chain.cut_shapes[-1]
    if inputs.shape[1:] != shape:
        raise SettingError(
            f"{path}: inputs are {list(inputs.shape)}, {chain.name} takes [N, {_sizes(shape)}]"
        )
    if len(classes) != 1:
        raise ModelError(f"{chain.name} answers a tensor of shape {list(classes)}; exits need one of classes")
    if labels.shape != inputs.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise SettingError(
            f"{path}: labels are {labels.dtype} {list(labels.shape)}, expected whole numbers [N]"
        )
    if len(labels) < 10 or labels.min() < 0 or labels.max() >= classes[0]:
        raise SettingError(f"{path}: expected at least 10 labels, from 0 to {classes[0] - 1}")
    dtype = chain.cut_dtypes[0]
    return Samples(inputs=torch.from_numpy(inputs).to(dtype), labels=torch.from_numpy(labels).long())


def train_model(chain: Chain, samples: Samples, directory: Path, *, epochs: int, seed: int) -> Path:
    """Train the whole model and write its weights where `REGRAFT_WEIGHTS=directory` finds them."""
    torch.manual_seed(seed)
    model = chain.build().train()
    _fit(model, samples.inputs, samples.labels, epochs=epochs, seed=seed)
    directory.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().contiguous() for name, tensor in model.eval().state_dict().items()}
    path = directory / chain.own_weights_name
    save_file(state, path)
    return path


def train_ramps(
    chain: Chain,
    samples: Samples,
    layers: Sequence[int],
    *,
    factory: str = DEFAULT,
    epochs: int = 40,
    seed: int = 0,
) -> Ramps:
    """Ramps at these cut points, trained on what the model makes of the samples; nobody leaves yet."""
    places = check_layers(chain.name, chain.depth, layers)
    make, classes = ramp_factory(factory), chain.cut_shapes[-1][0]
    modules = []
    for layer, tensor in zip(places, _crossing(chain, samples.inputs, places), strict=True):
        torch.manual_seed(seed)
        module = make(tuple(chain.cut_shapes[layer]), classes).train()
        _fit(module, tensor, samples.labels, epochs=epochs, seed=seed)
        modules.append(module.eval().requires_grad_(False))
    return Ramps(
        model=chain.name,
        classes=classes,
        layers=places,
        thresholds=(NEVER,) * len(places),
        modules=tuple(modules),
        factory=factory,
    )


def opinions(chain: Chain, ramps: Ramps, samples: Samples) -> Opinions:
    """What ramps and model say of every sample, each asked alone: nobody leaves."""
    places = (*ramps.layers, chain.depth)
    *crossing, final = _crossing(chain, samples.inputs, places)
    with torch.inference_mode():
        logits = [module(tensor) for module, tensor in zip(ramps.modules, crossing, strict=True)]
    return Opinions(
        sure=torch.stack([confidence(one) for one in logits]),
        answers=torch.stack([one.argmax(dim=1) for one in (*logits, final)]),
        labels=samples.labels,
    )


def choose_thresholds(ramps: Ramps, found: Opinions, *, floor: float) -> Ramps:
    """The lowest thresholds, exit by exit, at which `floor` times the model's quality is kept.

    Each exit may lose an equal part of what may be lost in all, so that the first does not take it all; what
    one leaves over is the next one's. An exit at which everybody would be wrong stays shut.
    """
    count = len(ramps.layers)
    whole = found.quality((NEVER,) * count)
    thresholds = [NEVER] * count
    for number in range(count):
        least = whole * (1 - (1 - floor) * (number + 1) / count)
        for threshold in sorted({round(float(value), 4) for value in found.sure[number]}):
            trial = [*thresholds[:number], threshold, *thresholds[number + 1 :]]
            if found.quality(trial) >= least:
                thresholds = trial
                break
    return replace(ramps, thresholds=tuple(thresholds))


def _fit(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, *, epochs: int, seed: int) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=1e-3)
    steps = epochs * -(-len(labels) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=max(2, steps))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(_BATCH):
            if len(rows) < 2:  # batch norms cannot learn from one sample
                continue
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()


def _crossing(chain: Chain, inputs: torch.Tensor, cuts: Sequence[int]) -> list[torch.Tensor]:
    """The tensors of all samples at these rising cut points."""
    found, at, value = [], 0, inputs
    for cut in cuts:
        part = chain.fragment(at, cut)
        with torch.inference_mode():
            value = torch.cat([part(piece) for piece in value.split(256)])
        # Ramps learn from them, which tensors of inference mode do not allow.
        found.append(value.clone())
        at = cut
    return found


def _sizes(shape: Sequence[int]) -> str:
    return ", ".join(str(size) for size in shape)
