"""Program 5.3 of one model by turns: its bound, branching, other routes, parts again, a choice of them.

The mathematics is in `solver.route_bound`, `solver.route_counts`, `solver.route_tree`, `solver.recreation`,
`solver.route_repairs` and `solver.route_choice`. With a second core a process beside this one looks for plans
all the time (`solver.route_companion`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import numpy as np

from planner.menu import Menu
from planner.problem import Draft, PlanSettings
from planner.programs import ModelPart, draft_of_paths, plan_in
from solver.beside import worthwhile
from solver.outcome import Watch
from solver.recreation import Recreation
from solver.route_bound import PRECISELY, RouteBound, RoutePath
from solver.route_choice import Choice, choose_paths
from solver.route_companion import RouteCompanion, RouteKnown, RouteTask
from solver.route_counts import RouteCounts
from solver.route_repairs import Repairs
from solver.route_tree import RouteTree
from solver.routes import Network
from solver.steps import round_up

# Bounding, counting instances, branching, solving parts again (so many at most) and choosing take turns, each
# with such a part of the time left.
BOUNDING, QUICKLY, REPAIRING, COUNTING, BRANCHING, CHOOSING, TURNS = 0.4, 0.1, 0.5, 0.3, 0.4, 0.5, 12
REPAIRS = 100
# The parts for bounding and branching where plans are looked for on another core meanwhile, and for bounding
# while the relaxation says less than is known already.
BOUNDING_BESIDE, BRANCHING_BESIDE, BOUNDING_BEHIND = 0.85, 0.85, 0.2
# How near the relaxation is to be known before branching, or in this part of the time, as precisely as it can
# be: the last part may take long, and nodes bring it, too.
NEAR, NEARER = 2e-2, 0.1
# Classes up to which instances are counted and paths chosen among; of more than that there are too many.
MOST_CHOOSING = 60
# Where goals are divided with success, or not yet for long, the companion rests when it has found nothing for
# so long, its first seconds apart: two sides are looked at at once.
TRIED_S, QUIET_S, FIRST_S = 10.0, 6.0, 10.0
# How often the companion is told of better prices.
TELL_EVERY_S = 2.0


def price_at(menu: Menu, draft: Draft) -> float:
    """What a draft's instances cost."""
    return math.fsum(stage.instances * float(menu.prices[stage.column]) for stage in draft.stages)


class Decide(Protocol):
    """Whether there is a plan of at most a goal."""

    def __call__(self, goal: float, watch: Watch, *, time_limit_s: float) -> Choice: ...


