"""Planning for models with exits: cheapest of all on small cases, and unchanged where nobody leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise, product

import numpy as np
import pytest

from planner import formats, laws
from planner.e3 import least_instances, pipelined, serial
from planner.exit_menu import ExitMenu
from planner.menu import Menu
from planner.plan import Objective, Plan, Route, Stage
from planner.planning import STRATEGIES, make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Workload
from tests.exits import with_exits
from tests.profiles import make_profile, make_workload

QUICK = PlanSettings(time_limit_s=2.0, threads=1)


def small(seed: int, survival: Sequence[float], *, ramp: float = 0.1) -> Profile:
    profile = make_profile(layers=3, batches=(1, 4), shares=(20, 50), seed=seed, total_ms=6.0)
    return with_exits(profile, survival, layers=range(1, len(survival) + 1), ramp=ramp)


def without(profile: Profile) -> Profile:
    return replace(profile, exits=None)


def the_same(one: Plan, other: Plan) -> bool:
    def bare(plan: Plan) -> dict[str, object]:
        found = formats.to_json(plan)
        return {name: value for name, value in found.items() if name != "provenance"}

    return json.dumps(bare(one)) == json.dumps(bare(other))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_nobody_leaves_plans_are_those_without_exits_to_the_digit(strategy: str) -> None:
    plain = make_profile(layers=8, shares=(25, 50, 100), batches=(1, 4, 16))
    hard = with_exits(plain, (1.0, 1.0))
    starts = (0,) if strategy == "nexus" else None
    workload = make_workload([plain], fragments=6, rates=(20, 200), starts=starts)
    own = replace(
        workload, fragments=tuple(replace(item, survival=(1.0, 1.0)) for item in workload.fragments)
    )
    expected = make_plan(workload, [plain], strategy=strategy, settings=QUICK)
    for demand in (workload, own):
        assert the_same(make_plan(demand, [hard], strategy=strategy, settings=QUICK), expected)


@pytest.mark.parametrize("null_cells", [0.0, 0.15])
def test_what_the_menu_sells_is_what_the_laws_say(null_cells: float) -> None:
    profile = with_exits(
        make_profile(layers=5, shares=(25, 100), batches=(1, 4, 16), null_cells=null_cells), (0.7, 0.2)
    )
    [first, second] = profile.exits or ()
    menu = ExitMenu([profile], split=(first.layer, second.layer), survival=(0.7, 0.2))
    sold = 0
    for start, end in combinations(range(6), 2):
        exec_ms, busy_ms = menu.exec_ms(start, end), menu.busy_ms(start, end)
        at_start = menu.remaining(start)
        for number in np.flatnonzero(~np.isnan(exec_ms)).tolist():
            column = menu.columns[number]
            used = [layer for layer in column.exits if start < layer <= end]
            going_on = {layer: menu.remaining(layer) / at_start for layer in used}
            worst = laws.exec_ms(profile, start, end, column.batch, column.share, used)
            mean = laws.expected_ms(profile, start, end, column.batch, column.share, going_on)
            assert exec_ms[number] == pytest.approx(worst)
            assert busy_ms[number] == pytest.approx(at_start * (mean or math.nan))
            sold += 1
    assert sold > 90


def test_a_stage_that_is_not_the_last_lets_go_whoever_later_stages_count_as_gone() -> None:
    profile = small(0, (0.5, 0.25))
    menu = ExitMenu([profile], split=(1, 2), survival=(0.5, 0.25))

    def sold(start: int, end: int) -> set[tuple[int, ...]]:
        columns = menu.options(start, end).column.tolist()
        return {
            tuple(layer for layer in menu.columns[number].exits if start < layer <= end) for number in columns
        }

    assert sold(0, 1) == {(1,)}
    assert sold(0, 2) <= {(2,), (1, 2)}
    assert sold(0, 3) <= {(), (1,), (2,), (1, 2)}
    assert sold(2, 3) == {()}


def every_plan(workload: Workload, profile: Profile) -> float:
    """The least share of any plan in which every fragment takes one route: all of them are looked at."""
    exits = [item.layer for item in profile.exits or ()]

    def stages(start: int) -> Iterator[tuple[int, int, int, float, tuple[int, ...]]]:
        for end in range(start + 1, profile.depth + 1):
            within = [layer for layer in exits if start < layer <= end]
            for batch, share in product(profile.batches, profile.shares):
                for size in range(len(within) + 1):
                    for used in combinations(within, size):
                        yield start, end, batch, share, used

    def routes(
        start: int, left_ms: float
    ) -> Iterator[tuple[tuple[int, int, int, float, tuple[int, ...]], ...]]:
        if start == profile.depth:
            yield ()
            return
        for stage in stages(start):
            time_ms = 2 * (laws.exec_ms(profile, *stage) or math.inf)
            if time_ms <= left_ms:
                for rest in routes(stage[1], left_ms - time_ms):
                    yield (stage, *rest)

    best = math.inf
    choices = [list(routes(item.start, item.budget_ms)) for item in workload.fragments]
    for chosen in product(*choices):
        kinds = sorted({stage for route in chosen for stage in route})
        load = dict.fromkeys(kinds, 0.0)
        past: dict[tuple[object, int], float] = {}
        for fragment, route in zip(workload.fragments, chosen, strict=True):
            here = 1.0
            for stage in route:
                load[stage] += fragment.load_rps * here
                for layer in stage[4]:
                    here = min(here, laws.survival(profile, fragment, layer))
                    past[stage, layer] = past.get((stage, layer), 0.0) + fragment.load_rps * here
        price = 0.0
        for stage in kinds:
            start, end, batch, share, used = stage
            going_on = {layer: past[stage, layer] / load[stage] for layer in used}
            mean = laws.expected_ms(profile, start, end, batch, share, going_on) or math.inf
            price += share * max(1, math.ceil(load[stage] * mean / (1000 * batch) - 1e-9))
            if price >= best:
                break
        best = min(best, price)
    return best


CASES = [
    (seed, survival, rate, fragments)
    for seed in range(3)
    for survival in ((0.4,), (0.5, 0.2), (0.95, 0.9))
    for rate, fragments in ((150.0, 1), (900.0, 1), (300.0, 2))
]


@pytest.mark.parametrize(("seed", "survival", "rate", "fragments"), CASES)
def test_on_small_cases_no_plan_is_cheaper_and_none_undercuts_the_bound(
    seed: int, survival: tuple[float, ...], rate: float, fragments: int
) -> None:
    profile = small(seed, survival)
    if fragments == 2:  # routes of two fragments are many; fewer batches keep them countable
        profile = replace(
            profile,
            shares=(50,),
            latency_ms=tuple(tuple((row[1],) for row in layer) for layer in profile.latency_ms),
            exits=tuple(
                replace(item, ramp_ms=tuple((row[1],) for row in item.ramp_ms))
                for item in profile.exits or ()
            ),
        )
    least = float(Menu([profile]).least_time_ms[0])
    workload = Workload(
        fragments=tuple(
            Fragment(
                id=f"f{number}", model="net", start=number, budget_ms=least * (2.5 + number), rate_rps=rate
            )
            for number in range(fragments)
        )
    )
    plan = make_plan(workload, [profile], strategy="optimal", settings=QUICK)
    best = every_plan(workload, profile)
    assert plan.objective.share <= best + 1e-6
    if all(route.fraction == 1 for route in plan.routes):  # a plan that splits a fragment may cost less
        assert plan.objective.share >= best - 1e-6
    assert plan.lower_bound is not None
    assert plan.lower_bound <= best + 1e-6


@pytest.mark.parametrize("strategy", ["graft", "optimal", "optimal-one", "e3", "pame", "multi-exit"])
@pytest.mark.parametrize("queueing", ["plain", "poisson"])
def test_plans_are_valid_with_survivals_of_ones_own_several_gpu_types_and_unmeasured_cells(
    strategy: str, queueing: str
) -> None:
    fast = with_exits(make_profile(layers=9, shares=(20, 50, 100), null_cells=0.1), (0.6, 0.4, 0.1))
    slow = with_exits(
        make_profile(gpu="t4", layers=9, shares=(50, 100), total_ms=25.0, cost_per_share=0.4, seed=1),
        (0.6, 0.4, 0.1),
    )
    other = make_profile("plain", layers=5, shares=(20, 50, 100))
    workload = make_workload([fast, slow, other], fragments=10, rates=(20, 200), budgets=(4, 12), seed=4)
    easy = (0.2, 0.1, 0.0)
    workload = replace(
        workload,
        fragments=tuple(
            replace(item, survival=easy) if item.model == "net" and number % 3 == 0 else item
            for number, item in enumerate(workload.fragments)
        ),
    )
    settings = replace(QUICK, queueing=queueing)
    # Whatever is made is verified; make_plan raises otherwise.
    plan = make_plan(workload, [fast, slow, other], strategy=strategy, settings=settings)
    assert any(stage.exits for stage in plan.stages)


def light(survival: Sequence[float], rate_rps: float = 400.0) -> tuple[Workload, Profile]:
    profile = with_exits(make_profile(layers=8, seed=5), survival, ramp=0.1)
    fragment = Fragment(id="f", model="net", start=0, budget_ms=200.0, rate_rps=rate_rps)
    return Workload(fragments=(fragment,)), profile


def test_with_easy_inputs_exits_save_share_and_the_plan_says_how_much() -> None:
    workload, profile = light((0.4, 0.1))
    plan = make_plan(workload, [profile], strategy="optimal", settings=QUICK)
    plain = make_plan(workload, [without(profile)], strategy="optimal", settings=QUICK)
    said = plan.provenance.settings["exits"]["net"]
    assert plan.objective.share < plain.objective.share
    assert said["share"]["none"] >= plain.objective.share  # it had all of the time
    assert said["saved"] == said["share"]["none"] - plan.objective.share
    assert said["share"][said["taken"]] == plan.objective.share == min(said["share"].values())


def test_with_hard_inputs_exits_are_left_alone() -> None:
    workload, profile = light((0.99, 0.98))
    plan = make_plan(workload, [profile], strategy="graft", settings=QUICK)
    assert plan.provenance.settings["exits"]["net"]["taken"] == "none"
    assert not any(stage.exits for stage in plan.stages)


def test_at_batch_1_plans_are_not_split_and_at_large_batches_they_are() -> None:
    ends = {}
    for batches in ((1,), (16,)):
        profile = with_exits(make_profile(layers=8, seed=5, batches=batches, alpha=0.8), (0.5, 0.25))
        fragment = Fragment(id="f", model="net", start=0, budget_ms=400.0, rate_rps=3000.0)
        plan = make_plan(Workload(fragments=(fragment,)), [profile], strategy="optimal", settings=QUICK)
        assert any(stage.exits for stage in plan.stages)
        ends[batches] = len({(stage.start, stage.end) for stage in plan.stages})
    assert ends[(1,)] == 1
    assert ends[(16,)] > 1


def test_a_fragment_with_easy_inputs_costs_less_than_one_with_hard_ones() -> None:
    workload, profile = light((0.5, 0.3), rate_rps=2000.0)
    shares = []
    for survival in ((0.1, 0.0), (0.5, 0.3), (1.0, 1.0)):
        own = replace(workload, fragments=(replace(workload.fragments[0], survival=survival),))
        plan = make_plan(own, [profile], strategy="graft", settings=QUICK)
        shares.append(plan.objective.share)
    assert shares[0] < shares[1] < shares[2]


def part_times(seed: int, cuts: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    times = rng.uniform(1, 9, (cuts, cuts))
    return np.where(np.arange(cuts)[:, None] < np.arange(cuts), times, np.inf)


@pytest.mark.parametrize("seed", range(5))
def test_the_least_instances_are_those_of_the_papers_recursion(seed: int) -> None:
    times = part_times(seed, 5)
    for longest in (0.7, 1.5, 4.0):
        needed = least_instances(times, longest)
        assert pipelined(times, needed) <= longest
        assert needed == 1 or pipelined(times, needed - 1) > longest


@pytest.mark.parametrize("seed", range(5))
def test_the_recursions_find_the_best_of_all_splits(seed: int) -> None:
    times, last = part_times(seed, 5), 4
    splits = [(0, *inner, last) for size in range(last) for inner in combinations(range(1, last), size)]
    assert serial(times) == pytest.approx(min(sum(times[i, j] for i, j in pairwise(cuts)) for cuts in splits))
    shares = [
        max(times[i, j] / m for (i, j), m in zip(pairwise(cuts), own, strict=True))
        for cuts in splits
        for own in product(range(1, 7), repeat=len(cuts) - 1)
        if sum(own) <= 6
    ]
    assert pipelined(times, 6) == pytest.approx(min(shares))


def test_a_bound_that_forgets_that_requests_leave_would_be_wrong() -> None:
    """A plan by hand that serves 2000 requests a second of which half leave at once, on one instance."""
    profile = Profile(
        model="net",
        gpu="v100",
        layers=("a", "b"),
        batches=(1,),
        shares=(100,),
        latency_ms=(((0.1,),), ((0.8,),)),
        exits=with_exits(make_profile(layers=2, batches=(1,), shares=(100,)), (0.1,), ramp=0.0).exits,
    )
    fragment = Fragment(id="f", model="net", start=0, budget_ms=10.0, rate_rps=2000.0)
    stage = Stage(
        id="s", model="net", gpu="v100", start=0, end=2, batch=1, share=100, instances=1, exec_ms=0.9,
        exits=(1,), expected_ms=0.18,
    )  # fmt: skip
    plan = Plan(
        strategy="by hand",
        status="feasible",
        objective=Objective(share=100.0),
        stages=(stage,),
        routes=(Route(fragment="f", fraction=1.0, stages=("s",), worst_ms=1.8),),
    )
    workload = Workload(fragments=(fragment,))
    assert laws.verify(plan, workload, [profile]).valid
    for strategy in ("gslice", "graft", "optimal"):
        made = make_plan(workload, [profile], strategy=strategy, settings=QUICK)
        assert made.lower_bound is not None
        assert made.lower_bound <= 100.0
