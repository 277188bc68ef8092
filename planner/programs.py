"""One model's fragments and menu as the solver's plain numbers, and its answers as stages and routes.

Fragments of equal start, budget and load are one *class* with several members: to the solver they are the
same, and telling them apart would only make the program symmetric.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner.allocating import Demand, Tree, allocate, prices_within
from planner.chaining import alone
from planner.menu import EPSILON, Floats, Menu
from planner.problem import Draft, DraftRoute, DraftStage, Problem
from solver.facilities import ALONE, Facilities, Group, Pattern
from solver.route_bound import RoutePath
from solver.route_graph import RouteGraph, route_graph
from solver.routes import Network
from solver.steps import common_step

# A stage by (start, end, column).
Step = tuple[int, int, int]

# A network of more arcs than this is bounded by planner.bounds alone.
MOST_ARCS = 2_000_000
# Classes times arcs up to which every class has paths of its own: above, that takes hundreds of megabytes.
MOST_SPREAD = 10_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPart:
    """One model's fragments as classes: those with equal start, budget and load are one class.

    `demands[k]` is what one member of class k asks for; its `members` are the numbers of them all.
    """

    model: str
    menu: Menu
    demands: list[Demand]


@dataclass(frozen=True, kw_only=True, eq=False)
class OneStageProgram:
    """Program 5.2 of one model, and what is needed to read its answers.

    Facility f of group g is option `options[g][f]` of the stage from `starts[g]` to the end; `lonely[k]` are
    the stages one member of class k takes alone.
    """

    facilities: Facilities
    starts: list[int]
    options: list[NDArray[np.intp]]
    lonely: list[Tree]


def model_part(problem: Problem, model: str, numbers: Sequence[int]) -> ModelPart:
    """The fragments of these numbers, all of one model, as classes."""
    classes: dict[tuple[int, float, float], list[int]] = {}
    for number in numbers:
        fragment = problem.fragments[number]
        classes.setdefault((fragment.start, fragment.budget_ms, fragment.load_rps), []).append(number)
    keys = sorted(classes)
    return ModelPart(
        model=model,
        menu=problem.menus[model],
        demands=[
            Demand(start=start, budget_ms=budget, load_rps=load, members=tuple(classes[start, budget, load]))
            for start, budget, load in keys
        ],
    )


def one_stage_program(part: ModelPart) -> OneStageProgram:
    """Program 5.2: a group of facilities for every fragment's start, with every option of its last stage."""
    menu, demands = part.menu, part.demands
    entry = np.array([demand.start for demand in demands])
    budget = np.array([demand.budget_ms for demand in demands])
    load = np.array([demand.load_rps for demand in demands])
    lonely = alone(menu, demands)
    groups, starts, kept = [], [], []
    for start in np.unique(entry).tolist():
        options = menu.options(start, menu.depth)
        classes = np.flatnonzero(entry <= start)
        left = budget[classes][:, None] * (1 + EPSILON) - options.time_ms  # what alignment may take, [K', E]
        joining = np.full(left.shape, np.inf)
        for earlier in np.unique(entry[classes]).tolist():
            rows = np.flatnonzero(entry[classes] == earlier)
            if earlier == start:
                joining[rows] = np.where(left[rows] >= 0, 0.0, np.inf)
            else:
                joining[rows] = prices_within(menu.options(earlier, start), left[rows], load[classes[rows]])
        able = np.isfinite(joining)
        facilities, useful = np.flatnonzero(able.any(axis=0)), np.flatnonzero(able.any(axis=1))
        if len(facilities):
            groups.append(
                Group(
                    price=options.price[facilities],
                    capacity=options.capacity_rps[facilities],
                    classes=classes[useful],
                    joining=np.ascontiguousarray(joining[np.ix_(useful, facilities)].T),
                )
            )
            starts.append(start)
            kept.append(facilities)
    program = Facilities(
        load=load,
        members=np.array([len(demand.members) for demand in demands], dtype=np.intp),
        alone=np.array([tree.total for tree in lonely]),
        groups=tuple(groups),
    )
    return OneStageProgram(facilities=program, starts=starts, options=kept, lonely=lonely)


