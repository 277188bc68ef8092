"""The inner loops of `solver.route_graph` and `solver.route_ascent` as machine code; letters as there.

Everything is done class by class, so that what is known of one class stays in the processor's cache, and only
between the ticks in which the class can be at a cut point at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solver.compiled import compiled, compiled_loosely
from solver.routes import EPSILON, Floats, Indices

# In single or in double precision.
Prices = NDArray[np.floating]
Flags = NDArray[np.bool_]

# A path waits with less of its class than this part of the least.
LIVELY = 0.5


@compiled_loosely
def to_end(
    price: Prices, tail: Indices, head: Indices, ticks: Indices, entry: Indices, allowed: Indices, depth: int
) -> Prices:
    """[depth + 1, K, T]: the least price from a cut point to the end with so many ticks left.

    For arcs [A] sorted by tail at `price` [K, A], infinite where they are closed. T is the largest of
    `allowed` [K] and 1; of a class only cut points from its entry on and ticks up to its own are filled in.
    """
    classes, arcs = price.shape
    least = np.full((depth + 1, classes, allowed.max() + 1), np.inf, dtype=price.dtype)
    least[depth] = 0.0
    # With fewer ticks left nobody gets to the end from a cut point.
    need = np.empty(depth + 1, dtype=np.intp)
    for k in range(classes):
        most = allowed[k]
        need[:] = most + 1
        need[depth] = 0
        for arc in range(arcs - 1, -1, -1):
            own, cut, onto = price[k, arc], tail[arc], head[arc]
            if cut < entry[k]:
                break
            first = need[onto] + ticks[arc]
            if own == np.inf or first > most:
                continue
            need[cut] = min(need[cut], first)
            here = least[cut, k, first : most + 1]
            onward = least[onto, k, need[onto] : most + 1 - ticks[arc]]
            for tick in range(len(here)):
                here[tick] = min(here[tick], onward[tick] + own)
    return least


@compiled_loosely
def from_entry(
    price: Prices, tail: Indices, head: Indices, ticks: Indices, entry: Indices, allowed: Indices, depth: int
) -> Prices:
    """[depth + 1, K, T]: the least price from a class's entry to a cut point in so many ticks, as above."""
    classes, arcs = price.shape
    least = np.full((depth + 1, classes, allowed.max() + 1), np.inf, dtype=price.dtype)
    # In fewer ticks nobody gets to a cut point.
    need = np.empty(depth + 1, dtype=np.intp)
    for k in range(classes):
        most = allowed[k]
        need[:] = most + 1
        need[entry[k]] = 0
        least[entry[k], k] = 0.0
        for arc in range(arcs):
            own, cut, onto = price[k, arc], tail[arc], head[arc]
            first = need[cut] + ticks[arc]
            if own == np.inf or first > most:
                continue
            need[onto] = min(need[onto], first)
            there = least[onto, k, first : most + 1]
            onward = least[cut, k, need[cut] : most + 1 - ticks[arc]]
            for tick in range(len(there)):
                there[tick] = min(there[tick], onward[tick] + own)
    return least


@compiled_loosely
def without(
    start: Prices, end: Prices, tail: Indices, head: Indices, ticks: Indices, allowed: Indices, able: Flags
) -> Prices:
    """[K, A]: the least price of a path through an arc, its own left out; infinite where not `able` [K, A].

    `start` and `end` are `from_entry` and `to_end`.
    """
    cuts, classes, last = start.shape
    found = np.full((classes, len(tail)), np.inf, dtype=start.dtype)
    # Of one class: what is to come by the ticks used, and between which ticks it can be at a cut point.
    rest = np.empty((cuts, last), dtype=start.dtype)
    soonest, latest = np.empty(cuts, dtype=np.intp), np.empty(cuts, dtype=np.intp)
    for k in range(classes):
        most = allowed[k]
        for cut in range(cuts):
            rest[cut, : most + 1] = end[cut, k, most::-1]
            soonest[cut] = 0
            while soonest[cut] <= most and start[cut, k, soonest[cut]] == np.inf:
                soonest[cut] += 1
            latest[cut] = most
            while latest[cut] >= 0 and rest[cut, latest[cut]] == np.inf:
                latest[cut] -= 1
        for arc in range(len(tail)):
            spent = ticks[arc]
            first, after = soonest[tail[arc]], latest[head[arc]] - spent + 1
            if not able[k, arc] or first >= after:
                continue
            before = start[tail[arc], k, first:after]
            onward = rest[head[arc], first + spent : after + spent]
            least = before[0] + onward[0]
            for tick in range(len(before)):
                least = min(least, before[tick] + onward[tick])
            found[k, arc] = least
    return found


