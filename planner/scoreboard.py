"""What the strategies of integer programs have reached so far, model by model, and all of it as one draft."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from planner.gslice import gslice_plus
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem, Progress, ProgressReport
from planner.route_turns import price_at
from solver.outcome import Limit, Outcome, Status, Watch, outcome_of, relative_gap

# Settings where none matter.
NOTHING = PlanSettings()


def ignore(_: Progress) -> None:
    """Progress that nobody asked for."""


class Scoreboard:
    """What every model has reached so far: the best draft, a bound, what is proven of 5.2."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.started = time.perf_counter()
        models = problem.by_model()
        self.drafts: dict[str, Draft] = {}
        self.watches: dict[str, Watch] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.limits: dict[tuple[str, str], Limit] = {}
        self._objective = dict.fromkeys(models, math.inf)
        self._bound = dict.fromkeys(models, 0.0)
        self._quick = 0.0
        self.listener: ProgressReport = lambda _: None

    def keep(self, model: str, draft: Draft) -> Draft:
        """The cheaper of this draft and the best so far."""
        price = price_at(self.problem.menus[model], draft)
        if model not in self.drafts or price < price_at(self.problem.menus[model], self.drafts[model]):
            self.drafts[model] = draft
            self._objective[model] = min(self._objective[model], price)
        return self.drafts[model]

    def tell(self, model: str, phase: str, objective: float, bound: float) -> None:
        """A model's news."""
        self._objective[model] = min(self._objective[model], objective)
        self._bound[model] = max(self._bound[model], bound)
        self._report(f"{phase} ({model})" if len(self._objective) > 1 else phase)

    def tell_all(self, phase: str, *, bound: float = 0.0) -> None:
        """News of all models together."""
        self._quick = max(self._quick, bound)
        self._report(phase)

    def draft(self) -> Draft:
        """The best drafts of all models as one, with the best bound and the proof of 5.2."""
        models = self.problem.by_model()
        if len(self.drafts) < len(models):
            quick = gslice_plus(self.problem, NOTHING, ignore)
            for model, draft in draft_by_model(self.problem, quick).items():
                self.keep(model, draft)
        outcomes = [self._outcome(model) for model in models]
        notes: dict[str, object] = {"proof": _proof(outcomes)} if self.watches or self.outcomes else {}
        return joined([self.drafts[model] for model in models], math.fsum(self._bound.values()), notes)

    def bound(self, model: str) -> float:
        """What no valid plan of this model is cheaper than."""
        return self._bound[model]

    def closed(self, model: str) -> bool:
        """Whether nothing is cheaper than this model's best draft."""
        return self._bound[model] >= self._objective[model] * (1 - 1e-9)

    def settle(self, model: str, outcome: Outcome) -> None:
        """How a search of 5.2 ended; what an earlier one of this model knew holds as well."""
        self.outcomes[model] = _merged(self.outcomes.get(model), outcome)
        self.watches.pop(model, None)

    def _outcome(self, model: str) -> Outcome:
        """What is known of 5.2, by the search that is going on, too."""
        earlier, watch = self.outcomes.get(model), self.watches.get(model)
        return earlier if earlier is not None and watch is None else _merged(earlier, outcome_of(watch))

    def forget_limits(self, model: str) -> None:
        """What ended earlier searches of a model ended nothing where it is searched again, or proven."""
        for program in [program for other, program in self.limits if other == model]:
            del self.limits[model, program]

    def note(self, model: str, program: str, watch: Watch) -> None:
        """The limit that ended the last search of a program, if one did."""
        if not watch.closed and watch.limit is not None:
            self.limits[model, program] = watch.limit

    def _report(self, phase: str) -> None:
        total = sum(self._objective.values())
        lower = min(max(math.fsum(self._bound.values()), self._quick), total)
        known = math.isfinite(total)
        self.listener(
            Progress(
                t_s=time.perf_counter() - self.started,
                phase=phase,
                objective=total if known else None,
                lower_bound=lower,
                gap=max(0.0, (total - lower) / total) if known and total > 0 else None,
            )
        )


def draft_by_model(problem: Problem, draft: Draft) -> dict[str, Draft]:
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


def joined(drafts: Sequence[Draft], lower_bound: float, notes: dict[str, object]) -> Draft:
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


def _merged(earlier: Outcome | None, outcome: Outcome) -> Outcome:
    """What two searches of the same program know; how it ended is the later one's, if that is not proven."""
    if earlier is None:
        return outcome
    objective = min(earlier.objective, outcome.objective)
    bound = min(objective, max(earlier.lower_bound, outcome.lower_bound))
    merged = replace(outcome, objective=objective, lower_bound=bound)
    if math.isfinite(objective) and bound >= objective * (1 - 1e-9):
        return replace(merged, status=Status.OPTIMAL, limit=None, detail="the bound meets the answer")
    return merged


def _proof(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """What was proven of 5.2, all models together; no objective where a model's search had not begun."""
    objective = math.fsum(outcome.objective for outcome in outcomes)
    bound = math.fsum(outcome.lower_bound for outcome in outcomes)
    known = math.isfinite(objective)
    optimal_all = all(outcome.status is Status.OPTIMAL for outcome in outcomes)
    unfinished = [outcome for outcome in outcomes if outcome.status is not Status.OPTIMAL]
    limit = next((outcome.limit.value for outcome in unfinished if outcome.limit), None)
    return {
        "program": "one shared stage",
        "objective": objective if known else None,
        "lower_bound": bound,
        "gap": relative_gap(objective, bound) if known else None,
        "status": "optimal" if optimal_all else "feasible" if known else "unknown",
        "limit": limit,
        "detail": "; ".join(dict.fromkeys(outcome.detail for outcome in outcomes)),
    }
