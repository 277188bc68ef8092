"""The best forest that can be put together from trees seen during a search.

Which of many trees to take so that every demand is in one of them, at the least price, is a set covering
problem. Its linear relaxation gives a bound and what each tree costs beyond it (its reduced cost); no tree
whose reduced cost exceeds the distance from the bound to the forest at hand can be in a better one, so few
are left for the integer program. Both are solved by HiGHS, without a clock: the same trees give the same
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Branch-and-bound nodes of the integer program; reached only where it is hard, and then the best found so far
# is taken.
MAX_NODES = 200

# Trees of the integer program at most, those of least reduced cost.
MAX_TREES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """Numbers of the sets taken (every demand in at least one), and their price."""

    chosen: tuple[int, ...]
    price: float


def best_cover(
    members: Sequence[frozenset[int]],
    prices: Sequence[float],
    count: int,
    at_hand: float,
) -> Cover | None:
    """Of these sets of demands 0 … count−1, the cheapest that contain all; None if not below `at_hand`."""
    # They take a third of a second to load, which most commands, and the service, have no use for.
    from scipy.optimize import Bounds, LinearConstraint, linprog, milp
    from scipy.sparse import csc_matrix

    price = np.array(prices)
    rows = np.array([number for group in members for number in sorted(group)])
    ends = np.cumsum([0, *(len(group) for group in members)])
    table = csc_matrix((np.ones(len(rows)), rows, ends), shape=(count, len(members)))
    relaxed = linprog(price, A_ub=-table, b_ub=-np.ones(count), bounds=(0, None), method="highs")
    if relaxed.status != 0:
        return None
    reduced = price + table.T @ relaxed.ineqlin.marginals
    worth = np.flatnonzero(reduced <= at_hand - relaxed.fun + 1e-9)
    if not len(worth):
        return None
    worth = worth[np.argsort(reduced[worth], kind="stable")][:MAX_TREES]
    answer = milp(
        price[worth],
        constraints=LinearConstraint(table[:, worth], lb=1.0),
        integrality=np.ones(len(worth)),
        bounds=Bounds(0, 1),
        options={"node_limit": MAX_NODES, "mip_rel_gap": 1e-6},
    )
    if answer.x is None:
        return None
    chosen = worth[answer.x > 0.5]
    total = float(price[chosen].sum())
    if total >= at_hand - 1e-9 * max(1.0, at_hand):
        return None
    return Cover(chosen=tuple(int(number) for number in chosen), price=total)
