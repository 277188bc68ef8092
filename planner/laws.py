"""The laws of a valid plan, and the verdict on one.

This module is the only place where the laws stand, and it calls nothing that makes plans: it reads the
plan, the workload and the profiles, and computes everything again with plain sums.

    1 stage      exec_ms of a stage [i, j) at batch b and share s is
                 stage_overhead_ms + Σ latency_ms[ℓ][b][s] over ℓ = i…j−1, and Σ ramp_ms[b][s] over the exits
                 in use within it; a null cell: no such stage
    2 time       on every route, Σ 2 · exec_ms ≤ budget_ms
    3 capacity   for every stage, instances · batch · 1000 / exec_ms ≥ Σ count · rate_rps · fraction;
                 with exits, expected_ms stands for exec_ms, and each summand counts times the fraction of
                 the route's requests that come as far as this stage
    4 routes     from the fragment's start to L, without holes, in one model; fractions add up to 1
    5 placement  on every GPU: shares ≤ 100, memory fits, at most `max_clients` instances, its type
    6 objective  share = Σ instances · share · cost_per_share, and lower_bound is not above it

Exits (docs/exits.md). σ(x) is the fraction of inputs that go on past exit x: the fragment's own `survival` or
the profile's. Of a fragment that enters at p, the fraction σ(x) / σ(p) goes on past the last exit x in use on
its way, where σ(p) is that of the last exit at p or before it (1 where there is none). Of a batch b in a
stage, b · ρ(ℓ) is there at layer ℓ: ρ is what goes on past the last exit in use between i and ℓ, as a part of
what enters, over all routes through the stage; 1 before the first. expected_ms is stage_overhead_ms + Σ over
layers and ramps of their latency at b · ρ samples: between measured batches by straight lines, below the
least as there, and below one sample in proportion, since a batch that everybody left is not run. A ramp runs
what comes to it, the layers after it what goes on. Where nobody leaves it is exec_ms.

What a verdict cannot show is that *no* valid plan has less than `lower_bound`; that is the solver's proof.
It does show that the bound does not contradict the plan that carries it.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from planner.plan import Plan, Route, Stage
from planner.profile import Profile
from planner.workload import Fragment, Workload

Law = Literal["stage", "time", "capacity", "routes", "placement", "objective"]

# Plans are computed and written in double precision; anything beyond this is not rounding.
TOLERANCE = 1e-6
MAX_CLIENTS = 48  # the limit of MPS clients on one GPU (Volta and later)
MAX_INSTANCES = 10**9  # of one stage; beyond it a number is a mistake, and arithmetic with it may fail


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One broken law: where, and by how much in `unit` (None where there is no amount)."""

    law: Law
    place: str
    message: str
    by: float | None = None
    unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the laws say of a plan. `valid` is true when nothing is broken."""

    violations: tuple[Violation, ...]

    @property
    def valid(self) -> bool:
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        """`regraft.verdict/v1`, for machines."""
        return {
            "format": "regraft.verdict/v1",
            "valid": self.valid,
            "violations": [asdict(violation) for violation in self.violations],
        }


def verify(
    plan: Plan, workload: Workload, profiles: Sequence[Profile], *, max_clients: int = MAX_CLIENTS
) -> Verdict:
    """Check every law and collect all violations; never raises for a bad plan."""
    case = _Case(plan, workload, profiles)
    violations = [
        *_stage_law(case),
        *_route_law(case),
        *_time_law(case),
        *_capacity_law(case),
        *_placement_law(case, max_clients),
        *_objective_law(case),
    ]
    return Verdict(violations=tuple(_finite(violation) for violation in violations))


def exec_ms(
    profile: Profile, start: int, end: int, batch: int, share: float, exits: Sequence[int] = ()
) -> float | None:
    """Law 1: the latency of layers [start, end) at this batch and share; None where it does not exist.

    `exits` are the layers of the exits in use, whose ramps run for the whole batch: nobody leaves.
    """
    if not 0 <= start < end <= profile.depth:
        return None
    if batch not in profile.batches or share not in profile.shares:
        return None
    if not _usable(profile, start, end, exits):
        return None
    b, s = profile.batches.index(batch), profile.shares.index(share)
    cells = [profile.latency_ms[layer][b][s] for layer in range(start, end)]
    cells += [item.ramp_ms[b][s] for item in profile.exits or () if item.layer in exits]
    total = _sum(cell for cell in cells if cell is not None)
    return None if None in cells else profile.stage_overhead_ms + total


def expected_ms(
    profile: Profile, start: int, end: int, batch: int, share: float, going_on: Mapping[int, float]
) -> float | None:
    """Law 1 with exits: what a full batch takes on average; None where the stage does not exist.

    `going_on` has, for the layer of every exit in use, the fraction of what enters that goes on past it.
    """
    if exec_ms(profile, start, end, batch, share, tuple(going_on)) is None:
        return None
    return profile.stage_overhead_ms + _sum(
        ms for _, ms in _pieces(profile, start, end, batch, share, going_on)
    )


def memory_mb(profile: Profile, start: int, end: int, batch: int, exits: Sequence[int] = ()) -> float:
    """Law 5: one instance's memory: context + weights, of ramps too + batch · its largest activation."""
    weights = _sum(profile.weight_mb[start:end]) if profile.weight_mb else 0.0
    weights += _sum(item.weight_mb for item in profile.exits or () if item.layer in exits)
    activation = max(profile.activation_mb[start:end], default=0.0) if profile.activation_mb else 0.0
    return profile.context_mb + weights + batch * activation


