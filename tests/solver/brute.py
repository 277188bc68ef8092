"""Brute force, for tests alone: written to be obviously right, for the smallest of programs only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import optimize

from planner.laws import exec_ms
from planner.profile import Profile
from planner.workload import Fragment
from solver.facilities import Facilities


def best_one_stage(program: Facilities) -> float:
    """The optimum of 5.2: the best way to divide the fragments into groups, each at its best facility."""
    fragments = [k for k in range(len(program)) for _ in range(int(program.members[k]))]
    return min(
        sum(best_group(program, [fragments[position] for position in group]) for group in groups)
        for groups in partitions(list(range(len(fragments))))
    )


def best_group(program: Facilities, classes: Sequence[int]) -> float:
    """The least price of serving these together at one facility (one alone: also by itself)."""
    best = float(program.alone[classes[0]]) if len(classes) == 1 else math.inf
    load = sum(float(program.load[k]) for k in classes)
    for group in program.groups:
        columns = [list(group.classes).index(k) for k in classes if k in group.classes]
        if len(columns) < len(classes):
            continue
        for facility in range(len(group)):
            instances = max(1, math.ceil(load / float(group.capacity[facility]) - 1e-9))
            joining = sum(float(group.joining[facility, column]) for column in columns)
            best = min(best, instances * float(group.price[facility]) + joining)
    return best


def best_packing(
    gain: Sequence[float], load: Sequence[float], members: Sequence[int], capacity: float
) -> float:
    """The most valuable choice of whole items that fits."""
    choices = itertools.product(*(range(number + 1) for number in members))
    return max(
        sum(number * value for number, value in zip(choice, gain, strict=True))
        for choice in choices
        if sum(number * weight for number, weight in zip(choice, load, strict=True)) <= capacity * (1 + 1e-9)
    )


def best_plan(profiles: Sequence[Profile], fragments: Sequence[Fragment]) -> float:
    """The least share of any plan that laws 1 to 4 allow, for fragments of one model.

    Every route within its budget is written out, with every split of its layers into stages and every option
    of each; what is left is a small integer program (whole instances, fractions of routes).
    """
    stages: dict[tuple[int, int, int, int, float], tuple[float, float, float]] = {}
    for number, profile in enumerate(profiles):
        for start, end in itertools.combinations(range(profile.depth + 1), 2):
            for batch, share in itertools.product(profile.batches, profile.shares):
                latency = exec_ms(profile, start, end, batch, share)
                if latency is not None:
                    capacity = batch * 1000.0 / latency
                    stages[start, end, number, batch, share] = (
                        2 * latency,
                        capacity,
                        share * profile.cost_per_share,
                    )
    names = list(stages)
    number_of = {name: position for position, name in enumerate(names)}
    routes = [
        (position, [number_of[name] for name in route])
        for position, fragment in enumerate(fragments)
        for route in _routes(stages, fragment.start, profiles[0].depth, fragment.budget_ms)
    ]
    width = len(names) + len(routes)
    served = np.zeros((len(fragments), width))
    loaded = np.zeros((len(names), width))
    for column, (position, route) in enumerate(routes, start=len(names)):
        served[position, column] = 1.0
        for stage in route:
            loaded[stage, column] = fragments[position].load_rps
    for stage, name in enumerate(names):
        loaded[stage, stage] = -stages[name][1]
    cost = np.array([stages[name][2] for name in names] + [0.0] * len(routes))
    answer = optimize.milp(
        cost,
        integrality=np.array([1] * len(names) + [0] * len(routes)),
        bounds=optimize.Bounds(0, np.array([np.inf] * len(names) + [1.0] * len(routes))),
        constraints=[
            optimize.LinearConstraint(served, 1.0, 1.0),
            optimize.LinearConstraint(loaded, -np.inf, 1e-9),
        ],
        # With presolving, scipy 1.17's HiGHS calls 90 the best of a case that has a plan of 70.
        options={"mip_rel_gap": 0.0, "presolve": False},
    )
    assert answer.success, answer.message
    # Whole numbers are whole to some digits only.
    return float(cost @ np.rint(answer.x))


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Every way to divide the items into groups."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for groups in partitions(rest):
        yield [[first], *groups]
        for position in range(len(groups)):
            yield [*groups[:position], [first, *groups[position]], *groups[position + 1 :]]


def _routes(
    stages: dict[tuple[int, int, int, int, float], tuple[float, float, float]],
    at: int,
    depth: int,
    budget_ms: float,
) -> Iterator[list[tuple[int, int, int, int, float]]]:
    if at == depth:
        yield []
        return
    for name, (time, _, _) in stages.items():
        if name[0] == at and time <= budget_ms * (1 + 1e-9):
            for onward in _routes(stages, name[1], depth, budget_ms - time):
                yield [name, *onward]
