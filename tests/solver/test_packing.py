"""Instances onto GPUs: whatever is packed fits, and small cases are as good as trying everything."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from solver.packing import Bin, Item, Packing, first_fit_decreasing, pack

items_of = st.lists(
    st.builds(
        Item,
        kind=st.sampled_from(["a", "b"]),
        share=st.integers(1, 12),
        memory=st.integers(0, 12),
        count=st.integers(1, 2),
    ),
    min_size=1,
    max_size=3,
)
bins_of = st.lists(
    st.builds(
        Bin,
        kind=st.sampled_from(["a", "b"]),
        share=st.just(10),
        memory=st.integers(8, 16),
        clients=st.integers(1, 4),
    ),
    min_size=1,
    max_size=3,
)


def check(items: list[Item], bins: list[Bin], packing: Packing) -> None:
    for item, row, left in zip(items, packing.counts, packing.leftover, strict=True):
        assert sum(row) + left == item.count
        assert all(count == 0 or bin_.kind == item.kind for count, bin_ in zip(row, bins, strict=True))
    for g, bin_ in enumerate(bins):
        column = [row[g] for row in packing.counts]
        assert sum(n * i.share for n, i in zip(column, items, strict=True)) <= bin_.share
        assert sum(n * i.memory for n, i in zip(column, items, strict=True)) <= bin_.memory
        assert sum(column) <= bin_.clients
    assert packing.bins_used == sum(any(row[g] for row in packing.counts) for g in range(len(bins)))


def fewest(items: list[Item], bins: list[Bin]) -> int | None:
    """Try every assignment of every instance; None when none fits."""
    instances = [item for item in items for _ in range(item.count)]
    best: int | None = None
    for choice in product(range(len(bins)), repeat=len(instances)):
        used = set(choice)
        if best is not None and len(used) >= best:
            continue
        here = {g: [i for i, c in zip(instances, choice, strict=True) if c == g] for g in used}
        if all(
            all(i.kind == bins[g].kind for i in mine)
            and sum(i.share for i in mine) <= bins[g].share
            and sum(i.memory for i in mine) <= bins[g].memory
            and len(mine) <= bins[g].clients
            for g, mine in here.items()
        ):
            best = len(used)
    return best


@settings(max_examples=150, deadline=None, derandomize=True)
@given(items=items_of, bins=bins_of)
def test_a_packing_fits_uses_the_fewest_gpus_and_its_bound_is_one(items: list[Item], bins: list[Bin]) -> None:
    packing = pack(items, bins)
    check(items, bins, packing)
    best = fewest(items, bins)
    assert packing.complete == (best is not None)
    if best is not None:
        assert packing.bins_used == best
        assert packing.bins_bound <= best


@settings(max_examples=100, deadline=None, derandomize=True)
@given(items=items_of, bins=bins_of)
def test_first_fit_decreasing_fits_too(items: list[Item], bins: list[Bin]) -> None:
    check(items, bins, first_fit_decreasing(items, bins))


def test_the_solver_finds_what_first_fit_decreasing_misses() -> None:
    """6+4, 4+4+3 and 3 where 6+3+3 and 4+4+4 would do."""
    items = [Item(kind="g", share=share, memory=1, count=count) for share, count in ((6, 1), (4, 3), (3, 2))]
    bins = [Bin(kind="g", share=12, memory=100, clients=48)] * 3
    greedy, exact = first_fit_decreasing(items, bins), pack(items, bins)
    check(items, bins, exact)
    assert (greedy.bins_used, exact.bins_used) == (3, 2)


def test_what_does_not_fit_is_left_over_and_counted() -> None:
    items = [Item(kind="g", share=60, memory=1, count=3)]
    packing = pack(items, [Bin(kind="g", share=100, memory=100, clients=48)] * 2)
    assert not packing.complete
    assert packing.leftover == (1,)