class _Case:
    """The plan with everything it refers to looked up once."""

    def __init__(self, plan: Plan, workload: Workload, profiles: Sequence[Profile]) -> None:
        self.plan = plan
        self.workload = workload
        self.profiles = {(profile.model, profile.gpu): profile for profile in profiles}
        self.stages: dict[str, Stage] = {stage.id: stage for stage in plan.stages}
        self.fragments: dict[str, Fragment] = {fragment.id: fragment for fragment in workload.fragments}
        self.depths = {profile.model: profile.depth for profile in profiles}
        # By position, since ids may be used twice. Stages that do not exist (law 1) have no latency; other
        # laws pass over them.
        self.latency_ms: list[float | None] = []
        self.exec_ms: dict[str, float] = {}
        for stage in plan.stages:
            profile = self.profiles.get((stage.model, stage.gpu))
            if profile is None:
                self.latency_ms.append(None)
                continue
            latency = exec_ms(profile, stage.start, stage.end, stage.batch, stage.share, stage.exits)
            self.latency_ms.append(latency)
            if latency is not None:
                self.exec_ms[stage.id] = latency
        self.flows = _Flows(self)
        # What a full batch takes on average, which without exits is exec_ms to the digit.
        self.expected_ms = dict(self.exec_ms)
        for stage in plan.stages:
            if stage.exits and stage.id in self.exec_ms:
                profile = self.profiles[stage.model, stage.gpu]
                expected = expected_ms(
                    profile, stage.start, stage.end, stage.batch, stage.share, self.flows.going_on(stage)
                )
                if expected is not None:
                    self.expected_ms[stage.id] = expected

    def known(self, route: Route) -> list[Stage]:
        return [self.stages[name] for name in route.stages if name in self.stages]


class _Flows:
    """The load that comes to every stage, and what part of it goes on past each of its exits."""

    def __init__(self, case: _Case) -> None:
        self.load: defaultdict[str, list[float]] = defaultdict(list)
        # For every stage and exit in use, the load that goes on past it, by route.
        self.past: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        # For every route, the fraction of its requests that comes to each of its stages.
        self.reaching: list[list[float]] = []
        for route in case.plan.routes:
            fragment = case.fragments.get(route.fragment)
            fractions: list[float] = []
            self.reaching.append(fractions)
            if fragment is None:
                continue
            demand = fragment.count * fragment.rate_rps * route.fraction
            here = 1.0
            for name in route.stages:
                self.load[name].append(demand * here)
                fractions.append(here)
                stage = case.stages.get(name)
                profile = case.profiles.get((stage.model, stage.gpu)) if stage else None
                if stage is None or profile is None:
                    continue
                for layer in stage.exits:
                    here = min(here, survival(profile, fragment, layer))
                    self.past[name, layer].append(demand * here)

    def going_on(self, stage: Stage) -> dict[int, float]:
        """For each exit in use, the part of what enters the stage that goes on past it."""
        entering = _sum(self.load[stage.id])
        if not entering > 0:
            return dict.fromkeys(stage.exits, 1.0)
        return {layer: min(1.0, _sum(self.past[stage.id, layer]) / entering) for layer in stage.exits}


