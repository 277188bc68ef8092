"""Recombining: the cheapest choice of sets that contains everybody, against all choices."""

from __future__ import annotations

import math
from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.recombining import best_cover

COUNT = 5

sets = st.lists(
    st.tuples(
        st.frozensets(st.integers(0, COUNT - 1), min_size=1), st.integers(1, 40).map(lambda n: 5.0 * n)
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sets, st.floats(1.0, 400.0))
def test_it_finds_the_cheapest_cover_below_what_is_at_hand(
    offered: list[tuple[frozenset[int], float]], at_hand: float
) -> None:
    members, prices = [group for group, _ in offered], [price for _, price in offered]
    choices = chain.from_iterable(
        combinations(range(len(members)), size) for size in range(1, len(members) + 1)
    )
    least = min(
        (
            sum(prices[number] for number in choice)
            for choice in choices
            if len(frozenset().union(*(members[number] for number in choice))) == COUNT
        ),
        default=math.inf,
    )
    cover = best_cover(members, prices, COUNT, at_hand)
    if least >= at_hand:
        assert cover is None
    else:
        assert cover is not None
        assert math.isclose(cover.price, least)
        assert math.isclose(sum(prices[number] for number in cover.chosen), least)
        assert frozenset().union(*(members[number] for number in cover.chosen)) == frozenset(range(COUNT))


def test_a_set_that_no_fractional_answer_takes_may_be_the_best_one() -> None:
    """Half of each pair costs 15 in fractions; in whole sets two pairs cost 20, and all three together 16."""
    members = [frozenset({0, 1}), frozenset({1, 2}), frozenset({0, 2}), frozenset({0, 1, 2})]
    cover = best_cover(members, [10.0, 10.0, 10.0, 16.0], 3, 20.0)
    assert cover is not None
    assert (cover.chosen, cover.price) == ((3,), 16.0)
