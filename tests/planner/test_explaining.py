"""Why a fragment is left out, what would help (and does), and where a planned one's budget goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.budgeting import budget_use
from planner.explaining import why_not
from planner.menu import Menu
from planner.planning import make_plan
from planner.profile import Profile
from planner.queueing import QUEUEING_LAWS
from planner.workload import Fragment
from tests.planner.worlds import make_world
from tests.profiles import make_profile, make_workload

PROFILE = make_profile(layers=6, shares=(10, 50))
MENU = Menu([PROFILE])


def fragment(**changes: object) -> Fragment:
    asked: dict[str, object] = {"id": "f", "model": "net", "start": 1, "budget_ms": 12.0, "rate_rps": 3.0}
    return Fragment(**{**asked, **changes})  # type: ignore[arg-type]


def test_a_fragment_that_can_be_served_has_no_reason() -> None:
    assert why_not(fragment(budget_ms=float(MENU.least_time_ms[1])), MENU) is None


def test_a_budget_too_small_comes_with_changes_each_of_which_is_enough() -> None:
    reason = why_not(fragment(), MENU)
    assert reason is not None
    assert reason.reason == "budget_too_small"
    assert reason.detail["least_possible_ms"] == pytest.approx(float(MENU.least_time_ms[1]))
    helps = reason.detail["would_help"]
    assert why_not(fragment(budget_ms=helps["budget_ms"]), MENU) is None
    assert why_not(fragment(budget_ms=helps["budget_ms"] * 0.999), MENU) is not None
    assert why_not(fragment(start=helps["start"]), MENU) is None
    assert why_not(fragment(start=helps["start"] - 1), MENU) is not None


def test_the_fastest_way_is_a_route_of_that_time() -> None:
    reason = why_not(fragment(), MENU)
    assert reason is not None
    way = reason.detail["fastest_way"]
    assert (way[0]["start"], way[-1]["end"]) == (1, 6)
    assert sum(stage["time_ms"] for stage in way) == pytest.approx(reason.detail["least_possible_ms"])


def test_a_laxer_queueing_law_is_named_where_it_is_enough() -> None:
    strict = Menu([PROFILE], QUEUEING_LAWS["headroom"])
    reason = why_not(fragment(budget_ms=float(MENU.least_time_ms[1]) * 1.01), strict)
    assert reason is not None
    assert reason.detail["would_help"]["queueing"] == "plain"


def test_a_larger_share_is_named_only_where_there_could_be_one() -> None:
    asked = fragment(budget_ms=float(MENU.least_time_ms[1]) * 0.8)
    reason = why_not(asked, MENU)
    assert reason is not None
    # 50 / 0.8 = 62.5 and a little more, since the overhead stays
    assert reason.detail["would_help"]["share_pct"] == 63
    whole = Menu([make_profile(layers=6, shares=(50, 100))])
    reason = why_not(fragment(budget_ms=float(whole.least_time_ms[1]) * 0.8), whole)
    assert reason is not None
    assert "share_pct" not in reason.detail["would_help"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.floats(0.3, 0.999), st.sampled_from(list(QUEUEING_LAWS)))
def test_every_change_that_would_help_is_enough_and_a_smaller_one_is_not(
    seed: int, part: float, law: str
) -> None:
    """In worlds with unmeasured cells and several GPU types; a share beyond the measured ones is made up."""
    world = make_world(seed)
    group = [profile for profile in world.profiles if profile.model == "model0"]
    menu = Menu(group, QUEUEING_LAWS[law])
    start = seed % menu.depth
    least = float(menu.least_time_ms[start])
    if not 0.001 < least < 1e9:
        return
    asked = Fragment(id="f", model="model0", start=start, budget_ms=least * part, rate_rps=1.0)
    reason = why_not(asked, menu)
    assert reason is not None
    helps = reason.detail["would_help"]
    assert why_not(replace(asked, budget_ms=helps["budget_ms"]), menu) is None
    assert why_not(replace(asked, budget_ms=helps["budget_ms"] * 0.9999), menu) is not None
    if "start" in helps:
        assert why_not(replace(asked, start=helps["start"]), menu) is None
    for earlier in range(start, helps.get("start", menu.depth)):
        assert why_not(replace(asked, start=earlier), menu) is not None
    if "queueing" in helps:
        assert why_not(asked, Menu(group, QUEUEING_LAWS[helps["queueing"]])) is None
    gpu = helps.get("share_gpu", group[0].gpu)
    for share in (helps.get("share_pct", 101) - 1, helps.get("share_pct", 101)):
        if max(max(profile.shares) for profile in group if profile.gpu == gpu) < share <= 100:
            wider = [with_share(profile, share) if profile.gpu == gpu else profile for profile in group]
            enough = why_not(asked, Menu(wider, QUEUEING_LAWS[law])) is None
            assert enough == (share == helps.get("share_pct"))


def with_share(profile: Profile, share: int) -> Profile:
    """The profile with one share more, at which it is as fast as can be if time falls in proportion."""

    def cell(cells: tuple[float | None, ...]) -> float | None:
        known = [(at, time) for time, at in zip(cells, profile.shares, strict=True) if time is not None]
        return max(known)[0] * max(known)[1] / share if known else None

    return replace(
        profile,
        shares=(*profile.shares, share),
        latency_ms=tuple(
            tuple((*cells, cell(cells)) for cells in by_batch) for by_batch in profile.latency_ms
        ),
    )


def test_layers_that_were_never_measured_are_named() -> None:
    profile = Profile(
        model="net",
        gpu="v100",
        layers=("a", "b", "c"),
        batches=(1,),
        shares=(100,),
        latency_ms=(((1.0,),), ((None,),), ((1.0,),)),
    )
    menu = Menu([profile])
    reason = why_not(fragment(start=0), menu)
    assert reason is not None
    assert reason.reason == "not_measured"
    assert reason.detail["would_help"] == {"measure_layers": [1], "start": 2}
    assert why_not(fragment(start=2), menu) is None


@pytest.mark.parametrize("strategy", ["gslice", "graft"])
def test_the_parts_of_a_budget_add_up_to_it(strategy: str) -> None:
    profile = make_profile(layers=8)
    workload = make_workload([profile], fragments=15)
    plan = make_plan(workload, [profile], strategy=strategy)
    uses = budget_use(plan, workload)
    assert len(uses) == len(plan.routes)
    for use in uses:
        waits = use.alignment_wait_ms + use.shared_wait_ms
        runs = use.alignment_run_ms + use.shared_run_ms
        assert waits + runs + use.slack_ms == pytest.approx(use.budget_ms)
        assert use.slack_ms >= -1e-6
        assert use.alone == (strategy == "gslice") or strategy == "graft"
        if strategy == "gslice":
            assert use.alignment_run_ms == 0


def test_what_only_one_fragment_passes_on_its_way_to_others_is_alignment() -> None:
    profile = make_profile(layers=4)
    workload = make_workload([profile], fragments=2, starts=[1], budgets=(50, 60), rates=(0.1, 0.2))
    late = replace(workload.fragments[1], start=2)
    plan = make_plan(replace(workload, fragments=(workload.fragments[0], late)), [profile], strategy="gslice")
    first, second = plan.stages
    joined = replace(first, end=2, id="align")
    routes = (
        replace(plan.routes[0], stages=("align", second.id)),
        replace(plan.routes[1], stages=(second.id,)),
    )
    plan = replace(plan, stages=(joined, second), routes=routes)
    early, other = budget_use(plan, replace(workload, fragments=(workload.fragments[0], late)))
    assert (early.alignment_run_ms, early.shared_run_ms) == (joined.exec_ms, second.exec_ms)
    assert (other.alignment_run_ms, other.shared_run_ms) == (0, second.exec_ms)
