"""Merging: what is merged is served by less, and no merging of neighbours would be cheaper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.allocating import Demand, combine, price_of
from planner.chaining import alone
from planner.menu import Menu
from planner.merging import merge
from planner.profile import Profile
from tests.planner.trees import assert_serves, demands_for, menu_of

few = settings(max_examples=60, deadline=None, derandomize=True)


@few
@given(st.data(), st.integers(0, 5), st.sampled_from([0.0, 0.3]))
def test_a_merged_demand_asks_for_the_least_budget_and_all_of_the_load(
    data: st.DataObject, seed: int, nulls: float
) -> None:
    menu = menu_of(seed, nulls=nulls)
    demands = data.draw(demands_for(menu))
    by_number = dict(enumerate(demands))
    merged = merge(menu, demands)
    assert sorted(number for demand in merged for number in demand.members) == list(by_number)
    for demand in merged:
        parts = [by_number[number] for number in demand.members]
        assert {part.start for part in parts} == {demand.start}
        assert demand.budget_ms == min(part.budget_ms for part in parts)
        assert math.isclose(demand.load_rps, sum(part.load_rps for part in parts))
    assert_serves(menu, merged, alone(menu, merged))


@few
@given(st.data(), st.integers(0, 5))
def test_it_finds_the_cheapest_partition_into_neighbours_by_budget(data: st.DataObject, seed: int) -> None:
    """Against every partition into runs, where single stages will do (nothing is unmeasured)."""
    menu = menu_of(seed)
    demands = data.draw(demands_for(menu, most=6, same_start=True))
    ordered = sorted(demands, key=lambda demand: demand.budget_ms)
    cheapest = min(price_of(alone(menu, [combine(run) for run in runs])) for runs in _partitions(ordered))
    merged = merge(menu, demands, closeness=math.inf)
    assert math.isclose(price_of(alone(menu, merged)), cheapest)
    assert cheapest <= price_of(alone(menu, demands)) * (1 + 1e-9)


@few
@given(st.data(), st.floats(1.0, 4.0), st.integers(1, 4))
def test_the_threshold_and_the_length_bound_what_is_merged(
    data: st.DataObject, closeness: float, max_run: int
) -> None:
    menu = menu_of(0)
    demands = data.draw(demands_for(menu, same_start=True))
    for demand in merge(menu, demands, closeness=closeness, max_run=max_run):
        budgets = [demands[number].budget_ms for number in demand.members]
        assert len(budgets) <= max_run
        assert max(budgets) <= min(budgets) * closeness * (1 + 1e-9)


def test_what_would_not_be_cheaper_together_stays_apart() -> None:
    """One instance carries 100 requests a second: 90 and 90 need two either way, 40 and 40 share one."""
    menu = Menu(
        [Profile(model="m", gpu="g", layers=("a",), batches=(1,), shares=(20,), latency_ms=(((10.0,),),))]
    )

    def merged(load_rps: float) -> int:
        demands = [Demand(start=0, budget_ms=30.0, load_rps=load_rps, members=(n,)) for n in range(2)]
        return len(merge(menu, demands))

    assert merged(90.0) == 2
    assert merged(40.0) == 1


def _partitions(demands: Sequence[Demand]) -> Iterator[list[Sequence[Demand]]]:
    """Every way to cut a list into runs."""
    if not demands:
        yield []
    for length in range(1, len(demands) + 1):
        for rest in _partitions(demands[length:]):
            yield [demands[:length], *rest]
