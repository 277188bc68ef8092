"""The menu of a stage: what it costs in time, throughput and share, and nothing that another beats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import laws
from planner.menu import Menu
from planner.profile import Profile
from planner.queueing import QUEUEING_LAWS, QueueingLaw
from tests.profiles import make_coarse_profile, make_profile

PROFILES = (
    make_profile(layers=6),
    make_coarse_profile(null_cells=0.3, seed=4),
    make_profile(layers=6, gpu="a100", total_ms=5.0, cost_per_share=2.5, shares=(10, 40, 100)),
)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: f"{profile.gpu}-{profile.depth}")
def test_an_option_takes_what_the_laws_say_it_takes(profile: Profile) -> None:
    menu = Menu([profile])
    for start in range(menu.depth):
        for end in range(start + 1, menu.depth + 1):
            options = menu.options(start, end)
            for number in range(len(options)):
                column = menu.columns[options.column[number]]
                latency = laws.exec_ms(profile, start, end, column.batch, column.share)
                assert latency is not None
                assert options.time_ms[number] == pytest.approx(2 * latency)
                assert options.capacity_rps[number] == pytest.approx(1000 * column.batch / latency)
                assert options.price[number] == pytest.approx(column.share * profile.cost_per_share)


@pytest.mark.parametrize("law", QUEUEING_LAWS.values(), ids=QUEUEING_LAWS.keys())
def test_what_is_left_out_is_beaten_by_what_is_kept_and_nothing_kept_is_beaten(law: QueueingLaw) -> None:
    menu = Menu([PROFILES[0], PROFILES[2]], law)
    for start, end in ((0, 6), (2, 4), (5, 6)):
        options = menu.options(start, end)
        latency = menu.exec_ms(start, end)
        load = menu.load_per_capacity(start, end)
        points = np.column_stack(
            [latency * menu.time_per_exec, -1000 * menu.batches / latency * load, menu.prices]
        )
        kept = points[options.column]
        for number, point in enumerate(points):
            at_least_as_good = (kept <= point * (1 + 1e-12 * np.sign(point))).all(axis=1)
            assert at_least_as_good.any(), f"column {number} is missing"
        for point in kept:
            better = (kept <= point).all(axis=1) & (kept < point).any(axis=1)
            assert not better.any()


def test_the_cheapest_is_the_cheapest_of_all_that_fit() -> None:
    menu = Menu([PROFILES[0]])
    for time_ms in (8.0, 20.0, 60.0, 300.0):
        for load_rps in (0.5, 40.0, 900.0):
            latency = menu.exec_ms(1, 6)
            count = np.ceil(load_rps * latency / (1000 * menu.batches))
            prices = np.where(2 * latency <= time_ms, count * menu.prices, math.inf)
            found = menu.cheapest(1, 6, time_ms, load_rps)
            if math.isinf(prices.min()):
                assert found is None
            else:
                assert found is not None
                assert found.price == pytest.approx(prices.min())
                assert found.time_ms <= time_ms


def test_the_least_time_goes_around_what_was_not_measured() -> None:
    """Layer 0 is only measured at share 50, layer 1 only at 100: no single stage, but a chain of two."""
    profile = Profile(
        model="net",
        gpu="v100",
        layers=("a", "b"),
        batches=(1,),
        shares=(50, 100),
        latency_ms=(((4.0, None),), ((None, 3.0),)),
        stage_overhead_ms=1.0,
    )
    menu = Menu([profile])
    assert len(menu.options(0, 2)) == 0
    assert menu.least_time_ms.tolist() == [2 * (4 + 1) + 2 * (3 + 1), 2 * (3 + 1), 0.0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), nulls=st.sampled_from([0.0, 0.2, 0.5, 0.8]))
def test_the_least_time_is_the_fastest_chain(seed: int, nulls: float) -> None:
    profile = make_profile(layers=5, batches=(1, 4), shares=(25, 100), null_cells=nulls, seed=seed)
    menu = Menu([profile])

    def fastest(start: int) -> float:
        if start == menu.depth:
            return 0.0
        return min(
            menu.options(start, end).least_time_ms + fastest(end) for end in range(start + 1, menu.depth + 1)
        )

    for start in range(menu.depth + 1):
        assert menu.least_time_ms[start] == pytest.approx(fastest(start))
