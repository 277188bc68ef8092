"""Program 5.3 made small enough to search: fewer classes, fewer arcs, time in ticks. A relaxation throughout.

*Classes* that enter at the same cut point with budgets near one another become one, with the largest of the
budgets and the sum of the loads: what their members do on average is allowed for it.

*Arcs.* No stage carries more than all classes that can use it, so a greater capacity is worth no more; then
an arc that another between the same cut points beats in time, capacity and price is left out, and so is one
that no class can use in time.

*Time* is counted in ticks, an arc's rounded down, so every path in time stays in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from solver.routes import EPSILON, Floats, Indices, Network

# Pairs of an arc and a class beyond which nothing is tried.
MOST_PAIRS = 2_000_000
# Classes kept, ticks of the largest budget at most and at least, and the size (arcs · classes · ticks) up to
# which a search for paths takes about a second.
MOST_CLASSES, MOST_TICKS, FEWEST_TICKS, WORK = 60, 400, 100, 40_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class RouteGraph:
    """Arcs [E] sorted by tail, classes [K]; letters as in `solver.routes`.

    `ticks` is an arc's time, `allowed` a class's budget, `horizon` the largest of these; `able` [K, E] says
    which class can use which arc in time. `class_of` [classes of the network] are the condensed classes.
    """

    depth: int
    horizon: int
    tail: Indices
    head: Indices
    time: Floats
    ticks: Indices
    capacity: Floats
    price: Floats
    entry: Indices
    budget: Floats
    allowed: Indices
    load: Floats
    able: NDArray[np.bool_]
    class_of: Indices

    @cached_property
    def leaving(self) -> Indices:
        """[depth + 1]: arcs leaving[i] … leaving[i + 1] − 1 have tail i."""
        return np.searchsorted(self.tail, np.arange(self.depth + 1))

    def to_end(self, prices: Floats) -> Floats:
        """[depth + 1, K, ticks + 1]: the least price from a cut point to the end with so many ticks left."""
        prices = self._allowed(prices)
        least = np.full((self.depth + 1, len(self.load), self.horizon + 1), np.inf)
        least[self.depth] = 0.0
        for cut in range(self.depth - 1, -1, -1):
            here = least[cut]
            for arc in range(self.leaving[cut], self.leaving[cut + 1]):
                ticks = int(self.ticks[arc])
                onward = least[self.head[arc], :, : self.horizon + 1 - ticks] + prices[:, arc, None]
                np.minimum(here[:, ticks:], onward, out=here[:, ticks:])
        return least

    def from_entry(self, prices: Floats) -> Floats:
        """[depth + 1, K, ticks + 1]: the least price from a class's entry to a cut point in so many ticks."""
        prices = self._allowed(prices)
        least = np.full((self.depth + 1, len(self.load), self.horizon + 1), np.inf)
        least[self.entry, np.arange(len(self.load))] = 0.0
        for arc in range(len(self.tail)):
            ticks, there = int(self.ticks[arc]), least[self.head[arc]]
            onward = least[self.tail[arc], :, : self.horizon + 1 - ticks] + prices[:, arc, None]
            np.minimum(there[:, ticks:], onward, out=there[:, ticks:])
        return least

    def distances(self, to_end: Floats) -> Floats:
        """[K]: the price of each class's cheapest path."""
        classes = np.arange(len(self.load))
        found: Floats = to_end[self.entry, classes, self.allowed]
        return found

    def without(self, prices: Floats, to_end: Floats) -> Floats:
        """[K, E]: the least price of a path through an arc, its own left out; infinite where none is."""
        start = self.from_entry(prices)
        classes = np.arange(len(self.load))[:, None]
        left = self.allowed[:, None] - np.arange(self.horizon + 1)
        # rest[cut][k, u]: the price from the cut point to the end, u ticks of the budget used.
        rest = np.where(left >= 0, to_end[:, classes, np.maximum(left, 0)], np.inf)
        found = np.empty((len(self.load), len(self.tail)))
        for arc in range(len(self.tail)):
            ticks = int(self.ticks[arc])
            before = start[self.tail[arc], :, : self.horizon + 1 - ticks]
            found[:, arc] = (before + rest[self.head[arc], :, ticks:]).min(axis=1)
        return found

    def paths(self, prices: Floats, to_end: Floats) -> list[tuple[int, ...]]:
        """Every class's cheapest path, as arcs."""
        found = []
        prices = self._allowed(prices)
        for k in range(len(self.load)):
            cut, left, path = int(self.entry[k]), int(self.allowed[k]), []
            while cut < self.depth:
                arcs = np.arange(self.leaving[cut], self.leaving[cut + 1])
                arcs = arcs[self.ticks[arcs] <= left]
                onward = prices[k, arcs] + to_end[self.head[arcs], k, left - self.ticks[arcs]]
                arc = int(arcs[onward.argmin()])
                path.append(arc)
                left -= int(self.ticks[arc])
                cut = int(self.head[arc])
            found.append(tuple(path))
        return found

    def in_time(self, k: int, arcs: Sequence[int]) -> bool:
        """Whether these arcs keep to the class's budget, to the last bit and not only in ticks."""
        return float(self.time[list(arcs)].sum()) <= float(self.budget[k]) * (1 + EPSILON)

    def find(self, tail: int, head: int, time: float, capacity: float, price: float) -> int | None:
        """An arc that does what one with these numbers does, at no higher price."""
        arcs = np.arange(self.leaving[tail], self.leaving[tail + 1])
        arcs = arcs[self.head[arcs] == head]
        enough = np.minimum(capacity, self._most_load(arcs))
        good = arcs[
            (self.time[arcs] <= time * (1 + EPSILON))
            & (self.capacity[arcs] >= enough * (1 - EPSILON))
            & (self.price[arcs] <= price * (1 + EPSILON))
        ]
        return int(good[0]) if len(good) else None

    def _allowed(self, prices: Floats) -> Floats:
        """Ticks are rounded down: what a class cannot use in time stays closed to it, whatever they say."""
        return np.where(self.able, prices, np.inf)

    def _most_load(self, arcs: Indices) -> Floats:
        return self.load @ self.able[:, arcs]