def survival(profile: Profile, fragment: Fragment, layer: int) -> float:
    """The fraction of a fragment's requests that goes on past the exit at this layer, once it is in use.

    1 where the profile has no such exit, or the fragment enters behind it.
    """
    exits = profile.exits or ()
    fractions = [item.survival for item in exits]
    if fragment.survival is not None and len(fragment.survival) == len(exits):
        fractions = list(fragment.survival)
    at_start, past = 1.0, 1.0
    for item, fraction in zip(exits, fractions, strict=True):
        if item.layer <= fragment.start:
            at_start = fraction
        elif item.layer == layer:
            past = fraction
    if not any(item.layer == layer > fragment.start for item in exits):
        return 1.0
    # Where nobody comes as far as the fragment's start, nothing is known of those that do.
    return min(1.0, past / at_start) if at_start > 0 else 1.0


def _usable(profile: Profile, start: int, end: int, exits: Sequence[int]) -> bool:
    """Whether these are layers of exits, by rising layer, whose ramps [start, end) can run."""
    known = {item.layer for item in profile.exits or ()}
    return all(start < layer <= end and layer in known for layer in exits) and all(
        before < after for before, after in pairwise(exits)
    )


def _pieces(
    profile: Profile,
    start: int,
    end: int,
    batch: int,
    share: float,
    going_on: Mapping[int, float],
    least: float = 0.0,
) -> Iterator[tuple[int, float]]:
    """Layers and ramps of a stage in their order: (layer, its latency for what is left of the batch).

    A ramp comes as a piece of the layer before its cut point. At least `least` samples are taken to be left.
    """
    here = 1.0
    ramps = {item.layer: item for item in profile.exits or () if item.layer in going_on}
    for layer in range(start, end):
        samples = max(least, batch * here)
        yield layer, _between(profile, profile.latency_ms[layer], batch, share, samples)
        if (ramp := ramps.get(layer + 1)) is not None:
            yield layer, _between(profile, ramp.ramp_ms, batch, share, samples)
            here = going_on[layer + 1]


def _between(
    profile: Profile,
    cells: Sequence[Sequence[float | None]],
    batch: int,
    share: float,
    samples: float,
) -> float:
    """The latency of so many samples, by straight lines between the batches measured up to `batch`."""
    s = profile.shares.index(share)
    measured = sorted(
        (size, cell)
        for size, row in zip(profile.batches, cells, strict=True)
        if size <= batch and (cell := row[s]) is not None
    )
    above = next(number for number, (size, _) in enumerate(measured) if size >= samples or size == batch)
    size, cell = measured[above]
    if above == 0 or size == samples:
        return cell * min(1.0, samples)
    smaller, less = measured[above - 1]
    return less + (cell - less) * (samples - smaller) / (size - smaller)


def _finite(violation: Violation) -> Violation:
    """Without an amount where it is none: a verdict has to be JSON, which knows no NaN."""
    if violation.by is None or abs(violation.by) <= sys.float_info.max:
        return violation
    return replace(violation, by=None)


def _more(value: float, limit: float) -> bool:
    """value > limit, beyond rounding; a NaN is never within a limit."""
    return not value <= limit + TOLERANCE * max(1.0, abs(limit))