class RouteTurns:
    """Program 5.3 of one model: the bound is raised, plans are looked for and goals are tried, by turns."""

    def __init__(
        self,
        *,
        part: ModelPart,
        settings: PlanSettings,
        network: Network,
        bound: RouteBound,
        best: Draft,
        keep: Callable[[Draft], Draft],
        watch: Watch,
        watch_for: Callable[[float], Watch],
    ) -> None:
        """`keep` is told of every better draft; `watch_for` gives a watch for so many seconds.

        Whoever listens to `watch` and to these has to call `hear`: that is when the companion is listened to.
        """
        self.part, self.settings, self.bound, self.best = part, settings, bound, best
        self.keep, self.watch, self.watch_for = keep, watch, watch_for
        # What was decided and chosen for already: goals, and how good the prices were.
        self._decided: set[tuple[str, float, float]] = set()
        self._tried: set[tuple[float, float]] = set()
        # The bound may be of condensed classes, several of ours each; plans are of ours.
        self.full = bound.graph.spread(network)
        self._few = self.full is bound.graph and len(network.load) <= MOST_CHOOSING
        self.counts = RouteCounts(bound, settings.seed)
        self.tree = RouteTree(
            bound, settings.seed, threads=settings.threads if worthwhile(settings.threads) else 1
        )
        condensed = np.zeros(len(self.full.load), dtype=np.intp)
        condensed[self.full.class_of] = bound.graph.class_of
        self._condensed = condensed
        self._companion: RouteCompanion | None = None
        self._told_s, self._told = -math.inf, (math.inf, 0, False, False)
        # When the companion was heard of last, and since when goals are divided.
        self._heard_s, self._divides_s = FIRST_S, math.inf
        self._bounding: Watch | None = None
        self.repairs = Repairs(
            graph=self.full,
            plan=plan_in(part, self.full, best),
            arcs=bound.alive,
            use=bound.use,
            prices_of=lambda classes: self.bound.guide[condensed[classes]],
            step=bound.step,
            seed=settings.seed,
            threads=settings.threads,
            keep=self._keep,
        )

    @cached_property
    def recreation(self) -> Recreation:
        """The search for other routes."""
        return Recreation(self.full, self.bound.step, self.repairs.plan, self.settings.seed)

    def run(self) -> Draft:
        """The best plan found; what was proven is told to the watch."""
        watch, bound = self.watch, self.bound
        for path, _ in self.repairs.plan if self.full is bound.graph else []:
            bound.add(path)
        with self._beside():
            bound.sweep(watch)
            for turn in range(TURNS):
                if watch.over:
                    break
                before = watch.lower_bound
                first = turn == 0 and self._few
                if first:
                    nearer_s = watch.elapsed_s + NEARER * watch.remaining_s
                    self._bound(near=NEAR)
                    # Beyond what the bound gains by it: the nearer, the fewer stages are left.
                    self._bound(near=PRECISELY, rounding=False, most_s=nearer_s - watch.elapsed_s)
                else:
                    self._bound(near=PRECISELY)
                if not watch.over and self._few:
                    self._step_up("counting instances", self.counts.decide, COUNTING)
                if not watch.over and first:
                    beside = self._companion is not None
                    self._divides_s = watch.elapsed_s
                    self._step_up("branching", self.tree.decide, BRANCHING_BESIDE if beside else BRANCHING)
                    self._divides_s = math.inf
                    self.hear()
                # As long as there is something left to choose for, that comes first.
                better = self._improve(watch.remaining_s * (QUICKLY if first else REPAIRING))
                if not watch.over and self._few:
                    self._choose()
                if not better and watch.lower_bound <= before and bound.done:
                    self.repairs.improve(watch, REPAIRS)
            self.hear()
        return self.best

    def _improve(self, time_limit_s: float) -> int:
        """Other routes and parts again, or what of it is not done beside this; how often that helped."""
        watch, better, beside = self.watch, 0, self._companion is not None
        if not beside or not self._few:
            self.recreation.take(self.repairs.plan)
            part = time_limit_s if beside else time_limit_s / 2
            if self.recreation.improve(watch, part) and self.repairs.take(self.recreation.plan):
                self._keep(self.repairs.plan)
                better += 1
            time_limit_s -= part
        return better + self.repairs.improve(watch, REPAIRS, time_limit_s)

    def hear(self) -> None:
        """Take what the companion found, and tell it what is known; to be called now and then."""
        companion = self._companion
        if companion is None:
            return
        news = companion.news()
        if news is not None and self.repairs.take(news):
            self._heard_s = self.watch.elapsed_s
            self._keep(self.repairs.plan)
            if self._bounding is not None:
                self._bounding.update(objective=self.watch.objective)
        quiet = self.watch.elapsed_s - self._heard_s > QUIET_S
        dividing_s = self.watch.elapsed_s - self._divides_s
        rest = quiet and dividing_s >= 0 and (self.tree.divided > 0 or dividing_s < TRIED_S)
        known = (self.repairs.price, id(self.bound.guide), self.bound.done, rest)
        soon = self.watch.elapsed_s - self._told_s <= TELL_EVERY_S
        if not soon and known != self._told and self.bound.use.any():
            self._told = known
            self._tell(rest)

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """With a companion, where there is a core for it."""
        if not worthwhile(self.settings.threads):
            yield
            return
        task = RouteTask(
            graph=self.full,
            plan=tuple(self.repairs.plan),
            condensed=self._condensed,
            step=self.bound.step,
            # Not the same parts as here.
            seed=self.settings.seed + 1,
            memory_limit_mb=self.settings.memory_limit_mb,
        )
        self._companion = RouteCompanion(task)
        try:
            yield
        finally:
            companion, self._companion = self._companion, None
            companion.close()

    def _tell(self, rest: bool) -> None:
        assert self._companion is not None
        bound = self.bound
        self._told_s = self.watch.elapsed_s
        self._companion.tell(
            RouteKnown(
                plan=tuple(self.repairs.plan),
                arcs=bound.alive,
                use=bound.use,
                prices=bound.guide.astype(np.float32),
                final=bound.done,
                rest=rest,
            )
        )

    def _bound(self, near: float, rounding: bool = True, most_s: float = math.inf) -> None:
        watch, bound = self.watch, self.bound
        if watch.over or most_s <= 0:
            return
        if rounding and bound.done and round_up(bound.relaxed, bound.step) <= watch.lower_bound:
            return  # more is known by branching than the relaxation can say
        part = BOUNDING if self._companion is None else BOUNDING_BESIDE
        if not self._few and round_up(bound.value, bound.step) < watch.lower_bound:
            part = BOUNDING_BEHIND
        self._bounding = self.watch_for(min(most_s, part * watch.remaining_s))
        self._bounding.update(objective=watch.objective, lower_bound=watch.lower_bound)
        bound.run(self._bounding, near=near, rounding=rounding)
        watch.update(lower_bound=self._bounding.lower_bound)
        self._bounding = None
        self.repairs.arcs, self.repairs.use = bound.alive, bound.use

    def _keep(self, plan: list[tuple[RoutePath, float]]) -> None:
        self._take(draft_of_paths(self.part, self.full, plan))

    def _take(self, found: Draft) -> None:
        price = price_at(self.part.menu, found)
        if price < price_at(self.part.menu, self.best) * (1 - 1e-9):
            self.best = self.keep(found)
            self.watch.update(objective=price)

    def _step_up(self, phase: str, decide: Decide, part: float) -> None:
        """One step of the price after the other, from the bound on: is there such a plan?

        Mostly a step takes longer than the one before: none is begun for which there is less time than that.
        """
        watch, step = self.watch, self.bound.step
        until_s, took_s = watch.elapsed_s + part * watch.remaining_s, 0.0
        watch.update(phase=phase)
        while step > 0 and not watch.over and until_s - watch.elapsed_s > took_s:
            goal = watch.lower_bound + 0.5 * step
            question = (phase, goal, self.bound.value)
            if question in self._decided:
                return
            self._decided.add(question)
            began_s = watch.elapsed_s
            choice = decide(goal, watch, time_limit_s=until_s - began_s)
            took_s = watch.elapsed_s - began_s
            if not self._learn(choice, goal):
                return

    def _learn(self, choice: Choice, goal: float) -> bool:
        """Whether there was anything to learn about plans of at most a goal."""
        before = self.watch.lower_bound
        # A plan is above the goal, or not below what was proven of the others (up to the solvers' tolerance).
        proven = min(choice.lower_bound * (1 - 1e-6), goal * (1 + 1e-6))
        price = price_at(self.part.menu, self.best)
        self.watch.update(lower_bound=min(round_up(proven, self.bound.step), price))
        if choice.paths:
            self.repairs.take(choice.paths)
            self._take(draft_of_paths(self.part, self.bound.graph, choice.paths))
        return bool(choice.paths) or self.watch.lower_bound > before

    def _choose(self) -> None:
        """A plan from the bound's paths, or the proof that there is none of at most a price.

        The bound itself is tried first: few arcs can be in a plan as cheap as that.
        """
        watch, step = self.watch, self.bound.step
        price = price_at(self.part.menu, self.best)
        least = price - step * (1 - 1e-6) if step > 0 else price * (1 - 1e-6)
        goals = dict.fromkeys([min(watch.lower_bound + 0.5 * step, least), least]) if step > 0 else [least]
        for goal in goals:
            watch.update(phase="choosing routes")
            if watch.over:
                return
            if (goal, self.bound.value) in self._tried:
                continue
            self._tried.add((goal, self.bound.value))
            choice = choose_paths(
                self.bound,
                goal,
                watch,
                known=goal == least,
                time_limit_s=watch.remaining_s * CHOOSING,
                threads=self.settings.threads,
                seed=self.settings.seed,
            )
            self._learn(choice, goal)
            if choice.paths:
                return