def route_graph(network: Network) -> RouteGraph | None:
    """The reduced graph; None where it stays too large to be searched."""
    network, class_of = _condensed(network)
    least = _least_times(network)
    kept = _useful_arcs(network, least)
    tail, head, time = network.tail[kept], network.head[kept], network.time[kept]
    size = len(kept) * len(network.load)
    if size > MOST_PAIRS:
        return None
    horizon = int(min(MOST_TICKS, max(FEWEST_TICKS, WORK // max(1, size))))
    tick = float(network.budget.max()) * (1 + EPSILON) / horizon
    budget = network.budget * (1 + EPSILON)
    needed = least[network.entry][:, tail] + time + least[head, network.depth]
    able = (network.entry[:, None] <= tail) & (needed <= budget[:, None])
    return RouteGraph(
        depth=network.depth,
        horizon=horizon,
        tail=tail,
        head=head,
        time=time,
        ticks=np.floor(time / tick).astype(np.intp),
        capacity=np.minimum(network.capacity[kept], np.maximum(network.load @ able, 1e-12) * (1 + EPSILON)),
        price=network.price[kept],
        entry=network.entry,
        budget=network.budget,
        allowed=np.minimum(horizon, np.floor(budget / tick).astype(np.intp)),
        load=network.load,
        able=able,
        class_of=class_of,
    )


def _condensed(network: Network) -> tuple[Network, Indices]:
    """At most about MOST_CLASSES classes: per entry, runs of neighbouring budgets of about equal number."""
    total = len(network.load)
    class_of = np.arange(total)
    if total <= MOST_CLASSES:
        return network, class_of
    entries: list[int] = []
    budgets: list[float] = []
    loads: list[float] = []
    for entry in np.unique(network.entry):
        classes = np.flatnonzero(network.entry == entry)
        classes = classes[np.argsort(network.budget[classes], kind="stable")]
        runs = max(1, round(MOST_CLASSES * len(classes) / total))
        for run in np.array_split(classes, min(runs, len(classes))):
            class_of[run] = len(entries)
            entries.append(int(entry))
            budgets.append(float(network.budget[run].max()))
            loads.append(float(network.load[run].sum()))
    condensed = Network(
        depth=network.depth,
        tail=network.tail,
        head=network.head,
        time=network.time,
        capacity=network.capacity,
        price=network.price,
        entry=np.array(entries, dtype=np.intp),
        budget=np.array(budgets),
        load=np.array(loads),
    )
    return condensed, class_of


def _least_times(network: Network) -> Floats:
    """[depth + 1, depth + 1]: the least time from one cut point to a later one."""
    least = np.full((network.depth + 1, network.depth + 1), np.inf)
    np.fill_diagonal(least, 0.0)
    for cut in range(network.depth - 1, -1, -1):
        for arc in range(network.leaving[cut], network.leaving[cut + 1]):
            np.minimum(least[cut], network.time[arc] + least[network.head[arc]], out=least[cut])
    return least


def _useful_arcs(network: Network, least: Floats) -> Indices:
    """Arcs that some class can use in time and that no other arc beats."""
    kept = []
    for cut in range(network.depth):
        classes = np.flatnonzero(network.entry <= cut)
        if not len(classes):
            continue
        spare = network.budget[classes] * (1 + EPSILON) - least[network.entry[classes], cut]
        most_load = float(network.load[classes].sum())
        arcs = np.arange(network.leaving[cut], network.leaving[cut + 1])
        for head in np.unique(network.head[arcs]).tolist():
            among = arcs[network.head[arcs] == head]
            among = among[network.time[among] <= float(spare.max()) - least[head, network.depth]]
            kept.append(_unbeaten(network, among, most_load))
    return np.concatenate([*kept, np.zeros(0, dtype=np.intp)]).astype(np.intp)


def _unbeaten(network: Network, arcs: Indices, most_load: float) -> Indices:
    """Those that no other beats in time, capacity up to `most_load`, and price; of equals the first."""
    table = np.stack(
        [network.time[arcs], -np.minimum(network.capacity[arcs], most_load), network.price[arcs]], axis=1
    )
    no_better = (table[:, None] >= table[None]).all(axis=2)
    equal = no_better & no_better.T
    first = np.arange(len(arcs))[:, None] > np.arange(len(arcs))
    beaten = (no_better & (~equal | first)).any(axis=1)
    unbeaten: Indices = arcs[~beaten]
    return unbeaten
