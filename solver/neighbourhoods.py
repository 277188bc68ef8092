"""Better answers to 5.2 by solving small parts of it again, exactly.

A *part* is some patterns of the answer. The fragments they serve are a program of their own, smaller and of
the same kind, and prices π that prove a bound for all fragments prove Σ π_k over the part's fragments for the
part: fewer fragments only take choices away from the knapsacks. So the *slack* of a pattern,

    cost_P − Σ_k π_k x_kP,

is the most that can be saved on it, and the sum over a part the most that a better choice can save there. Parts
begin with a pattern picked by its slack, and take in others that could share facilities with it.
"""

from __future__ import annotations

import numpy as np

from solver.compact import MOST_PAIRS, solve_compact, what_can_matter
from solver.facilities import Facilities, Floats, Group, Indices, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.outcome import Watch

# Fragments of a part: as many as HiGHS decides in about a second, and never fewer than this.
FRAGMENTS, FEWEST_FRAGMENTS, MOST_FRAGMENTS = 24, 12, 80
# Nodes and seconds for one part. The nodes are the limit meant; the seconds are for hopeless cases.
NODES, SECONDS = 300, 5.0


def improve(
    program: Facilities,
    answer: list[Pattern],
    worth: Floats,
    step: float,
    watch: Watch,
    *,
    seed: int,
    threads: int,
    tries: int,
) -> list[Pattern]:
    """The best answer found from `answer`, never dearer; ends after so many parts in a row gave nothing.

    `worth` [K] are prices that prove a bound on the whole program; `step` is what all prices are multiples of.
    """
    rng = np.random.default_rng(seed)
    size, failed = FRAGMENTS, 0
    watch.update(phase="improving")
    while failed < tries and not watch.over:
        slack = np.array([_slack(pattern, worth) for pattern in answer])
        part = _pick(program, answer, slack, size, rng)
        rest = [pattern for number, pattern in enumerate(answer) if number not in part]
        freed = [answer[number] for number in sorted(part)]
        better = _solve_part(program, freed, worth, step, watch, seed=seed, threads=threads)
        if better is None:
            failed += 1
            # Parts that gave nothing were too small to, or too large to be decided.
            size = int(rng.integers(FEWEST_FRAGMENTS, MOST_FRAGMENTS + 1))
            continue
        failed = 0
        answer = min(answer, settle(program, [*rest, *better]), key=total_cost)
        watch.update(objective=total_cost(answer))
    return answer


def _slack(pattern: Pattern, worth: Floats) -> float:
    return pattern.cost - float(worth[list(pattern.classes)] @ np.array(pattern.counts, dtype=np.float64))


def _pick(
    program: Facilities, answer: list[Pattern], slack: Floats, size: int, rng: np.random.Generator
) -> set[int]:
    """Numbers of patterns that serve about `size` fragments: one by its slack, then others near it."""
    weight = np.maximum(slack, 0.0) + 1e-9 * (1 + abs(slack).max())
    centre = int(rng.choice(len(answer), p=weight / weight.sum()))
    # Classes are near when their numbers are: they are sorted by start.
    middle = np.array([np.mean(pattern.classes) for pattern in answer])
    distance = abs(middle - middle[centre]) / len(program)
    order = np.argsort(distance * rng.uniform(0.2, 1.0, len(answer)) - 0.3 * weight / weight.max())
    part, served = {centre}, sum(answer[centre].counts)
    for number in order.tolist():
        if served >= size:
            break
        if number not in part and served + sum(answer[number].counts) <= max(size, MOST_FRAGMENTS):
            part.add(number)
            served += sum(answer[number].counts)
    return part


def _solve_part(
    program: Facilities,
    freed: list[Pattern],
    worth: Floats,
    step: float,
    watch: Watch,
    *,
    seed: int,
    threads: int,
) -> list[Pattern] | None:
    """Cheaper patterns that serve what these serve; None when there are none, or none were found."""
    cost = total_cost(freed)
    goal = cost - step / 2 if step > 0 else cost * (1 - 1e-9)
    members = np.zeros(len(program), dtype=np.intp)
    for pattern in freed:
        members[list(pattern.classes)] += pattern.counts
    value = float(worth @ members)
    if value > goal:
        return None
    part, classes, groups = _part(program, members)
    kept = what_can_matter(part, [Bound(value=value, worth=worth[classes])], goal)
    if len(kept.classes) > MOST_PAIRS:
        return None
    group_number = {number: position for position, number in enumerate(groups)}
    class_number = {int(k): position for position, k in enumerate(classes)}
    found, _ = solve_compact(
        part,
        kept,
        [_renumbered(pattern, group_number, class_number) for pattern in freed],
        goal=goal,
        watch=watch,
        time_limit_s=min(SECONDS, watch.remaining_s),
        threads=threads,
        seed=seed,
        nodes=NODES,
    )
    if found is None:
        return None
    found = settle(part, found)
    if total_cost(found) > goal:  # HiGHS gave back what it began with
        return None
    groups_back = dict(enumerate(groups))
    classes_back = dict(enumerate(classes.tolist()))
    return [_renumbered(pattern, groups_back, classes_back) for pattern in found]


def _part(program: Facilities, members: Indices) -> tuple[Facilities, Indices, list[int]]:
    """The program of these members alone, and the numbers its classes and groups have in the whole."""
    classes = np.flatnonzero(members)
    groups, numbers = [], []
    for number, group in enumerate(program.groups):
        columns = np.flatnonzero(members[group.classes])
        if len(columns):
            groups.append(
                Group(
                    price=group.price,
                    capacity=group.capacity,
                    classes=np.searchsorted(classes, group.classes[columns]),
                    joining=group.joining[:, columns],
                )
            )
            numbers.append(number)
    part = Facilities(
        load=program.load[classes],
        members=members[classes],
        alone=program.alone[classes],
        groups=tuple(groups),
    )
    return part, classes, numbers


def _renumbered(pattern: Pattern, groups: dict[int, int], classes: dict[int, int]) -> Pattern:
    return Pattern(
        group=groups.get(pattern.group, pattern.group),
        facility=pattern.facility,
        instances=pattern.instances,
        classes=tuple(classes[k] for k in pattern.classes),
        counts=pattern.counts,
        cost=pattern.cost,
    )
