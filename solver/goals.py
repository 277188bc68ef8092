"""Answers to 5.2 that cost at most a goal, or a proof that there are none.

Costs are multiples of a step, so an answer at the lower bound is optimal, and a bound that is proven to be
out of reach rises by a step. Aiming low is what makes this quick: at a goal near the bound nearly everything
is ruled out by reduced costs. What is left is decided in one of two ways:

    few patterns     all are written down (`solver.enumeration`) and chosen from (`solver.pool`): heavy loads,
                     where an instance holds few fragments
    few pairs        the program as it stands (`solver.compact`): light loads, where an instance could hold
                     any of very many sets
"""

from __future__ import annotations

from dataclasses import dataclass

from solver.compact import solve_compact, what_can_matter
from solver.enumeration import enumerate_patterns
from solver.facilities import Facilities, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.outcome import Watch
from solver.pool import Pool


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How large a program may be to be tried at all, and how much work its search may take.

    Work is counted in nodes and in HiGHS's looks up from them (see `solver.highs`), not in seconds, so that
    the same program gets the same effort everywhere.
    """

    patterns: int
    pairs: int
    nodes: int
    looks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """An answer of at most the goal or None; `proven` when there is none; `too_large` when not tried."""

    answer: list[Pattern] | None = None
    proven: bool = False
    too_large: bool = False


def reach(
    program: Facilities,
    bounds: list[Bound],
    goal: float,
    *,
    effort: Effort,
    watch: Watch,
    threads: int,
    seed: int,
) -> Verdict:
    """Look for an answer of at most `goal`. The last of the bounds is one of whole patterns."""
    allowed = goal * (1 + 1e-9)
    if max(bound.value for bound in bounds) > allowed:
        return Verdict(proven=True)
    patterns = enumerate_patterns(program, bounds[-1], allowed, effort.patterns)
    if patterns is not None:
        pool = Pool(program, patterns, allowed)
        answer, proven = pool.solve(watch, threads=threads, seed=seed, nodes=effort.nodes, looks=effort.looks)
    else:
        kept = what_can_matter(program, bounds, allowed)
        if len(kept.classes) > effort.pairs:
            return Verdict(too_large=True)
        answer, lower_bound = solve_compact(
            program,
            kept,
            goal=allowed,
            watch=watch,
            threads=threads,
            seed=seed,
            nodes=effort.nodes,
            looks=effort.looks,
        )
        proven = lower_bound > allowed
    if answer is not None:
        answer = settle(program, answer)
        if total_cost(answer) > allowed:
            answer = None  # HiGHS looks a little above the goal too
    return Verdict(answer=answer, proven=proven and answer is None)