@compiled_loosely
def paths(
    price: Prices,
    tail: Indices,
    head: Indices,
    ticks: Indices,
    entry: Indices,
    allowed: Indices,
    depth: int,
    end: Prices,
) -> Indices:
    """[K, depth]: every class's cheapest path as positions of arcs, −1 after its last one; `end` is `to_end`.

    All −1 where there is none.
    """
    classes, cuts = len(price), depth
    first = np.searchsorted(tail, np.arange(cuts + 1))
    found = np.full((classes, cuts), -1, dtype=np.intp)
    for k in range(classes):
        cut, left, many = entry[k], allowed[k], 0
        while cut < cuts and end[cut, k, left] < np.inf:
            best, least = -1, np.inf
            for arc in range(first[cut], first[cut + 1]):
                if ticks[arc] <= left:
                    onward = price[k, arc] + end[head[arc], k, left - ticks[arc]]
                    if onward < least:
                        best, least = arc, onward
            found[k, many] = best
            many += 1
            cut, left = head[best], left - ticks[best]
    return found


@compiled
def needs(around: Prices, goal: Floats) -> Floats:
    """[K, A]: what is missing from `around` [K, A] to a class's goal [K]; 0 where either is infinite."""
    classes, arcs = around.shape
    found = np.zeros((classes, arcs))
    for k in range(classes):
        if goal[k] < np.inf:
            for arc in range(arcs):
                # That infinity is less than a goal is never so.
                found[k, arc] = max(0.0, goal[k] - around[k, arc])
    return found


@compiled
def knapsacks(gains: Floats, load: Floats, capacity: Floats) -> Floats:
    """[A]: max Σ_k gains_ke x_k with Σ_k q_k x_k ≤ c_e, 0 ≤ x_k ≤ 1; gains [K, A]."""
    classes, arcs = gains.shape
    earned = np.zeros(arcs)
    payer, worth = np.empty(classes, dtype=np.intp), np.empty(classes)
    for arc in range(arcs):
        many, brought, total = 0, 0.0, 0.0
        for k in range(classes):
            gain = gains[k, arc]
            if gain > 0:
                payer[many], worth[many] = k, gain / load[k]
                many += 1
                brought += load[k]
                total += gain
        if brought <= capacity[arc]:
            earned[arc] = total
            continue
        room = capacity[arc]
        for at in np.argsort(worth[:many])[::-1]:
            taken = min(room, load[payer[at]])
            earned[arc] += worth[at] * taken
            room -= taken
            if room <= 0:
                break
    return earned


@compiled
def shares(
    prices: Prices,
    load: Floats,
    capacity: Floats,
    price: Floats,
    able: Flags,
    first: float,
    first_whole: float,
) -> Floats:
    """[A, K + 1]: in which parts classes, and last the capacity, pay an arc's price; from `prices` [K, A].

    No part that may be is less than `first`, the capacity's not less than `first_whole`, before all are
    made to add up to 1.
    """
    classes, arcs = prices.shape
    found = np.zeros((arcs, classes + 1))
    payer, worth = np.empty(classes, dtype=np.intp), np.empty(classes)
    for arc in range(arcs):
        many, brought = 0, 0.0
        for k in range(classes):
            if able[k, arc]:
                brought += load[k]
                if prices[k, arc] > 0:
                    payer[many], worth[many] = k, prices[k, arc] / load[k]
                    many += 1
        whole = 0.0
        full = brought > capacity[arc] * (1 + EPSILON)
        if full:
            room = capacity[arc]
            for at in np.argsort(worth[:many])[::-1]:
                room -= load[payer[at]]
                if room <= 0:
                    # What the class at which an instance is full pays for its load is paid by all for theirs.
                    whole = worth[at] * capacity[arc]
                    break
            found[arc, classes] = max(whole / price[arc], first_whole)
        total = found[arc, classes]
        for k in range(classes):
            if able[k, arc]:
                own = max(0.0, prices[k, arc] - whole * load[k] / capacity[arc]) / price[arc]
                found[arc, k] = max(own, first)
                total += found[arc, k]
        found[arc] /= max(total, 1e-300)
    return found


