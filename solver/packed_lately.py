"""What facilities earned when they were last packed, which says which need not be packed again (see
`solver.packed_bound`)."""

from __future__ import annotations

import numpy as np

from solver.facilities import EPSILON, Facilities, Floats
from solver.fractional_bound import Earnings

# How promising, the group, its facilities' fractional earnings, and which of them.
Candidate = tuple[float, int, Earnings, int]


class PackedLately:
    """What facilities earned when they were last packed, which bounds what they earn at other prices.

    With gains g' instead of g, V'_e(n)/n ≤ max_n V_e(n)/n + D, D what one instance could earn of the
    (g' − g)⁺ if fragments could be cut.
    """

    def __init__(self, program: Facilities) -> None:
        self._gain = [np.full(group.joining.shape, np.nan) for group in program.groups]
        self._most = [np.full(len(group), np.inf) for group in program.groups]

    def note(self, program: Facilities, number: int, facility: int, worth: Floats, ratio: float) -> None:
        """At these prices no number of instances of this facility earns more than `ratio` times its price."""
        group = program.groups[number]
        self._gain[number][facility] = worth[group.classes] - group.joining[facility]
        self._most[number][facility] = ratio * group.price[facility]

    def may_pay(self, program: Facilities, worth: Floats, candidates: list[Candidate]) -> list[Candidate]:
        """The candidates that are not known to earn less than their price."""
        rows: dict[int, list[int]] = {}
        for position, (_, number, _, _) in enumerate(candidates):
            rows.setdefault(number, []).append(position)
        kept: list[Candidate] = []
        for number, positions in rows.items():
            group = program.groups[number]
            facilities = np.array([int(candidates[p][2].facilities[candidates[p][3]]) for p in positions])
            gain = worth[group.classes] - group.joining[facilities]
            with np.errstate(invalid="ignore"):
                more = np.maximum(0.0, gain - self._gain[number][facilities])
            more = np.where(np.isnan(more), 0.0, more)  # −∞ as before: cannot join
            load = program.load[group.classes]
            order = np.argsort(-more / load, axis=1, kind="stable")
            more = np.take_along_axis(more, order, axis=1)
            demand = np.where(more > 0, (load * program.members[group.classes])[order], 0.0)
            before = np.cumsum(demand, axis=1) - demand
            capacity = group.capacity[facilities]
            taken = np.clip(capacity[:, None] - before, 0.0, demand) / load[order]
            most = self._most[number][facilities] + (taken * more).sum(axis=1)
            kept.extend(
                candidates[position]
                for position, may in zip(
                    positions, most > group.price[facilities] * (1 + EPSILON), strict=True
                )
                if may
            )
        return kept
