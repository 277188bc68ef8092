"""A lower bound on program 5.3 that costs next to nothing: instances bought in fractions.

Without the strong form and with n continuous, an arc costs s_e / c_e a request a second, every class takes
its cheapest path in time, and nobody shares anything: Σ_k q_k · (cheapest path from its entry within B_k).
What a path costs does not depend on who takes it, so one backward pass over the cut points finds, for all
classes at once, the front of (time, price) of the paths from every cut point to the end.
"""

from __future__ import annotations

import numpy as np

from solver.outcome import Watch
from solver.routes import EPSILON, Floats, Network

# Points kept on a front. More are merged with their neighbours, of which the least time and the least price
# are kept: a bound still.
MOST_POINTS = 400


def path_bound(network: Network, watch: Watch | None = None) -> float:
    """Σ_k q_k · min price of a path within B_k; infinite where a class has no path in time.

    0 where the watch says stop before it is known.
    """
    fronts = cheapest_paths(network, watch)
    if fronts is None:
        return 0.0
    total = 0.0
    for entry in np.unique(network.entry):
        time, price = fronts[int(entry)]
        classes = np.flatnonzero(network.entry == entry)
        within = np.searchsorted(time, network.budget[classes] * (1 + EPSILON), side="right") - 1
        if len(time) == 0 or (within < 0).any():
            return np.inf
        total += float(network.load[classes] @ price[within])
    return total


def cheapest_paths(network: Network, watch: Watch | None = None) -> list[tuple[Floats, Floats]] | None:
    """For every cut point, paths to the end: rising times, and the falling price of a request a second.

    None where the watch says stop.
    """
    nothing = np.zeros(0)
    fronts = [(nothing, nothing) for _ in range(network.depth)] + [(np.zeros(1), np.zeros(1))]
    longest = float(network.budget.max()) * (1 + EPSILON)
    rate = network.price / network.capacity
    for cut in range(network.depth - 1, -1, -1):
        if watch is not None:
            watch.update(phase="paths")
            if watch.limit is not None:
                return None
        times, prices = [nothing], [nothing]
        first, last = network.leaving[cut], network.leaving[cut + 1]
        for head in np.unique(network.head[first:last]):
            begin, end = first + np.searchsorted(network.head[first:last], [head, head + 1])
            arc_time, arc_rate = front(network.time[begin:end], rate[begin:end])
            onward_time, onward_price = fronts[int(head)]
            times.append(np.add.outer(arc_time, onward_time).ravel())
            prices.append(np.add.outer(arc_rate, onward_price).ravel())
        time, price = np.concatenate(times), np.concatenate(prices)
        in_time = time <= longest
        fronts[cut] = _thin(*front(time[in_time], price[in_time]))
    return fronts


def front(time: Floats, price: Floats) -> tuple[Floats, Floats]:
    """The points no other beats in both, by rising time."""
    order = np.lexsort((price, time))
    time, price = time[order], price[order]
    if not len(order):
        return time, price
    best = np.minimum.accumulate(price)
    keep = np.concatenate([[True], price[1:] < best[:-1]])
    return time[keep], price[keep]


def _thin(time: Floats, price: Floats) -> tuple[Floats, Floats]:
    if len(time) <= MOST_POINTS:
        return time, price
    run = np.linspace(0, len(time), MOST_POINTS + 1).astype(np.intp)
    return time[run[:-1]], price[run[1:] - 1]
