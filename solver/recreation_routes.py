"""The route of one class that costs least more, for `solver.recreation`; letters and words as there."""

from __future__ import annotations

import numpy as np

from solver.compiled import compiled
from solver.recreation_arrays import (
    Arcs,
    Classes,
    Labels,
    Offers,
    Routes,
    Stages,
    cost_of,
    join,
    replace,
    shift,
    survey,
)
from solver.route_kernel import Flags
from solver.routes import Indices

# How often a stage that is there is overlooked.
OVERLOOKED = 0.02
# Where the capacity that a route takes counts too: what all of an instance's does, in parts of its price, and
# in about how many parts the price of a class alone is counted then.
CAPACITY, LEVELS = 0.3, 96
# What sums of times may be wrong by, as a part of a budget; budgets come less twice this much.
LATE = 1e-13


@compiled
def labels_for(depth: int, most: int) -> Labels:
    """Room for labels of so many units."""
    before = np.empty((depth + 1, most + 1), dtype=np.intp)
    return Labels(np.empty((depth + 1, most + 1)), before, before.copy(), before.copy())


@compiled
def offers_for(depth: int, most: int) -> Offers:
    """Room for so many offers."""
    onward = np.empty(most, dtype=np.intp)
    return Offers(np.empty(depth + 1, dtype=np.intp), onward, onward.copy(), onward.copy(), onward.copy())


