"""Program 5.3 made small enough to search: fewer classes, fewer arcs, time in ticks. A relaxation throughout.

*Classes* that enter at the same cut point with budgets near one another become one, with the largest of the
budgets and the sum of the loads: what their members do on average is allowed for it.

*Arcs.* No stage carries more than all classes that can use it, so a greater capacity is worth no more. An arc
is left out if no class can use it in time, and if whole instances of others between the same cut points, none
slower, carry as much at no higher price: routes may be split among them. (Two halves of a GPU with half the
batch each often beat a whole one.)

*Time* is counted in ticks, an arc's rounded down, so every path in time stays in time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver import route_kernel
from solver.route_arcs import useful_arcs
from solver.route_kernel import Prices
from solver.routes import EPSILON, Floats, Indices, Network

# Pairs of an arc and a class beyond which nothing is tried.
MOST_PAIRS = 5_000_000
# Classes kept, and where these are too many for the arcs there are.
MOST_CLASSES, FEWER_CLASSES = 200, 60
# Ticks of the largest budget at most and at least, and the size (arcs · classes · ticks) up to which a search
# for paths takes some hundredths of a second.
MOST_TICKS, FEWEST_TICKS, WORK = 800, 100, 300_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class RouteGraph:
    """Arcs [E] sorted by tail, classes [K] by entry; letters as in `solver.routes`.

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

    @cached_property
    def everything(self) -> Indices:
        """All arcs."""
        return np.arange(len(self.tail))

    def part(self, classes: Sequence[int]) -> RouteGraph:
        """The same arcs for some classes (rising numbers) alone; `class_of` are their numbers here."""
        among = np.array(classes, dtype=np.intp)
        return replace(
            self,
            entry=self.entry[among],
            budget=self.budget[among],
            allowed=self.allowed[among],
            load=self.load[among],
            able=self.able[among],
            class_of=among,
        )

    def over(self, arcs: Indices) -> RouteGraph:
        """Some arcs (rising numbers) alone for the same classes; they are numbered anew."""
        if len(arcs) == len(self.tail):
            return self
        return replace(
            self,
            tail=self.tail[arcs],
            head=self.head[arcs],
            time=self.time[arcs],
            ticks=self.ticks[arcs],
            capacity=self.capacity[arcs],
            price=self.price[arcs],
            able=np.ascontiguousarray(self.able[:, arcs]),
        )

    def spread(self, network: Network) -> RouteGraph:
        """The same arcs for the classes of the network themselves, where these were condensed."""
        if len(self.load) == len(network.load):
            return self
        order = np.argsort(network.entry, kind="stable")
        entry, budget = network.entry[order], network.budget[order]
        within = budget * (1 + EPSILON)
        tick = float(network.budget.max()) * (1 + EPSILON) / self.horizon
        return replace(
            self,
            entry=entry,
            budget=budget,
            allowed=np.minimum(self.horizon, np.floor(within / tick).astype(np.intp)),
            load=network.load[order],
            able=_able(_least_times(network), entry, within, self.tail, self.head, self.time),
            class_of=np.argsort(order, kind="stable"),
        )

    def routing(self, prices: Floats, arcs: Indices | None = None, *, exact: bool = False) -> Routing:
        """The cheapest paths over some arcs (rising numbers), which cost class k prices[k, e].

        Single precision is twice as fast; what proves something is to be exact.
        """
        arcs = self.everything if arcs is None else arcs
        # Ticks are rounded down: what a class cannot use in time stays closed to it, whatever they say.
        priced = np.where(self.of(self.able, arcs), self.of(prices, arcs), np.inf)
        kind = np.float64 if exact else np.float32
        return Routing(graph=self, arcs=arcs, price=np.ascontiguousarray(priced, dtype=kind))

    def of(self, columns: NDArray[Any], arcs: Indices) -> NDArray[Any]:
        """[K, arcs] of [K, E], not copied where it is all of them."""
        return columns if len(arcs) == len(self.tail) else columns[:, arcs]

    def in_time(self, k: int, arcs: Sequence[int]) -> bool:
        """Whether these arcs keep to the class's budget, to the last bit and not only in ticks."""
        return float(self.time[list(arcs)].sum()) <= float(self.budget[k]) * (1 + EPSILON)

    def cheapest(self, tail: int, head: int, time: float, load: float) -> int:
        """The arc of at most this time whose instances for a load cost least."""
        arcs = np.arange(self.leaving[tail], self.leaving[tail + 1])
        arcs = arcs[(self.head[arcs] == head) & (self.time[arcs] <= time * (1 + EPSILON))]
        instances = np.maximum(1.0, np.ceil(load / self.capacity[arcs] - EPSILON))
        return int(arcs[(instances * self.price[arcs]).argmin()])