def _sum(values: Iterable[float]) -> float:
    """The exact sum; NaN, which is within no limit, where the numbers of a broken plan have none."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan


def _differ(value: float, other: float) -> bool:
    return _more(value, other) or _more(other, value)


def _stage_law(case: _Case) -> Iterator[Violation]:
    seen: set[str] = set()
    for position, stage in enumerate(case.plan.stages):
        place = f"stages[{position}] ({stage.id})"
        if stage.id in seen:
            yield Violation(law="stage", place=place, message=f"the id {stage.id!r} is used twice")
        seen.add(stage.id)
        if stage.instances < 1:
            message = f"{stage.instances} instances; a stage has at least one"
            yield Violation(
                law="stage", place=place, message=message, by=1 - stage.instances, unit="instances"
            )
        elif stage.instances > MAX_INSTANCES:
            message = f"more than {MAX_INSTANCES} instances"
            over = stage.instances - MAX_INSTANCES
            yield Violation(law="stage", place=place, message=message, by=over, unit="instances")
        profile = case.profiles.get((stage.model, stage.gpu))
        if profile is None:
            message = f"no profile of {stage.model} on {stage.gpu} was given"
            yield Violation(law="stage", place=place, message=message)
            continue
        if not 0 <= stage.start < stage.end <= profile.depth:
            message = f"layers [{stage.start}, {stage.end}) are not within the model's 0…{profile.depth}"
            yield Violation(law="stage", place=place, message=message)
        elif stage.batch not in profile.batches:
            message = f"batch {stage.batch} is not in the profile's {list(profile.batches)}"
            yield Violation(law="stage", place=place, message=message)
        elif stage.share not in profile.shares:
            message = f"share {stage.share} is not in the profile's {list(profile.shares)}"
            yield Violation(law="stage", place=place, message=message)
        elif not _usable(profile, stage.start, stage.end, stage.exits):
            known = [item.layer for item in profile.exits or () if stage.start < item.layer <= stage.end]
            message = f"exits {list(stage.exits)} are not some of the profile's within it, {known}, rising"
            yield Violation(law="stage", place=place, message=message)
        elif (expected := case.latency_ms[position]) is None:
            message = (
                f"not measured: a layer of [{stage.start}, {stage.end}) has no latency at batch "
                f"{stage.batch} and share {stage.share}"
            )
            yield Violation(law="stage", place=place, message=message)
        elif _differ(stage.exec_ms, expected):
            message = f"exec_ms is {stage.exec_ms}, the profile says {expected}"
            difference = stage.exec_ms - expected
            yield Violation(law="stage", place=place, message=message, by=difference, unit="ms")
        else:
            yield from _expected_law(case, stage, place)


def _expected_law(case: _Case, stage: Stage, place: str) -> Iterator[Violation]:
    """expected_ms is there where exits are in use, and what the profile and the routes say."""
    if stage.expected_ms is None:
        if stage.exits:
            message = "has exits in use, but no expected_ms"
            yield Violation(law="stage", place=place, message=message)
        return
    expected = case.expected_ms[stage.id]
    if _differ(stage.expected_ms, expected):
        message = f"expected_ms is {stage.expected_ms}, profile and routes say {expected}"
        difference = stage.expected_ms - expected
        yield Violation(law="stage", place=place, message=message, by=difference, unit="ms")


def _route_law(case: _Case) -> Iterator[Violation]:
    fractions: defaultdict[str, list[float]] = defaultdict(list)
    unplanned = {item.fragment for item in case.plan.unplanned}
    for position, route in enumerate(case.plan.routes):
        place = f"routes[{position}] ({route.fragment})"
        fractions[route.fragment].append(route.fraction)
        if not route.fraction > 0:
            message = f"fraction {route.fraction} is not above 0"
            yield Violation(law="routes", place=place, message=message, by=-route.fraction, unit="fraction")
        for name in route.stages:
            if name not in case.stages:
                yield Violation(law="routes", place=place, message=f"there is no stage {name!r}")
        fragment = case.fragments.get(route.fragment)
        if fragment is None:
            message = f"the workload has no fragment {route.fragment!r}"
            yield Violation(law="routes", place=place, message=message)
            continue
        yield from _path_law(case, fragment, route, place)
        yield from _survival_law(case, fragment)
    for fragment_id, parts in fractions.items():
        total = _sum(parts)
        if _differ(total, 1.0):
            message = f"fractions add up to {total}, not 1"
            place = f"fragment {fragment_id}"
            yield Violation(law="routes", place=place, message=message, by=total - 1.0, unit="fraction")
    for fragment_id in case.fragments:
        place = f"fragment {fragment_id}"
        if fragment_id not in fractions and fragment_id not in unplanned:
            yield Violation(law="routes", place=place, message="has no route and is not listed as unplanned")
        if fragment_id in fractions and fragment_id in unplanned:
            yield Violation(law="routes", place=place, message="has routes and is listed as unplanned")
    listed: set[str] = set()
    for position, item in enumerate(case.plan.unplanned):
        place = f"unplanned[{position}]"
        if item.fragment not in case.fragments:
            message = f"the workload has no fragment {item.fragment!r}"
            yield Violation(law="routes", place=place, message=message)
        if item.fragment in listed:
            message = f"fragment {item.fragment!r} is listed twice"
            yield Violation(law="routes", place=place, message=message)
        listed.add(item.fragment)


def _path_law(case: _Case, fragment: Fragment, route: Route, place: str) -> Iterator[Violation]:
    """From the fragment's start to L, without holes, in its model."""
    if not route.stages:
        yield Violation(law="routes", place=place, message="has no stages")
        return
    at = fragment.start
    for stage in case.known(route):
        if stage.model != fragment.model:
            message = f"stage {stage.id} is of {stage.model}, the fragment of {fragment.model}"
            yield Violation(law="routes", place=place, message=message)
        if stage.start != at:
            message = f"stage {stage.id} starts at layer {stage.start}, the request is at {at}"
            yield Violation(law="routes", place=place, message=message, by=stage.start - at, unit="layers")
        at = stage.end
    depth = case.depths.get(fragment.model)
    if depth is None:
        message = f"no profile of {fragment.model} was given"
        yield Violation(law="routes", place=place, message=message)
    elif at != depth:
        message = f"ends at layer {at}, the model has {depth}"
        yield Violation(law="routes", place=place, message=message, by=depth - at, unit="layers")


