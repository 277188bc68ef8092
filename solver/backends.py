"""Program 5.2 by other means, behind one face: to compare with, to check against, to fall back on.

Every back-end takes a program and a watch and gives an answer that serves everybody, with how it ended. What
each can do besides is in `BACKENDS`. `search` is `solver.one_stage`, what the strategies use; the others get
the program as it is written in `solver.facilities`, without help.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import pulp
from ortools.sat.python import cp_model

from solver import cp_sat
from solver.compact import Kept, solve_compact, what_can_matter
from solver.facilities import (
    Facilities,
    Pattern,
    all_alone,
    alone_pattern,
    as_it_is,
    everybody_alone,
    impossible,
    make_pattern,
    settle,
    total_cost,
)
from solver.one_stage import OneStageAnswer, infeasible, solve_one_stage
from solver.outcome import Limit, Outcome, Status, Watch
from solver.reference import reference_model
from solver.statuses import CP_SAT, PULP, status_of
from solver.steps import common_step

# CP-SAT knows whole numbers alone: loads and capacities in parts of the largest load.
PARTS = 1_000_000
Solve = Callable[[Facilities, Watch, int, int], OneStageAnswer]


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to solve 5.2: `solve(program, watch, threads, seed)`, and what it can do.

    `proves`: its lower bound is a proof; `reports`: progress during the search; `cancels`: ends early when
    told to, with its best answer; `memory`: so it does where the watch's memory limit is passed; `repeats`:
    same seed and one thread, same answer.
    """

    name: str
    solve: Solve
    _: KW_ONLY
    proves: bool
    reports: bool
    cancels: bool
    memory: bool
    repeats: bool

    def __call__(
        self, program: Facilities, watch: Watch, *, threads: int = 1, seed: int = 0
    ) -> OneStageAnswer:
        """Solve it; where no answer exists, say so and why."""
        if hopeless := impossible(program):
            return infeasible(hopeless)
        answer = self.solve(everybody_alone(program), watch, threads, seed)
        return replace(answer, patterns=tuple(as_it_is(program, answer.patterns)))


def _search(program: Facilities, watch: Watch, threads: int, seed: int) -> OneStageAnswer:
    return solve_one_stage(program, watch=watch, threads=threads, seed=seed)


def _highs(program: Facilities, watch: Watch, threads: int, seed: int) -> OneStageAnswer:
    watch.update(phase="highs")
    everything = what_can_matter(program, [], math.inf)
    answer, bound = solve_compact(
        program,
        everything,
        goal=math.inf,
        watch=watch,
        threads=threads,
        seed=seed,
    )
    return _ended(program, answer, bound, watch)


def _cp_sat(program: Facilities, watch: Watch, threads: int, seed: int) -> OneStageAnswer:
    """Loads round up and capacities down, so its answers hold; what it proves is true of the rounded numbers
    alone, so it is not passed on."""
    watch.update(phase="cp-sat", objective=total_cost(all_alone(program)))
    step = common_step(program.prices)
    if step <= 0:
        return _ended(program, None, 0.0, watch)
    model = _CpModel(program, what_can_matter(program, [], math.inf), step)
    if watch.limit is not None:
        return _ended(program, None, 0.0, watch)
    solver, word = cp_sat.search(
        model.model, watch, threads=threads, seed=seed, listener=_Listener(watch, step)
    )
    status, _ = status_of(CP_SAT, word, has_answer=True)
    found = model.patterns(solver) if status in (Status.OPTIMAL, Status.FEASIBLE) else None
    return _ended(program, found, 0.0, watch)


def _reference(program: Facilities, watch: Watch, threads: int, seed: int) -> OneStageAnswer:
    watch.update(phase="reference", objective=total_cost(all_alone(program)))
    model = reference_model(program)
    limit = watch.remaining_s if math.isfinite(watch.remaining_s) else None
    model.solve(pulp.HiGHS(msg=False, timeLimit=limit, threads=threads, random_seed=seed))
    status, _ = status_of(PULP, pulp.LpSolution[model.sol_status], has_answer=True)
    if status not in (Status.OPTIMAL, Status.FEASIBLE):
        return _ended(program, None, 0.0, watch)
    proven = status is Status.OPTIMAL
    objective = float(pulp.value(model.objective))
    return _ended(program, _named(program, model), objective if proven else 0.0, watch)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("search", _search, proves=True, reports=True, cancels=True, memory=True, repeats=True),
        Backend("highs", _highs, proves=True, reports=True, cancels=True, memory=True, repeats=True),
        Backend("cp-sat", _cp_sat, proves=False, reports=True, cancels=True, memory=True, repeats=True),
        Backend(
            "reference", _reference, proves=True, reports=False, cancels=False, memory=False, repeats=True
        ),
    )
}


