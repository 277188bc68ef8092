"""Another plan for a workload whose plan its GPUs do not hold: dearer, but it fits.

*Share is short of one GPU type* while there are others: the cheapest type was taken for everything. Some
fragments are planned without the short types then, the others with all; the largest part that can keep them
is found by halving. *Memory or MPS clients are short*: both are asked for by the instance, so every instance
is given a price until the plan has few enough. Both ways plan by `graft`. Our reconstruction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from planner.errors import DoesNotFitError
from planner.explaining import why_not
from planner.menu import Menu
from planner.plan import Plan
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem, ProgressReport

Strategy = Callable[[Problem, PlanSettings, ProgressReport], Draft]

# What an instance costs beside its share, in turn, until the plan fits the GPUs.
INSTANCE_PRICES = (2.0, 5.0, 10.0, 25.0, 60.0)

# How often the part of the fragments that keeps the short GPU types is halved.
HALVINGS = 8


def refitted(
    problem: Problem,
    draft: Draft,
    error: DoesNotFitError,
    *,
    graft: Strategy,
    finish: Callable[[Draft], Plan],
    settings: PlanSettings,
) -> Plan:
    """A plan that fits; `finish` makes one of a draft, or raises DoesNotFitError.

    Raises `error`, or one like it, where nothing that was tried fits.
    """
    short = _short_of_share(error)
    if short:
        return _on_other_types(problem, draft, error, short, graft=graft, finish=finish, settings=settings)
    for tried, extra in enumerate(INSTANCE_PRICES):
        if settings.stopped:
            break
        menus = {model: menu.dearer(extra) for model, menu in problem.menus.items()}
        hurried = _hurried(settings, len(INSTANCE_PRICES) - tried)
        other = graft(replace(problem, menus=menus), hurried, _silent)
        notes = {**draft.notes, "instance_price": extra}
        try:
            return finish(replace(other, lower_bound=draft.lower_bound, notes=notes))
        except DoesNotFitError:
            continue
    raise DoesNotFitError(error.missing, tried=True)


def _on_other_types(
    problem: Problem,
    draft: Draft,
    error: DoesNotFitError,
    short: set[str],
    *,
    graft: Strategy,
    finish: Callable[[Draft], Plan],
    settings: PlanSettings,
) -> Plan:
    """The first fragments keep all GPU types, the rest go without those that are short."""
    others = {
        model: Menu([profile for profile in menu.profiles if profile.gpu not in short], menu.law)
        for model, menu in problem.menus.items()
        if any(profile.gpu not in short for profile in menu.profiles)
    }
    # These can do with nothing else.
    tied = [
        fragment.model not in others or why_not(fragment, others[fragment.model]) is not None
        for fragment in problem.fragments
    ]
    # Neighbours stay together: fragments of a model that start near one another share stages.
    order = sorted(
        range(len(tied)),
        key=lambda number: (
            not tied[number],
            problem.fragments[number].model,
            problem.fragments[number].start,
        ),
    )
    # Columns of stages with exits are those of a menu of their own.
    if draft.menus or not others:
        raise error
    found: Plan | None = None
    least, most = sum(tied), len(order)
    for tried in range(HALVINGS):
        if settings.stopped or least > most - 1:
            break
        keeping = least if tried == 0 else (least + most) // 2
        hurried = _hurried(settings, HALVINGS - tried)
        first = _part(problem, order[:keeping], problem.menus, graft, hurried)
        rest = _part(problem, order[keeping:], others, graft, hurried)
        routes = sorted((*first.routes, *_shifted(rest.routes, len(first.stages))), key=lambda r: r.fragment)
        notes = {**draft.notes, "kept_gpu_types": {"fragments": keeping, "short": sorted(short)}}
        both = Draft(
            stages=(*first.stages, *rest.stages),
            routes=tuple(routes),
            lower_bound=draft.lower_bound,
            notes=notes,
        )
        try:
            plan = finish(both)
        except DoesNotFitError as again:
            if _short_of_share(again) and not short & _short_of_share(again):
                least = keeping + 1  # too little is left on the types that were short
            else:
                most = keeping
            continue
        if found is None or plan.objective.share < found.objective.share:
            found = plan
        least = keeping + 1
    if found is None:
        raise error
    return found


def _part(
    problem: Problem, numbers: list[int], menus: dict[str, Menu], graft: Strategy, settings: PlanSettings
) -> Draft:
    """A draft for these fragments over these menus, with the problem's numbers of fragments and columns."""
    if not numbers:
        return Draft(stages=(), routes=())
    fragments = tuple(problem.fragments[number] for number in numbers)
    models = {fragment.model for fragment in fragments}
    part = Problem(fragments=fragments, menus={model: menus[model] for model in models})
    made = graft(part, settings, _silent)
    stages = [
        replace(stage, column=_column(stage, menus[stage.model], problem.menus[stage.model]))
        for stage in made.stages
    ]
    routes = [replace(route, fragment=numbers[route.fragment]) for route in made.routes]
    return Draft(stages=tuple(stages), routes=tuple(routes))


def _column(stage: DraftStage, part: Menu, whole: Menu) -> int:
    """The number that the stage's column has in the whole menu: columns repeat for every time factor."""
    many = len(whole.law.time_factors)
    factor, number = divmod(stage.column, len(part.columns) // many)
    return factor * (len(whole.columns) // many) + whole.columns.index(part.columns[number])


def _shifted(routes: tuple[DraftRoute, ...], by: int) -> list[DraftRoute]:
    return [replace(route, stages=tuple(number + by for number in route.stages)) for route in routes]


def _short_of_share(error: DoesNotFitError) -> set[str]:
    """GPU types that would need more share than there is."""
    return {
        str(item["gpu"])
        for item in error.missing
        if item["share_needed_by_all_pct"] > item["share_there_pct"]
    }


def _hurried(settings: PlanSettings, tries: int) -> PlanSettings:
    """Where the search took all the time there was, a second for each try is worth an answer."""
    left = (settings.deadline_s - time.perf_counter()) / tries
    return replace(settings, time_limit_s=max(1.0, min(left, settings.time_limit_s)))


def _silent(_: object) -> None:
    """Progress that nobody asked for."""
