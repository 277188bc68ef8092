"""A quick first answer to 5.2: again and again the pattern that costs least per load served.

For every facility the classes not served yet, cheapest joining per load first, make one candidate after
each; running sums give all candidates at once.
"""

from __future__ import annotations

import numpy as np

from solver.facilities import (
    EPSILON,
    Facilities,
    Indices,
    Pattern,
    all_alone,
    alone_pattern,
    make_pattern,
    settle,
    total_cost,
)
from solver.outcome import Watch


def greedy(program: Facilities, watch: Watch) -> list[Pattern]:
    """An answer; everybody alone when the watch says stop before anything was found."""
    open_classes = np.ones(len(program), dtype=bool)
    tables = [_Table(program, number) for number in range(len(program.groups))]
    patterns: list[Pattern] = []
    alone_rate = program.alone / program.load
    while open_classes.any() and watch.limit is None:
        best = min((table.best() for table in tables), key=lambda found: found[0], default=(np.inf, 0, 0, 0))
        rate, number, row, length = best
        lonely = int(np.where(open_classes, alone_rate, np.inf).argmin())
        if alone_rate[lonely] <= rate:
            served = np.array([lonely])
            patterns.extend(alone_pattern(program, lonely) for _ in range(int(program.members[lonely])))
        else:
            served = tables[number].classes(row, length)
            counts = {int(k): int(program.members[k]) for k in served}
            patterns.append(make_pattern(program, number, row, counts))
        open_classes[served] = False
        for table in tables:
            table.drop(served)
    answer = settle(program, patterns)
    lonely_answer = all_alone(program)
    return min(answer, lonely_answer, key=total_cost)


class _Table:
    """One group's candidates: classes sorted by joining price per load, for every facility."""

    def __init__(self, program: Facilities, number: int) -> None:
        group = program.groups[number]
        self.number = number
        self.price, self.capacity = group.price, group.capacity
        members = program.members[group.classes]
        demand = program.load[group.classes] * members
        order = np.argsort(group.joining * members / demand, axis=1, kind="stable")
        self.order = group.classes[order]
        self.joining = np.take_along_axis(group.joining * members, order, axis=1)
        self.demand = demand[order]
        self._best: tuple[float, int, int, int] | None = None

    def best(self) -> tuple[float, int, int, int]:
        """(price per load, group, facility, how many of its classes)."""
        if self._best is None:
            self._best = self._find()
        return self._best

    def classes(self, row: int, length: int) -> Indices:
        """The first `length` classes of a facility."""
        return self.order[row, :length]

    def drop(self, served: Indices) -> None:
        """These classes need nothing any more."""
        gone = np.isin(self.order, served)
        kept = self.order.shape[1] - int(gone[0].sum()) if len(gone) else 0
        if len(gone) and kept < self.order.shape[1]:
            shape = (len(self.order), kept)
            self.order = self.order[~gone].reshape(shape)
            self.joining = self.joining[~gone].reshape(shape)
            self.demand = self.demand[~gone].reshape(shape)
            self._best = None

    def _find(self) -> tuple[float, int, int, int]:
        if not self.order.size:
            return (np.inf, self.number, 0, 0)
        load = np.cumsum(self.demand, axis=1)
        instances = np.maximum(1.0, np.ceil(load / self.capacity[:, None] - EPSILON))
        rate = (np.cumsum(self.joining, axis=1) + instances * self.price[:, None]) / load
        row, position = np.unravel_index(int(rate.argmin()), rate.shape)
        return (float(rate[row, position]), self.number, int(row), int(position) + 1)
