"""The written-out programs: their optimum is what trying everything finds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pulp
import pytest

from solver.packing import Bin, Item, pack
from solver.reference import paths_in_time, reference_packing, reference_routes
from solver.routes import Network


def small_network(seed: int) -> Network:
    """Three cut points to pass, two options a stage, two classes."""
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(3) for j in range(i + 1, 4)]
    tail, head = (np.repeat([pair[end] for pair in pairs], 2) for end in (0, 1))
    return Network(
        depth=3,
        tail=tail,
        head=head,
        time=np.round(rng.uniform(1, 4, len(tail)) * (head - tail), 2),
        capacity=rng.uniform(5, 30, len(tail)),
        price=rng.choice([5.0, 10.0, 20.0], len(tail)),
        entry=np.array([0, 1], dtype=np.intp),
        budget=rng.uniform(9, 14, 2),
        load=rng.uniform(2, 12, 2),
    )


@pytest.mark.parametrize("seed", range(8))
def test_every_path_in_time_is_written_out_and_no_other(seed: int) -> None:
    network = small_network(seed)
    for k in range(2):
        every = {
            arcs
            for length in (1, 2, 3)
            for arcs in itertools.permutations(range(len(network.tail)), length)
            if network.tail[arcs[0]] == network.entry[k]
            and network.head[arcs[-1]] == network.depth
            and all(network.head[a] == network.tail[b] for a, b in itertools.pairwise(arcs))
            and sum(network.time[arc] for arc in arcs) <= network.budget[k]
        }
        assert set(paths_in_time(network, k)) == every


@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_over_routes_is_the_best_purchase_that_carries_everybody(seed: int) -> None:
    """Unsplit routes bound it from above, and the cheapest way for the dearest class alone from below."""
    network = small_network(seed)
    model = reference_routes(network)
    model.solve(pulp.HiGHS(msg=False))
    best = float(pulp.value(model.objective))
    choices = [list(paths_in_time(network, k)) for k in range(2)]

    def price(paths: tuple[tuple[int, ...], ...], classes: tuple[int, ...]) -> float:
        total = 0.0
        for arc in {arc for path in paths for arc in path}:
            load = sum(float(network.load[k]) for k, path in zip(classes, paths, strict=True) if arc in path)
            total += float(network.price[arc]) * max(1, int(np.ceil(load / network.capacity[arc] - 1e-9)))
        return total

    whole = min(price(paths, (0, 1)) for paths in itertools.product(*choices))
    assert best <= whole + 1e-6
    # Splitting can only help where an instance would overflow: with capacity to spare the two agree.
    roomy = replace(network, capacity=np.full(len(network.tail), 1e6))
    model = reference_routes(roomy)
    model.solve(pulp.HiGHS(msg=False))
    fewest = min(
        sum(float(roomy.price[arc]) for arc in {arc for path in paths for arc in path})
        for paths in itertools.product(*choices)
    )
    assert float(pulp.value(model.objective)) == pytest.approx(fewest)


def test_too_many_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 3 paths"):
        reference_routes(small_network(0), most_paths=3)


@pytest.mark.parametrize("seed", range(6))
def test_the_packing_written_out_uses_as_few_gpus_as_any_way_to_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = [
        Item(kind="a", share=int(rng.integers(20, 70)), memory=int(rng.integers(1, 8)), count=1)
        for _ in range(5)
    ]
    bins = [Bin(kind="a", share=100, memory=12, clients=3) for _ in range(5)]
    model = reference_packing(items, bins)
    model.solve(pulp.HiGHS(msg=False))
    best = min(
        len(set(places))
        for places in itertools.product(range(5), repeat=5)
        if all(
            sum(item.share for item, place in zip(items, places, strict=True) if place == g) <= 100
            and sum(item.memory for item, place in zip(items, places, strict=True) if place == g) <= 12
            and places.count(g) <= 3
            for g in range(5)
        )
    )
    assert round(float(pulp.value(model.objective))) == best
    assert pack(items, bins).bins_used == best
