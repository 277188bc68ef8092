"""Synthetic profiles and workloads with a fixed seed, for tests and benchmarks.

A layer with work w takes  w · (α + β·b) / (s/100)^γ  milliseconds at batch b and share s, α + β = 1: a batch
of one on a whole GPU takes w. α is what a batch pays once (launches, weights read), so batching pays; γ < 1
because a small share of a GPU is used better than a large one. Both differ a little from layer to layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.menu import Menu
from planner.profile import Profile
from planner.workload import Fragment, Gpu, Workload

BATCHES = (1, 2, 4, 8, 16, 32)
SHARES = tuple(range(5, 101, 5))
COARSE_BATCHES = (1, 4, 16)
COARSE_SHARES = (25, 50, 100)


def make_profile(
    model: str = "net",
    gpu: str = "v100",
    *,
    layers: int = 20,
    batches: Sequence[int] = BATCHES,
    shares: Sequence[int | float] = SHARES,
    total_ms: float = 10.0,
    alpha: float = 0.6,
    gamma: float = 0.8,
    overhead_ms: float = 0.15,
    null_cells: float = 0.0,
    cost_per_share: float = 1.0,
    memory: bool = False,
    seed: int = 0,
) -> Profile:
    """A profile whose whole model takes `total_ms` at batch 1 on a whole GPU.

    `null_cells` is the probability of a cell not having been measured; every layer keeps at least one
    cell, so there is always some way through the model, though it may need a chain of stages. With
    `memory` the profile has `cut_bytes`, `weight_mb`, `activation_mb` and `context_mb`.
    """
    rng = np.random.default_rng(seed)
    work = rng.uniform(0.4, 1.6, layers)
    work *= total_ms / work.sum()
    alphas = np.clip(alpha + rng.uniform(-0.1, 0.1, layers), 0.0, 0.95)
    gammas = np.clip(gamma + rng.uniform(-0.05, 0.05, layers), 0.05, 1.0)
    b = np.array(batches, dtype=float)[None, :, None]
    s = np.array(shares, dtype=float)[None, None, :] / 100
    a, g, w = alphas[:, None, None], gammas[:, None, None], work[:, None, None]
    latency = np.round(w * (a + (1 - a) * b) / s**g, 6)
    missing = rng.random(latency.shape) < null_cells
    for layer in range(layers):
        if missing[layer].all():
            missing[layer, rng.integers(len(batches)), rng.integers(len(shares))] = False
    cells = np.where(missing, None, latency).tolist()
    sizes: dict[str, object] = {}
    if memory:
        sizes = {
            "cut_bytes": tuple(int(size) for size in np.geomspace(600_000, 4_000, layers + 1)),
            "weight_mb": tuple(float(size) for size in np.round(rng.uniform(1, 12, layers), 3)),
            "activation_mb": tuple(float(size) for size in np.round(rng.uniform(0.5, 6, layers), 3)),
            "context_mb": 450.0,
        }
    return Profile(
        model=model,
        gpu=gpu,
        layers=tuple(f"layer{number}" for number in range(layers)),
        batches=tuple(batches),
        shares=tuple(shares),
        latency_ms=tuple(tuple(tuple(row) for row in layer) for layer in cells),
        stage_overhead_ms=overhead_ms,
        cost_per_share=cost_per_share,
        **sizes,  # type: ignore[arg-type]
    )


def make_coarse_profile(model: str = "net", gpu: str = "v100", **changes: object) -> Profile:
    """10 layers, 3 shares, 3 batches, and a tenth of the cells not measured; `changes` as in make_profile."""
    coarse: dict[str, object] = {
        "layers": 10,
        "batches": COARSE_BATCHES,
        "shares": COARSE_SHARES,
        "null_cells": 0.1,
        **changes,
    }
    return make_profile(model, gpu, **coarse)  # type: ignore[arg-type]


def make_workload(
    profiles: Sequence[Profile],
    *,
    fragments: int = 50,
    budgets: tuple[float, float] = (1.5, 6.0),
    rates: tuple[float, float] = (1.0, 30.0),
    starts: Sequence[int] | None = None,
    counts: tuple[int, int] = (1, 1),
    gpus: Sequence[Gpu] | None = None,
    seed: int = 0,
) -> Workload:
    """`fragments` fragments over the profiles' models in turn, all of which can be planned.

    A fragment's budget is drawn between the multiples `budgets` of the least time that any route from
    its start takes under plain law 2; its rate log-uniformly between `rates`; its start from `starts`
    (default: any layer of the first four fifths); its count between `counts`, both ends included.
    """
    rng = np.random.default_rng(seed)
    grouped: dict[str, list[Profile]] = {}
    for profile in profiles:
        grouped.setdefault(profile.model, []).append(profile)
    menus = [Menu(group) for group in grouped.values()]
    made = []
    for number in range(fragments):
        menu = menus[number % len(menus)]
        choices = starts if starts is not None else range(max(1, menu.depth * 4 // 5))
        start = int(rng.choice(np.array(choices)))
        least = float(menu.least_time_ms[start])
        made.append(
            Fragment(
                id=f"phone-{number}",
                model=menu.model,
                start=start,
                budget_ms=round(least * float(rng.uniform(*budgets)) + 1e-3, 3),
                rate_rps=round(float(np.exp(rng.uniform(*np.log(rates)))), 3),
                count=int(rng.integers(counts[0], counts[1] + 1)),
            )
        )
    return Workload(fragments=tuple(made), gpus=tuple(gpus) if gpus is not None else None)
