"""A model's weights on disk: written once, read a layer at a time.

A worker must hold its layers and no more, so nobody who serves ever builds a whole model: it is built
on the `meta` device (`skeleton`), its weights are written once a machine to a safetensors file
(`ensure_weights`), and a fragment takes the tensors it needs from there (`materialise`).

The weights of a torchvision model are random: this package ships none. They are drawn from a seed, the same
in every process, and then calibrated on a few seeded images so that every layer matters to the answer
(otherwise comparing answers would prove nothing: ViT's head starts at zero, ConvNeXt's blocks at 1e-6):
layer after layer is scaled to unit variance (LSUV, Mishkin and Matas, ICLR 2016), and batch norms take
the statistics they see. Trained weights are used instead when `REGRAFT_WEIGHTS` names a directory with a
`<model>.safetensors` in it. A factory's weights are what the factory makes under the seed, trained or not.

The file's keys are those of the model's `state_dict`, so that torchvision loads it as it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from runtime.errors import WeightsError
from runtime.memory import give_back

_SCHEME = 1  # raise it when the same seed gives other weights than before
_CALIBRATION_SAMPLES = 4


def cache_directory() -> Path:
    """Where weights are kept: `REGRAFT_CACHE`, or `~/.cache/regraft`; in it, `models`."""
    root = os.environ.get("REGRAFT_CACHE") or str(Path.home() / ".cache" / "regraft")
    return Path(root) / "models"


def own_name(name: str) -> str:
    """The file of trained weights that `REGRAFT_WEIGHTS` may hold for a model."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name) + ".safetensors"


def skeleton(build: Callable[[], nn.Module]) -> nn.Module:
    """The model without its weights: every parameter and buffer on the `meta` device, in eval mode."""
    with warnings.catch_warnings(), _EmptyOnMeta():
        # A factory that loads a checkpoint is told at length that loading into meta tensors does nothing.
        warnings.simplefilter("ignore")
        model = build()
    return model.to("meta").eval().requires_grad_(False)


def ensure_weights(
    name: str, build: Callable[[], nn.Module], *, seed: int, calibrate: Callable[[int], torch.Tensor] | None
) -> Path:
    """The model's weights file, written first if need be; safe to call from many processes at once.

    `calibrate(n)` gives n input samples and asks for calibrated weights; None keeps what `build` makes.
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
    if (own := os.environ.get("REGRAFT_WEIGHTS")) and (Path(own) / own_name(name)).exists():
        return Path(own) / own_name(name)
    origin = "" if calibrate else f".{_source_digest(build)}"
    directory = cache_directory()
    path = directory / f"{safe}{origin}.seed{seed}.torch{torch.__version__}.v{_SCHEME}.safetensors"
    if path.exists():
        return path
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _write(path, _seeded_state(build, seed=seed, calibrate=calibrate))
    except OSError as error:
        raise WeightsError(
            f"cannot write weights to {directory}: {error.strerror}; "
            "set REGRAFT_CACHE to a writable directory"
        ) from None
    give_back()
    return path


def materialise(
    module: nn.Module,
    path: Path,
    *,
    constants: Mapping[str, torch.Tensor],
    device: str | torch.device = "cpu",
) -> None:
    """Give a module on the meta device its tensors from `constants` and the file, and read no others.

    Raises WeightsError when the file lacks a tensor or has it in another shape.
    """
    expected = dict(_named_tensors(module))
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            present = set(file.keys())
            for name, tensor in expected.items():
                if name in constants:
                    _assign(module, name, constants[name].to(device))
                    continue
                if name not in present:
                    raise WeightsError(f"{path}: has no tensor {name!r}")
                # Cloned: a tensor in the mapped file lies at any address, and would be read from disk
                # again whenever the page cache is short.
                value = file.get_tensor(name).clone()
                if value.shape != tensor.shape:
                    raise WeightsError(
                        f"{path}: {name!r} is {list(value.shape)}, the model wants {list(tensor.shape)}"
                    )
                _assign(module, name, value.to(tensor.dtype))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error}); delete it") from None


class _EmptyOnMeta(TorchFunctionMode):
    """Allocates on meta what is only there to be initialised.

    `torch.device("meta")` would also catch the small tensors some models compute with while they are
    built (RegNet takes its widths from one), and those need values.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _assign(module: nn.Module, name: str, value: torch.Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(value, requires_grad=False)
    else:
        owner._buffers[leaf] = value


def _write(path: Path, state: dict[str, torch.Tensor]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        # One entry: safetensors writes several in any order, and the same weights shall be the same file.
        save_file(state, temporary, metadata={"format": "pt"})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _seeded_state(
    build: Callable[[], nn.Module], *, seed: int, calibrate: Callable[[int], torch.Tensor] | None
) -> dict[str, torch.Tensor]:
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = build().eval()
        if calibrate:
            # One thread adds up in one order: the statistics do not depend on the number of cores.
            torch.set_num_threads(1)
            try:
                _calibrate(model, calibrate(_CALIBRATION_SAMPLES))
            finally:
                torch.set_num_threads(threads)
    # Tied tensors are written once for each name, since safetensors refuses shared memory.
    return {name: tensor.detach().clone().contiguous() for name, tensor in _named_tensors(model)}


def _calibrate(model: nn.Module, samples: torch.Tensor) -> None:
    """Scale every convolution and linear map to unit variance, and let batch norms see the samples."""

    def scale(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        if not weight.any():  # a head that starts at zero
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
            output = module.forward(*inputs)
        factor = 1.0 / float(output.std().clamp_min(1e-12))
        for parameter in module.parameters(recurse=False):
            parameter.mul_(factor)
        return output * factor

    hooks = [
        module.register_forward_hook(scale)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    ]
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale") and float(parameter.abs().max()) < 1e-2:
            parameter.fill_(1.0)
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # take what is seen instead of averaging with what is not
    try:
        model(samples)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum


def _source_digest(build: Callable[..., Any]) -> str:
    """A few letters that change when the factory's source does."""
    target = getattr(build, "factory", build)
    try:
        source = Path(inspect.getsourcefile(target) or "").read_bytes()
    except (OSError, TypeError):
        source = repr(target).encode()
    return hashlib.sha256(source).hexdigest()[:12]
