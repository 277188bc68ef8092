"""Stages are split at exits where that is cheaper, and nowhere else."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from planner import formats, laws
from planner.allocating import Demand, instances_for, stage
from planner.exit_menu import ExitMenu
from planner.exit_splitting import cheapest_parts, split_at_exits
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.workload import Fragment, Workload
from tests.exits import with_exits
from tests.planner.second_verifier import broken_laws
from tests.profiles import make_profile, make_workload

QUICK = PlanSettings(time_limit_s=1.0, threads=1)
SPLIT, SURVIVAL = (2, 4, 6), (0.6, 0.3, 0.1)


def menu_of(seed: int) -> ExitMenu:
    plain = make_profile(layers=8, batches=(1, 4, 16), shares=(10, 50), alpha=0.7, seed=seed)
    return ExitMenu([with_exits(plain, SURVIVAL, layers=SPLIT)], split=SPLIT, survival=SURVIVAL)


def cheapest_by_trying(menu: ExitMenu, load_rps: float, time_ms: float) -> float:
    best = math.inf
    for size in range(len(SPLIT) + 1):
        for inner in itertools.combinations(SPLIT, size):
            tables = [menu.options(*pair) for pair in itertools.pairwise((0, *inner, 8))]
            for chosen in itertools.product(*(range(len(table)) for table in tables)):
                pairs = list(zip(tables, chosen, strict=True))
                if sum(float(table.time_ms[one]) for table, one in pairs) <= time_ms:
                    costs = [
                        float(table.price[one] * instances_for(load_rps, table.capacity_rps[one]))
                        for table, one in pairs
                    ]
                    best = min(best, math.fsum(costs))
    return best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("load_rps", "budget"), [(300.0, 3.0), (3000.0, 8.0)])
def test_the_parts_are_the_cheapest_there_are(seed: int, load_rps: float, budget: float) -> None:
    menu = menu_of(seed)
    time_ms = budget * float(menu.least_time_ms[0])
    parts = cheapest_parts(menu, 0, 8, load_rps, time_ms)
    assert parts is not None
    assert math.fsum(part.price for part in parts) == pytest.approx(
        cheapest_by_trying(menu, load_rps, time_ms)
    )
    assert math.fsum(part.time_ms for part in parts) <= time_ms * (1 + 1e-9)
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]


@pytest.mark.parametrize("load_rps", [5.0, 200.0, 5000.0])
def test_a_tree_is_split_within_everybodys_budget_and_never_gets_dearer(load_rps: float) -> None:
    menu = menu_of(1)
    table, feeding = menu.options(3, 8), menu.options(1, 3)
    late = Demand(start=3, budget_ms=8 * table.least_time_ms, load_rps=load_rps, members=(0,))
    early = Demand(
        start=1, budget_ms=6 * (table.least_time_ms + feeding.least_time_ms), load_rps=load_rps, members=(1,)
    )
    feeder = stage(feeding, int(feeding.time_ms.argmin()), load_rps, (early,))
    tree = stage(table, int(table.time_ms.argmin()), 2 * load_rps, (late,), (feeder,))
    [made] = split_at_exits(menu, [tree])
    assert made.total <= tree.total
    assert sorted(demand.members for demand in made.leaves()) == [(0,), (1,)]
    waiting = [(made, made.time_ms)]
    while waiting:
        part, used_ms = waiting.pop()
        assert all(used_ms <= demand.budget_ms * (1 + 1e-9) for demand in part.demands)
        assert part.load_rps == pytest.approx(math.fsum(demand.load_rps for demand in part.leaves()))
        waiting += [(before, used_ms + before.time_ms) for before in part.feeders]
    if load_rps == 5000.0:
        assert made.total < tree.total


def test_graft_splits_a_lone_fragment_with_a_batch_and_share_for_each_part() -> None:
    made = with_exits(
        make_profile(
            layers=12, batches=(1, 2, 4, 8, 16), shares=(10, 20, 30, 50, 75, 100), alpha=0.8, seed=11
        ),
        (0.3, 0.09),
        layers=(4, 8),
    )
    fragment = Fragment(id="f", model="net", start=0, budget_ms=400.0, rate_rps=1300.0)
    plan = make_plan(Workload(fragments=(fragment,)), [made], strategy="graft", settings=QUICK)
    said = plan.provenance.settings["exits"]["net"]
    assert said["taken"] == "split"
    assert (
        plan.objective.share == said["share"]["split"] < min(said["share"][name] for name in ("none", "e3"))
    )
    assert len(plan.routes[0].stages) > 1
    assert len({(one.batch, one.share) for one in plan.stages}) > 1


@pytest.mark.parametrize("strategy", ["graft", "e3", "pame", "multi-exit", "gslice+"])
@pytest.mark.parametrize("seed", range(4))
def test_a_second_reading_of_the_laws_finds_nothing_wrong_either(strategy: str, seed: int) -> None:
    profile = with_exits(
        make_profile(layers=7 + seed, shares=(20, 50, 100), null_cells=0.1 * (seed % 2), seed=seed),
        ((0.7, 0.2), (0.5,), (0.9, 0.6, 0.0), (0.4, 0.4))[seed],
    )
    workload = make_workload([profile], fragments=8, rates=(20, 300), budgets=(2, 12), seed=seed)
    own = tuple(0.5 * item.survival for item in profile.exits or ())
    workload = Workload(
        fragments=tuple(
            replace(item, survival=own) if number % 3 == 0 else item
            for number, item in enumerate(workload.fragments)
        )
    )
    plan = make_plan(workload, [profile], strategy=strategy, settings=QUICK)
    documents = (formats.to_json(plan), formats.to_json(workload), [formats.to_json(profile)])
    assert laws.verify(plan, workload, [profile]).valid
    assert broken_laws(*documents) == set()
    # With an instance less of the first stage, both say so.
    first = replace(plan.stages[0], instances=plan.stages[0].instances - 1)
    fewer = replace(plan, stages=(first, *plan.stages[1:]))
    said = {item.law for item in laws.verify(fewer, workload, [profile]).violations}
    assert "capacity" in broken_laws(formats.to_json(fewer), *documents[1:]) & said