class _CpModel:
    """5.2 over the kept pairs as a CP-SAT model, prices in steps."""

    def __init__(self, program: Facilities, kept: Kept, step: float) -> None:
        self.program, self.kept = program, kept
        self.model = model = cp_model.CpModel()
        scale = PARTS / float(program.load.max())
        load = [math.ceil(value * scale - 1e-6) for value in program.load.tolist()]
        members = program.members.tolist()
        total = sum(amount * number for amount, number in zip(load, members, strict=True))
        self.joined = [
            model.new_int_var(0, members[k], f"x{number}") for number, k in enumerate(kept.classes.tolist())
        ]
        self.alone = [model.new_int_var(0, number, f"z{k}") for k, number in enumerate(members)]
        served: list[list[Any]] = [[single] for single in self.alone]
        carried: list[list[Any]] = [[] for _ in kept.facilities]
        cost: list[Any] = [
            round(price / step) * single
            for price, single in zip(program.alone.tolist(), self.alone, strict=True)
        ]
        instances = []
        for group, row in kept.facilities:
            capacity = max(1, math.floor(float(program.groups[group].capacity[row]) * scale))
            instances.append(model.new_int_var(0, -(-total // capacity), f"n{group}_{row}"))
            cost.append(round(float(program.groups[group].price[row]) / step) * instances[-1])
        for number, (facility, k) in enumerate(
            zip(kept.facility_of.tolist(), kept.classes.tolist(), strict=True)
        ):
            served[k].append(self.joined[number])
            carried[facility].append(load[k] * self.joined[number])
            model.add(self.joined[number] <= members[k] * instances[facility])
            cost.append(round(float(kept.joining[number]) / step) * self.joined[number])
        for k, ways in enumerate(served):
            model.add(sum(ways) == members[k])
        for facility, (group, row) in enumerate(kept.facilities):
            capacity = max(1, math.floor(float(program.groups[group].capacity[row]) * scale))
            model.add(sum(carried[facility]) <= capacity * instances[facility])
        model.minimize(sum(cost))

    def patterns(self, solver: cp_model.CpSolver) -> list[Pattern]:
        """The answer that was found."""
        members: list[dict[int, int]] = [{} for _ in self.kept.facilities]
        for number, k in enumerate(self.kept.classes.tolist()):
            count = solver.value(self.joined[number])
            if count:
                members[int(self.kept.facility_of[number])][k] = count
        answer = [
            make_pattern(self.program, *self.kept.facilities[facility], counts)
            for facility, counts in enumerate(members)
            if counts
        ]
        for k, single in enumerate(self.alone):
            answer.extend(alone_pattern(self.program, k) for _ in range(solver.value(single)))
        return answer


class _Listener(cp_model.CpSolverSolutionCallback):
    """Tells the watch of better answers."""

    def __init__(self, watch: Watch, step: float) -> None:
        super().__init__()
        self._watch, self._step = watch, step

    def on_solution_callback(self) -> None:
        """CP-SAT found a better answer."""
        self._watch.update(objective=self.objective_value * self._step)


def _named(program: Facilities, model: Any) -> list[Pattern]:
    """The answer in the values of the reference model's variables: x_k_g_e and z_k."""
    members: dict[tuple[int, int], dict[int, int]] = {}
    answer: list[Pattern] = []
    for variable in model.variables():
        kind, *numbers = variable.name.split("_")
        count = round(variable.value() or 0.0)
        if not count:
            continue
        if kind == "z":
            answer.extend(alone_pattern(program, int(numbers[0])) for _ in range(count))
        elif kind == "x":
            k, group, facility = (int(number) for number in numbers)
            members.setdefault((group, facility), {})[k] = count
    return [*answer, *(make_pattern(program, *place, counts) for place, counts in members.items())]


def _ended(
    program: Facilities, answer: list[Pattern] | None, lower_bound: float, watch: Watch
) -> OneStageAnswer:
    patterns = all_alone(program) if answer is None else settle(program, answer)
    objective = total_cost(patterns)
    watch.update(objective=objective, lower_bound=min(lower_bound, objective))
    closed = watch.lower_bound >= objective * (1 - 1e-9)
    limit = None if closed else watch.limit or Limit.ROUNDS
    outcome = Outcome(
        status=Status.OPTIMAL if closed else Status.FEASIBLE,
        limit=limit,
        detail="the bound meets the answer" if closed else "an answer without a proof that it is the best",
        objective=objective,
        lower_bound=objective if closed else watch.lower_bound,
    )
    return OneStageAnswer(patterns=tuple(patterns), outcome=outcome)


def capability_table() -> str:
    """Who can prove, report, be cancelled, keep to a memory limit and repeat, as a Markdown table."""
    flags = ("proves", "reports", "cancels", "memory", "repeats")
    lines = [f"| back-end | {' | '.join(flags)} |", "|---|" + "---|" * len(flags)]
    for backend in BACKENDS.values():
        answers = ("yes" if getattr(backend, flag) else "no" for flag in flags)
        lines.append(f"| `{backend.name}` | {' | '.join(answers)} |")
    return "\n".join(lines)
