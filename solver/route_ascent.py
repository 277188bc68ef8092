"""Near-optimal prices for the strong form of 5.3, quickly: its relaxation as a game, played on averages.

Over path flows y the relaxation is  min Σ_e s_e · max(max_k x_ke, Σ_k q_k x_ke / c_e),  x_ke = Σ_{p∋e} y_kp.
A maximum is the best of all mixtures, so this is a game: one side shares every class out among paths, the
other the price of every arc among its pairs and its capacity,

    min_y max_λ  Σ_e s_e (Σ_k λ_ke x_ke + λ_e0 Σ_k q_k x_ke / c_e),     Σ_k λ_ke + λ_e0 = 1,  λ ≥ 0

Any shares λ are prices π_ke = s_e (λ_ke + λ_e0 q_k / c_e) that keep to every arc's price, so that cheapest
paths prove a bound at every step. Both sides move at once, by factors: shares towards whoever uses most of an
arc (looking one step ahead), classes towards what is cheap. Neither side's last move is worth much, but their
averages, later ones counting more, close in on the optimum: within 1 % after some thousand steps of a
millisecond. It is the primal-dual method of Chambolle and Pock (2016), with entropies for distances. It does
not mind that very many paths cost nearly the same, which is what holds up simplex and interior points here.

Paths are those found so far, the cheapest ones at the average prices and at the last. Arcs that are on none
of them keep their shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.outcome import Watch
from solver.route_graph import RouteGraph, Routing
from solver.route_kernel import play, shares
from solver.routes import Floats, Indices

# How far shares move, in parts of an arc's largest use, and classes, in parts of what they pay. (With 0.5 and
# 2 it takes up to twice as many steps; with classes at 0.7 the bound gets stuck where models have 40 layers.)
SHARES, CLASSES = 1.0, 1.0
# Shares and parts of a class are never less, so that they can grow again (at a hundredth of that it takes up
# to half as many steps again; with parts of 1e-4 it gets no nearer than 0.5 %); what they are at first.
LEAST_SHARE, LEAST_PART = 1e-6, 1e-5
FIRST_SHARE, FIRST_WHOLE, FIRST_PART = 1e-4, 0.05, 0.01
# The power of a step's number with which it counts (with 2 it takes up to half as many steps again).
LATER = 4
# Steps between two looks for cheaper paths.
LOOK_EVERY = 10
# Paths a class on average beyond which those that carried least are forgotten, and how many a class keeps.
MOST_PATHS, KEPT_PATHS = 600, 300


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutePath:
    """Class `k` passes through `arcs`."""

    k: int
    arcs: tuple[int, ...]


class RouteAscent:
    """The game over `arcs`, those that are on a known path; to iterate over it gives the paths."""

    def __init__(self, graph: RouteGraph, prices: Floats) -> None:
        """From prices [K, E] that keep to every arc's price."""
        self.graph = graph
        classes = len(graph.load)
        self.arcs = np.zeros(0, dtype=np.intp)
        # Shares [E, K + 1], the last one the capacity's, of arcs that do not take part, or as they began.
        self._rest = shares_of(graph, prices)
        # Of those that take part, by rows: shares and use, both [arcs, K + 1], as they are and in sum.
        self._row = np.full(len(graph.tail), -1)
        self._share, self._share_sum = np.zeros((2, 0, classes + 1))
        self._use, self._use_sum = np.zeros((2, 0, classes + 1))
        self._scale = np.zeros(0)
        self._pays = np.ones(classes)
        # Paths: which class of how large a part, what part it was in sum, and where in `_use` it counts.
        self._paths: dict[RoutePath, None] = {}
        self._class = np.zeros(0, dtype=np.intp)
        self._part, self._part_sum = np.zeros((2, 0))
        self._along, self._path = np.zeros((2, 0), dtype=np.intp)
        self._steps, self._weight, self._use_weight = 0, 0.0, 0.0

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[RoutePath]:
        return iter(sorted(self._paths, key=lambda path: (path.k, path.arcs)))

    @property
    def above(self) -> float:
        """What the average flow costs; the relaxation is not more."""
        if not self._use_weight:
            return np.inf
        return float(self.graph.price @ self.use)

    @property
    def use(self) -> Floats:
        """[E]: the part of an instance that the average flow needs of an arc."""
        use = np.zeros(len(self._row))
        use[self.arcs] = self._use_sum.max(axis=1) / max(self._use_weight, 1e-300)
        return use

    def carrying(self, most: int) -> list[RoutePath]:
        """The paths that carried most, so many of them all."""
        paths, order = list(self._paths), np.argsort(-self._part_sum, kind="stable")[:most]
        return [paths[at] for at in order.tolist()]

    def add(self, paths: Iterable[RoutePath]) -> None:
        """Make paths known."""
        new = [path for path in dict.fromkeys(paths) if path not in self._paths]
        if not new:
            return
        self._take_part(np.unique([arc for path in new for arc in path.arcs]))
        first, width = len(self._paths), self._rest.shape[1]
        taken = np.array([path.k for path in new], dtype=np.intp)
        length = [len(path.arcs) for path in new]
        rows = self._row[[arc for path in new for arc in path.arcs]]
        self._paths.update(dict.fromkeys(new))
        self._class = np.concatenate([self._class, taken])
        self._along = np.concatenate([self._along, rows * width + np.repeat(taken, length)])
        self._path = np.concatenate([self._path, first + np.repeat(np.arange(len(new)), length)])
        self._part = self._normed(np.concatenate([self._part, np.full(len(new), FIRST_PART)]))
        self._part_sum = np.concatenate([self._part_sum, np.zeros(len(new))])
        self._use = self._used()

    def leave_out(self, arcs: Indices) -> None:
        """Forget the paths through these arcs, and the arcs."""
        gone = np.zeros(len(self._row), dtype=bool)
        gone[arcs] = True
        if not gone[self.arcs].any():
            return
        width = self._rest.shape[1]
        stay = np.ones(len(self._paths), dtype=bool)
        stay[self._path[gone[self.arcs[self._along // width]]]] = False
        self._keep_paths(stay)
        kept = np.flatnonzero(~gone[self.arcs])
        row = np.full(len(self.arcs), -1)
        row[kept] = np.arange(len(kept))
        self._along = row[self._along // width] * width + self._along % width
        self.arcs = self.arcs[kept]
        self._row[:] = -1
        self._row[self.arcs] = np.arange(len(kept))
        self._share, self._share_sum = self._share[kept], self._share_sum[kept]
        self._scale = self._scale[kept]
        self._use = self._used()
        # What flowed through the arcs has to find other ways.
        self._use_sum, self._use_weight = np.zeros_like(self._use), 0.0

    def share_the_rest(self, arcs: Indices, prices: Floats) -> None:
        """What some arcs that do not take part are shared like: by prices [K, E] that keep to theirs."""
        self._rest[arcs] = shares_of(self.graph, prices, arcs)

    def look(self, *, last: bool) -> Routing:
        """The cheapest paths over the arcs that take part, at average prices or the last ones."""
        order = np.argsort(self.arcs)
        arcs = self.arcs[order]
        priced = np.where(self.graph.able[:, arcs], self._priced(last=last)[order].T, np.inf)
        return Routing(graph=self.graph, arcs=arcs, price=np.ascontiguousarray(priced, dtype=np.float32))

    def prices(self) -> Floats:
        """[K, E]: the average prices of the arcs that take part; the others have none."""
        prices = np.zeros(self.graph.able.shape)
        prices[:, self.arcs] = self._priced(last=False).T
        return prices

    def run(self, steps: int, watch: Watch) -> None:
        """So many steps, and paths that are cheap on the way."""
        for _ in range(0, steps, LOOK_EVERY):
            for last in (False, True):
                routing = self.look(last=last)
                if not last:
                    self.pays(np.where(np.isfinite(routing.distances), routing.distances, 0.0))
                self.add(paths_of(routing))
            self._play(LOOK_EVERY)
            watch.update()
            if watch.over:
                return
        if len(self._paths) > MOST_PATHS * len(self._pays):
            self._thin_out()

    def pays(self, distances: Floats) -> None:
        """What the classes pay in all, nearly."""
        self._pays = np.maximum(np.maximum(distances, 0.02 * float(distances.mean())), 1e-9)

    def _play(self, steps: int) -> None:
        graph = self.graph
        sums = (self._share_sum, self._use_sum, self._part_sum)
        weight = play(
            steps,
            self._steps + 1,
            LATER,
            (SHARES, CLASSES, LEAST_SHARE, LEAST_PART),
            graph.price[self.arcs],
            graph.load / graph.capacity[self.arcs][:, None],
            self._rest[self.arcs] > 0,
            self._share,
            self._use,
            self._scale,
            self._part,
            sums,
            self._pays,
            self._class,
            np.searchsorted(self._path, np.arange(len(self._part) + 1)),
            self._along,
        )
        self._steps += steps
        self._weight += weight
        self._use_weight += weight

    def _priced(self, *, last: bool) -> Floats:
        """[arcs, K]."""
        graph = self.graph
        share = self._share if last or not self._weight else self._share_sum / self._weight
        worth = graph.load / graph.capacity[self.arcs][:, None]
        priced: Floats = graph.price[self.arcs][:, None] * (share[:, :-1] + share[:, -1:] * worth)
        return priced

    def _take_part(self, arcs: Indices) -> None:
        new = arcs[self._row[arcs] < 0]
        self._row[new] = len(self.arcs) + np.arange(len(new))
        self.arcs = np.concatenate([self.arcs, new])
        share, nothing = self._rest[new], np.zeros((len(new), self._rest.shape[1]))
        self._share = np.concatenate([self._share, share])
        self._share_sum = np.concatenate([self._share_sum, self._weight * share])
        self._use_sum = np.concatenate([self._use_sum, nothing])
        self._scale = np.concatenate([self._scale, np.full(len(new), 1e-3)])

    def _thin_out(self) -> None:
        """Of every class keep the paths that carried most since the last time."""
        order = np.lexsort((-self._part_sum, self._class))
        first = np.searchsorted(self._class[order], np.arange(len(self._pays)))
        rank = np.arange(len(order)) - first[self._class[order]]
        stay = np.zeros(len(order), dtype=bool)
        stay[order[rank < KEPT_PATHS]] = True
        self._keep_paths(stay)
        self._part_sum[:] = 0.0
        self._use = self._used()

    def _keep_paths(self, stay: NDArray[np.bool_]) -> None:
        number = np.cumsum(stay) - 1
        along = stay[self._path]
        self._paths = {path: None for path, kept in zip(self._paths, stay.tolist(), strict=True) if kept}
        self._class, self._part_sum = self._class[stay], self._part_sum[stay]
        self._part = self._normed(self._part[stay])
        self._along, self._path = self._along[along], number[self._path[along]]

    def _normed(self, part: Floats) -> Floats:
        # Where all paths that carried something were left out, those that carried nothing share it.
        part = np.maximum(part, LEAST_PART)
        total = np.bincount(self._class, weights=part, minlength=len(self._pays))
        normed: Floats = part / total[self._class]
        return normed

    def _used(self) -> Floats:
        """[arcs, K + 1]: the part of a class that uses an arc; last, of an instance that all of them need."""
        graph, width = self.graph, self._rest.shape[1]
        parts = self._part[self._path]
        use = np.bincount(self._along, parts, len(self.arcs) * width).astype(np.float64)
        used: Floats = use.reshape(-1, width)
        used[:, -1] = (used[:, :-1] @ graph.load) / graph.capacity[self.arcs]
        return used


def paths_of(routing: Routing, among: Indices | None = None) -> list[RoutePath]:
    """The cheapest paths of the classes that have one, of all or `among` some."""
    found = routing.paths()
    classes = range(len(found)) if among is None else among.tolist()
    return [RoutePath(k=k, arcs=found[k]) for k in classes if found[k]]


def shares_of(graph: RouteGraph, prices: Floats, arcs: Indices | None = None) -> Floats:
    """[arcs, K + 1]: shares near `prices` [K, E], which keep to the arcs'; all that may be are positive."""
    arcs = graph.everything if arcs is None else arcs
    return shares(
        np.ascontiguousarray(graph.of(prices, arcs)),
        graph.load,
        graph.capacity[arcs],
        graph.price[arcs],
        np.ascontiguousarray(graph.of(graph.able, arcs)),
        FIRST_SHARE,
        FIRST_WHOLE,
    )
