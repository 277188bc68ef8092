"""The arcs of program 5.3 that a best plan may need.

No stage carries more than all classes that can use it, so a greater capacity is worth no more. An arc is left
out if no class can use it in time, and if whole instances of others between the same cut points, none slower,
carry as much at no higher price: a plan can use those in its place, since routes may be split among them.
"""

from __future__ import annotations

import numpy as np

from solver.routes import EPSILON, Floats, Indices, Network
from solver.steps import common_step

# Price steps of an arc up to which any mix of others is held against it.
MOST_UNITS = 1_000


def useful_arcs(network: Network, least: Floats) -> Indices:
    """Arcs that some class can use in time and that whole instances of others do not replace.

    `least` [depth + 1, depth + 1] are the least times between cut points.
    """
    step = common_step(np.unique(network.price).tolist())
    kept = []
    for cut in range(network.depth):
        classes = np.flatnonzero(network.entry <= cut)
        if not len(classes):
            continue
        spare = network.budget[classes] * (1 + EPSILON) - least[network.entry[classes], cut]
        order = np.argsort(spare)
        spare, load = spare[order], network.load[classes][order]
        # carried[n]: the load of all classes but the n with the least to spare.
        carried = np.concatenate([np.cumsum(load[::-1])[::-1], [0.0]])
        arcs = np.arange(network.leaving[cut], network.leaving[cut + 1])
        for head in np.unique(network.head[arcs]).tolist():
            among = arcs[network.head[arcs] == head]
            needed = network.time[among] + least[head, network.depth]
            most_load = carried[np.searchsorted(spare, needed * (1 - EPSILON))]
            kept.append(among[unbeaten(network, among, most_load, step)])
    return np.concatenate([*kept, np.zeros(0, dtype=np.intp)]).astype(np.intp)


def unbeaten(network: Network, arcs: Indices, most_load: Floats, step: float) -> Indices:
    """Positions of the arcs that no whole instances of others replace; of equals the first.

    No arc carries more than its `most_load`. Prices are multiples of `step`; where that is 0, only several
    instances of the same other arc are looked at.
    """
    time, capacity, price = network.time[arcs], network.capacity[arcs], network.price[arcs]
    worth = np.minimum(capacity, most_load) * (1 - EPSILON)
    units = np.rint(price / step).astype(np.intp) if step > 0 else np.zeros(len(arcs), dtype=np.intp)
    combined = step > 0 and len(arcs) > 0 and int(units.max()) <= MOST_UNITS
    # best[u]: the most that arcs looked at so far carry for u steps.
    best = np.zeros(int(units.max()) + 1 if combined else 0)
    kept: list[int] = []
    for arc in np.lexsort((-capacity, price, time)).tolist():
        if most_load[arc] <= 0:
            continue
        if combined:
            spent, carries = int(units[arc]), float(capacity[arc])
            if best[spent] >= worth[arc]:
                continue
            for most in range(spent, len(best)):
                best[most] = max(best[most], best[most - spent] + carries)
        else:
            copies = np.floor(price[arc] * (1 + EPSILON) / price[kept])
            if (copies * capacity[kept]).max(initial=0.0) >= worth[arc]:
                continue
        kept.append(arc)
    return np.array(sorted(kept), dtype=np.intp)