@dataclass(frozen=True, kw_only=True, eq=False)
class Routing:
    """The cheapest paths of every class over `arcs` [A] at `price` [K, A]."""

    graph: RouteGraph
    arcs: Indices
    price: Prices

    @cached_property
    def to_end(self) -> Prices:
        """[depth + 1, K, ticks + 1]: the least price from a cut point to the end with so many ticks left."""
        return route_kernel.to_end(*self._columns)

    @cached_property
    def from_entry(self) -> Prices:
        """[depth + 1, K, ticks + 1]: the least price from a class's entry to a cut point in so many ticks."""
        return route_kernel.from_entry(*self._columns)

    @cached_property
    def distances(self) -> Floats:
        """[K]: the price of each class's cheapest path."""
        graph = self.graph
        found: Floats = self.to_end[graph.entry, np.arange(len(graph.load)), graph.allowed].astype(np.float64)
        return found

    def without(self, arcs: Indices) -> Prices:
        """[K, arcs]: the least price of a path through an arc, its own left out; infinite where none is.

        The arcs may be others than those of the routing.
        """
        graph = self.graph
        return route_kernel.without(
            self.from_entry,
            self.to_end,
            graph.tail[arcs],
            graph.head[arcs],
            graph.ticks[arcs],
            graph.allowed,
            np.ascontiguousarray(graph.of(graph.able, arcs)),
        )

    @cached_property
    def _columns(self) -> tuple[Prices, Indices, Indices, Indices, Indices, Indices, int]:
        graph, arcs = self.graph, self.arcs
        columns = (graph.tail[arcs], graph.head[arcs], graph.ticks[arcs])
        return (self.price, *columns, graph.entry, graph.allowed, graph.depth)

    def path(self, k: int) -> tuple[int, ...]:
        """A class's cheapest path, as arcs."""
        return self._onward(k, int(self.graph.entry[k]), int(self.graph.allowed[k]))

    def paths(self) -> list[tuple[int, ...]]:
        """Every class's cheapest path, as arcs; empty where there is none."""
        found = route_kernel.paths(*self._columns, self.to_end).tolist()
        numbers = self.arcs.tolist()
        return [tuple(numbers[at] for at in path if at >= 0) for path in found]

    def through(self, k: int, arc: int) -> tuple[int, ...]:
        """A class's cheapest path through an arc (of the routing or not); there has to be one."""
        graph, spent = self.graph, int(self.graph.ticks[arc])
        tail, allowed = int(graph.tail[arc]), int(graph.allowed[k])
        before = np.arange(allowed - spent + 1)
        least = self.from_entry[tail, k, before] + self.to_end[graph.head[arc], k, allowed - spent - before]
        used = int(least.argmin())
        onward = self._onward(k, int(graph.head[arc]), allowed - spent - used)
        return (*self._hither(k, tail, used), arc, *onward)

    def cheapest(self, k: int, most: int) -> list[tuple[int, ...]]:
        """A class's `most` cheapest paths, as arcs, cheapest first; in time to the last bit.

        What is left of a path's price is known to the end, so the search goes straight to them.
        """
        graph, found = self.graph, list[tuple[int, ...]]()
        entry, allowed = int(graph.entry[k]), int(graph.allowed[k])
        number = itertools.count()
        first = float(self.to_end[entry, k, allowed])
        waiting: list[tuple[float, int, int, int, float, tuple[int, ...]]] = []
        if math.isfinite(first):
            waiting.append((first, next(number), entry, allowed, 0.0, ()))
        # Every path waited for leads to at least one of its price; more than `most` of them are not needed.
        worst: list[float] = [-first] if waiting else []
        ticks, heads = graph.ticks[self.arcs], graph.head[self.arcs]
        while waiting and len(found) < most:
            price, _, cut, left, paid, path = heapq.heappop(waiting)
            if cut == graph.depth:
                if graph.in_time(k, path):
                    found.append(path)
                continue
            among = np.arange(self._leaving[cut], self._leaving[cut + 1])
            among = among[ticks[among] <= left]
            own = self.price[k, among].astype(np.float64)
            totals = paid + own + self.to_end[heads[among], k, left - ticks[among]]
            order = np.argsort(totals, kind="stable")[:most]
            for position in order.tolist():
                total = float(totals[position])
                if not math.isfinite(total) or (len(worst) >= most and total > -worst[0]):
                    break
                at = int(among[position])
                follower = (*path, int(self.arcs[at]))
                onward = (int(heads[at]), left - int(ticks[at]), paid + float(own[position]), follower)
                heapq.heappush(waiting, (total, next(number), *onward))
                if total > price * (1 + EPSILON):
                    heapq.heappush(worst, -total)
                    if len(worst) > most:
                        heapq.heappop(worst)
        return found

    @cached_property
    def _leaving(self) -> Indices:
        return np.searchsorted(self.graph.tail[self.arcs], np.arange(self.graph.depth + 1))

    @cached_property
    def _arriving(self) -> list[Indices]:
        """For every cut point, positions of the arcs that end there."""
        heads = self.graph.head[self.arcs]
        order = np.argsort(heads, kind="stable")
        ends = np.searchsorted(heads[order], np.arange(1, self.graph.depth + 1))
        return np.split(order, ends)

    def _onward(self, k: int, cut: int, left: int) -> tuple[int, ...]:
        graph, path = self.graph, []
        while cut < graph.depth:
            among = np.arange(self._leaving[cut], self._leaving[cut + 1])
            among = among[graph.ticks[self.arcs[among]] <= left]
            arcs = self.arcs[among]
            least = self.price[k, among] + self.to_end[graph.head[arcs], k, left - graph.ticks[arcs]]
            arc = int(arcs[least.argmin()])
            path.append(arc)
            left -= int(graph.ticks[arc])
            cut = int(graph.head[arc])
        return tuple(path)

    def _hither(self, k: int, cut: int, used: int) -> tuple[int, ...]:
        graph, path = self.graph, []
        while cut != graph.entry[k]:
            among = self._arriving[cut]
            among = among[graph.ticks[self.arcs[among]] <= used]
            arcs = self.arcs[among]
            least = self.price[k, among] + self.from_entry[graph.tail[arcs], k, used - graph.ticks[arcs]]
            arc = int(arcs[least.argmin()])
            path.append(arc)
            used -= int(graph.ticks[arc])
            cut = int(graph.tail[arc])
        return tuple(reversed(path))


