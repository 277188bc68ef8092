"""One model's search by `planner.optimal`: 5.2 and 5.3, for as long as it is given, again and again.

The first search of a model is short, so that what is easy is proven and leaves its time to what is not. What
was found stays on the scoreboard, the bound's prices and what was proven of 5.2 stay here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from planner.problem import PlanSettings
from planner.programs import (
    ModelPart,
    OneStageProgram,
    RouteProgram,
    draft_of,
    draft_of_paths,
    one_stage_program,
    plan_in,
)
from planner.route_turns import RouteTurns, price_at
from planner.scoreboard import Scoreboard
from solver.facilities import Pattern
from solver.one_stage import solve_one_stage
from solver.outcome import Limit, Report, Status, Watch
from solver.outcome import Progress as SolverProgress
from solver.path_bound import path_bound
from solver.recreation import Recreation
from solver.route_bound import RouteBound
from solver.steps import round_up

# The part of a model's time for 5.2, the same for both strategies, so that `optimal` has its answer too; what
# is left is for 5.3. `optimal` gives it up after a smaller part where the plan at hand is still cheaper, but
# leaves it so many seconds, up to a larger part: with 200 phones and heavy loads it is ahead after some 5.
ONE_STAGE, ONE_STAGE_BEHIND, ONE_STAGE_SHORT, ONE_STAGE_S = 0.85, 0.3, 0.75, 8.0
# The part of a model's time in which other routes are tried at first, at most so many seconds a class: 5.2 is
# given up the sooner the cheaper the plan at hand is.
OTHER_ROUTES, OTHER_ROUTES_S = 0.02, 0.005
# A search that ends with so much of its time left has nothing more to try.
ENDED = 0.3


class ModelSearch:
    """The search of one model's plan; `open` while more time may bring more."""

    def __init__(
        self, part: ModelPart, settings: PlanSettings, board: Scoreboard, *, any_number: bool
    ) -> None:
        self.part, self.settings, self.board, self.any_number = part, settings, board, any_number
        self._routes = RouteProgram(part=part)
        self._program: OneStageProgram | None = None
        self._bound: RouteBound | None = None
        self._patterns: list[Pattern] | None = None
        self._times = 0
        # Whether the clock ended 5.2, whether 5.3 ran to its end, and whether nothing is left to be tried.
        self._cut_short, self._through, self._ended = False, False, False

    @property
    def classes(self) -> int:
        """How many fragments its programs tell apart."""
        return len(self.part.demands)

    @property
    def open(self) -> bool:
        """Whether something is left to be proven, and to be tried."""
        model = self.part.model
        if self._ended:
            return False
        if self.any_number:
            return not self.board.closed(model)
        outcome = self.board.outcomes.get(model)
        return outcome is None or outcome.status is not Status.OPTIMAL or not self._through

    def go_on(self, time_s: float) -> None:
        """Search for so long."""
        board, part = self.board, self.part
        ends = time.perf_counter() + time_s
        if self.any_number and not self._times:
            self._other_routes(min(OTHER_ROUTES_S * self.classes, OTHER_ROUTES * time_s))
        # `optimal` needs 5.2 only while an answer to it may be cheaper than the plan at hand.
        enough = price_at(part.menu, board.drafts[part.model]) if self.any_number else math.inf
        self._cut_short = False
        board.forget_limits(part.model)
        if not self._known(enough):
            self._one_stage(time_s, enough)
        self._many_stages(ends - time.perf_counter())
        board.tell(part.model, "done", math.inf, 0.0)
        left_s = ends - time.perf_counter()
        self._ended = left_s > ENDED * time_s and not self._cut_short and not self.settings.stopped
        self._times += 1
        if self.any_number and board.closed(part.model):
            board.forget_limits(part.model)
        if not self.open:
            self._bound = self._patterns = self._program = None
            self._routes = RouteProgram(part=part)

    @property
    def _settings(self) -> PlanSettings:
        """The settings, with other draws every time."""
        return replace(self.settings, seed=self.settings.seed + self._times)

    def _known(self, enough: float) -> bool:
        """Whether nothing is left to be learnt of 5.2."""
        outcome = self.board.outcomes.get(self.part.model)
        if outcome is None:
            return False
        return outcome.status is Status.OPTIMAL or outcome.lower_bound >= enough * (1 - 1e-9)

    def _one_stage(self, time_s: float, enough: float) -> None:
        """The best answer to 5.2 found in its part of the time, and what is proven of it, onto the board.

        The search ends once its bound is `enough`, or a part of the time has passed and its answer is dearer.
        """
        part, board, settings = self.part, self.board, self._settings
        program = self._program = self._program or one_stage_program(part)

        def report(progress: SolverProgress) -> None:
            board.tell(part.model, progress.phase, progress.objective, 0.0)

        def keep(patterns: Sequence[Pattern]) -> None:
            board.keep(part.model, draft_of(part, program, patterns))

        def pointless() -> bool:
            return watch.lower_bound >= enough * (1 - 1e-9)

        patience_s = max(ONE_STAGE_BEHIND * time_s, min(ONE_STAGE_SHORT * time_s, ONE_STAGE_S))

        def behind() -> bool:
            return watch.elapsed_s > patience_s and watch.objective > enough * (1 + 1e-9)

        stopping = replace(settings, should_stop=lambda: settings.stopped or pointless() or behind())
        watch = _watch(stopping, ONE_STAGE * time_s, report)
        board.watches[part.model] = watch
        if part.model in board.outcomes:
            watch.update(lower_bound=board.outcomes[part.model].lower_bound)
        answer = solve_one_stage(
            program.facilities,
            watch=watch,
            start=self._patterns,
            threads=settings.threads,
            seed=settings.seed,
            keep=keep,
        )
        self._patterns = list(answer.patterns) or None
        keep(answer.patterns)
        outcome = answer.outcome
        if pointless() and not watch.closed:
            detail = "no answer to this program is cheaper than the plan at hand"
            outcome = replace(outcome, limit=Limit.ROUNDS, detail=detail)
        elif behind() and not settings.stopped:
            detail = "the plan at hand is cheaper, and the rest of the time is for programs with more stages"
            outcome = replace(outcome, limit=Limit.TIME, detail=detail)
            self._cut_short = True
        else:
            board.note(part.model, "one stage", watch)
            self._cut_short = outcome.limit is Limit.TIME
        board.settle(part.model, outcome)

    def _other_routes(self, time_s: float) -> None:
        """A cheaper plan by ruin and recreate onto the board, where a moment is enough for one."""
        part, board, routes = self.part, self.board, self._routes
        network, graph = routes.network, routes.graph
        if network is None or graph is None or not routes.spread:
            return
        full, best = graph.spread(network), board.drafts[part.model]

        def report(progress: SolverProgress) -> None:
            board.tell(part.model, progress.phase, progress.objective, 0.0)

        watch = _watch(self.settings, time_s, report)
        search = Recreation(full, routes.step, plan_in(part, full, best), self.settings.seed)
        if search.improve(watch, time_s):
            board.keep(part.model, draft_of_paths(part, full, search.plan))

    def _many_stages(self, time_limit_s: float) -> None:
        """A cheaper plan by 5.3, where there is one, and a bound on every plan, onto the board."""
        part, board, settings, routes = self.part, self.board, self._settings, self._routes
        best, network = board.drafts[part.model], routes.network
        if network is None:
            self._through = True
            return
        begun: list[RouteTurns] = []

        def report(progress: SolverProgress) -> None:
            board.tell(part.model, progress.phase, progress.objective, progress.lower_bound)
            for turns in begun:
                turns.hear()

        watch = _watch(settings, time_limit_s, report)
        watch.update(objective=price_at(part.menu, best), lower_bound=board.bound(part.model))
        try:
            watch.update(lower_bound=round_up(path_bound(network, watch), routes.step))
            graph = None if watch.over else routes.graph
            if graph is None:
                return
            bound = self._bound = self._bound or RouteBound(graph, routes.step)
            if not self.any_number or not routes.spread:
                bound.sweep(watch)
                if self.any_number:
                    bound.run(watch)
                return
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
            turns.run()
        finally:
            self._through = watch.closed or watch.limit is None
            board.note(part.model, "routes", watch)
            board.tell(part.model, "routes", math.inf, watch.lower_bound)


def _watch(settings: PlanSettings, time_limit_s: float, report: Report) -> Watch:
    return Watch(
        time_limit_s=time_limit_s,
        gap=settings.gap,
        report=report,
        should_stop=settings.should_stop,
        memory_limit_mb=settings.memory_limit_mb,
    )
