"""The search of `solver.recreation` as machine code; letters and words as there."""

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
    price_now,
    remove,
    replace,
    settle,
    survey,
)
from solver.recreation_routes import find_route, labels_for, most_labels, offers_for
from solver.route_kernel import Flags
from solver.routes import Indices

# How often those who give up their routes are the users of stages near one another, rather than alike.
BY_STAGES = 0.6
# How many times the users of another stage nearby join in, and by how many cut points on average one farther
# away may come first.
MORE_STAGES, STAGE_NOISE = 4, 3.0
# Classes are alike by entry (as a part of the depth, so many times) and budget (logarithm), and at random.
ENTRIES, CLASS_NOISE = 2.0, 0.15
# How often stages are made cheaper before routes are found, too.
BEFORE = 0.3
# How often the capacity that routes take counts, too.
SPARING = 0.5
# How often new stages may only end at some cut points.
FEW_ENDS = 0.9
# Units by which routes found so far may cost more than allowed: making stages cheaper may still save them.
MARGIN = 3
# Offers of stages that are there, at most.
MOST_OFFERS = 20_000


@compiled
def make_cheaper(arcs: Arcs, routes: Routes, stages: Stages, order: Indices) -> None:
    """Every stage, in any order, becomes the cheapest between its ends that is fast enough for its users; of
    equals the fastest. There is room for all stages in `order`."""
    arc_time, first, capacity, units = arcs.time, arcs.first, arcs.capacity, arcs.units
    load, number = routes.load, stages.number[0]
    for at in range(number):
        other = np.random.randint(at + 1)
        order[at] = order[other]
        order[other] = stages.arcs[at]
    for e in order[:number]:
        if stages.least[e] == np.inf:
            continue  # another one has become like it, and has its users
        latest = arc_time[e] + stages.least[e]
        best, least, time = e, cost_of(load[e], capacity[e], units[e]), arc_time[e]
        end = arcs.tail[e] * (arcs.depth + 1) + arcs.head[e]
        for other in range(first[end], first[end + 1]):
            if other == e or arc_time[other] > latest:
                continue
            if load[other] == 0.0 and (
                units[other] > least or (units[other] == least and arc_time[other] >= time)
            ):
                continue  # one instance alone is too dear
            cost = cost_of(load[e] + load[other], capacity[other], units[other])
            if load[other] > 0.0:
                cost -= cost_of(load[other], capacity[other], units[other])
            if cost < least or (cost == least and arc_time[other] < time):
                best, least, time = other, cost, arc_time[other]
        if best != e:
            replace(arcs, routes, e, best)
            survey(routes, stages)


@compiled
def give_up(arcs: Arcs, classes: Classes, routes: Routes, stages: Stages, most: int, chosen: Indices) -> int:
    """Choose classes that shall find new routes, chosen[: as many as returned], and take theirs away."""
    many, number, arc_tail, arc_head = len(classes.load), 0, arcs.tail, arcs.head
    path, length = routes.path, routes.length
    wanted = 1 + np.random.randint(most)
    seed = np.random.randint(many)
    if np.random.random() < BY_STAGES:
        e = path[seed, np.random.randint(length[seed])]
        for _ in range(MORE_STAGES):
            first = number
            for k in range(many):
                for at in range(length[k]):
                    if path[k, at] == e:
                        chosen[number] = k
                        number += 1
            for at in range(first, number):
                other = at + np.random.randint(number - at)
                chosen[at], chosen[other] = chosen[other], chosen[at]
            number = min(number, wanted)
            for at in range(first, number):
                remove(classes, routes, chosen[at])
            nearest, next_one = np.inf, -1
            for f in stages.arcs[: stages.number[0]]:
                if routes.users[f] > 0 and f != e:
                    # As if each of its users drew one, and the least counted.
                    noise = -STAGE_NOISE * np.log(1.0 - np.random.random()) / routes.users[f]
                    distance = abs(arc_tail[f] - arc_tail[e]) + abs(arc_head[f] - arc_head[e]) + noise
                    if distance < nearest:
                        nearest, next_one = distance, f
            if number == wanted or next_one < 0:
                break
            e = next_one
        return number
    apart = np.empty(many)
    for k in range(many):
        entries = ENTRIES * abs(classes.entry[k] - classes.entry[seed]) / arcs.depth
        budgets = abs(np.log(classes.budget[k] / classes.budget[seed]))
        apart[k] = entries + budgets - CLASS_NOISE * np.log(1.0 - np.random.random())
    apart[seed] = 0.0
    nearest_first = np.argsort(apart)
    number = min(wanted, many)
    for at in range(number):
        chosen[at] = nearest_first[at]
        remove(classes, routes, chosen[at])
    return number