def draft_of(part: ModelPart, program: OneStageProgram, patterns: Sequence[Pattern]) -> Draft:
    """The stages and routes of an answer to 5.2."""
    waiting = [list(demand.members) for demand in part.demands]
    taken: list[tuple[int, int, list[Step]]] = []
    for pattern in patterns:
        for k, count in zip(pattern.classes, pattern.counts, strict=True):
            steps = _steps(part.menu, program, pattern, k, part.demands[k])
            taken.extend((waiting[k].pop(), k, steps) for _ in range(count))
    return _draft(part, taken)


def draft_of_paths(part: ModelPart, graph: RouteGraph, paths: Sequence[tuple[RoutePath, float]]) -> Draft:
    """The stages and routes of an answer to 5.3: paths, and the part of its class that each one takes."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number, demand in enumerate(part.demands):
        members[int(graph.class_of[number])].extend(demand.members)
    load: defaultdict[Step, list[float]] = defaultdict(list)
    taken: list[tuple[int, float, list[Step]]] = []
    for path, fraction in paths:
        steps = []
        for arc in path.arcs:
            start, end = int(graph.tail[arc]), int(graph.head[arc])
            options = part.menu.options(start, end)
            same = (options.time_ms == graph.time[arc]) & (options.price == graph.price[arc])
            steps.append((start, end, int(options.column[np.flatnonzero(same)[0]])))
            load[steps[-1]].append(float(graph.load[path.k]) * fraction)
        taken.extend((fragment, fraction, steps) for fragment in members[path.k])
    return _draft_over(part, load, taken)


def plan_in(part: ModelPart, graph: RouteGraph, draft: Draft) -> list[tuple[RoutePath, float]]:
    """The draft's routes as paths of the graph, of which every class is one of the part's.

    A stage that the graph has left out is replaced by one no slower, as cheaply as may be: the plan may
    become dearer than the draft.
    """
    class_of = {
        fragment: int(graph.class_of[k])
        for k, demand in enumerate(part.demands)
        for fragment in demand.members
    }
    load = [0.0] * len(draft.stages)
    fragment_load = {fragment: demand.load_rps for demand in part.demands for fragment in demand.members}
    for route in draft.routes:
        for number in route.stages:
            load[number] += fragment_load[route.fragment] * route.fraction
    arcs = []
    for stage, carried in zip(draft.stages, load, strict=True):
        options = part.menu.options(stage.start, stage.end)
        time_ms = float(options.time_ms[np.flatnonzero(options.column == stage.column)[0]])
        arcs.append(graph.cheapest(stage.start, stage.end, time_ms, carried))
    shares: defaultdict[RoutePath, float] = defaultdict(float)
    for route in draft.routes:
        k = class_of[route.fragment]
        path = RoutePath(k=k, arcs=tuple(arcs[number] for number in route.stages))
        shares[path] += fragment_load[route.fragment] * route.fraction / float(graph.load[k])
    return sorted(shares.items(), key=lambda one: (one[0].k, one[0].arcs))


def _draft(part: ModelPart, taken: Sequence[tuple[int, int, list[Step]]]) -> Draft:
    """Stages and routes for (fragment, its class, the stages it passes); equal stages are one."""
    load: defaultdict[Step, list[float]] = defaultdict(list)
    for _, k, steps in taken:
        for step in steps:
            load[step].append(part.demands[k].load_rps)
    return _draft_over(part, load, [(fragment, 1.0, steps) for fragment, _, steps in taken])


def _draft_over(
    part: ModelPart, load: dict[Step, list[float]], taken: Sequence[tuple[int, float, list[Step]]]
) -> Draft:
    """Stages that carry these loads, and routes for (fragment, fraction, the stages it passes)."""
    numbers = {step: number for number, step in enumerate(sorted(load))}
    stages = tuple(
        DraftStage(
            model=part.model,
            start=start,
            end=end,
            column=column,
            instances=_instances(part.menu, start, end, column, math.fsum(load[start, end, column])),
        )
        for start, end, column in numbers
    )
    routes = tuple(
        DraftRoute(fragment=fragment, stages=tuple(numbers[step] for step in steps), fraction=fraction)
        for fragment, fraction, steps in sorted(taken, key=lambda one: one[0])
    )
    return Draft(stages=stages, routes=routes)


def _steps(menu: Menu, program: OneStageProgram, pattern: Pattern, k: int, demand: Demand) -> list[Step]:
    """The stages (start, end, column) that a member of class k passes through in this pattern."""
    if pattern.group == ALONE:
        return _flat(program.lonely[k])
    start = program.starts[pattern.group]
    options = menu.options(start, menu.depth)
    option = int(program.options[pattern.group][pattern.facility])
    shared = (start, menu.depth, int(options.column[option]))
    if demand.start == start:
        return [shared]
    left = demand.budget_ms * (1 + EPSILON) - float(options.time_ms[option])
    aligning = menu.options(demand.start, start)
    found = allocate(aligning, np.array([left]), np.array([demand.load_rps]))
    return [(demand.start, start, int(aligning.column[int(found.option[0])])), shared]


def _flat(tree: Tree) -> list[Step]:
    """The stages of a tree that is a chain, first to last."""
    steps = [step for feeder in tree.feeders for step in _flat(feeder)]
    return [*steps, (tree.start, tree.end, tree.column)]


def _instances(menu: Menu, start: int, end: int, column: int, load_rps: float) -> int:
    options = menu.options(start, end)
    capacity = float(options.capacity_rps[np.flatnonzero(options.column == column)[0]])
    return max(1, math.ceil(load_rps / capacity - EPSILON))


def network_of(part: ModelPart) -> Network | None:
    """Every stage of the model that some class could use, as arcs; None when there are too many."""
    return network_over(
        part.menu,
        np.array([demand.start for demand in part.demands], dtype=np.intp),
        np.array([demand.budget_ms for demand in part.demands]),
        np.array([demand.load_rps * len(demand.members) for demand in part.demands]),
    )


def network_over(menu: Menu, entry: NDArray[np.intp], budget_ms: Floats, load_rps: Floats) -> Network | None:
    """The same for classes [K] given by arrays."""
    first = int(entry.min())
    pairs = [(i, j) for i in range(first, menu.depth) for j in range(i + 1, menu.depth + 1)]
    if len(pairs) * len(menu.columns) > MOST_ARCS * 10:
        return None
    tables = [menu.options(i, j) for i, j in pairs]
    sizes = [len(table) for table in tables]
    if sum(sizes) > MOST_ARCS:
        return None
    return Network(
        depth=menu.depth,
        tail=np.repeat([i for i, _ in pairs], sizes),
        head=np.repeat([j for _, j in pairs], sizes),
        time=np.concatenate([table.time_ms for table in tables]),
        capacity=np.concatenate([table.capacity_rps for table in tables]),
        price=np.concatenate([table.price for table in tables]),
        entry=entry,
        budget=budget_ms,
        load=load_rps,
    )


@dataclass(kw_only=True, eq=False)
class RouteProgram:
    """Program 5.3 of one model, made when it is asked for; None where it is too large."""

    part: ModelPart

    @cached_property
    def step(self) -> float:
        return common_step(set(self.part.menu.prices.tolist()))

    @cached_property
    def network(self) -> Network | None:
        return network_of(self.part)

    @cached_property
    def graph(self) -> RouteGraph | None:
        return None if self.network is None else route_graph(self.network)

    @property
    def spread(self) -> bool:
        """Whether every class may have a path of its own."""
        network, graph = self.network, self.graph
        return (
            network is not None and graph is not None and len(network.load) * len(graph.tail) <= MOST_SPREAD
        )