def _survival_law(case: _Case, fragment: Fragment) -> Iterator[Violation]:
    """A fragment's own survival has one entry for every exit of its model's profiles."""
    for (model, gpu), profile in case.profiles.items():
        exits = profile.exits or ()
        if model == fragment.model and len(fragment.survival or exits) != len(exits):
            place = f"fragment {fragment.id}"
            message = f"has {len(fragment.survival or ())} survivals, {model} on {gpu} has {len(exits)} exits"
            yield Violation(law="routes", place=place, message=message)


def _time_law(case: _Case) -> Iterator[Violation]:
    for position, route in enumerate(case.plan.routes):
        fragment = case.fragments.get(route.fragment)
        if fragment is None or any(name not in case.exec_ms for name in route.stages):
            continue
        place = f"routes[{position}] ({route.fragment})"
        worst = _sum(2 * case.exec_ms[name] for name in route.stages)
        if _more(worst, fragment.budget_ms):
            message = f"takes {worst} ms at worst, the budget is {fragment.budget_ms} ms"
            over = worst - fragment.budget_ms
            yield Violation(law="time", place=place, message=message, by=over, unit="ms")
        if _more(worst, route.worst_ms):
            message = f"worst_ms says {route.worst_ms}, twice its stages' exec_ms is {worst}"
            over = worst - route.worst_ms
            yield Violation(law="time", place=place, message=message, by=over, unit="ms")
        elif _more(route.worst_ms, fragment.budget_ms):
            message = f"worst_ms says {route.worst_ms}, the budget is {fragment.budget_ms}"
            over = route.worst_ms - fragment.budget_ms
            yield Violation(law="time", place=place, message=message, by=over, unit="ms")
        if route.expected_ms is not None:
            expected = _route_expected_ms(case, fragment, route)
            if _differ(route.expected_ms, expected):
                message = f"expected_ms says {route.expected_ms}, profile and routes say {expected}"
                difference = route.expected_ms - expected
                yield Violation(law="time", place=place, message=message, by=difference, unit="ms")


def _route_expected_ms(case: _Case, fragment: Fragment, route: Route) -> float:
    """The mean time a request of this route spends in running batches, until its own answer is there."""
    here, parts = 1.0, []
    for name in route.stages:
        stage = case.stages[name]
        profile = case.profiles[stage.model, stage.gpu]
        going_on = case.flows.going_on(stage)
        parts.append(here * profile.stage_overhead_ms)
        reached = stage.start
        # Where a request still is, at least one sample runs.
        pieces = _pieces(profile, stage.start, stage.end, stage.batch, stage.share, going_on, least=1.0)
        for layer, ms in pieces:
            if layer > reached and layer in going_on:
                here = min(here, survival(profile, fragment, layer))
            reached = layer
            parts.append(here * ms)
        if stage.end in going_on:
            here = min(here, survival(profile, fragment, stage.end))
    return _sum(parts)


def _capacity_law(case: _Case) -> Iterator[Violation]:
    for position, stage in enumerate(case.plan.stages):
        if stage.id not in case.exec_ms:
            continue
        demand = _sum(case.flows.load[stage.id])
        # instances · batch · 1000 / expected_ms ≥ demand, written so that a latency of zero is no division
        instances = min(max(stage.instances, 0), MAX_INSTANCES)
        needed, offered = demand * case.expected_ms[stage.id], instances * stage.batch * 1000.0
        if _more(needed, offered):
            capacity = offered / case.expected_ms[stage.id]
            place = f"stages[{position}] ({stage.id})"
            message = f"{demand} requests a second are routed to it, it can take {capacity}"
            yield Violation(law="capacity", place=place, message=message, by=demand - capacity, unit="rps")


