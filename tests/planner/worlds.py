"""Worlds drawn at random: profiles as measuring leaves them, workloads and GPUs, none of them tidy."""

from __future__ import annotations

import random
from dataclasses import dataclass

from planner.menu import Menu
from planner.profile import Profile
from planner.workload import Fragment, Gpu, Workload


@dataclass(frozen=True, kw_only=True)
class World:
    """A workload and the profiles of its models."""

    workload: Workload
    profiles: tuple[Profile, ...]


def make_world(seed: int, *, fragments: int = 12) -> World:
    """One or two models on one to three GPU types, some cells null, and fragments of which some are hopeless.

    Latencies need not fall with the share or rise with the batch, overheads may be 0, shares no whole
    numbers, batches and shares in any order, and a price the opposite of the speed.
    """
    draw = random.Random(seed)
    types = ["v100", "a100", "cpu"][: draw.choice((1, 1, 2, 3))]
    profiles: list[Profile] = []
    for number in range(draw.choice((1, 1, 2))):
        layers = tuple(f"layer{layer}" for layer in range(draw.choice((1, 2, 4, 7, 12))))
        profiles.extend(_profile(draw, f"model{number}", gpu, layers) for gpu in types)
    asked = _fragments(draw, profiles, draw.randint(1, fragments))
    gpus = None
    if draw.random() < 0.4:
        gpus = tuple(
            Gpu(id=f"{gpu}-{number}", type=gpu, memory_mb=draw.choice((2_000.0, 16_000.0, 80_000.0)))
            for gpu in types
            for number in range(draw.randint(1, 40))
        )
    return World(workload=Workload(fragments=asked, gpus=gpus), profiles=tuple(profiles))


def _profile(draw: random.Random, model: str, gpu: str, layers: tuple[str, ...]) -> Profile:
    batches = draw.sample((1, 2, 3, 4, 8, 16, 32, 64), draw.choice((1, 2, 3, 5)))
    shares: list[int | float] = draw.choice(
        ([100], [50, 100], [25, 50, 100], [14.2857, 28.5714, 42.8571, 100], [10, 20, 30, 40, 70], [1, 5, 97])
    )
    draw.shuffle(shares)
    nulls, noise = draw.choice((0.0, 0.1, 0.3, 0.6)), draw.choice((0.0, 0.02, 0.5))
    alpha, gamma = draw.choice((0.0, 0.5, 0.95)), draw.choice((0.3, 0.8, 1.0))

    def cell(work: float, batch: int, share: float) -> float | None:
        if draw.random() < nulls:
            return None
        time = work * (alpha + (1 - alpha) * batch) / (share / 100) ** gamma
        return round(time * draw.uniform(1 - noise, 1 + noise), 4)

    work = [draw.choice((0.0, 0.1, 1.0, 5.0)) * draw.random() for _ in layers]
    sized = draw.random() < 0.6
    return Profile(
        model=model,
        gpu=gpu,
        layers=layers,
        batches=tuple(batches),
        shares=tuple(shares),
        latency_ms=tuple(
            tuple(tuple(cell(part, batch, share) for share in shares) for batch in batches) for part in work
        ),
        stage_overhead_ms=draw.choice((0.0, 0.0, 0.15, 2.0)),
        weight_mb=tuple(draw.uniform(0, 100) for _ in layers) if sized else None,
        activation_mb=tuple(draw.uniform(0, 20) for _ in layers) if sized else None,
        context_mb=draw.choice((0.0, 450.0)),
        cost_per_share=draw.choice((0.35, 1.0, 1.0, 2.5)),
    )


def _fragments(draw: random.Random, profiles: list[Profile], count: int) -> tuple[Fragment, ...]:
    menus = {
        profile.model: Menu([other for other in profiles if other.model == profile.model])
        for profile in profiles
    }
    low, high = draw.choice(((0.5, 2.0), (1.0, 1.2), (1.0, 6.0), (5.0, 50.0)))
    slow, fast = draw.choice(((0.01, 1.0), (1.0, 30.0), (50.0, 3_000.0)))
    made: list[Fragment] = []
    for number in range(count):
        menu = draw.choice(list(menus.values()))
        start = draw.randrange(menu.depth)
        least = float(menu.least_time_ms[start])
        budget = max(0.001, least * draw.uniform(low, high)) if least < 1e9 else 10.0
        twin = draw.choice(made) if made and draw.random() < 0.2 else None
        made.append(
            Fragment(
                id=f"phone {number}",
                model=twin.model if twin else menu.model,
                start=twin.start if twin else start,
                budget_ms=twin.budget_ms if twin else budget,
                rate_rps=slow * (fast / slow) ** draw.random(),
                count=draw.choice((1, 1, 1, 2, 50)),
            )
        )
    return tuple(made)
