"""Who goes on past which exit, and what that makes of a plan's stages: loads, batches, instances.

Plain arithmetic over routes, for those who make plans; `planner.laws` computes the same again on its own.
The definitions are those of docs/exits.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from planner.exit_survival import relative_survival
from planner.menu import EPSILON, Menu
from planner.problem import Draft, DraftStage, Problem
from planner.profile import Profile


@dataclass(frozen=True, kw_only=True, eq=False)
class Flows:
    """Of every stage of a draft: its load, and the part of it that goes on past each exit in use.

    `reaching[r]` is, for every stage of route r, the fraction of the route's requests that come to it.
    """

    load_rps: tuple[float, ...]
    going_on: tuple[dict[int, float], ...]
    reaching: tuple[tuple[float, ...], ...]


def exits_within(stage: DraftStage, exits: Sequence[int]) -> tuple[int, ...]:
    """Those of these exits that the stage's layers include."""
    return tuple(layer for layer in exits if stage.start < layer <= stage.end)


def menus_of(problem: Problem, draft: Draft) -> dict[str, Menu]:
    """For every model, the menu whose columns the draft's stages name."""
    return {**problem.menus, **draft.menus}


def flows(problem: Problem, draft: Draft) -> Flows:
    """The flows of a draft whose fragments are the problem's own."""
    used = [
        exits_within(stage, menus_of(problem, draft)[stage.model].columns[stage.column].exits)
        for stage in draft.stages
    ]
    load: list[list[float]] = [[] for _ in draft.stages]
    past: list[defaultdict[int, list[float]]] = [defaultdict(list) for _ in draft.stages]
    reaching = []
    for route in draft.routes:
        fragment = problem.fragments[route.fragment]
        survival = relative_survival(problem.menu(fragment).profiles[0], fragment)
        here, fractions = 1.0, []
        for number in route.stages:
            fractions.append(here)
            load[number].append(fragment.load_rps * route.fraction * here)
            for layer in used[number]:
                here = min(here, survival[layer])
                past[number][layer].append(fragment.load_rps * route.fraction * here)
        reaching.append(tuple(fractions))
    totals = tuple(math.fsum(parts) for parts in load)
    going_on = tuple(
        {
            layer: min(1.0, math.fsum(past[number][layer]) / total) if total > 0 else 1.0
            for layer in used[number]
        }
        for number, total in enumerate(totals)
    )
    return Flows(load_rps=totals, going_on=going_on, reaching=tuple(reaching))


def trimmed(problem: Problem, draft: Draft, least: Mapping[int, int] | None = None) -> Draft:
    """The draft with as many instances of each stage as its load needs, no more; at least `least[stage]`.

    The menu of a model with exits knows one survival for all its fragments, chosen so that no plan gets
    too few instances; with survivals of their own, some plans get too many.
    """
    menus, found = menus_of(problem, draft), flows(problem, draft)
    stages = []
    for number, stage in enumerate(draft.stages):
        menu = menus[stage.model]
        column = menu.columns[stage.column]
        busy = expected_ms(problem, draft, number, found)
        part = float(menu.load_per_capacity(stage.start, stage.end)[stage.column])
        needed = math.ceil(found.load_rps[number] * busy / (1000.0 * column.batch * part) - EPSILON)
        stages.append(replace(stage, instances=max(1, needed, (least or {}).get(number, 1))))
    return replace(draft, stages=tuple(stages))


def expected_ms(problem: Problem, draft: Draft, number: int, found: Flows) -> float:
    """What a full batch of this stage takes on average."""
    stage = draft.stages[number]
    menu = menus_of(problem, draft)[stage.model]
    column, going_on = menu.columns[stage.column], found.going_on[number]
    if not going_on:
        return menu.stage_exec_ms(stage.start, stage.end, stage.column)
    profile = next(one for one in menu.profiles if one.gpu == column.gpu)
    pieces = running(profile, stage, column.batch, column.share, going_on)
    return profile.stage_overhead_ms + math.fsum(ms for _, ms in pieces)


def route_expected_ms(problem: Problem, draft: Draft, number: int, found: Flows) -> float:
    """The mean time that requests of this route spend in running batches until their answer is there."""
    route = draft.routes[number]
    fragment = problem.fragments[route.fragment]
    menu = menus_of(problem, draft)[fragment.model]
    survival = relative_survival(menu.profiles[0], fragment)
    total = []
    for position, here in zip(route.stages, found.reaching[number], strict=True):
        stage = draft.stages[position]
        column = menu.columns[stage.column]
        profile = next(one for one in menu.profiles if one.gpu == column.gpu)
        total.append(here * profile.stage_overhead_ms)
        left = here
        for cut, ms in running(profile, stage, column.batch, column.share, found.going_on[position], 1.0):
            # What runs from this cut point on has the requests that went on past the exits before it.
            for layer in found.going_on[position]:
                if layer <= cut:
                    left = min(left, survival[layer])
            total.append(left * ms)
    return math.fsum(total)


def running(
    profile: Profile,
    stage: DraftStage,
    batch: int,
    share: float,
    going_on: Mapping[int, float],
    least: float = 0.0,
) -> list[tuple[float, float]]:
    """Layers and ramps of a stage, each with the cut point it begins at and its mean latency.

    A ramp begins half a layer before its cut point's next layer, so that who leaves by it still runs it.
    """
    column = profile.shares.index(share)
    pieces, left = [], 1.0
    for layer in range(stage.start, stage.end):
        samples = max(least, left * batch)
        pieces.append((float(layer), _at(profile, profile.latency_ms[layer], column, batch, samples)))
        if layer + 1 in going_on:
            ramp = next(item for item in profile.exits or () if item.layer == layer + 1)
            pieces.append((layer + 0.5, _at(profile, ramp.ramp_ms, column, batch, samples)))
            left = going_on[layer + 1]
    return pieces


def _at(
    profile: Profile, rows: Sequence[Sequence[float | None]], column: int, batch: int, samples: float
) -> float:
    known = {
        size: cell
        for size, row in zip(profile.batches, rows, strict=True)
        if (cell := row[column]) is not None and size <= batch
    }
    sizes = sorted(known)
    place = min(bisect_left(sizes, samples), len(sizes) - 1)
    if place == 0 or sizes[place] <= samples:
        return known[sizes[place]] * min(1.0, samples)
    low, high = sizes[place - 1], sizes[place]
    part = (samples - low) / (high - low)
    return known[low] + part * (known[high] - known[low])
