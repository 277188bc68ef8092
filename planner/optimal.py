"""The strategies `optimal` and `optimal-one`: integer programs, with a proof.

`optimal-one` is design section 5.2, at most one shared stage a route; `optimal` is 5.3, routes of any
number of stages, and solves 5.2 on its way. Models share nothing, so each is a program of its own, solved one
after the other with a part of the time limit. This module turns fragments and menus into the solver's plain
numbers and the answers back into stages and routes; the mathematics is in `solver.facilities` and
`solver.routes`.

Both start from `graft` and give its plan back where nothing better was found in time. `Draft.lower_bound`
holds for every plan that laws 1 to 4 allow, split routes included; what was proven of the smaller program
5.2 stands in `notes["proof"]`, since a plan outside of it may well cost less than its bound. Which limit
ended the search, if one did, stands in `notes["ended"]`: it is neither the plan's status nor its proof.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from planner.bounds import quick_bound
from planner.fluid import fluid_draft
from planner.graft import Tuning, graft, tuned_graft
from planner.gslice import gslice_plus
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem, Progress, ProgressReport
from planner.programs import (
    ModelPart,
    RouteProgram,
    draft_of,
    draft_of_paths,
    model_part,
    one_stage_program,
    plan_in,
)
from planner.route_turns import RouteTurns, price_at
from planner.supervision import supervise
from solver.facilities import Pattern
from solver.one_stage import solve_one_stage
from solver.outcome import Limit, Outcome, Report, Status, Watch, outcome_of, relative_gap
from solver.outcome import Progress as SolverProgress
from solver.path_bound import path_bound
from solver.recreation import Recreation
from solver.route_bound import RouteBound
from solver.steps import common_step, round_up

# The part of a model's time for 5.2, the same for both strategies, so that `optimal` has its answer too; what
# is left is for 5.3. `optimal` gives it up after a smaller part where the plan at hand is still cheaper.
ONE_STAGE, ONE_STAGE_BEHIND = 0.85, 0.3
# The part of a model's time in which other routes are tried at first, at most so many seconds a class: 5.2 is
# given up the sooner the cheaper the plan at hand is.
OTHER_ROUTES, OTHER_ROUTES_S = 0.02, 0.005
# The part of the whole time that `graft` may take before; it seldom takes half of that.
GRAFT = 0.4
# A model with more classes than this is planned as a fluid, and `graft` is asked only where the time left is
# this many seconds a class (it takes 0.8 ms of one core for each of 10,000: benchmarks/planner_scale.py).
MANY_CLASSES, GRAFT_S_PER_CLASS = 3_000, 1.5e-3
# With so many classes a model is tried as a fluid beside the programs, for this part of its time.
FLUID_CLASSES, FLUID = 200, 0.1
# Time kept for naming, verifying and writing the routes, for each fragment.
RESERVE_S = 2.7e-5


def optimal(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """A plan with routes of any number of stages, never above `optimal_one`'s, and a bound on every plan."""
    return _supervised(problem, settings, progress, any_number=True)


