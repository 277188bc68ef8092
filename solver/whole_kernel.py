"""What a group earns at most where every fragment is whole at one facility, as machine code: labels that know
what is to spare at each place (`solver.group_labels`; letters and places as there).

Who is in time for a place is in time for all before it, so what is to spare is of use to all items to come,
wherever it is. A label is (what has been earned, what is to spare at one place, at the next, …), the most
first. Of each only as much counts as items to come can use: the largest sum of some of their loads. A label
is dropped where another one has earned as much and has as much to spare at the first, at the second and so
on; and where it does not earn over a floor even if items to come could be cut, which labels that go backwards
and pool what is to spare have told.

The nearer the floor is to what is earned with cuts, the fewer labels there are. So it begins near that, and
goes down until there is something above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solver.compiled import compiled
from solver.facilities import Floats, Indices
from solver.group_kernel import from_instances_on, longer, merged, pieces, start

if TYPE_CHECKING:
    from solver.group_labels import Row

# Places with something to spare, at most.
MOST_OPEN = 12
# Labels that each is compared with, of those that have earned as much or more.
COMPARED = 30
# Up to so many labels the floor's distance is doubled, then it grows as it began.
QUICK = 100
# Sums of loads that are looked at.
MOST_SUMS = 2_000
# What a sum of loads may be wrong by, and what is left to spare above one, since many of these add up; in
# parts of the smallest capacity.
SAME, SPARE = 1e-12, 1e-9

# Earned [N], to spare [N, W] falling, number [N].
Labels = tuple[Floats, Floats, Indices]
# What is earned with cuts, and what is needed for that; both rise.
Ahead = tuple[Floats, Floats]
# Label n came about from label parent[n]: at which place or item, by how many instances, or served by what
# was most, second most … to spare.
Trace = tuple[Indices, Indices, Indices]


@compiled
def ahead_of(row: Row, least: float, most_labels: int) -> tuple[bool, list[Ahead], list[Ahead], list[Ahead]]:
    """From each item on, [T]; from each place on, behind its instances and before these, [P + 1] both.

    What cannot come to more than `least` may be missing. False where there are too many labels.
    """
    places = len(row.price)
    items = [(np.zeros(1), np.zeros(1)) for _ in range(len(row.load))]
    behind = [(np.zeros(1), np.zeros(1)) for _ in range(places + 1)]
    before = [(np.zeros(1), np.zeros(1)) for _ in range(places + 1)]
    front = start()
    for place in range(places - 1, -1, -1):
        for item in range(row.first[place + 1] - 1, row.first[place] - 1, -1):
            gain, load = row.gain[item], row.load[item]
            for size in pieces(row.members[item]):
                front = merged((front[0] + size * gain, front[1] - size * load, front[2]), front)
            if len(front[0]) > most_labels:
                return False, items, behind, before
            items[item] = (front[0][::-1].copy(), -front[1][::-1])
        behind[place] = (front[0][::-1].copy(), -front[1][::-1])
        front = from_instances_on(row, place, front, most_labels)
        if len(front[0]) > most_labels:
            return False, items, behind, before
        most = row.behind[place] + row.rate_behind[place] * front[1]
        matters = (front[0] + most > least) | (front[1] >= 0)
        front = (front[0][matters], front[1][matters], front[2][matters])
        before[place] = (front[0][::-1].copy(), -front[1][::-1])
    return True, items, behind, before


@compiled
def sums_of(row: Row) -> list[Floats]:
    """What loads of classes that have an item from each on come to, [T + 1]: all sums, rising from 0, or so
    many of the least ones and infinity."""
    found = [np.zeros(1) for _ in range(len(row.load) + 1)]
    sums = np.zeros(1)
    for item in range(len(row.load) - 1, -1, -1):
        # A class with several items counts at the last one.
        counts = row.rest[item] > row.rest[item + 1]
        for size in pieces(row.members[item] if counts else 0):
            load = size * row.load[item]
            many = len(sums)
            both = np.empty(2 * many)
            here, there, count = 0, 0, 0
            while there < many:
                if here < many and sums[here] <= sums[there] + load:
                    value = sums[here]
                    here += 1
                else:
                    value = sums[there] + load
                    there += 1
                if count == 0 or value > both[count - 1] + SAME:
                    both[count] = value
                    count += 1
            if sums[-1] == np.inf:
                count -= both[count - 1] == np.inf
                # More than the last one is not known.
                sums = np.append(both[:count][both[:count] <= sums[-2]], np.inf)
            else:
                sums = both[:count].copy()
            if len(sums) > MOST_SUMS:
                sums = np.append(sums[: MOST_SUMS - 1], np.inf)
        found[item] = sums
    return found


@compiled
def useful(sums: Floats, spare: float) -> float:
    """What of it can be used."""
    at = np.searchsorted(sums, spare * (1 + SAME), side="right") - 1
    if at == 0:
        return 0.0
    if at + 2 == len(sums) and sums[at + 1] == np.inf:
        return spare
    return min(spare, sums[at] * (1 + SPARE) + SPARE)


@compiled
def at_most(ahead: Ahead, spare: float) -> float:
    """What is earned at most with so much to spare."""
    return ahead[0][np.searchsorted(ahead[1], spare * (1 + SAME) + SAME, side="right") - 1]


@compiled
def undominated(earned: Floats, spare: Floats) -> Indices:
    """Labels, [N] and [N, W], of which none is better than another (of those compared)."""
    many, width = spare.shape
    by_total = np.argsort(-spare.sum(axis=1))
    order = by_total[np.argsort(-earned[by_total], kind="mergesort")]
    kept, count = np.empty(many, dtype=np.intp), 0
    for label in order:
        dropped = False
        for other in kept[max(0, count - COMPARED) : count][::-1]:
            dropped = True
            for place in range(width):
                if spare[label, place] == 0.0 or not dropped:
                    break
                dropped = spare[other, place] >= spare[label, place] - SAME
            if dropped:
                break
        if not dropped:
            kept[count] = label
            count += 1
    return kept[:count]


@compiled
def total_of(sums: Floats, spare: Floats) -> float:
    """What can be used of all there is to spare, [W] falling."""
    total = 0.0
    for most in spare:
        if most == 0.0:
            break
        total += useful(sums, most)
    return total


@compiled
def taken_out(spare: Floats, at: int) -> float:
    """What is to spare at one place, which is none of them any more."""
    taken = spare[at]
    spare[at:-1] = spare[at + 1 :].copy()
    spare[-1] = 0.0
    return taken


@compiled
def put_in(spare: Floats, most: float) -> None:
    """One more place with so much to spare, [W] falling; there is room for it."""
    at = len(spare) - 1
    while at > 0 and spare[at - 1] < most:
        spare[at] = spare[at - 1]
        at -= 1
    spare[at] = most


@compiled
def if_bought(
    row: Row, place: int, labels: Labels, rest: Ahead, sums: Floats, floor: float
) -> tuple[Indices, Indices, Floats]:
    """What labels become with 0, 1, 2, … instances of a place: of which label, how many, what it earned."""
    earned, spare, _ = labels
    of, by, gains, count = np.empty(64, dtype=np.intp), np.empty(64, dtype=np.intp), np.empty(64), 0
    most = row.rest[row.first[place]]
    for label in range(len(earned)):
        total = total_of(sums, spare[label])
        many, gain = 0, earned[label]
        while True:
            room = total + useful(sums, min(many * row.capacity[place], most))
            if gain + at_most(rest, room) > floor:
                if count == len(of):
                    of, by, gains = longer(of, count), longer(by, count), longer(gains, count)
                of[count], by[count], gains[count] = label, many, gain
                count += 1
            # One more is of no use, or cannot pay.
            if many * row.capacity[place] >= most or gain - row.price[place] + rest[0][-1] <= floor:
                break
            many, gain = many + 1, gain - row.price[place]
    return of[:count], by[:count], gains[:count]


@compiled
def if_served(
    row: Row, item: int, labels: Labels, rest: Ahead, sums: Floats, floor: float
) -> tuple[Indices, Indices, Floats]:
    """The same with one fragment of an item not served, 0, or where most, second most, … is to spare."""
    earned, spare, _ = labels
    of, by, gains, count = np.empty(64, dtype=np.intp), np.empty(64, dtype=np.intp), np.empty(64), 0
    load = row.load[item]
    for label in range(len(earned)):
        total = total_of(sums, spare[label])
        for way in range(spare.shape[1] + 1):
            gain, room = earned[label], total
            if way > 0:
                here = spare[label, way - 1]
                if here < load - SAME:
                    break
                if way > 1 and here == spare[label, way - 2]:
                    continue
                gain += row.gain[item]
                room += useful(sums, max(0.0, here - load)) - useful(sums, here)
            if gain + at_most(rest, room) > floor:
                if count == len(of):
                    of, by, gains = longer(of, count), longer(by, count), longer(gains, count)
                of[count], by[count], gains[count] = label, way, gain
                count += 1
    return of[:count], by[:count], gains[:count]


@compiled
def search_over(
    row: Row,
    ahead: tuple[list[Ahead], list[Ahead], list[Ahead]],
    all_sums: list[Floats],
    floor: float,
    work: int,
) -> tuple[float, int, int, Trace]:
    """What is earned at most, by which label, how many there were, and how they came about.

    −∞ where that is not more than `floor`, NaN where there were more than `work`.
    """
    items, behind, before = ahead
    width = min(len(row.price), MOST_OPEN)
    none = np.zeros(4096, dtype=np.intp)
    trace, made, looked = (none, none.copy(), none.copy()), 1, 0
    labels = np.zeros(1), np.zeros((1, width)), np.zeros(1, dtype=np.intp)
    for place in range(len(row.price)):
        first, last = row.first[place], row.first[place + 1]
        # First its instances, then its items.
        for event in range(first - 1 if row.bought[place] else first, last):
            copies = row.members[event] if event >= first else 1
            for copy in range(copies):
                if event < first:
                    sums = all_sums[first]
                    of, by, gains = if_bought(row, place, labels, behind[place], sums, floor)
                else:
                    rest, sums = before[place + 1], all_sums[event + 1]
                    if copy + 1 < copies:
                        rest, sums = items[event], all_sums[event]
                    elif event + 1 < last:
                        rest = items[event + 1]
                    of, by, gains = if_served(row, event, labels, rest, sums, floor)
                looked += len(of)
                if len(of) == 0:
                    return -np.inf, 0, looked, trace
                if looked > work:
                    return np.nan, 0, looked, trace
                spare = labels[1][of]
                for child in range(len(of)):
                    if by[child] == 0:
                        continue
                    if event < first:
                        if spare[child, width - 1] > 0:
                            return np.nan, 0, looked, trace
                        left = min(by[child] * row.capacity[place], row.rest[first])
                    else:
                        left = taken_out(spare[child], by[child] - 1) - row.load[event]
                    put_in(spare[child], max(0.0, left))
                for child in range(len(of)):
                    for at in range(width):
                        if spare[child, at] == 0.0:
                            break
                        spare[child, at] = useful(sums, spare[child, at])
                kept = undominated(gains, spare)
                numbers = labels[2][of[kept]]
                for label, child in enumerate(kept):
                    if by[child] > 0:
                        if made == len(trace[0]):
                            trace = longer(trace[0], made), longer(trace[1], made), longer(trace[2], made)
                        trace[0][made], trace[2][made] = numbers[label], by[child]
                        trace[1][made] = event if event >= first else -1 - place
                        numbers[label] = made
                        made += 1
                labels = gains[kept], spare[kept], numbers
    # The one that has earned most comes first.
    return labels[0][0], labels[2][0], looked, trace


@compiled
def served_by(row: Row, sums: list[Floats], label: int, trace: Trace) -> tuple[Indices, Indices]:
    """How many instances of each place, [P], and fragments of each item at each place, [T, P]: what the
    label did."""
    parents, wheres, hows = trace
    places, length, at = len(row.price), 0, label
    while at > 0:
        length, at = length + 1, parents[at]
    path, at = np.empty(length, dtype=np.intp), label
    for step in range(length - 1, -1, -1):
        path[step], at = at, parents[at]
    instances = np.zeros(places, dtype=np.intp)
    served = np.zeros((len(row.load), places), dtype=np.intp)
    # What is to spare at which place, the most first, as the label had it.
    spare, whose, step = np.zeros(places), np.arange(places), 0
    for place in range(places):
        if step < length and wheres[path[step]] == -1 - place:
            instances[place] = hows[path[step]]
            spare[whose == place] = min(instances[place] * row.capacity[place], row.rest[row.first[place]])
            step += 1
        for item in range(row.first[place], row.first[place + 1] + 1):
            for at in range(places):
                spare[at] = useful(sums[item], spare[at])
            order = np.argsort(-spare, kind="mergesort")
            spare, whose = spare[order], whose[order]
            if item == row.first[place + 1]:
                break
            while step < length and wheres[path[step]] == item:
                at = hows[path[step]] - 1
                served[item, whose[at]] += 1
                spare[at] = useful(sums[item], max(0.0, spare[at] - row.load[item]))
                order = np.argsort(-spare, kind="mergesort")
                spare, whose = spare[order], whose[order]
                step += 1
    return instances, served


@compiled
def most_whole(
    row: Row, known: float, most: float, need: float, begin: float, grow: float, most_labels: int, work: int
) -> tuple[bool, float, float, Indices, Indices]:
    """Whether it is decided; no more is earned than this; what is earned by what was found (−∞: nothing), and
    its instances and fragments (`served_by`).

    `most` is earned with cuts. It is decided when something over `known` is found, or there is none over
    that, or over `most` − `need`. The floor is `begin` below `most` first, and then so much lower, `grow`. At
    most so many labels are looked at, `work`.
    """
    nothing = np.zeros(0, dtype=np.intp), np.zeros((0, 0), dtype=np.intp)
    lowest = max(known, most - need)
    enough, items, behind, before = ahead_of(row, lowest, most_labels)
    if not enough:
        return False, most, -np.inf, nothing[0], nothing[1]
    bound, less, sums = most, begin, sums_of(row)
    while True:
        floor = max(lowest, most - less)
        earned, label, looked, trace = search_over(row, (items, behind, before), sums, floor, work)
        work -= looked
        if np.isnan(earned):
            return False, bound, -np.inf, nothing[0], nothing[1]
        if earned > floor:
            instances, served = served_by(row, sums, label, trace)
            return True, min(bound, earned), earned, instances, served
        bound = floor
        if floor <= lowest:
            return True, bound, -np.inf, nothing[0], nothing[1]
        less = 2 * less if looked <= QUICK else less + grow
