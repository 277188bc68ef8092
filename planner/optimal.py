"""The strategies `optimal` and `optimal-one`: integer programs, with a proof.

`optimal-one` is design section 5.2, at most one shared stage a route; `optimal` is 5.3, routes of any
number of stages, and solves 5.2 on its way. Models share nothing, so each is a program of its own, searched
one after the other with a part of the time limit (`planner.model_search`). Fragments and menus become the
solver's plain numbers, and its answers stages and routes, in `planner.programs`; the mathematics is in
`solver.facilities` and `solver.routes`.

Both start from `graft` and give its plan back where nothing better was found in time. `Draft.lower_bound`
holds for every plan that laws 1 to 4 allow, split routes included; what was proven of the smaller program
5.2 stands in `notes["proof"]`, since a plan outside of it may well cost less than its bound. Which limit
ended the search, if one did, stands in `notes["ended"]`: it is neither the plan's status nor its proof.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace

from planner.bounds import quick_bound
from planner.fluid import fluid_draft
from planner.graft import Tuning, graft, tuned_graft
from planner.gslice import gslice_plus
from planner.model_search import ModelSearch
from planner.problem import Draft, PlanSettings, Problem, ProgressReport
from planner.programs import ModelPart, model_part
from planner.route_turns import price_at
from planner.scoreboard import Scoreboard, draft_by_model, ignore, joined
from planner.supervision import supervise
from solver.outcome import Limit
from solver.steps import common_step, round_up

# Several models are searched one after the other: all of them in this part of the time, since some may be
# proven in a moment; then those that are not, and once more with what is left then. Who is done early leaves
# the time to the others. With less than this for each nothing is tried first, with less in all nothing again.
FIRST, LEAST_S = 0.1, 0.5
# The part of the whole time that `graft` may take before: less, unless loads are heavy or the limit is short.
GRAFT = 0.2
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


def _supervised(
    problem: Problem, settings: PlanSettings, progress: ProgressReport, *, any_number: bool
) -> Draft:
    board = Scoreboard(problem)
    settings = replace(settings, deadline_s=min(settings.deadline_s, board.started + settings.time_limit_s))

    def search(inner: PlanSettings, tell: ProgressReport) -> Draft:
        board.listener = tell
        return _solve(problem, inner, board, any_number=any_number)

    found = supervise(search, settings, progress)
    draft = board.draft() if found.answer is None else found.answer
    limit = found.limit or next(iter(board.limits.values()), None)
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


def _solve(problem: Problem, settings: PlanSettings, board: Scoreboard, *, any_number: bool) -> Draft:
    if any_number and (many := _many(problem, settings, board)) is not None:
        return many
    parts = [model_part(problem, model, numbers) for model, numbers in problem.by_model().items()]
    for model, quick in draft_by_model(problem, gslice_plus(problem, settings, ignore)).items():
        board.keep(model, quick)
    board.tell_all("first plan", bound=quick_bound(problem))
    for part in parts if any_number else []:
        if len(part.demands) > FLUID_CLASSES:
            share = FLUID / len(parts) * settings.time_limit_s
            _try_fluid(part, settings, time.perf_counter() + share, board)

    def keep(heuristic: Draft) -> None:
        for model, draft in draft_by_model(problem, heuristic).items():
            board.keep(model, draft)

    keep(
        tuned_graft(
            problem, _hurried(settings), lambda report: board.tell_all(report.phase), Tuning(), keep=keep
        )
    )
    for part in parts:
        board.tell(part.model, "graft", price_at(part.menu, board.drafts[part.model]), 0.0)
    searches = [ModelSearch(part, settings, board, any_number=any_number) for part in parts]
    # What a clock cut short must not decide what comes after it where runs are to repeat.
    _take_turns(searches, settings, again=any_number or settings.threads > 1)
    return board.draft()


def _take_turns(searches: list[ModelSearch], settings: PlanSettings, *, again: bool) -> None:
    """Every model; with `again` several are searched for a moment before, and those not proven once more."""
    several = again and len(searches) > 1
    if several and FIRST * _left_s(settings) > LEAST_S * len(searches):
        _search(searches, FIRST, settings)
    _search(searches, 1.0, settings)
    if several and _left_s(settings) > LEAST_S and not settings.stopped:
        _search(searches, 1.0, settings)


def _left_s(settings: PlanSettings) -> float:
    return settings.deadline_s - time.perf_counter()


def _search(searches: list[ModelSearch], portion: float, settings: PlanSettings) -> None:
    """Those that are open, one after the other, in this portion of the time left."""
    going = [search for search in searches if search.open]
    rest_s = (1 - portion) * _left_s(settings)
    for position, search in enumerate(going):
        weight = search.classes / sum(later.classes for later in going[position:])
        search.go_on(weight * (_left_s(settings) - rest_s))


def _try_fluid(part: ModelPart, settings: PlanSettings, ends: float, board: Scoreboard) -> None:
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


def _many(problem: Problem, settings: PlanSettings, board: Scoreboard) -> Draft | None:
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
        for model, draft in draft_by_model(problem, graft(problem, rest, lambda _: None)).items():
            menu = problem.menus[model]
            drafts[model] = board.keep(model, draft)
            board.tell(model, "graft", price_at(menu, drafts[model]), 0.0)
    return joined(list(drafts.values()), math.fsum(bounds), {"classes": len(classes)})