def route_graph(network: Network) -> RouteGraph | None:
    """The reduced graph; None where it stays too large to be searched."""
    for most in (MOST_CLASSES, FEWER_CLASSES):
        condensed, class_of = _condensed(network, most)
        least = _least_times(condensed)
        kept = useful_arcs(condensed, least)
        size = len(kept) * len(condensed.load)
        if size <= MOST_PAIRS:
            break
    else:
        return None
    network = condensed
    tail, head, time = network.tail[kept], network.head[kept], network.time[kept]
    horizon = int(min(MOST_TICKS, max(FEWEST_TICKS, WORK // max(1, size))))
    tick = float(network.budget.max()) * (1 + EPSILON) / horizon
    budget = network.budget * (1 + EPSILON)
    able = _able(least, network.entry, budget, tail, head, time)
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


def _able(
    least: Floats, entry: Indices, within: Floats, tail: Indices, head: Indices, time: Floats
) -> NDArray[np.bool_]:
    """[K, E]: which class can use which arc in time; `least` are the least times between cut points."""
    needed = least[entry][:, tail] + time + least[head, -1]
    able: NDArray[np.bool_] = (entry[:, None] <= tail) & (needed <= within[:, None])
    return able


def _condensed(network: Network, most: int) -> tuple[Network, Indices]:
    """Classes by rising entry, at most about so many: runs of neighbouring budgets, of equal number."""
    total = len(network.load)
    if total <= most:
        order = np.argsort(network.entry, kind="stable")
        ordered = replace(
            network, entry=network.entry[order], budget=network.budget[order], load=network.load[order]
        )
        return ordered, np.argsort(order, kind="stable")
    class_of = np.arange(total)
    entries: list[int] = []
    budgets: list[float] = []
    loads: list[float] = []
    for entry in np.unique(network.entry):
        classes = np.flatnonzero(network.entry == entry)
        classes = classes[np.argsort(network.budget[classes], kind="stable")]
        runs = max(1, round(most * len(classes) / total))
        for run in np.array_split(classes, min(runs, len(classes))):
            class_of[run] = len(entries)
            entries.append(int(entry))
            budgets.append(float(network.budget[run].max()))
            loads.append(float(network.load[run].sum()))
    condensed = replace(
        network,
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
