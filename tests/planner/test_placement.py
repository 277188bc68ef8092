"""Every instance of a plan lands on a GPU of its type, within share, memory and clients, or is named."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from planner import laws
from planner.errors import DoesNotFitError
from planner.placement import place, placement_of
from planner.plan import Stage
from planner.planning import make_plan
from planner.workload import Gpu
from tests.profiles import make_profile, make_workload

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


def test_how_few_gpus_are_needed_is_proven() -> None:
    gpus = [Gpu(id=f"gpu-{n}", type="v100", memory_mb=1e6) for n in range(9)]
    pairs = [stage("a", share=40, instances=3), stage("b", share=60, instances=3)]
    found = placement_of(pairs, gpus, [PROFILE])
    assert (found.gpus, found.least_gpus) == (3, 3)
    # 100 = 46 + 54 = 27 + 27 + 46: the largest first put 54 with 46 and leave four 27 to a third and fourth.
    hard = [
        stage("a", share=54, instances=2),
        stage("b", share=46, instances=4),
        stage("c", share=27, instances=4),
    ]
    found = placement_of(hard, gpus, [PROFILE])
    assert (found.gpus, found.least_gpus) == (4, 4)


def test_gpus_of_several_types_and_sizes_are_each_filled_by_their_own() -> None:
    profiles = [PROFILE, make_profile("net", "a100", layers=6, memory=True)]
    stages = [
        stage("a", share=50, instances=3),
        replace(stage("b", share=60, instances=2), gpu="a100"),
    ]
    each = laws.memory_mb(PROFILE, 1, 6, 1)
    gpus = [
        Gpu(id="small", type="v100", memory_mb=each + 1),
        Gpu(id="large", type="v100", memory_mb=2 * each + 1),
        Gpu(id="a-0", type="a100", memory_mb=16384.0),
        Gpu(id="a-1", type="a100", memory_mb=16384.0),
    ]
    where = Counter((item.stage, item.gpu) for item in place(stages, gpus, profiles))
    assert where == {("a", "small"): 1, ("a", "large"): 2, ("b", "a-0"): 1, ("b", "a-1"): 1}


def test_a_plan_of_fewer_instances_is_found_when_memory_is_short() -> None:
    profile = make_profile(layers=8, memory=True)
    wanted = {"fragments": 8, "rates": (20.0, 80.0), "starts": (1,), "budgets": (3.0, 12.0)}
    free = make_plan(make_workload([profile], **wanted), [profile], strategy="graft")
    assert sum(stage.instances for stage in free.stages) == 6
    gpus = [Gpu(id=f"gpu-{n}", type="v100", memory_mb=1150.0) for n in range(2)]
    workload = make_workload([profile], gpus=gpus, **wanted)
    plan = make_plan(workload, [profile], strategy="graft")
    assert plan.provenance.settings["instance_price"] > 0
    assert plan.lower_bound <= free.objective.share
    assert sum(stage.instances for stage in plan.stages) <= 4
    small = tuple(replace(gpu, memory_mb=455.0) for gpu in gpus)
    with pytest.raises(DoesNotFitError, match="fewer, larger instances"):
        make_plan(replace(workload, gpus=small), [profile], strategy="graft")


def test_where_the_cheapest_type_is_short_some_fragments_go_to_another() -> None:
    cheap = make_profile("net", "v100", layers=6, seed=1)
    dear = replace(make_profile("net", "a100", layers=6, seed=1), cost_per_share=1.5)
    wanted = {"fragments": 12, "rates": (40.0, 80.0), "seed": 4}
    free = make_plan(make_workload([cheap], **wanted), [cheap, dear], strategy="graft")
    assert {item.gpu for item in free.stages} == {"v100"}
    enough = math.ceil(sum(item.share * item.instances for item in free.stages) / 100)
    assert enough > 2
    for there in (1, enough - 1):
        gpus = [Gpu(id=f"v-{n}", type="v100", memory_mb=1e6) for n in range(there)]
        gpus += [Gpu(id=f"a-{n}", type="a100", memory_mb=1e6) for n in range(2 * enough)]
        workload = make_workload([cheap], gpus=gpus, **wanted)
        plan = make_plan(workload, [cheap, dear], strategy="graft")
        on = Counter[str]()
        for item in plan.stages:
            on[item.gpu] += item.share * item.instances
        assert 0 < on["v100"] <= 100 * there
        assert on["a100"] > 0
        assert plan.lower_bound <= free.objective.share < plan.objective.share
        assert laws.verify(plan, workload, [cheap, dear]).valid
        kept = plan.provenance.settings["kept_gpu_types"]
        assert kept["short"] == ["v100"]
        assert 0 < kept["fragments"] < 12


def test_what_no_type_has_room_for_is_still_said() -> None:
    cheap = make_profile("net", "v100", layers=6, seed=1)
    dear = replace(make_profile("net", "a100", layers=6, seed=1), cost_per_share=1.5)
    gpus = [Gpu(id=name, type=name, memory_mb=1e6) for name in ("v100", "a100")]
    workload = make_workload([cheap], gpus=gpus, fragments=12, rates=(400.0, 800.0), seed=4)
    with pytest.raises(DoesNotFitError) as caught:
        make_plan(workload, [cheap, dear], strategy="graft")
    assert {item["gpu"] for item in caught.value.missing} == {"v100"}
