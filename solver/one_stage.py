"""Program 5.2 (one shared stage a route) solved: an answer, a lower bound, and how the search ended.

    1. a first answer: `solver.greedy`, or the caller's
    2. the strong form's relaxation (`solver.fractional_bound`): prices, and a first bound
    3. the pattern program's relaxation (`solver.packed_bound`): a better bound, and patterns
    4. the best choice among these patterns, by HiGHS (`solver.covering`)
    5. better answers by solving small parts again (`solver.neighbourhoods`)
    6. the program itself, after all that cannot matter is left out, by HiGHS (`solver.compact`)
    7. as 5, with what time is left

The mathematics is in `solver.facilities`. Every price is a multiple of a step, so bounds round up to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solver.compact import MOST_PAIRS, solve_compact, what_can_matter
from solver.facilities import Facilities, Floats, Pattern, all_alone, settle, total_cost
from solver.fractional_bound import Bound, fractional_bound
from solver.greedy import greedy
from solver.neighbourhoods import improve
from solver.outcome import Limit, Outcome, Status, Watch
from solver.packed_bound import PackedAscent
from solver.steps import common_step, round_up

# The part of the time, and the nodes, that choosing among patterns may take.
CHOOSING, CHOOSING_NODES = 0.2, 500
# Neighbourhoods that may fail in a row before the search for a proof, and after it.
FEW_TRIES, MANY_TRIES = 15, 80


@dataclass(frozen=True, kw_only=True, eq=False)
class OneStageAnswer:
    """Patterns that serve every fragment exactly once, and how the search ended."""

    patterns: tuple[Pattern, ...]
    outcome: Outcome


def solve_one_stage(
    program: Facilities,
    *,
    watch: Watch,
    start: list[Pattern] | None = None,
    threads: int = 1,
    seed: int = 0,
) -> OneStageAnswer:
    """Solve 5.2 within the watch's limits; there is always an answer (everybody alone)."""
    search = _Search(program, watch, threads, seed)
    search.run(start)
    return OneStageAnswer(patterns=tuple(search.best), outcome=_outcome(watch))


class _Search:
    """The phases above, and the best answer so far."""

    def __init__(self, program: Facilities, watch: Watch, threads: int, seed: int) -> None:
        self.program, self.watch, self.threads, self.seed = program, watch, threads, seed
        self.step = common_step(program.prices)
        self.best = all_alone(program)

    def run(self, start: list[Pattern] | None) -> None:
        watch = self.watch
        watch.update(phase="first answer", objective=total_cost(self.best))
        if start is not None:
            self._take(start)
        self._take(greedy(self.program, watch))
        if watch.over:
            return
        relaxed = fractional_bound(self.program, self.best, watch)
        watch.update(lower_bound=round_up(relaxed.value, self.step))
        if watch.over:
            return
        ascent = PackedAscent(self.program, relaxed, self.best, self.step)
        ascent.run(watch)
        self._choose(ascent)
        self._improve(ascent.worth, FEW_TRIES)
        self._solve_compact([relaxed, Bound(value=ascent.value, worth=ascent.worth)])
        self._improve(ascent.worth, MANY_TRIES)

    def _take(self, answer: list[Pattern]) -> None:
        self.best = min(self.best, settle(self.program, answer), key=total_cost)
        self.watch.update(objective=total_cost(self.best))

    def _choose(self, ascent: PackedAscent) -> None:
        """The best choice among the patterns that can be in a better answer than the best one."""
        if self.watch.over:
            return
        self.watch.update(phase="choosing")
        cost = np.array([pattern.cost for pattern in ascent.patterns])
        worth = np.array(
            [
                float(ascent.worth[list(p.classes)] @ np.array(p.counts, dtype=np.float64))
                for p in ascent.patterns
            ]
        )
        # A pattern whose reduced cost would lift the bound to the best answer is in no better one.
        useful = np.flatnonzero(ascent.value + (cost - worth) < total_cost(self.best) - self.step / 2)
        if not len(useful):
            return
        chosen = ascent.covering.choose(
            useful.tolist(),
            None,
            watch=self.watch,
            time_limit_s=self.watch.remaining_s * CHOOSING,
            threads=self.threads,
            seed=self.seed,
            cutoff=math.inf,
            nodes=CHOOSING_NODES,
        )
        if chosen is not None:
            numbers = np.repeat(useful, chosen.astype(np.intp))
            self._take([ascent.patterns[number] for number in numbers.tolist()])

    def _improve(self, worth: Floats, tries: int) -> None:
        if not self.watch.over:
            self.best = improve(
                self.program,
                self.best,
                worth,
                self.step,
                self.watch,
                seed=self.seed,
                threads=self.threads,
                tries=tries,
            )

    def _solve_compact(self, bounds: list[Bound]) -> None:
        """Find a better answer than the best one, or prove that there is none."""
        if self.watch.over:
            return
        self.watch.update(phase="proving")
        objective = total_cost(self.best)
        better = objective - self.step / 2 if self.step > 0 else objective * (1 - 1e-9)
        kept = what_can_matter(self.program, bounds, better)
        if len(kept.classes) > MOST_PAIRS:
            return
        answer, bound = solve_compact(
            self.program,
            kept,
            self.best,
            goal=better,
            watch=self.watch,
            time_limit_s=self.watch.remaining_s,
            threads=self.threads,
            seed=self.seed,
        )
        if answer is not None:
            self._take(answer)
        # What was left out costs more than `better`, so the bound holds for everything up to there.
        self.watch.update(lower_bound=round_up(min(bound, objective), self.step))


def _outcome(watch: Watch) -> Outcome:
    closed = watch.lower_bound >= watch.objective * (1 - 1e-9)
    limit = None if closed else watch.limit or (Limit.GAP if watch.closed else Limit.ROUNDS)
    detail = {
        None: "the bound meets the answer",
        Limit.TIME: f"the time limit of {watch.time_limit_s:g} s passed",
        Limit.STOPPED: "stopped by the caller; the best answer so far is kept",
        Limit.GAP: f"the gap asked for, {watch.gap:g}, was reached",
        Limit.ROUNDS: "no better answer among the patterns that were generated",
    }[limit]
    return Outcome(
        status=Status.OPTIMAL if closed else Status.FEASIBLE,
        limit=limit,
        detail=detail,
        objective=watch.objective,
        lower_bound=watch.objective if closed else watch.lower_bound,
    )
