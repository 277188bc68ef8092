"""The three programs written out in full with PuLP: to be read, checked against, and given to other solvers.

    reference_model      5.2, one shared stage a route, in the letters of `solver.facilities`
    reference_routes     5.3, any number of stages, in the letters of `solver.routes`
    reference_packing    5.5, instances onto GPUs, in the letters of `solver.packing`

Everything has a variable of its own, so they are for small programs; `.writeLP(FILE)` or `.writeMPS(FILE)` of
what they give makes a file for a solver of your own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pulp

from solver.facilities import Facilities
from solver.packing import Bin, Item
from solver.routes import EPSILON, Network


def reference_model(program: Facilities) -> Any:
    """The whole program as a `pulp.LpProblem`; its optimum is the least cost of an answer."""
    model = pulp.LpProblem("one_shared_stage", pulp.LpMinimize)
    alone = {
        k: model.add_variable(f"z_{k}", 0, cat="Integer")
        for k in range(len(program))
        if math.isfinite(program.alone[k])
    }
    served: dict[int, list[Any]] = {k: [z] for k, z in alone.items()}
    cost = [float(program.alone[k]) * z for k, z in alone.items()]
    for g, group in enumerate(program.groups):
        for e in range(len(group)):
            n = model.add_variable(f"n_{g}_{e}", 0, cat="Integer")
            cost.append(float(group.price[e]) * n)
            load = []
            for column, k in enumerate(group.classes.tolist()):
                if not math.isfinite(group.joining[e, column]):
                    continue
                x = model.add_variable(f"x_{k}_{g}_{e}", 0, cat="Integer")
                cost.append(float(group.joining[e, column]) * x)
                served.setdefault(k, []).append(x)
                load.append(float(program.load[k]) * x)
                # The strong form: whoever joins needs at least one instance.
                model += x <= int(program.members[k]) * n
            model += pulp.lpSum(load) <= float(group.capacity[e]) * n
    for k, ways in served.items():
        model += pulp.lpSum(ways) == int(program.members[k])
    model.setObjective(pulp.lpSum(cost))
    return model


def solve_reference(program: Facilities, *, time_limit_s: float | None = None) -> float:
    """The least cost of an answer, by HiGHS. Raises ValueError where HiGHS does not prove it in time."""
    model = reference_model(program)
    model.solve(pulp.HiGHS(msg=False, timeLimit=time_limit_s))
    if model.sol_status != pulp.LpSolutionOptimal:
        raise ValueError(f"not solved: {pulp.LpStatus[model.status]}")
    return float(pulp.value(model.objective))


def reference_routes(network: Network, *, most_paths: int = 100_000) -> Any:
    """5.3 over all paths in time: n_e, the instances of arc e, and y_k_p, the part of class k on its path p.

    Raises ValueError where there are more paths than `most_paths`.
    """
    model = pulp.LpProblem("any_number_of_stages", pulp.LpMinimize)
    n: dict[int, Any] = {}
    load: dict[int, list[Any]] = {}
    model.setObjective(pulp.lpSum([]))
    number_of_paths = 0
    for k in range(len(network.load)):
        served: list[Any] = []
        through: dict[int, list[Any]] = {}
        for p, path in enumerate(paths_in_time(network, k)):
            number_of_paths += 1
            if number_of_paths > most_paths:
                raise ValueError(f"more than {most_paths} paths are in time")
            y = model.add_variable(f"y_{k}_{p}", 0)
            served.append(y)
            for e in path:
                if e not in n:
                    n[e] = model.add_variable(f"n_{e}", 0, cat="Integer")
                through.setdefault(e, []).append(y)
                load.setdefault(e, []).append(float(network.load[k]) * y)
        model += pulp.lpSum(served) == 1
        for e, users in through.items():
            # The strong form: whoever passes needs at least one instance.
            model += pulp.lpSum(users) <= n[e]
    for e, carried in load.items():
        model += pulp.lpSum(carried) <= float(network.capacity[e]) * n[e]
    model.setObjective(pulp.lpSum(float(network.price[e]) * instances for e, instances in n.items()))
    return model


def paths_in_time(network: Network, k: int) -> Iterator[tuple[int, ...]]:
    """Every path of arcs from class k's entry to the end within its budget."""
    waiting: list[tuple[int, float, tuple[int, ...]]] = [
        (int(network.entry[k]), float(network.budget[k]) * (1 + EPSILON), ())
    ]
    while waiting:
        cut, left, path = waiting.pop()
        if cut == network.depth:
            yield path
            continue
        for e in range(int(network.leaving[cut]), int(network.leaving[cut + 1])):
            if network.time[e] <= left:
                waiting.append((int(network.head[e]), left - float(network.time[e]), (*path, e)))


def reference_packing(items: Sequence[Item], bins: Sequence[Bin]) -> Any:
    """5.5: u_g, whether GPU g is used, and x_i_g, how many instances of item i are on it."""
    model = pulp.LpProblem("instances_onto_gpus", pulp.LpMinimize)
    used = [model.add_variable(f"u_{g}", 0, 1, cat="Integer") for g in range(len(bins))]
    here: list[list[tuple[Item, Any]]] = [[] for _ in bins]
    for i, item in enumerate(items):
        places = []
        for g, bin_ in enumerate(bins):
            if bin_.kind == item.kind:
                x = model.add_variable(f"x_{i}_{g}", 0, item.count, cat="Integer")
                places.append(x)
                here[g].append((item, x))
        model += pulp.lpSum(places) == item.count
    for g, bin_ in enumerate(bins):
        model += pulp.lpSum(item.share * x for item, x in here[g]) <= bin_.share * used[g]
        model += pulp.lpSum(item.memory * x for item, x in here[g]) <= bin_.memory * used[g]
        model += pulp.lpSum(x for _, x in here[g]) <= bin_.clients * used[g]
    model.setObjective(pulp.lpSum(used))
    return model
