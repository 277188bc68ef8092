"""Instances onto GPUs (law 5): by `solver.packing`, in whole units that never round in our favour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner.errors import DoesNotFitError
from planner.plan import Placed, Stage
from planner.profile import Profile
from planner.workload import Gpu

if TYPE_CHECKING:
    from solver.packing import Bin, Item

MAX_CLIENTS = 48  # MPS clients on one GPU, Volta and later
_UNIT = 1000  # thousandths of a percent and of a megabyte


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Every instance on a GPU; `gpus` are used, and these stages need `least_gpus` at the least."""

    placed: tuple[Placed, ...]
    gpus: int
    least_gpus: int


def place(
    stages: Sequence[Stage],
    gpus: Sequence[Gpu],
    profiles: Sequence[Profile],
    *,
    max_clients: int = MAX_CLIENTS,
    time_limit_s: float = 5.0,
    seed: int = 0,
) -> tuple[Placed, ...]:
    """Every instance of every stage on a GPU of its type; see `placement_of`."""
    return placement_of(
        stages, gpus, profiles, max_clients=max_clients, time_limit_s=time_limit_s, seed=seed
    ).placed


def placement_of(
    stages: Sequence[Stage],
    gpus: Sequence[Gpu],
    profiles: Sequence[Profile],
    *,
    max_clients: int = MAX_CLIENTS,
    time_limit_s: float = 5.0,
    seed: int = 0,
) -> Placement:
    """Place every instance of every stage on a GPU of its type, using few GPUs.

    A stage is of one GPU type, so the fewest of each type are also the cheapest. Raises DoesNotFitError
    naming the instances that found no place and what is short.
    """
    # Not on top: the solver behind it takes a second to import, and most plans are not placed.
    from solver.packing import pack

    by_type = {(profile.model, profile.gpu): profile for profile in profiles}
    memory = [instance_memory_mb(by_type[stage.model, stage.gpu], stage) for stage in stages]
    items, bins = packing_program(stages, memory, gpus, max_clients=max_clients)
    packing = pack(items, bins, time_limit_s=time_limit_s, seed=seed)
    if not packing.complete:
        raise DoesNotFitError(_shortage(stages, memory, gpus, packing.leftover))
    placed = []
    for stage, counts in zip(stages, packing.counts, strict=True):
        instance = 0
        for gpu, count in zip(gpus, counts, strict=True):
            for _ in range(count):
                placed.append(Placed(stage=stage.id, instance=instance, gpu=gpu.id))
                instance += 1
    return Placement(placed=tuple(placed), gpus=packing.bins_used, least_gpus=packing.bins_bound)


def packing_program(
    stages: Sequence[Stage], memory_mb: Sequence[float], gpus: Sequence[Gpu], *, max_clients: int
) -> tuple[list[Item], list[Bin]]:
    """Stages, each instance of which takes `memory_mb`, and GPUs, as the solver's items and bins."""
    from solver.packing import Bin, Item

    items = [
        Item(
            kind=stage.gpu,
            share=math.ceil(stage.share * _UNIT - 1e-6),
            memory=math.ceil(needed_mb * _UNIT - 1e-6),
            count=stage.instances,
        )
        for stage, needed_mb in zip(stages, memory_mb, strict=True)
    ]
    bins = [
        Bin(kind=gpu.type, share=100 * _UNIT, memory=math.floor(gpu.memory_mb * _UNIT), clients=max_clients)
        for gpu in gpus
    ]
    return items, bins


def instance_memory_mb(profile: Profile, stage: Stage) -> float:
    """Memory of one instance of the stage in MB: context, its weights, and activations for a full batch."""
    weights = sum(profile.weight_mb[stage.start : stage.end]) if profile.weight_mb else 0.0
    weights += sum(item.weight_mb for item in profile.exits or () if item.layer in stage.exits)
    activation = max(profile.activation_mb[stage.start : stage.end]) if profile.activation_mb else 0.0
    return profile.context_mb + weights + stage.batch * activation


def _shortage(
    stages: Sequence[Stage], memory: Sequence[float], gpus: Sequence[Gpu], leftover: Sequence[int]
) -> list[dict[str, Any]]:
    """What found no place, and for each how much there is of its kind."""
    missing: list[dict[str, Any]] = []
    for stage, memory_mb, count in zip(stages, memory, leftover, strict=True):
        if count:
            there = [gpu for gpu in gpus if gpu.type == stage.gpu]
            needed = sum(s.share * s.instances for s in stages if s.gpu == stage.gpu)
            missing.append(
                {
                    "stage": stage.id,
                    "model": stage.model,
                    "gpu": stage.gpu,
                    "instances": count,
                    "share_pct": stage.share,
                    "memory_mb": memory_mb,
                    "share_needed_by_all_pct": needed,
                    "share_there_pct": 100 * len(there),
                    "largest_memory_mb": max((gpu.memory_mb for gpu in there), default=0.0),
                }
            )
    return missing
