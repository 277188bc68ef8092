"""Knapsacks agree with trying everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.knapsack import MOST_LOOKS, fractional, pack
from tests.solver.brute import best_packing

items = st.lists(
    st.tuples(
        st.floats(0.1, 20.0),
        st.sampled_from([1.0, 2.5, 7.0, 7.3, 30.0]) | st.floats(0.5, 30.0),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=5,
)


def _arrays(chosen: list[tuple[float, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chosen = sorted(chosen, key=lambda item: -item[0] / item[1])
    gain, load, members = (np.array(column, dtype=float) for column in zip(*chosen, strict=True))
    return gain, load, members.astype(np.intp)


@pytest.mark.parametrize("most_looks", [0, 3, MOST_LOOKS])
@settings(derandomize=True, deadline=None, max_examples=300)
@given(chosen=items, capacity=st.floats(0.5, 120.0), part=st.floats(0.0, 1.2))
def test_the_best_packing_above_the_threshold_is_found(
    most_looks: int, chosen: list[tuple[float, float, int]], capacity: float, part: float
) -> None:
    gain, load, members = _arrays(chosen)
    best = best_packing(gain.tolist(), load.tolist(), members.tolist(), capacity)
    threshold = best * part
    found = pack(gain, load, members, capacity, threshold, most_looks=most_looks)
    if best > threshold * (1 + 1e-6):
        assert found is not None
        assert best <= found.bound * (1 + 1e-6)
        if most_looks in (0, MOST_LOOKS):
            assert found.bound <= best * (1 + 1e-6)
            assert abs(found.gain - best) <= 1e-6 * best
        assert threshold < found.gain <= best * (1 + 1e-6)
        assert found.counts @ load <= capacity * (1 + 1e-6)
        assert (found.counts <= members).all()
    else:
        assert found is None or found.gain <= best * (1 + 1e-6)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(chosen=items, capacity=st.floats(0.5, 120.0))
def test_cutting_items_is_never_worse_than_keeping_them_whole(
    chosen: list[tuple[float, float, int]], capacity: float
) -> None:
    gain, load, members = _arrays(chosen)
    best = best_packing(gain.tolist(), load.tolist(), members.tolist(), capacity)
    assert fractional(gain, load, members, np.array([capacity]))[0] >= best * (1 - 1e-9)


def test_thinned_states_still_give_a_bound() -> None:
    rng = np.random.default_rng(3)
    load = np.sort(rng.uniform(1.0, 9.0, 12))
    gain = load * np.sort(rng.uniform(0.99, 1.01, 12))[::-1]
    order = np.argsort(-gain / load)
    gain, load, members = gain[order], load[order], np.ones(12, dtype=np.intp)
    exact = pack(gain, load, members, 20.0, 0.0)
    rough = pack(gain, load, members, 20.0, 0.0, most_looks=0, most_states=8)
    assert exact is not None
    assert rough is not None
    assert rough.bound >= exact.gain * (1 - 1e-9)
