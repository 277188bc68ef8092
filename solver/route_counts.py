"""Program 5.3 over instances alone: a plan of at most a price, or the proof that there is none.

Whether n_e instances are enough is a question of its own: every class needs paths in time over the arcs that
there are, and their capacity has to do. So a master program chooses n alone, and what it overlooked comes
back as rows (`solver.route_rows`) that it broke: the decomposition of Benders (1962), the master solved by
CP-SAT. What it knows from the beginning:

* the price,  Σ_e s_e n_e ≤ goal,  in steps
* rows of the relaxation's prices: it begins where the relaxation ends, but with n whole
* what crosses every layer
* *a tree*. From every cut point there is a soonest way to the end over the arcs that are there, one arc each.
  With T_i the time that it takes,  T_i ≥ t_e + T_j  over the arc e from i to j that is taken, an arc is
  taken only where it is there, and T_i ≤ B for the least budget B of those who enter at i.

Where few arcs can be in a plan (grids of few shares), this decides in seconds what the program over paths
does not in a minute: on a grid of three shares with 50 classes some 90 arcs are left, but some 90,000 paths.
With several hundred arcs the master takes too long.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from solver import cp_sat
from solver.outcome import Watch
from solver.route_bound import RouteBound
from solver.route_choice import Choice, all_paths, shared_over
from solver.route_graph import RouteGraph
from solver.route_rows import crossing_rows, missed, missed_rows, priced_rows
from solver.routes import EPSILON, Floats, Indices
from solver.steps import SLACK

# Arcs up to which the master is tried, paths over the arcs that are there, and rounds for a goal.
MOST_ARCS, MOST_PATHS, ROUNDS = 200, 20_000, 1_000
# Coefficients are rounded up in these parts, and what rows ask for is one part less: sums of doubles. The
# finer ones are for rows that instances which lack very little would keep otherwise; they take longer.
PARTS, FINE_PARTS = 1_000, 100_000
# Parts of the largest budget in which time is counted, rounded down.
TICKS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class _Master:
    """The program over `arcs`; one variable each in `counts`."""

    model: cp_model.CpModel
    arcs: Indices
    counts: list[cp_model.IntVar]

    def add(self, row: Floats, parts: int = PARTS) -> None:
        """Ask for a row, its coefficients rounded up in such parts."""
        rounded = self._rounded(row, parts)
        used = np.flatnonzero(rounded)
        counts = [self.counts[at] for at in used.tolist()]
        weights = rounded[used].astype(int).tolist()
        self.model.add(cp_model.LinearExpr.weighted_sum(counts, weights) >= parts - 1)

    def breaks(self, row: Floats, counts: Floats, parts: int) -> bool:
        """Whether counts [arcs] would break a row as it would be asked for."""
        return bool(self._rounded(row, parts) @ counts < parts - 1)

    def _rounded(self, row: Floats, parts: int) -> Floats:
        rounded: Floats = np.ceil(row[self.arcs] * parts - EPSILON)
        return rounded


class RouteCounts:
    """Plans of at most a price; the rows found are kept from one goal to the next."""

    def __init__(self, bound: RouteBound, seed: int) -> None:
        self.bound, self.seed = bound, seed
        self._generator = np.random.default_rng(seed)
        self._rows: list[tuple[Floats, int]] = []

    def decide(self, goal: float, watch: Watch, *, time_limit_s: float) -> Choice:
        """A plan of at most `goal`; without one, the bound is infinite where it is proven that there is none.

        Nothing is tried where prices have no common step, or where too many arcs can be in such a plan.
        """
        graph, until_s = self.bound.graph, watch.elapsed_s + time_limit_s
        nothing = Choice(paths=(), lower_bound=0.0)
        arcs, lean = self.bound.useful(goal, watch), self.bound.lean()
        arcs = arcs[lean.unpaid[arcs] <= goal * (1 + SLACK) - lean.value]
        if self.bound.step <= 0 or len(arcs) > MOST_ARCS:
            return nothing
        master = _master(graph, arcs, int(goal / self.bound.step + SLACK), self.bound.step)
        for row in [*crossing_rows(graph, arcs), *priced_rows(self.bound, lean)]:
            master.add(row)
        for row, parts in self._rows:
            master.add(row, parts)
        for _ in range(ROUNDS):
            rest_s = until_s - watch.elapsed_s
            if watch.over or rest_s <= 0:
                return nothing
            # More threads search in other ways too, none of which is as good here.
            solver, word = cp_sat.search(
                master.model, watch, time_limit_s=rest_s, threads=1, seed=self.seed, relaxing=True
            )
            if word == "INFEASIBLE":
                return Choice(paths=(), lower_bound=np.inf)
            if word not in ("OPTIMAL", "FEASIBLE"):
                return nothing
            counts = np.array([solver.value(count) for count in master.counts], dtype=np.float64)
            choice = self._served(master, counts, lambda: watch.over or watch.elapsed_s > until_s)
            if choice is not None:
                return choice
        return nothing

    def _served(self, master: _Master, counts: Floats, over: Callable[[], bool]) -> Choice | None:
        """A plan with these instances; None where there is none, and the master has been told why.

        Where that could not be told, nothing is chosen and nothing proven.
        """
        graph, nothing = self.bound.graph, Choice(paths=(), lower_bound=0.0)
        there = np.flatnonzero(counts)
        arcs, instances = master.arcs[there], counts[there]
        paths = all_paths(graph, arcs, MOST_PATHS)
        if paths is None:
            return nothing
        choice = shared_over(graph, paths, arcs, instances)
        if choice is not None:
            return choice
        told = False
        for worth in (graph.load, np.ones(len(graph.load))):
            lack = missed(graph, paths, arcs, instances, worth)
            if lack is None:
                continue
            rows = missed_rows(graph, master.arcs, lack, self._generator, over)
            for parts, row in itertools.product((PARTS, FINE_PARTS), rows):
                if master.breaks(row, counts, parts):
                    master.add(row, parts)
                    self._rows.append((row, parts))
                    told = True
                    break
        return None if told else nothing


def _master(graph: RouteGraph, arcs: Indices, units: int, step: float) -> _Master:
    """The price in so many steps, and the tree."""
    model = cp_model.CpModel()
    price = np.rint(graph.price[arcs] / step).astype(int)
    most = np.minimum(np.ceil(graph.load.sum() / graph.capacity[arcs]), units // price).astype(int)
    counts = [model.new_int_var(0, number, "") for number in most.tolist()]
    model.add(cp_model.LinearExpr.weighted_sum(counts, price.tolist()) <= units)
    scale = TICKS / float(graph.budget.max())
    ticks = np.floor(graph.time[arcs] * scale).astype(int).tolist()
    allowed = np.floor(graph.budget * (1 + EPSILON) * scale).astype(int)
    heads = graph.head[arcs].tolist()
    leaving = np.searchsorted(graph.tail[arcs], np.arange(graph.depth + 1)).tolist()
    soonest = [model.new_int_var(0, int(allowed.max()), "") for _ in range(graph.depth)]
    reached = [model.new_bool_var("") for _ in range(graph.depth)]
    for cut in range(graph.depth):
        taken = []
        for arc in range(leaving[cut], leaving[cut + 1]):
            take, head = model.new_bool_var(""), heads[arc]
            taken.append(take)
            model.add(counts[arc] >= 1).only_enforce_if(take)
            if head < graph.depth:
                model.add(soonest[cut] >= soonest[head] + ticks[arc]).only_enforce_if(take)
                model.add_implication(take, reached[head])
            else:
                model.add(soonest[cut] >= ticks[arc]).only_enforce_if(take)
        model.add_exactly_one([*taken, ~reached[cut]])
        if entering := allowed[graph.entry == cut].tolist():
            model.add(reached[cut] == 1)
            model.add(soonest[cut] <= min(entering))
    return _Master(model=model, arcs=arcs, counts=counts)
