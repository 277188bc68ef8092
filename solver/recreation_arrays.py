"""Routes of 5.3 and the stages that they use, as arrays for machine code; letters and words as in
`solver.recreation`.

Arcs lie between *ends*: a tail and a head, numbered tail · (depth + 1) + head. Prices are counted in
*units*, those of the instances for a load in whole ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from solver.compiled import compiled
from solver.routes import EPSILON, Floats, Indices
from solver.steps import SLACK


class Arcs(NamedTuple):
    """[E] each, sorted by tail and head; those between ends p are first[p] … first[p + 1] − 1. `soonest`
    [depth + 1] is the least time to the end. The price of an instance is so many `units`, whole or not."""

    depth: int
    tail: Indices
    head: Indices
    time: Floats
    capacity: Floats
    units: Floats
    first: Indices
    soonest: Floats


class Classes(NamedTuple):
    """[K] each; `alone` is what a class costs that shares nothing.

    Stages bought for class k between ends p: begins[k, p] … begins[k, p + 1] − 1 in the arrays `units`,
    `time` and `arc` (instances of that arc), dearer and faster from one to the next.
    """

    entry: Indices
    budget: Floats
    load: Floats
    alone: Indices
    begins: Indices
    units: Indices
    time: Floats
    arc: Indices


class Routes(NamedTuple):
    """The route of class k: path[k, : length[k]]; `load`, `users` [E] of the arcs, and the time that a class
    has to spare, `slack` [K]."""

    path: Indices
    length: Indices
    load: Floats
    users: Indices
    slack: Floats


class Stages(NamedTuple):
    """The arcs that are used, arcs[: number[0]], and the `least` time [E] that a user of one has to spare:
    infinite for arcs that nobody uses."""

    number: Indices
    arcs: Indices
    least: Floats


class Labels(NamedTuple):
    """What is known of a class's way: at cut point i for u units [depth + 1, most units + 1] the least
    `time`, by which arc it got there, for how many units before, and which arc that one replaces (−1: it is
    there already, −2: it is bought)."""

    time: Floats
    before: Indices
    arc: Indices
    replaces: Indices


class Offers(NamedTuple):
    """Stages that are there, as they are or replaced, in a list for every cut point that they begin at."""

    begins: Indices
    onward: Indices
    arc: Indices
    units: Indices
    replaces: Indices


@compiled
def cost_of(load: float, capacity: float, units: float) -> int:
    """Units of the instances for a load."""
    if load <= 0.0:
        return 0
    instances = max(1.0, np.ceil(load / capacity - EPSILON))
    return int(np.ceil(instances * units - SLACK))


@compiled
def bought(arcs: Arcs, entry: Indices, load: Floats, most: int) -> tuple[Indices, Indices, Floats, Indices]:
    """`begins`, `units`, `time` and `arc` of `Classes`, for classes of these loads, up to `most` units."""
    ends = len(arcs.first) - 1
    begins = np.zeros((len(load), ends + 1), dtype=np.intp)
    units, arc = np.empty(1_000, dtype=np.intp), np.empty(1_000, dtype=np.intp)
    time = np.empty(1_000)
    soonest, by = np.full(most + 1, np.inf), np.empty(most + 1, dtype=np.intp)
    at = 0
    for k in range(len(load)):
        begins[k, 0] = at
        for end in range(ends):
            dearest = -1
            for e in range(arcs.first[end], arcs.first[end + 1]):
                if arcs.tail[e] < entry[k]:
                    break
                cost = cost_of(load[k], arcs.capacity[e], arcs.units[e])
                if cost <= most and arcs.time[e] < soonest[cost]:
                    soonest[cost], by[cost] = arcs.time[e], e
                    dearest = max(dearest, cost)
            if at + dearest >= len(units):
                units, time = np.concatenate((units, units)), np.concatenate((time, time))
                arc = np.concatenate((arc, arc))
            least = np.inf
            for cost in range(dearest + 1):
                if soonest[cost] < least:
                    least = soonest[cost]
                    units[at], time[at], arc[at] = cost, least, by[cost]
                    at += 1
                soonest[cost] = np.inf
            begins[k, end + 1] = at
    return begins, units[:at].copy(), time[:at].copy(), arc[:at].copy()


@compiled
def survey(routes: Routes, stages: Stages) -> None:
    """Which arcs are used now."""
    path, length, slack = routes.path, routes.length, routes.slack
    used, least = stages.arcs, stages.least
    for at in range(stages.number[0]):
        least[used[at]] = np.inf
    number = 0
    for k in range(len(length)):
        for at in range(length[k]):
            e = path[k, at]
            if least[e] == np.inf:
                used[number] = e
                number += 1
            least[e] = min(least[e], slack[k])
    stages.number[0] = number


@compiled
def join(routes: Routes, stages: Stages, k: int) -> None:
    """Class k, whose route is new, uses its arcs; nothing else has changed."""
    for at in range(routes.length[k]):
        e = routes.path[k, at]
        if stages.least[e] == np.inf:
            stages.arcs[stages.number[0]] = e
            stages.number[0] += 1
        stages.least[e] = min(stages.least[e], routes.slack[k])


@compiled
def settle(arcs: Arcs, classes: Classes, routes: Routes, stages: Stages) -> None:
    """Loads, users, slack and stages of the routes as they are; no other than the stages had any."""
    path, length, load, users, slack = routes
    time, used, budget, own = arcs.time, stages.arcs, classes.budget, classes.load
    for at in range(stages.number[0]):
        load[used[at]], users[used[at]] = 0.0, 0
    for k in range(len(length)):
        slack[k] = budget[k]
        for at in range(length[k]):
            e = path[k, at]
            load[e] += own[k]
            users[e] += 1
            slack[k] -= time[e]
    survey(routes, stages)


@compiled
def price_now(arcs: Arcs, routes: Routes, stages: Stages) -> int:
    """Units of all stages."""
    load, capacity, units, used = routes.load, arcs.capacity, arcs.units, stages.arcs
    total = 0
    for at in range(stages.number[0]):
        total += cost_of(load[used[at]], capacity[used[at]], units[used[at]])
    return total


@compiled
def shift(routes: Routes, e: int, time: float) -> None:
    """All users of arc e have so much more time to spare."""
    path, length, slack = routes.path, routes.length, routes.slack
    for k in range(len(length)):
        for at in range(length[k]):
            if path[k, at] == e:
                slack[k] += time


@compiled
def replace(arcs: Arcs, routes: Routes, e: int, other: int) -> None:
    """All users of arc e go on with another between the same ends."""
    path, length, slack, spared = routes.path, routes.length, routes.slack, arcs.time[e] - arcs.time[other]
    for k in range(len(length)):
        for at in range(length[k]):
            if path[k, at] == e:
                path[k, at] = other
                slack[k] += spared
    routes.load[other] += routes.load[e]
    routes.users[other] += routes.users[e]
    routes.load[e], routes.users[e] = 0.0, 0


@compiled
def remove(classes: Classes, routes: Routes, k: int) -> None:
    """Take a class's route away."""
    for at in range(routes.length[k]):
        e = routes.path[k, at]
        routes.users[e] -= 1
        routes.load[e] = routes.load[e] - classes.load[k] if routes.users[e] > 0 else 0.0
    routes.length[k] = 0
