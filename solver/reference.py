"""Program 5.2 written out in full with PuLP: to be read, checked against, and given to other solvers.

The letters are those of `solver.facilities`. It has a variable for every class and facility, so it is for
small programs; `reference_model(program).writeLP(FILE)` or `.writeMPS(FILE)` makes a file for a solver of
your own.
"""

from __future__ import annotations

import math
from typing import Any

import pulp

from solver.facilities import Facilities


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
