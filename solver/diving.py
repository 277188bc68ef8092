"""An answer to 5.2 by rounding its relaxation bit by bit.

Of the patterns that the relaxation over patterns uses, those used whole, or nearly, become part of the
answer; the relaxation of what is left is solved again with new patterns for it, and so on (Sadykov and
others, *Primal heuristics for branch and price*, 2019).
"""

from __future__ import annotations

import numpy as np

from solver.facilities import (
    ALONE,
    Facilities,
    Indices,
    Pattern,
    alone_pattern,
    best_facility,
    make_pattern,
)
from solver.fractional_bound import Bound
from solver.outcome import Watch
from solver.packed_bound import PackedAscent

# Used at least this much, a pattern is taken whole; so many are taken before the rest is solved again.
NEARLY_WHOLE, AT_ONCE = 0.75, 4
# Rounds of new patterns for what is left, before more of it is taken.
ROUNDS = 6


def dive(
    program: Facilities, ascent: PackedAscent, watch: Watch, rng: np.random.Generator
) -> list[Pattern] | None:
    """An answer, its surest patterns first; None when the watch said stop. `ascent` learns the new patterns.

    `rng` decides between patterns used about as much, so that several dives differ.
    """
    rest = PackedAscent(program, Bound(value=0.0, worth=ascent.worth), ascent.patterns, ascent.step)
    left = program.members.copy()
    taken: list[Pattern] = []
    while left.any():
        rest.restrict(left)
        used = rest.generate(ROUNDS, watch)
        if watch.limit is not None:
            return None
        number_taken = 0
        score = used * rng.uniform(0.8, 1.0, len(used))
        for number in np.argsort(-score).tolist():
            if number_taken and (used[number] < NEARLY_WHOLE or number_taken >= AT_ONCE):
                break
            whole = max(1, int(used[number] + 1 - NEARLY_WHOLE))
            pattern = rest.patterns[number]
            for _ in range(whole):
                part = _what_is_left(program, pattern, left)
                # One that others have taken members from is worth less than it looked.
                if part is None or (number_taken and part.counts != pattern.counts):
                    break
                taken.append(part)
                left[list(part.classes)] -= part.counts
                number_taken += 1
    for pattern in rest.patterns:
        ascent.add(pattern)
    return [best_facility(program, pattern) for pattern in taken]


def _what_is_left(program: Facilities, pattern: Pattern, left: Indices) -> Pattern | None:
    counts = {k: min(n, int(left[k])) for k, n in zip(pattern.classes, pattern.counts, strict=True)}
    counts = {k: n for k, n in counts.items() if n > 0}
    if not counts:
        return None
    if pattern.group == ALONE:
        return alone_pattern(program, pattern.classes[0])
    return make_pattern(program, pattern.group, pattern.facility, counts)
