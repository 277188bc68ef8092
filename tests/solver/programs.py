"""Small random programs of 5.2, with a fixed seed."""

from __future__ import annotations

import numpy as np

from solver.facilities import Facilities, Group


def random_program(
    seed: int, *, classes: int = 5, groups: int = 3, options: int = 3, members: int = 1
) -> Facilities:
    """Facilities with prices on a grid of 5; later groups are reached by more classes, at a price."""
    rng = np.random.default_rng(seed)
    load = np.round(rng.uniform(1, 30, classes), 2)
    entry = np.sort(rng.integers(0, groups, classes))
    tables = []
    for number in range(groups):
        able = np.flatnonzero(entry <= number)
        if not len(able):
            continue
        price = np.sort(rng.choice(np.arange(5, 105, 5), options, replace=False)).astype(float)
        capacity = np.round(price * rng.uniform(0.5, 2.0, options), 2)
        joining = rng.choice([5.0, 10.0, 15.0, np.inf], (options, len(able)))
        joining[:, entry[able] == number] = rng.choice(
            [0.0, np.inf], (options, int((entry[able] == number).sum()))
        )
        tables.append(Group(price=price, capacity=capacity, classes=able, joining=joining))
    return Facilities(
        load=load,
        members=rng.integers(1, members + 1, classes),
        alone=5.0 * rng.integers(4, 20, classes),
        groups=tuple(tables),
    )