@compiled
def in_order(classes: Classes, chosen: Indices) -> Indices:
    """Some classes in an order that is drawn: any, or by load, budget or entry."""
    key = np.random.random(len(chosen))
    drawn = np.random.random()
    for at in range(len(chosen)):
        k = chosen[at]
        if drawn >= 0.85:
            key[at] = 0.01 * key[at] - classes.entry[k]
        elif drawn >= 0.7:
            key[at] = 0.01 * key[at] + classes.entry[k]
        elif drawn >= 0.5:
            key[at] = classes.budget[k]
        elif drawn >= 0.3:
            key[at] = -classes.load[k]
    return chosen[np.argsort(key)]


@compiled
def draw_ends(
    arcs: Arcs, stages: Stages, chosen: Indices, before: Indices, had: Indices, allowed: Flags
) -> None:
    """At which cut points new stages may end: often only where some do, or did, and at a few others."""
    few = np.random.random() < FEW_ENDS
    share, others = np.random.random(), 0.3 * np.random.random()
    for cut in range(arcs.depth):
        allowed[cut] = not few or np.random.random() < others
    for at in range(stages.number[0]):
        if np.random.random() < 0.5 + 0.5 * share:
            allowed[arcs.head[stages.arcs[at]]] = True
    for k in chosen:
        for at in range(had[k]):
            if np.random.random() < 0.3 * share:
                allowed[arcs.head[before[k, at]]] = True
    allowed[arcs.depth] = True


@compiled
def recreate(
    arcs: Arcs,
    classes: Classes,
    routes: Routes,
    stages: Stages,
    labels: Labels,
    offers: Offers,
    order: Indices,
    chosen: Indices,
    before: Indices,
    had: Indices,
    most: float,
) -> bool:
    """Routes for the chosen classes, which have none, and cheaper stages; False where it costs more than
    `most` units. `before` [K, depth] are the routes that they had, of `had` [K] arcs each; there is room for
    all stages in `order`."""
    allowed = np.empty(arcs.depth + 1, dtype=np.bool_)
    survey(routes, stages)
    draw_ends(arcs, stages, chosen, before, had, allowed)
    if np.random.random() < BEFORE:
        make_cheaper(arcs, routes, stages, order)
    sparing = np.random.random() < SPARING
    price = price_now(arcs, routes, stages)
    for k in in_order(classes, chosen):
        if price > most + MARGIN:
            return False
        if not find_route(arcs, classes, routes, stages, labels, offers, allowed, k, sparing):
            return False
        price = price_now(arcs, routes, stages)
    make_cheaper(arcs, routes, stages, order)
    return price_now(arcs, routes, stages) <= most


@compiled
def anneal(
    first: int,
    steps: int,
    last: int,
    heat: tuple[float, float],
    most: int,
    seed: int,
    arcs: Arcs,
    classes: Classes,
    routes: Routes,
    best: Routes,
    price: int,
) -> int:
    """Steps from `first` on of a search of `last`: at most so many classes give up their routes and find new
    ones, and the outcome is kept where it is no dearer, or by no more than what is drawn: on average the
    heat, which falls from its first to its second number.

    `routes` go on from step to step; where they cost less than `price` units, they go into `best`, and their
    units are returned. Classes without a route get one first. A search goes on drawing where it was unless
    there is a `seed` (0 or more).
    """
    if seed >= 0:
        np.random.seed(seed)
    many, used = len(classes.load), len(arcs.tail)
    labels = labels_for(arcs.depth, most_labels(classes.alone.max()))
    offers = offers_for(arcs.depth, MOST_OFFERS)
    stages = Stages(np.zeros(1, dtype=np.intp), np.empty(used, dtype=np.intp), np.full(used, np.inf))
    order = np.empty(used, dtype=np.intp)
    kept, length = routes.path.copy(), routes.length.copy()
    chosen = np.empty(many * (arcs.depth + 1), dtype=np.intp)
    routes.load[:], routes.users[:] = 0.0, 0
    settle(arcs, classes, routes, stages)
    now = price_now(arcs, routes, stages)
    for step in range(first, first + steps):
        number, allowance = 0, np.inf
        for k in range(many):
            if routes.length[k] == 0:
                chosen[number] = k
                number += 1
        if number == 0:
            degree = heat[0] * (heat[1] / heat[0]) ** (step / last)
            allowance = now - degree * np.log(1.0 - np.random.random())
            number = give_up(arcs, classes, routes, stages, most, chosen)
        if recreate(
            arcs, classes, routes, stages, labels, offers, order, chosen[:number], kept, length, allowance
        ):
            now = price_now(arcs, routes, stages)
            kept[:], length[:] = routes.path, routes.length
            if now < price:
                price = now
                best.path[:], best.length[:] = routes.path, routes.length
        else:
            routes.path[:], routes.length[:] = kept, length
        settle(arcs, classes, routes, stages)
    return price
