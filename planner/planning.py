"""From a workload and profiles to a verified plan.

A strategy is a function from a `Problem` to a `Draft`: stages and routes by number. This module prepares
the problem (checks that no single file shows, menus), lets the strategy work, places the draft where the
workload has GPUs, and has `planner.laws`, which shares no code with any of it, judge the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from typing import cast

from planner import formats, laws
from planner.bounds import quick_bound
from planner.errors import Complaint, DoesNotFitError, InfeasibleError, InputError, InvalidPlanError
from planner.exit_flows import exits_within, expected_ms, flows, menus_of, route_expected_ms
from planner.exiting import with_exits
from planner.explaining import why_not
from planner.menu import Menu
from planner.placement import placement_of
from planner.plan import Objective, Placed, Plan, Provenance, Route, Stage, Unplanned
from planner.problem import Draft, PlanSettings, Problem, Progress, ProgressReport
from planner.profile import Profile
from planner.queueing import queueing_law
from planner.refitting import refitted
from planner.workload import Workload

Strategy = Callable[[Problem, PlanSettings, ProgressReport], Draft]

# Where each strategy lives; imported when asked for, since some bring a solver with them.
STRATEGIES = {
    "gslice": "planner.gslice:gslice",
    "gslice+": "planner.gslice:gslice_plus",
    "static": "planner.static:static",
    "static+": "planner.static:static_plus",
    "nexus": "planner.nexus:nexus",
    "multi-exit": "planner.pame:multi_exit",
    "pame": "planner.pame:pame",
    "e3": "planner.e3:e3",
    "graft": "planner.graft:graft",
    "optimal": "planner.optimal:optimal",
    "optimal-one": "planner.optimal:optimal_one",
}

# The source of complaints about documents that are right alone but do not fit together.
TOGETHER = "workload and profiles"

# These use exits where a profile has some; what they do without exits, they do where it has none.
WITH_EXITS = ("graft", "optimal", "optimal-one")

# A bound this close to the share is the share: both are sums of doubles.
CLOSED = 1e-9


def make_plan(
    workload: Workload,
    profiles: Sequence[Profile],
    *,
    strategy: str,
    settings: PlanSettings | None = None,
    progress: ProgressReport | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Plan:
    """Plan a workload. Once `should_stop` says True the search ends and its best plan so far is returned.

    Raises InputError where workload, profiles and settings do not fit together; InfeasibleError with a
    reason for every fragment that cannot be planned (with `infeasible="partial"` these are listed in the
    plan instead, and the error is only raised when nothing is left to plan), and where the plan does
    not fit the workload's GPUs.
    """
    started = time.perf_counter()
    settings = settings or PlanSettings()
    deadline_s = min(settings.deadline_s, started + settings.time_limit_s)
    settings = replace(settings, should_stop=should_stop, deadline_s=deadline_s)
    solve = find_strategy(strategy)
    problem, unplanned = prepare(workload, profiles, settings)
    if unplanned and (settings.infeasible == "fail" or not problem.fragments):
        raise InfeasibleError(unplanned)
    draft = solve(problem, settings, progress or _silent)

    def finish(draft: Draft) -> Plan:
        return _finish(problem, draft, workload, profiles, strategy, settings)

    try:
        plan = finish(draft)
    except DoesNotFitError as error:
        graft = find_strategy("graft")
        plan = refitted(problem, draft, error, graft=graft, finish=finish, settings=settings)
    plan = replace(plan, unplanned=tuple(unplanned))
    plan = replace(plan, provenance=replace(plan.provenance, seconds=time.perf_counter() - started))
    verdict = laws.verify(plan, workload, profiles)
    if not verdict.valid:
        broken = "; ".join(f"{item.law} at {item.place}: {item.message}" for item in verdict.violations[:5])
        raise InvalidPlanError(
            f"{strategy} made an invalid plan ({broken}); please report this with its input"
        )
    return plan


def find_strategy(name: str) -> Strategy:
    """The strategy of this name; raises InputError with the known names."""
    if name not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise InputError(
            "settings", [Complaint(place="strategy", problem=f"is {name!r}", cure=f"one of {known}")]
        )
    module, function = STRATEGIES[name].split(":")
    found = cast(Strategy, getattr(import_module(module), function))
    return with_exits(found) if name in WITH_EXITS else found


def prepare(
    workload: Workload, profiles: Sequence[Profile], settings: PlanSettings
) -> tuple[Problem, list[Unplanned]]:
    """Check what no single file shows, build the menus, and sort out what no plan can serve."""
    law = queueing_law(settings.queueing)
    _check_settings(settings)
    usable = list(profiles)
    if workload.gpus is not None:
        types = {gpu.type for gpu in workload.gpus}
        usable = [profile for profile in profiles if profile.gpu in types]
    by_model: dict[str, list[Profile]] = {}
    for profile in usable:
        by_model.setdefault(profile.model, []).append(profile)
    _check_consistency(workload, profiles, by_model)
    needed = {fragment.model for fragment in workload.fragments}
    menus = {model: Menu(group, law.beside(group)) for model, group in by_model.items() if model in needed}
    plannable, unplanned = [], []
    for fragment in workload.fragments:
        reason = why_not(fragment, menus[fragment.model])
        if reason is None:
            plannable.append(fragment)
        else:
            unplanned.append(reason)
    return Problem(fragments=tuple(plannable), menus=menus), unplanned


def stages_of(problem: Problem, draft: Draft) -> tuple[tuple[Stage, ...], dict[int, str]]:
    """The draft's stages in a reader's order (model, start, end), and the name each number got."""
    order = sorted(
        range(len(draft.stages)),
        key=lambda number: (
            draft.stages[number].model,
            draft.stages[number].start,
            draft.stages[number].end,
            number,
        ),
    )
    names = {number: f"s{position}" for position, number in enumerate(order)}
    menus = menus_of(problem, draft)
    leaving = flows(problem, draft) if draft.menus else None
    stages = []
    for number in order:
        drafted = draft.stages[number]
        menu = menus[drafted.model]
        column = menu.columns[drafted.column]
        exits = exits_within(drafted, column.exits)
        stages.append(
            Stage(
                id=names[number],
                model=drafted.model,
                gpu=column.gpu,
                start=drafted.start,
                end=drafted.end,
                batch=column.batch,
                share=column.share,
                instances=drafted.instances,
                exec_ms=menu.stage_exec_ms(drafted.start, drafted.end, drafted.column),
                exits=exits,
                expected_ms=expected_ms(problem, draft, number, leaving) if leaving and exits else None,
            )
        )
    return tuple(stages), names


def _silent(_: Progress) -> None:
    """Progress that nobody asked for."""


def _check_settings(settings: PlanSettings) -> None:
    complaints = []
    if not 0 < settings.time_limit_s <= 7 * 86400:
        complaints.append(
            Complaint(
                place="time_limit_s", problem=f"is {settings.time_limit_s}", cure="above 0, at most a week"
            )
        )
    if not 0 <= settings.gap < 1:
        complaints.append(Complaint(place="gap", problem=f"is {settings.gap}", cure="from 0 to below 1"))
    if not 1 <= settings.threads <= 1024:
        complaints.append(Complaint(place="threads", problem=f"is {settings.threads}", cure="from 1 to 1024"))
    if not 0 <= settings.memory_limit_mb < 2**31:
        complaints.append(
            Complaint(
                place="memory_limit_mb",
                problem=f"is {settings.memory_limit_mb}",
                cure="megabytes, or 0 for no limit",
            )
        )
    if settings.infeasible not in ("fail", "partial"):
        complaints.append(
            Complaint(place="infeasible", problem=f"is {settings.infeasible!r}", cure="fail or partial")
        )
    if not 0 <= settings.seed < 2**31:
        complaints.append(Complaint(place="seed", problem=f"is {settings.seed}", cure="from 0 to 2147483647"))
    if complaints:
        raise InputError("settings", complaints)


def _check_consistency(
    workload: Workload, profiles: Sequence[Profile], by_model: dict[str, list[Profile]]
) -> None:
    """Every fragment has a usable profile and starts inside its model; its profiles agree on the layers."""
    complaints = []
    pairs = [(profile.model, profile.gpu) for profile in profiles]
    for model, gpu in sorted({pair for pair in pairs if pairs.count(pair) > 1}):
        problem = f"two profiles of {model} on {gpu} were given"
        complaints.append(
            Complaint(place="profiles", problem=problem, cure="give each model and GPU type once")
        )
    for model, group in by_model.items():
        for profile in group[1:]:
            if profile.layers != group[0].layers:
                complaints.append(
                    Complaint(
                        place=f"profiles of {model}",
                        problem=f"{group[0].gpu} and {profile.gpu} name different layers",
                        cure="measure the same model on both",
                    )
                )
            if _survivals(profile) != _survivals(group[0]):
                problem = f"{group[0].gpu} and {profile.gpu} have different exits"
                cure = "the same layers and survivals on every GPU type: inputs leave where they leave"
                complaints.append(Complaint(place=f"profiles of {model}", problem=problem, cure=cure))
    known = sorted({profile.model for profile in profiles})
    for number, fragment in enumerate(workload.fragments):
        group = by_model.get(fragment.model, [])
        if not group:
            problem = f"no profile of {fragment.model!r} was given"
            cure = f"profiles given: {', '.join(known) or 'none'}"
            if fragment.model in known:
                problem = f"no profile of {fragment.model!r} is for a GPU type of this workload"
                cure = f"GPU types here: {', '.join(sorted({gpu.type for gpu in workload.gpus or ()}))}"
            complaints.append(Complaint(place=f"fragments[{number}].model", problem=problem, cure=cure))
        elif fragment.start >= group[0].depth:
            complaints.append(
                Complaint(
                    place=f"fragments[{number}].start",
                    problem=f"is {fragment.start}, but {fragment.model} has {group[0].depth} layers",
                    cure=f"0 to {group[0].depth - 1}",
                )
            )
        elif fragment.survival is not None and len(fragment.survival) != len(group[0].exits or ()):
            problem = f"has {len(fragment.survival)} entries"
            cure = f"one for each of the {len(group[0].exits or ())} exits in the profile of {fragment.model}"
            if not group[0].exits:
                cure = f"leave it out: the profile of {fragment.model} has no exits"
            complaints.append(Complaint(place=f"fragments[{number}].survival", problem=problem, cure=cure))
    if complaints:
        raise InputError(TOGETHER, complaints[: formats.MAX_COMPLAINTS])


def _survivals(profile: Profile) -> list[tuple[int, float]]:
    return [(item.layer, item.survival) for item in profile.exits or ()]


def _finish(
    problem: Problem,
    draft: Draft,
    workload: Workload,
    profiles: Sequence[Profile],
    strategy: str,
    settings: PlanSettings,
) -> Plan:
    """Names, sums, placement and proof for a draft."""
    stages, names = stages_of(problem, draft)
    exec_ms = {stage.id: stage.exec_ms for stage in stages}
    leaving = flows(problem, draft) if any(stage.exits for stage in stages) else None
    routes = []
    # A million fragments share some thousand ways.
    ways: dict[tuple[int, ...], tuple[tuple[str, ...], float]] = {}
    for position, route in enumerate(draft.routes):
        if route.stages not in ways:
            passed = tuple(names[number] for number in route.stages)
            ways[route.stages] = passed, sum(2 * exec_ms[name] for name in passed)
        passed, worst_ms = ways[route.stages]
        fragment = problem.fragments[route.fragment].id
        mean_ms = None
        if leaving is not None and any(leaving.going_on[number] for number in route.stages):
            mean_ms = route_expected_ms(problem, draft, position, leaving)
        routes.append(
            Route(
                fragment=fragment,
                fraction=route.fraction,
                stages=passed,
                worst_ms=worst_ms,
                expected_ms=mean_ms,
            )
        )
    placement: tuple[Placed, ...] = ()
    notes = draft.notes
    if workload.gpus is not None:
        found = placement_of(stages, workload.gpus, profiles, seed=settings.seed)
        placement = found.placed
        notes = {**notes, "placement": {"gpus": found.gpus, "least_gpus": found.least_gpus}}
    costs = {(profile.model, profile.gpu): profile.cost_per_share for profile in profiles}
    share = float(sum(stage.instances * stage.share * costs[stage.model, stage.gpu] for stage in stages))
    bound = max(draft.lower_bound or 0.0, quick_bound(problem))
    bound = share if bound >= share * (1 - CLOSED) else bound
    return Plan(
        strategy=strategy,
        status="optimal" if bound == share else "feasible",
        objective=Objective(
            share=share, gpus=None if workload.gpus is None else len({placed.gpu for placed in placement})
        ),
        lower_bound=bound,
        gap=(share - bound) / share,
        stages=stages,
        routes=tuple(routes),
        placement=placement,
        provenance=Provenance(
            profiles=tuple(formats.digest(profile) for profile in profiles),
            workload=formats.digest(workload),
            version=version("regraft"),
            seed=settings.seed,
            settings={
                "time_limit_s": settings.time_limit_s,
                "gap": settings.gap,
                "threads": settings.threads,
                "queueing": settings.queueing,
                **({"memory_limit_mb": settings.memory_limit_mb} if settings.memory_limit_mb else {}),
                **notes,
            },
        ),
    )