def optimal_one(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """A plan at most as dear as the best with one shared stage a route; its proof is in the notes."""
    return _supervised(problem, settings, progress, any_number=False)


class _Scoreboard:
    """What every model has reached so far: the best draft, a bound, what is proven of 5.2."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.started = time.perf_counter()
        models = problem.by_model()
        self.drafts: dict[str, Draft] = {}
        self.watches: dict[str, Watch] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.limits: list[Limit] = []
        self.look: Watch | None = None
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
            for model, draft in _by_model(self.problem, gslice_plus(self.problem, NOTHING, _ignore)).items():
                self.keep(model, draft)
        outcomes = [self.outcomes.get(model) or outcome_of(self.watches.get(model)) for model in models]
        notes: dict[str, object] = {"proof": _proof(outcomes)} if self.watches else {}
        return _joined([self.drafts[model] for model in models], math.fsum(self._bound.values()), notes)

    def note(self, watch: Watch) -> None:
        """The limit that ended a part of the search, if one did."""
        if not watch.closed and watch.limit is not None:
            self.limits.append(watch.limit)

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


# Settings where none matter.
NOTHING = PlanSettings()


def _ignore(_: Progress) -> None:
    """Progress that nobody asked for."""


def _supervised(
    problem: Problem, settings: PlanSettings, progress: ProgressReport, *, any_number: bool
) -> Draft:
    board = _Scoreboard(problem)
    settings = replace(settings, deadline_s=min(settings.deadline_s, board.started + settings.time_limit_s))

    def search(inner: PlanSettings, tell: ProgressReport) -> Draft:
        board.listener = tell
        return _solve(problem, inner, board, any_number=any_number)

    found = supervise(search, settings, progress)
    draft = board.draft() if found.answer is None else found.answer
    limit = found.limit or next(iter(board.limits), None)
    ended = {"limit": limit.value if limit else None, "detail": _detail(limit, settings)}
    return replace(draft, notes={**draft.notes, "ended": ended})


def _detail(limit: Limit | None, settings: PlanSettings) -> str:
    """For people: why the search ended."""
    return {
        None: "the search ran to its end",
        Limit.TIME: f"the time limit of {settings.time_limit_s:g} s passed",
        Limit.STOPPED: "stopped by the caller; this is the best plan so far",
        Limit.MEMORY: f"more than {settings.memory_limit_mb} MB were in use; this is the best plan so far",
        Limit.GAP: f"the gap asked for, {settings.gap:g}, was reached",
        Limit.SIZE: "the program is too large for a part of the search",
        Limit.ROUNDS: "the search ran out of ideas before the gap was closed",
    }[limit]


def _solve(problem: Problem, settings: PlanSettings, board: _Scoreboard, *, any_number: bool) -> Draft:
    if any_number and (many := _many(problem, settings, board)) is not None:
        return many
    parts = [model_part(problem, model, numbers) for model, numbers in problem.by_model().items()]
    for model, quick in _by_model(problem, gslice_plus(problem, settings, _ignore)).items():
        board.keep(model, quick)
    board.tell_all("first plan", bound=quick_bound(problem))
    for part in parts if any_number else []:
        if len(part.demands) > FLUID_CLASSES:
            share = FLUID / len(parts) * settings.time_limit_s
            _try_fluid(part, settings, time.perf_counter() + share, board)

    def keep(heuristic: Draft) -> None:
        for model, draft in _by_model(problem, heuristic).items():
            board.keep(model, draft)

    keep(
        tuned_graft(
            problem, _hurried(settings), lambda report: board.tell_all(report.phase), Tuning(), keep=keep
        )
    )
    for part in parts:
        board.tell(part.model, "graft", price_at(part.menu, board.drafts[part.model]), 0.0)
    for position, part in enumerate(parts):
        left = settings.deadline_s - time.perf_counter()
        weight = len(part.demands) / sum(len(later.demands) for later in parts[position:])
        ends = time.perf_counter() + left * weight
        routes = RouteProgram(part=part)
        if any_number:
            moment = min(OTHER_ROUTES_S * len(part.demands), OTHER_ROUTES * left * weight)
            _other_routes(part, routes, settings, moment, board)
        # `optimal` needs 5.2 only while an answer to it may be cheaper than the plan at hand.
        enough = price_at(part.menu, board.drafts[part.model]) if any_number else math.inf
        _one_stage(part, settings, left * weight, board, enough)
        best = board.drafts[part.model]
        best, bound = _any_number(part, routes, settings, ends - time.perf_counter(), board, best, any_number)
        if board.look is not None:
            board.note(board.look)
        board.keep(part.model, best)
        board.tell(part.model, "done", math.inf, bound)
    return board.draft()


def _try_fluid(part: ModelPart, settings: PlanSettings, ends: float, board: _Scoreboard) -> None:
    """Design section 5.4 as one more way to a plan: cheap where counts are large."""
    numbers = [number for demand in part.demands for number in demand.members]
    found = fluid_draft(board.problem, part.model, numbers, settings, ends)
    if found is not None:
        draft = board.keep(part.model, found[0])
        step = common_step(set(part.menu.prices.tolist()))
        board.tell(part.model, "fluid", price_at(part.menu, draft), round_up(found[1], step))


def _hurried(settings: PlanSettings) -> PlanSettings:
    """Settings for `graft` that leave it a part of the time: where it needs more, the machine is slow."""
    ends = time.perf_counter() + GRAFT * settings.time_limit_s
    return replace(settings, should_stop=lambda: settings.stopped or time.perf_counter() > ends)


def _many(problem: Problem, settings: PlanSettings, board: _Scoreboard) -> Draft | None:
    """Design section 5.4 where some model has more classes than the programs can take, otherwise None.

    The cheaper of `fluid_draft` and, where there is time for it, `graft` is taken for every model.
    """
    by_model = problem.by_model()
    classes = {
        (fragment.model, fragment.start, fragment.budget_ms, fragment.load_rps)
        for fragment in problem.fragments
    }
    if max(Counter(key[0] for key in classes).values()) <= MANY_CLASSES:
        return None
    drafts, bounds = {}, []
    # What is made for a million fragments has to be checked and written, too.
    limit = settings.deadline_s - min(0.5 * settings.time_limit_s, RESERVE_S * len(problem.fragments))
    for position, (model, numbers) in enumerate(by_model.items()):
        left = limit - time.perf_counter()
        found = fluid_draft(
            problem, model, numbers, settings, time.perf_counter() + left / (len(by_model) - position)
        )
        if found is None:
            return None
        draft, bound = found
        step = common_step(set(problem.menus[model].prices.tolist()))
        drafts[model] = board.keep(model, draft)
        bounds.append(round_up(bound, step))
        board.tell(model, "fluid", price_at(problem.menus[model], draft), bounds[-1])
    left = limit - time.perf_counter()
    if not settings.stopped and len(classes) * GRAFT_S_PER_CLASS <= left:
        rest = replace(settings, time_limit_s=left)
        for model, draft in _by_model(problem, graft(problem, rest, lambda _: None)).items():
            menu = problem.menus[model]
            drafts[model] = board.keep(model, draft)
            board.tell(model, "graft", price_at(menu, drafts[model]), 0.0)
    return _joined(list(drafts.values()), math.fsum(bounds), {"classes": len(classes)})


def _one_stage(
    part: ModelPart, settings: PlanSettings, time_s: float, board: _Scoreboard, enough: float
) -> None:
    """The best answer to 5.2 found in its part of the time, and what is proven of it, onto the board.

    The search ends once its bound is `enough`, or a part of the time has passed and its answer is dearer.
    """
    program = one_stage_program(part)

    def report(progress: SolverProgress) -> None:
        board.tell(part.model, progress.phase, progress.objective, 0.0)

    def keep(patterns: Sequence[Pattern]) -> None:
        board.keep(part.model, draft_of(part, program, patterns))

    def pointless() -> bool:
        return watch.lower_bound >= enough * (1 - 1e-9)

    def behind() -> bool:
        return watch.elapsed_s > ONE_STAGE_BEHIND * time_s and watch.objective > enough * (1 + 1e-9)

    stopping = replace(settings, should_stop=lambda: settings.stopped or pointless() or behind())
    watch = _watch(stopping, ONE_STAGE * time_s, report)
    board.watches[part.model] = watch
    answer = solve_one_stage(
        program.facilities, watch=watch, threads=settings.threads, seed=settings.seed, keep=keep
    )
    keep(answer.patterns)
    outcome = answer.outcome
    if pointless() and not watch.closed:
        detail = "no answer to this program is cheaper than the plan at hand"
        outcome = replace(outcome, limit=Limit.ROUNDS, detail=detail)
    elif behind() and not settings.stopped:
        detail = "the plan at hand is cheaper, and the rest of the time is for programs with more stages"
        outcome = replace(outcome, limit=Limit.TIME, detail=detail)
    else:
        board.note(watch)
    board.outcomes[part.model] = outcome


def _watch(settings: PlanSettings, time_limit_s: float, report: Report) -> Watch:
    return Watch(
        time_limit_s=time_limit_s,
        gap=settings.gap,
        report=report,
        should_stop=settings.should_stop,
        memory_limit_mb=settings.memory_limit_mb,
    )


def _other_routes(
    part: ModelPart, routes: RouteProgram, settings: PlanSettings, time_s: float, board: _Scoreboard
) -> None:
    """A cheaper plan by ruin and recreate onto the board, where a moment is enough for one."""
    network, graph = routes.network, routes.graph
    if network is None or graph is None or not routes.spread:
        return
    full, best = graph.spread(network), board.drafts[part.model]

    def report(progress: SolverProgress) -> None:
        board.tell(part.model, progress.phase, progress.objective, 0.0)

    watch = _watch(settings, time_s, report)
    search = Recreation(full, routes.step, plan_in(part, full, best), settings.seed)
    if search.improve(watch, time_s):
        board.keep(part.model, draft_of_paths(part, full, search.plan))


def _any_number(
    part: ModelPart,
    routes: RouteProgram,
    settings: PlanSettings,
    time_limit_s: float,
    board: _Scoreboard,
    best: Draft,
    choosing: bool,
) -> tuple[Draft, float]:
    """A plan no dearer than `best`, and a bound on every plan of this model, by 5.3."""
    step, network = routes.step, routes.network
    if network is None:
        return best, 0.0
    price = price_at(part.menu, best)
    begun: list[RouteTurns] = []

    def report(progress: SolverProgress) -> None:
        board.tell(part.model, progress.phase, progress.objective, progress.lower_bound)
        for turns in begun:
            turns.hear()

    watch = _watch(settings, time_limit_s, report)
    board.look = watch
    watch.update(objective=price)
    watch.update(lower_bound=round_up(path_bound(network, watch), step))
    graph = None if watch.over else routes.graph
    if graph is None:
        return best, watch.lower_bound
    bound = RouteBound(graph, step)
    if not choosing or not routes.spread:
        bound.sweep(watch)
        if choosing:
            bound.run(watch)
        return best, watch.lower_bound
    turns = RouteTurns(
        part=part,
        settings=settings,
        network=network,
        bound=bound,
        best=best,
        keep=lambda draft: board.keep(part.model, draft),
        watch=watch,
        watch_for=lambda time_limit_s: _watch(settings, time_limit_s, report),
    )
    begun.append(turns)
    return turns.run(), watch.lower_bound


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
