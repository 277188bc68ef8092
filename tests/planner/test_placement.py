"""Every instance of a plan lands on a GPU of its type, within share, memory and clients, or is named."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from planner import laws
from planner.errors import DoesNotFitError
from planner.placement import place
from planner.plan import Stage
from planner.workload import Gpu
from tests.profiles import make_profile

PROFILE = make_profile("net", "v100", layers=6, memory=True)


def stage(name: str, *, share: float, instances: int, batch: int = 1) -> Stage:
    return Stage(
        id=name,
        model="net",
        gpu="v100",
        start=1,
        end=6,
        batch=batch,
        share=share,
        instances=instances,
        exec_ms=1.0,
    )


def test_everything_is_placed_once_within_the_limits() -> None:
    stages = [
        stage("a", share=50, instances=3),
        stage("b", share=30, instances=4),
        stage("c", share=5, instances=7),
    ]
    gpus = [Gpu(id=f"gpu-{n}", type="v100", memory_mb=16384.0) for n in range(6)]
    placed = place(stages, gpus, [PROFILE])
    assert Counter(item.stage for item in placed) == {"a": 3, "b": 4, "c": 7}
    assert len({(item.stage, item.instance) for item in placed}) == len(placed)
    share = defaultdict(float)
    for item in placed:
        share[item.gpu] += next(s.share for s in stages if s.id == item.stage)
    assert max(share.values()) <= 100
    assert len(share) == 4, "305 percent of share need four GPUs, and four are enough"


def test_memory_limits_what_share_would_allow() -> None:
    heavy = stage("a", share=5, instances=4, batch=32)
    each = laws.memory_mb(PROFILE, 1, 6, 32)
    gpus = [Gpu(id=f"gpu-{n}", type="v100", memory_mb=each * 2 + 1) for n in range(2)]
    assert Counter(item.gpu for item in place([heavy], gpus, [PROFILE])) == {"gpu-0": 2, "gpu-1": 2}


def test_the_client_limit_counts() -> None:
    gpus = [Gpu(id=f"gpu-{n}", type="v100", memory_mb=1e6) for n in range(2)]
    placed = place([stage("a", share=1, instances=4)], gpus, [PROFILE], max_clients=2)
    assert Counter(item.gpu for item in placed) == {"gpu-0": 2, "gpu-1": 2}


def test_what_finds_no_place_is_named_with_what_is_short() -> None:
    gpus = [Gpu(id="gpu-0", type="v100", memory_mb=16384.0), Gpu(id="gpu-1", type="a100", memory_mb=16384.0)]
    with pytest.raises(DoesNotFitError) as caught:
        place([stage("a", share=60, instances=2)], gpus, [PROFILE])
    (missing,) = caught.value.missing
    assert (missing["stage"], missing["instances"], missing["share_there_pct"]) == ("a", 1, 100)
    assert missing["share_needed_by_all_pct"] == 120