@compiled
def play(
    steps: int,
    first: int,
    later: int,
    settings: tuple[float, float, float, float],
    price: Floats,
    worth: Floats,
    allowed: Flags,
    share: Floats,
    use: Floats,
    scale: Floats,
    part: Floats,
    sums: tuple[Floats, Floats, Floats],
    pays: Floats,
    class_of: Indices,
    begins: Indices,
    along: Indices,
) -> float:
    """So many steps of the game, and what they weigh: step n, from `first` on, counts nˡᵃᵗᵉʳ.

    Arcs [A] at `price`; `worth` [A, K] is the part of an instance that all of a class needs. `allowed`,
    `share` and `use` are [A, K + 1], `scale` [A]; `part` and `class_of` are of paths [P], of which path p
    uses the entries along[begins[p]] … along[begins[p + 1] − 1] of `use`. `sums` are of share, use and part.
    All from `share` to `sums` is changed in place.
    """
    shares, classes, least_share, least_part = settings
    arcs, width = share.shape
    before, priced = use.copy(), np.empty(arcs * width)
    cost, least, total = np.empty(len(part)), np.empty(len(pays)), np.empty(len(pays))
    flat, weights = use.reshape(-1), 0.0
    # Paths that carry next to nothing after the first step wait for the next call.
    lively, many = np.arange(len(part)), len(part)
    for number in range(first, first + steps):
        weight = float(number) ** later
        weights += weight
        for arc in range(arcs):
            stride, most = 1 / (shares * scale[arc]), -np.inf
            for k in range(width):
                if allowed[arc, k]:
                    most = max(most, (2 * use[arc, k] - before[arc, k]) * stride)
            unused, all_of_it = np.exp(-most), 0.0
            for k in range(width):
                if not allowed[arc, k]:
                    share[arc, k] = 0.0
                    continue
                ahead = (2 * use[arc, k] - before[arc, k]) * stride
                factor = unused if ahead == 0.0 else np.exp(ahead - most)
                share[arc, k] = max(share[arc, k], least_share) * factor
                all_of_it += share[arc, k]
            for k in range(width):
                share[arc, k] /= all_of_it
                sums[0][arc, k] += weight * share[arc, k]
                before[arc, k] = use[arc, k]
                use[arc, k] = 0.0
            whole = share[arc, width - 1] * price[arc]
            for k in range(width - 1):
                priced[arc * width + k] = share[arc, k] * price[arc] + whole * worth[arc, k]
        least[:] = np.inf
        for at in range(many):
            path, paid = lively[at], 0.0
            for entry in range(begins[path], begins[path + 1]):
                paid += priced[along[entry]]
            cost[path] = paid
            least[class_of[path]] = min(least[class_of[path]], paid)
        total[:] = 0.0
        for at in range(many):
            path = lively[at]
            k = class_of[path]
            dearer = (cost[path] - least[k]) / (classes * pays[k])
            part[path] = max(part[path], least_part) * np.exp(-min(dearer, 50.0))
            total[k] += part[path]
        kept = 0
        for at in range(many):
            path = lively[at]
            part[path] /= total[class_of[path]]
            if number == first and part[path] < LIVELY * least_part:
                part[path] = 0.0
                continue
            lively[kept] = path
            kept += 1
            sums[2][path] += part[path]
            for entry in range(begins[path], begins[path + 1]):
                flat[along[entry]] += part[path]
        many = kept
        for arc in range(arcs):
            loaded, most = 0.0, 0.0
            for k in range(width - 1):
                loaded += use[arc, k] * worth[arc, k]
                most = max(most, use[arc, k])
            use[arc, width - 1] = loaded
            scale[arc] = max(0.9 * scale[arc] + 0.1 * max(most, loaded), 1e-4)
            for k in range(width):
                sums[1][arc, k] += weight * use[arc, k]
    return weights