@compiled
def parts_of(alone: int, sparing: bool) -> int:
    """Parts in which a unit is counted for a class that costs so many units alone."""
    return max(1, LEVELS // alone) if sparing else 1


@compiled
def most_labels(alone: int) -> int:
    """The most parts of units that a class may pay which costs so many units alone."""
    return int(max(alone, LEVELS) * (1.0 + CAPACITY)) + 1


@compiled
def offer(
    arcs: Arcs,
    classes: Classes,
    routes: Routes,
    stages: Stages,
    offers: Offers,
    k: int,
    sparing: bool,
    careful: bool,
) -> None:
    """What stages that are there offer class k: to join, or to be replaced by one that has room for it, or
    is fast enough. Now and then one is overlooked. If `careful`, none becomes slower; if `sparing`, the
    capacity taken counts, too."""
    depth, arc_tail, arc_head, time, first = arcs.depth, arcs.tail, arcs.head, arcs.time, arcs.first
    capacity, units, load, least = arcs.capacity, arcs.units, routes.load, stages.least
    first_offer, onward, offered, price, replaced = offers
    entry, own, most = classes.entry[k], classes.load[k], classes.alone[k]
    parts = parts_of(most, sparing)
    worth = CAPACITY * parts * own if sparing else 0.0
    first_offer[:] = -1
    number = 0
    for at in range(stages.number[0]):
        e = stages.arcs[at]
        tail, there = arc_tail[e], load[e]
        if tail < entry or np.random.random() < OVERLOOKED:
            continue
        now = cost_of(there, capacity[e], units[e])
        joined = cost_of(there + own, capacity[e], units[e]) - now
        slowest = time[e] + (0.0 if careful else least[e])
        end = tail * (depth + 1) + arc_head[e]
        for other in range(first[end], first[end + 1]):
            if time[other] > slowest:
                continue
            # Where nobody is yet, what one instance costs says mostly enough, and takes no division.
            if load[other] == 0.0 and (
                units[other] > most + now or (time[other] >= time[e] and units[other] >= joined + now)
            ):
                continue
            more = joined
            if other != e:
                others = load[other]
                more = cost_of(there + others + own, capacity[other], units[other]) - now
                if others > 0.0:
                    more -= cost_of(others, capacity[other], units[other])
                if more >= joined and time[other] >= time[e]:
                    continue
            if more <= most and number < len(offered):
                offered[number] = other
                price[number] = parts * max(0, more) + int(worth * units[other] / capacity[other])
                replaced[number] = -1 if other == e else e
                onward[number] = first_offer[tail]
                first_offer[tail] = number
                number += 1


@compiled
def label(
    arcs: Arcs, classes: Classes, labels: Labels, offers: Offers, allowed: Flags, k: int, sparing: bool
) -> int:
    """The fewest parts of units (`parts_of`) for which class k gets to the end in time, or −1.

    From the cheapest labels on, so that no more is looked at than what costs as little as the best way. New
    stages end at `allowed` cut points alone. If `sparing`, the capacity taken counts, too, rounded down.
    """
    depth, entry, budget, most = arcs.depth, classes.entry[k], classes.budget[k], classes.alone[k]
    arc_head, arc_time, rest = arcs.head, arcs.time, arcs.soonest
    capacity, instance_units = arcs.capacity, arcs.units
    begins, new_units, new_time, new_arc = classes.begins, classes.units, classes.time, classes.arc
    first_offer, onward, offered, price, replaced = offers
    times, before, by, replaces = labels
    parts = parts_of(most, sparing)
    worth = CAPACITY * parts * classes.load[k] if sparing else 0.0
    # A class alone takes no more capacity than it buys.
    most = int(most * parts * (1.0 + CAPACITY)) if sparing else most
    times[:, : most + 1] = np.inf
    times[entry, 0] = 0.0
    soonest = np.full(depth, np.inf)
    units = 0
    while units <= most:
        for cut in range(entry, depth):
            spent = times[cut, units]
            if spent >= soonest[cut]:
                continue
            soonest[cut] = spent
            at = first_offer[cut]
            while at >= 0:
                e, paid = offered[at], units + price[at]
                head, time = arc_head[e], spent + arc_time[e]
                if paid <= most and time < times[head, paid] and time + rest[head] <= budget:
                    times[head, paid], before[head, paid] = time, units
                    by[head, paid], replaces[head, paid] = e, replaced[at]
                    if head == depth:
                        most = paid
                at = onward[at]
            for head in range(depth, cut, -1):
                if not allowed[head]:
                    continue
                end = cut * (depth + 1) + head
                for new in range(begins[k, end], begins[k, end + 1]):
                    paid, time = units + parts * new_units[new], spent + new_time[new]
                    if paid > most:
                        break
                    e = new_arc[new]
                    if sparing:
                        paid += int(worth * instance_units[e] / capacity[e])
                    if paid <= most and time < times[head, paid] and time + rest[head] <= budget:
                        times[head, paid], before[head, paid] = time, units
                        by[head, paid], replaces[head, paid] = e, -2
                        if head == depth:
                            most = paid
        units += 1
    return most if times[depth, most] < np.inf else -1


@compiled
def take_route(
    arcs: Arcs, classes: Classes, routes: Routes, stages: Stages, labels: Labels, k: int, level: int
) -> bool:
    """Class k takes the route labelled with so many parts of units; False where stages that it replaces by
    slower ones would make somebody late, and then nothing is changed."""
    cut, left = arcs.depth, level
    taken, replaced = np.empty(arcs.depth, dtype=np.intp), np.empty(arcs.depth, dtype=np.intp)
    length = 0
    while cut != classes.entry[k]:
        taken[length], replaced[length] = labels.arc[cut, left], labels.replaces[cut, left]
        left = labels.before[cut, left]
        cut = arcs.tail[taken[length]]
        length += 1
    others = replaced[:length].max() >= 0
    if others:
        late = False
        for sign in (1.0, -1.0):
            for at in range(length):
                if replaced[at] >= 0:
                    longer = arcs.time[taken[at]] - arcs.time[replaced[at]]
                    shift(routes, replaced[at], -sign * longer)
            for other in range(len(routes.length)):
                late |= routes.length[other] > 0 and routes.slack[other] < -LATE * classes.budget[other]
        if late:
            return False
        for at in range(length):
            if replaced[at] >= 0:
                replace(arcs, routes, replaced[at], taken[at])
    routes.slack[k] = classes.budget[k]
    for at in range(length):
        e = taken[length - 1 - at]
        routes.path[k, at] = e
        routes.load[e] += classes.load[k]
        routes.users[e] += 1
        routes.slack[k] -= arcs.time[e]
    routes.length[k] = length
    if others:
        survey(routes, stages)
    else:
        join(routes, stages, k)
    return True


@compiled
def find_route(
    arcs: Arcs,
    classes: Classes,
    routes: Routes,
    stages: Stages,
    labels: Labels,
    offers: Offers,
    allowed: Flags,
    k: int,
    sparing: bool,
) -> bool:
    """Class k, without a route, gets one for as little as was found; whether there is one."""
    offer(arcs, classes, routes, stages, offers, k, sparing, False)
    level = label(arcs, classes, labels, offers, allowed, k, sparing)
    if level >= 0 and take_route(arcs, classes, routes, stages, labels, k, level):
        return True
    offer(arcs, classes, routes, stages, offers, k, sparing, True)
    level = label(arcs, classes, labels, offers, np.ones_like(allowed), k, sparing)
    return level >= 0 and take_route(arcs, classes, routes, stages, labels, k, level)


@compiled
def alone(arcs: Arcs, classes: Classes, most: int) -> Indices:
    """[K]: the fewest units for which a class gets to the end if it shares nothing; −1 beyond `most`."""
    labels, offers = labels_for(arcs.depth, most), offers_for(arcs.depth, 0)
    offers.begins[:] = -1
    found = np.empty(len(classes.load), dtype=np.intp)
    allowed = np.ones(arcs.depth + 1, dtype=np.bool_)
    for k in range(len(found)):
        found[k] = label(arcs, classes, labels, offers, allowed, k, False)
    return found


def pruned(arcs: Arcs, classes: Classes) -> Classes:
    """Of the stages that a class may buy those that cost no more than its whole way alone and leave time to
    get to the end: the fewer there are, the more of them stay in the processor's cache."""
    begins = classes.begins
    owner = np.repeat(np.arange(len(begins)), begins[:, -1] - begins[:, 0])
    head = arcs.head[classes.arc]
    kept = (classes.units <= classes.alone[owner]) & (
        classes.time + arcs.soonest[head] <= classes.budget[owner]
    )
    before = np.concatenate([[0], np.cumsum(kept)]).astype(np.intp)
    return classes._replace(
        begins=before[begins], units=classes.units[kept], time=classes.time[kept], arc=classes.arc[kept]
    )
