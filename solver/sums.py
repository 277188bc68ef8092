"""Sums over an answer to 5.2 that are whole numbers, and what limits on them do to a relaxation's prices.

In every answer these are whole, though a relaxation makes them fractions:

    N(E)    = Σ n_e   over the facilities e of E        instances
    X(E, k) = Σ x_ke  over the facilities e of E        fragments of class k

where E is a group, its facilities up to a price, or a single facility. Both are sums over patterns, so a
limit on one is a row of the master program over patterns. Its dual δ only changes prices: an instance of a
facility of E costs s_e − δ, a fragment of k joins one for a_ke − δ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solver.enumeration import Enumerated
from solver.facilities import Facilities, Floats, Indices, Pattern
from solver.subset_rows import SubsetRow, all_of

# The least an instance costs at changed prices. Nothing in exact arithmetic; divisions are easier without 0.
LEAST_PRICE = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Sum:
    """N(E) or, where `member` is a class, X(E, member).

    E are the facilities of the group that cost at most `most_price`, or only `facility`.
    """

    group: int
    most_price: float = math.inf
    facility: int | None = None
    member: int | None = None

    def of(self, program: Facilities, pattern: Pattern) -> float:
        """What the pattern, used once, adds to it."""
        if pattern.group != self.group or not self._has(program, pattern.facility):
            return 0.0
        if self.member is None:
            return float(pattern.instances)
        for k, count in zip(pattern.classes, pattern.counts, strict=True):
            if k == self.member:
                return float(count)
        return 0.0

    def all_of(self, program: Facilities, patterns: Enumerated) -> Floats:
        """The same for all of these patterns, [N]."""
        inside = patterns.group == self.group
        inside[inside] = self.facilities(program)[patterns.facility[inside]]
        if self.member is None:
            return np.where(inside, patterns.instances, 0.0)
        return np.where(inside, patterns.counts[[self.member]].toarray()[0], 0.0)

    def facilities(self, program: Facilities) -> NDArray[np.bool_]:
        """Which facilities of the group are in E, [E]."""
        price = program.groups[self.group].price
        if self.facility is None:
            return price <= self.most_price
        return np.arange(len(price)) == self.facility

    def _has(self, program: Facilities, facility: int) -> bool:
        if self.facility is not None:
            return facility == self.facility
        return bool(program.groups[self.group].price[facility] <= self.most_price)


# Subset rows have limits too, but their duals are no part of any price.
Row = Sum | SubsetRow
Limits = Mapping[Row, tuple[float, float]]
Duals = Mapping[Row, float]


def allowed_duals(program: Facilities, duals: Duals, limits: Limits) -> dict[Row, float]:
    """Duals that belong to finite limits, and with which no instance has a price below 0.

    A solver's duals keep to that within its tolerance only; lowered a little they prove a bound.
    """
    kept = {
        sum_: dual
        for sum_, dual in duals.items()
        if dual != 0 and sum_ in limits and math.isfinite(limits[sum_][0] if dual > 0 else limits[sum_][1])
    }
    of_instances = [sum_ for sum_ in kept if isinstance(sum_, Sum) and sum_.member is None]
    for number in {sum_.group for sum_ in of_instances}:
        price = program.groups[number].price
        lowered, raised = np.zeros(len(price)), price.copy()
        mine = [sum_ for sum_ in of_instances if sum_.group == number]
        for sum_ in mine:
            part = np.where(sum_.facilities(program), kept[sum_], 0.0)
            lowered += np.maximum(part, 0.0)
            raised -= np.minimum(part, 0.0)
        over = lowered > raised
        if over.any():
            factor = float((raised[over] / lowered[over]).min())
            for sum_ in mine:
                kept[sum_] = kept[sum_] * factor if kept[sum_] > 0 else kept[sum_]
    return kept


def at_prices(program: Facilities, duals: Duals) -> Facilities:
    """The program with the prices of instances and of joining that the duals make of them."""
    sums = [(sum_, dual) for sum_, dual in duals.items() if isinstance(sum_, Sum)]
    if not sums:
        return program
    groups = list(program.groups)
    for sum_, dual in sums:
        group = groups[sum_.group]
        change = np.where(sum_.facilities(program), dual, 0.0)
        if sum_.member is None:
            groups[sum_.group] = replace(group, price=group.price - change)
        else:
            joining = group.joining.copy()
            joining[:, np.searchsorted(group.classes, sum_.member)] -= change
            groups[sum_.group] = replace(group, joining=joining)
    return replace(
        program,
        groups=tuple(replace(group, price=np.maximum(group.price, LEAST_PRICE)) for group in groups),
    )


def proven(members: Indices, worth: Floats, excess: float, duals: Duals, limits: Limits) -> float:
    """The bound that these prices prove when no facility earns more than `excess` ≥ 1 times its price.

    Σ_k m_k π_k + Σ δ⁺ lower − Σ δ⁻ upper, after π, the δ⁺ of every X, what fragments can earn, and what they
    pay for subset rows are divided by the excess: the rest of the prices is what they cost, and stays.
    """
    earned, kept = float(worth @ members), 0.0
    for sum_, dual in duals.items():
        lower, upper = limits[sum_]
        if isinstance(sum_, SubsetRow):
            earned += dual * upper
        elif dual < 0:
            kept += dual * upper
        elif sum_.member is None:
            kept += dual * lower
        else:
            earned += dual * lower
    return earned / excess + kept


def scaled(duals: Duals, excess: float) -> dict[Row, float]:
    """The duals with which `proven` proves its bound."""
    return {sum_: dual / excess if _is_earned(sum_, dual) else dual for sum_, dual in duals.items()}


def _is_earned(row: Row, dual: float) -> bool:
    return isinstance(row, SubsetRow) or (row.member is not None and dual > 0)


def added_to_rows(program: Facilities, rows: Sequence[Row], patterns: Enumerated) -> sparse.csr_matrix:
    """[rows, N]: what each of these patterns, used once, adds to each of these rows."""
    subsets = [number for number, row in enumerate(rows) if isinstance(row, SubsetRow)]
    others = [number for number, row in enumerate(rows) if isinstance(row, Sum)]
    of_sums = [row.all_of(program, patterns) for row in rows if isinstance(row, Sum)]
    of_subsets = all_of([row for row in rows if isinstance(row, SubsetRow)], patterns.counts)
    added = sparse.vstack(
        [of_subsets, sparse.csr_matrix(np.array(of_sums).reshape(len(others), len(patterns)))]
    ).tocsr()
    return added[np.argsort(np.array(subsets + others, dtype=np.intp))]


def earned_of_rows(program: Facilities, duals: Duals, patterns: Enumerated) -> Floats:
    """What these patterns, each used once, earn by all rows, [N]."""
    paid = {row: dual for row, dual in duals.items() if dual}
    earned: Floats = added_to_rows(program, list(paid), patterns).T @ np.array(list(paid.values()))
    return earned