def _placement_law(case: _Case, max_clients: int) -> Iterator[Violation]:
    plan, gpus = case.plan, {gpu.id: gpu for gpu in case.workload.gpus or ()}
    if case.workload.gpus is None:
        if plan.placement:
            message = "the plan places instances, but the workload has no gpus"
            yield Violation(law="placement", place="placement", message=message)
        return
    shares: defaultdict[str, list[float]] = defaultdict(list)
    memory: defaultdict[str, list[float]] = defaultdict(list)
    placed: set[tuple[str, int]] = set()
    for position, item in enumerate(plan.placement):
        place = f"placement[{position}] ({item.stage} #{item.instance})"
        stage, gpu = case.stages.get(item.stage), gpus.get(item.gpu)
        if stage is None or not 0 <= item.instance < stage.instances:
            yield Violation(law="placement", place=place, message="the plan has no such instance")
            continue
        if (item.stage, item.instance) in placed:
            yield Violation(law="placement", place=place, message="is placed twice")
        placed.add((item.stage, item.instance))
        if gpu is None:
            yield Violation(law="placement", place=place, message=f"the workload has no gpu {item.gpu!r}")
            continue
        if gpu.type != stage.gpu:
            message = f"the stage is for {stage.gpu}, {gpu.id} is a {gpu.type}"
            yield Violation(law="placement", place=place, message=message)
        shares[gpu.id].append(stage.share)
        profile = case.profiles.get((stage.model, stage.gpu))
        if profile is not None and stage.id in case.exec_ms:
            memory[gpu.id].append(memory_mb(profile, stage.start, stage.end, stage.batch, stage.exits))
    on_gpus = Counter(name for name, _ in placed)
    for stage in plan.stages:
        missing = stage.instances - on_gpus[stage.id]
        if missing > 0:
            message = f"{missing} of its {stage.instances} instances are on no GPU"
            place = f"stage {stage.id}"
            yield Violation(law="placement", place=place, message=message, by=missing, unit="instances")
    for name, gpu in gpus.items():
        limits = (
            (_sum(shares[name]), 100.0, "percent of share"),
            (_sum(memory[name]), gpu.memory_mb, "MB"),
            (float(len(shares[name])), float(max_clients), "instances"),
        )
        for used, limit, unit in limits:
            if _more(used, limit):
                message = f"{used:g} {unit} on it, it has {limit:g}"
                yield Violation(
                    law="placement", place=f"gpu {name}", message=message, by=used - limit, unit=unit
                )


def _objective_law(case: _Case) -> Iterator[Violation]:
    plan = case.plan
    costs = {key: profile.cost_per_share for key, profile in case.profiles.items()}
    total = _sum(
        stage.instances * stage.share * costs.get((stage.model, stage.gpu), 1.0) for stage in plan.stages
    )
    if _differ(plan.objective.share, total):
        message = f"says {plan.objective.share}, the stages cost {total}"
        over = plan.objective.share - total
        yield Violation(law="objective", place="objective.share", message=message, by=over, unit="share")
    if plan.objective.gpus is not None:
        used = len({item.gpu for item in plan.placement})
        if plan.objective.gpus != used:
            message = f"says {plan.objective.gpus}, the placement uses {used}"
            over = plan.objective.gpus - used
            yield Violation(law="objective", place="objective.gpus", message=message, by=over, unit="gpus")
    bound = plan.lower_bound
    if bound is not None and (not math.isfinite(bound) or _more(bound, total)):
        message = f"says that no valid plan has less than {bound}; this one has {total}"
        yield Violation(law="objective", place="lower_bound", message=message, by=bound - total, unit="share")
    if plan.gap is not None and bound is None:
        message = f"says {plan.gap}, but there is no lower_bound"
        yield Violation(law="objective", place="gap", message=message)
    if plan.gap is not None and bound is not None:
        expected = (total - bound) / total if total > 0 else 0.0
        if _differ(plan.gap, expected):
            message = f"says {plan.gap}, (share − lower_bound) / share is {expected}"
            yield Violation(law="objective", place="gap", message=message, by=plan.gap - expected)
    if plan.status == "optimal" and (bound is None or _more(total, bound)):
        message = f"status is optimal, but lower_bound is {bound} and the share {total}"
        yield Violation(law="objective", place="status", message=message)
