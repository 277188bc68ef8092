"""The strategies `optimal` and `optimal-one`: integer programs, with a proof.

`optimal-one` is design section 5.2, at most one shared stage a route; `optimal` is 5.3, routes of any
number of stages. Models share nothing, so each is a program of its own, solved one after the other with a
part of the time limit. This module turns fragments and menus into the solver's plain numbers and the
answers back into stages and routes; the mathematics is in `solver.facilities` and `solver.routes`.

Both start from `graft` and give its plan back where nothing better was found in time. `Draft.lower_bound`
holds for every plan that laws 1 to 4 allow; what was proven of the smaller program 5.2 stands in
`notes["proof"]`, since a plan outside of it may well cost less than its bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from planner.graft import graft
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem, Progress, ProgressReport
from planner.programs import ModelPart, draft_of, model_part, network_of, one_stage_program
from solver.one_stage import solve_one_stage
from solver.outcome import Outcome, Status, Watch
from solver.outcome import Progress as SolverProgress
from solver.path_bound import path_bound
from solver.steps import common_step, round_up


def optimal(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """A plan with routes of any number of stages, never above `optimal_one`'s, and a bound on every plan."""
    return _solve(problem, settings, progress)


def optimal_one(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """A plan at most as dear as the best with one shared stage a route; its proof is in the notes."""
    return _solve(problem, settings, progress)


class _Scoreboard:
    """What all models together have reached, told to the listener."""

    def __init__(self, models: Sequence[str], progress: ProgressReport) -> None:
        self.started = time.perf_counter()
        self._objective = dict.fromkeys(models, math.inf)
        self._bound = dict.fromkeys(models, 0.0)
        self._progress = progress

    def tell(self, model: str, phase: str, objective: float, bound: float) -> None:
        self._objective[model] = min(self._objective[model], objective)
        self._bound[model] = max(self._bound[model], bound)
        total, lower = sum(self._objective.values()), sum(self._bound.values())
        known = math.isfinite(total)
        self._progress(
            Progress(
                t_s=time.perf_counter() - self.started,
                phase=f"{phase} ({model})" if len(self._objective) > 1 else phase,
                objective=total if known else None,
                lower_bound=lower,
                gap=max(0.0, (total - lower) / total) if known and total > 0 else None,
            )
        )


def _solve(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    started = time.perf_counter()
    parts = [model_part(problem, model, numbers) for model, numbers in problem.by_model().items()]
    board = _Scoreboard([part.model for part in parts], progress)
    warm = _by_model(problem, graft(problem, settings, lambda _: None))
    for part in parts:
        board.tell(part.model, "graft", _price(part, warm[part.model]), 0.0)
    # Before the clock is read: this is no search, and what it takes comes off the searches' time.
    bounds = [_any_plan_bound(part) for part in parts]
    drafts, outcomes = [], []
    for position, part in enumerate(parts):
        left = settings.time_limit_s - (time.perf_counter() - started)
        weight = len(part.demands) / sum(len(later.demands) for later in parts[position:])
        draft, outcome = _one_stage(part, settings, left * weight, board)
        first = warm[part.model]
        drafts.append(draft if _price(part, draft) < _price(part, first) else first)
        outcomes.append(outcome)
    return _joined(drafts, math.fsum(bounds), {"proof": _proof(outcomes)})


def _one_stage(
    part: ModelPart, settings: PlanSettings, time_limit_s: float, board: _Scoreboard
) -> tuple[Draft, Outcome]:
    program = one_stage_program(part)

    def report(progress: SolverProgress) -> None:
        board.tell(part.model, progress.phase, progress.objective, 0.0)

    watch = Watch(
        time_limit_s=time_limit_s, gap=settings.gap, report=report, should_stop=settings.should_stop
    )
    answer = solve_one_stage(program.facilities, watch=watch, threads=settings.threads, seed=settings.seed)
    return draft_of(part, program, answer.patterns), answer.outcome


def _price(part: ModelPart, draft: Draft) -> float:
    return math.fsum(stage.instances * float(part.menu.prices[stage.column]) for stage in draft.stages)


def _by_model(problem: Problem, draft: Draft) -> dict[str, Draft]:
    """A draft taken apart: the stages and routes of each model, stages numbered anew."""
    parts: dict[str, Draft] = {}
    for model in problem.by_model():
        kept = [number for number, stage in enumerate(draft.stages) if stage.model == model]
        new = {number: position for position, number in enumerate(kept)}
        parts[model] = Draft(
            stages=tuple(draft.stages[number] for number in kept),
            routes=tuple(
                DraftRoute(
                    fragment=route.fragment,
                    stages=tuple(new[number] for number in route.stages),
                    fraction=route.fraction,
                )
                for route in draft.routes
                if problem.fragments[route.fragment].model == model
            ),
        )
    return parts


def _joined(drafts: Sequence[Draft], lower_bound: float, notes: dict[str, object]) -> Draft:
    """The drafts of all models as one."""
    stages: list[DraftStage] = []
    routes: list[DraftRoute] = []
    for draft in drafts:
        first = len(stages)
        stages.extend(draft.stages)
        routes.extend(
            DraftRoute(
                fragment=route.fragment,
                stages=tuple(first + number for number in route.stages),
                fraction=route.fraction,
            )
            for route in draft.routes
        )
    routes.sort(key=lambda route: route.fragment)
    return Draft(stages=tuple(stages), routes=tuple(routes), lower_bound=lower_bound, notes=notes)


def _proof(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """What was proven of 5.2, all models together."""
    objective = math.fsum(outcome.objective for outcome in outcomes)
    bound = math.fsum(outcome.lower_bound for outcome in outcomes)
    optimal_all = all(outcome.status is Status.OPTIMAL for outcome in outcomes)
    unfinished = [outcome for outcome in outcomes if outcome.status is not Status.OPTIMAL]
    limit = next((outcome.limit.value for outcome in unfinished if outcome.limit), None)
    return {
        "program": "one shared stage",
        "objective": objective,
        "lower_bound": bound,
        "gap": max(0.0, (objective - bound) / objective) if objective else 0.0,
        "status": "optimal" if optimal_all else "feasible",
        "limit": limit,
        "detail": "; ".join(dict.fromkeys(outcome.detail for outcome in outcomes)),
    }


def _any_plan_bound(part: ModelPart) -> float:
    """A bound on every valid plan of this model's fragments."""
    network = network_of(part)
    if network is None:
        return 0.0
    return round_up(path_bound(network), common_step(set(part.menu.prices.tolist())))
