"""The baseline `e3`: the model split at exits, every part with its own instances at one batch size.

After E3 (SOSP 2024), in the terms of our laws. The paper's recursion, over layers and GPUs, with P(k, B)
the time of layer k for batch B and B_k the batch that comes to layer k:

    T(i→j) = Σ P(k, B_k)                                        one part
    A(i→j) = min_s [A(i→s) + T(s+1→j)]                          parts one after the other (`serial`)
    A(i→j, m) = min_s min_m' max[A(i→s, m−m'), T(s+1→j) / m']   m GPUs, pipelined (`pipelined`)

Here a part begins at the input or at an exit and ends at an exit or at the end. Since parts are filled up
again to the same batch b, T(i→j) is the mean time of a full batch times σ(i), what comes to the part for
each input; the transfer between parts is not in our laws. Every exit is in use, or only that at the end of
each part (the paper's option), whichever is faster.

The paper fixes m and asks for the greatest throughput. A plan fixes the load, and asks for the least m: a
part needs ⌈Q · T / (1000 · b)⌉ instances whatever the others do, so that the least m is a shortest path,
and the same as with the recursion (a test says so). A plan tries every batch, share and GPU type, one for
all parts; of the splits whose parts keep law 2 (the paper: its latency with 20 % slack), it takes the
cheapest.

Fragments of one start and close budgets are merged as in `gslice+`; there is no re-aligning.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from planner.allocating import Demand, Tree, demands_of
from planner.chaining import alone
from planner.exit_menu import ExitMenu
from planner.exiting import exit_problem, joined, useful_exits
from planner.menu import EPSILON, Floats
from planner.merging import merge
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem, ProgressReport

# A part's time per input in ms, [cuts, cuts]: part [i, j) of the cut points where parts may begin and end.
Times = Floats


def e3(problem: Problem, _settings: PlanSettings, _progress: ProgressReport) -> Draft:
    """Every merged group of fragments of one start on parts of its own."""
    drafts = []
    for model, numbers in problem.by_model().items():
        part = exit_problem(problem, model, numbers, useful_exits(problem, numbers))
        menu = part.counted.menus[model]
        assert isinstance(menu, ExitMenu)
        stages: list[DraftStage] = []
        routes: list[DraftRoute] = []
        for demand in merge(menu, demands_of(part.counted, identical_as_one=True)[model]):
            first = len(stages)
            stages.extend(_parts(menu, demand))
            passed = tuple(range(first, len(stages)))
            routes.extend(DraftRoute(fragment=member, stages=passed) for member in demand.members)
        drafts.append(part.draft(Draft(stages=tuple(stages), routes=tuple(routes))))
    return joined(drafts, None, {})


def serial(times: Times) -> float:
    """A(0→last): the least sum of the times of parts one after the other."""
    least = [0.0] + [math.inf] * (len(times) - 1)
    for j in range(1, len(times)):
        least[j] = min(least[i] + float(times[i, j]) for i in range(j))
    return least[-1]


def pipelined(times: Times, instances: int) -> float:
    """A(0→last, m): the least time of the slowest part, m instances shared out among parts; inf with none."""
    last = len(times) - 1
    # best[j][m]: for the parts up to cut j, with m instances in all
    best = np.full((last + 1, instances + 1), np.inf)
    best[0, :] = 0.0
    for j in range(1, last + 1):
        for i in range(j):
            for own in range(1, instances + 1):
                before = best[i, : instances + 1 - own]
                slower = np.maximum(before, times[i, j] / own)
                best[j, own:] = np.minimum(best[j, own:], slower)
    return float(best[last, instances])


def least_instances(times: Times, longest: float) -> int:
    """The least m with which no part takes longer than `longest` per input."""
    needed = np.maximum(1.0, np.ceil(times / longest - EPSILON))
    return int(serial(np.where(np.isfinite(times), needed, np.inf)))


def _parts(menu: ExitMenu, demand: Demand) -> list[DraftStage]:
    """The cheapest parts within the budget; where no cells allow any, the menu's own chain."""
    cuts = [demand.start, *(layer for layer in menu.split if layer > demand.start), menu.depth]
    pairs = {(i, j): _Part(menu, i, j, demand.load_rps) for i, j in combinations(cuts, 2)}
    best, found = math.inf, None
    for number in range(menu.width):
        for instances, time_ms, path in _splits(cuts, pairs, number):
            price = instances * float(menu.prices[number])
            if time_ms <= demand.budget_ms * (1 + EPSILON) and price < best:
                best, found = price, (number, path)
    if found is None:
        return _chain(menu, demand)
    number, path = found
    return [
        DraftStage(
            model=menu.model,
            start=i,
            end=j,
            column=int(pairs[i, j].column[number]),
            instances=int(pairs[i, j].instances[number]),
        )
        for i, j in path
    ]


class _Part:
    """[start, end) for every batch and share, with the faster of its exits: arrays [menu.width]."""

    def __init__(self, menu: ExitMenu, start: int, end: int, load_rps: float) -> None:
        within = tuple(layer for layer in menu.split if start < layer <= end)
        allowed = []
        for variant in menu.variants:
            used = tuple(layer for layer in variant if layer in within)
            allowed.append(used in (within, within[-1:] if end < menu.depth else ()))
        exec_ms = menu.exec_ms(start, end)
        busy_ms = np.where(np.isnan(exec_ms), np.inf, menu.busy_ms(start, end))
        busy_ms = np.where(np.repeat(allowed, menu.width), busy_ms, np.inf).reshape(-1, menu.width)
        faster = busy_ms.argmin(axis=0)
        self.column = faster * menu.width + np.arange(menu.width)
        able = np.isfinite(busy_ms.min(axis=0))
        part = menu.load_per_capacity(start, end)[self.column]
        needed = load_rps * busy_ms.min(axis=0) / (1000.0 * menu.batches[self.column] * part)
        self.instances = np.where(able, np.maximum(1.0, np.ceil(needed - EPSILON)), np.inf)
        self.time_ms = np.where(able, exec_ms[self.column] * menu.time_per_exec[self.column], np.inf)


def _splits(
    cuts: list[int], pairs: dict[tuple[int, int], _Part], number: int
) -> list[tuple[float, float, tuple[tuple[int, int], ...]]]:
    """For one batch and share, splits no other beats: (instances, time, parts)."""
    labels: dict[int, list[tuple[float, float, tuple[tuple[int, int], ...]]]] = {cuts[0]: [(0.0, 0.0, ())]}
    for position, j in enumerate(cuts[1:], start=1):
        reached = [
            (
                instances + float(pairs[i, j].instances[number]),
                time_ms + float(pairs[i, j].time_ms[number]),
                (*path, (i, j)),
            )
            for i in cuts[:position]
            for instances, time_ms, path in labels[i]
        ]
        kept: list[tuple[float, float, tuple[tuple[int, int], ...]]] = []
        for label in sorted(reached):
            if math.isfinite(label[0]) and (not kept or label[1] < kept[-1][1]):
                kept.append(label)
        labels[j] = kept
    return labels[cuts[-1]]


def _chain(menu: ExitMenu, demand: Demand) -> list[DraftStage]:
    tree: Tree | None = alone(menu, [demand])[0]
    stages: list[DraftStage] = []
    while tree is not None:
        stages.insert(
            0,
            DraftStage(
                model=menu.model, start=tree.start, end=tree.end, column=tree.column, instances=tree.instances
            ),
        )
        tree = tree.feeders[0] if tree.feeders else None
    return stages
