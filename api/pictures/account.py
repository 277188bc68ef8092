"""What there is to say about a plan: stages, fragments and GPUs as rows, with what it was made from.

Workload and profiles may be missing (a plan file alone is enough for a picture): then rates, budgets and
memory are None, and are not shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from planner import laws
from planner.budgeting import BudgetUse, budget_use
from planner.plan import Plan, Route, Stage, Unplanned
from planner.profile import Profile
from planner.workload import Fragment, Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRow:
    """A stage with what it carries. Rates in requests a second, memory in MB of one instance."""

    stage: Stage
    fragments: int
    rate_rps: float | None
    capacity_rps: float
    memory_mb: float | None
    kind: str  # shared, alignment, alone

    @property
    def used(self) -> float | None:
        """The fraction of its capacity that the plan uses."""
        return None if self.rate_rps is None else self.rate_rps / self.capacity_rps


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentRow:
    """One route of a fragment, and where its budget goes."""

    fragment: str
    model: str
    start: int
    count: int | None
    rate_rps: float | None
    fraction: float
    stages: tuple[str, ...]
    worst_ms: float
    use: BudgetUse | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A fragment without a route."""

    item: Unplanned
    fragment: Fragment | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """An instance on a GPU."""

    stage: Stage
    instance: int
    memory_mb: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuLoad:
    """A GPU with its instances; `memory_mb` is what it has, None where nobody said."""

    id: str
    type: str
    memory_mb: float | None
    held: tuple[Held, ...]

    @property
    def share(self) -> float:
        """Percent of its share that is given out."""
        return sum(item.stage.share for item in self.held)

    @property
    def used_mb(self) -> float | None:
        """Memory of its instances, where all of it is known."""
        sizes = [item.memory_mb for item in self.held if item.memory_mb is not None]
        return sum(sizes) if len(sizes) == len(self.held) else None


class Account:
    """A plan with the documents it was made from, as far as they are at hand."""

    def __init__(
        self, plan: Plan, workload: Workload | None = None, profiles: Sequence[Profile] = ()
    ) -> None:
        self.plan = plan
        self.workload = workload
        self.profiles = {(profile.model, profile.gpu): profile for profile in profiles}
        self.fragments = {item.id: item for item in workload.fragments} if workload else {}
        self.stage = {stage.id: stage for stage in plan.stages}

    @cached_property
    def models(self) -> list[str]:
        """The models, by name: their place in this list is their colour."""
        names = {stage.model for stage in self.plan.stages}
        return sorted(names | {fragment.model for fragment in self.fragments.values()})

    @cached_property
    def instances(self) -> int:
        """Instances of all stages."""
        return sum(stage.instances for stage in self.plan.stages)

    @cached_property
    def rate_rps(self) -> float | None:
        """Requests a second of all planned fragments."""
        if self.workload is None:
            return None
        return sum(self.rate_of(name, fraction) or 0.0 for name, fraction in self._fractions())

    @cached_property
    def users(self) -> dict[str, set[str]]:
        """The fragments that pass through each stage."""
        users: defaultdict[str, set[str]] = defaultdict(set)
        for route in self.plan.routes:
            for name in route.stages:
                users[name].add(route.fragment)
        return users

    @cached_property
    def load_rps(self) -> dict[str, float]:
        """Requests a second that pass through each stage; empty without a workload."""
        loads: defaultdict[str, float] = defaultdict(float)
        for route in self.plan.routes:
            rate = self.rate_of(route.fragment, route.fraction)
            for name, reaching in zip(route.stages, self.reaching(route), strict=True):
                loads[name] += (rate or 0.0) * reaching
        return loads

    @cached_property
    def stages(self) -> list[StageRow]:
        """The stages by model, then by where they begin."""
        last = {route.stages[-1] for route in self.plan.routes}
        rows = []
        for stage in self.plan.stages:
            users = len(self.users[stage.id])
            rows.append(
                StageRow(
                    stage=stage,
                    fragments=users,
                    rate_rps=self.load_rps.get(stage.id, 0.0) if self.workload else None,
                    capacity_rps=stage.instances
                    * stage.batch
                    * 1000
                    / max(stage.expected_ms or stage.exec_ms, 1e-9),
                    memory_mb=self.memory_of(stage),
                    kind="shared" if users > 1 else "alone" if stage.id in last else "alignment",
                )
            )
        return sorted(rows, key=lambda row: (row.stage.model, row.stage.start, row.stage.end, row.stage.id))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """What each stage is: shared, alignment, alone."""
        return {row.stage.id: row.kind for row in self.stages}

    @cached_property
    def routes(self) -> list[FragmentRow]:
        """The fragments' routes, in the plan's order."""
        uses = budget_use(self.plan, self.workload) if self.workload else []
        by_route = {(use.fragment, use.stages): use for use in uses}
        rows = []
        for route in self.plan.routes:
            first = self.stage[route.stages[0]]
            fragment = self.fragments.get(route.fragment)
            rows.append(
                FragmentRow(
                    fragment=route.fragment,
                    model=first.model,
                    start=first.start,
                    count=fragment.count if fragment else None,
                    rate_rps=self.rate_of(route.fragment, route.fraction),
                    fraction=route.fraction,
                    stages=route.stages,
                    worst_ms=route.worst_ms,
                    use=by_route.get((route.fragment, route.stages)),
                )
            )
        return rows

    @cached_property
    def left_out(self) -> list[LeftOut]:
        """The fragments without a route."""
        return [
            LeftOut(item=item, fragment=self.fragments.get(item.fragment)) for item in self.plan.unplanned
        ]

    @cached_property
    def gpus(self) -> list[GpuLoad]:
        """The GPUs that the plan uses, and the workload's that it does not; empty without a placement."""
        held: defaultdict[str, list[Held]] = defaultdict(list)
        for item in self.plan.placement:
            stage = self.stage.get(item.stage)
            if stage is not None:
                held[item.gpu].append(
                    Held(stage=stage, instance=item.instance, memory_mb=self.memory_of(stage))
                )
        if not held:
            return []
        known = {gpu.id: gpu for gpu in (self.workload.gpus or () if self.workload else ())}
        names = [*known, *(name for name in sorted(held) if name not in known)]
        return [
            GpuLoad(
                id=name,
                type=known[name].type if name in known else held[name][0].stage.gpu,
                memory_mb=known[name].memory_mb if name in known else None,
                held=tuple(sorted(held[name], key=lambda item: (item.stage.model, -item.stage.share))),
            )
            for name in names
        ]

    def rate_of(self, fragment: str, fraction: float) -> float | None:
        """Requests a second of this part of a fragment."""
        found = self.fragments.get(fragment)
        return None if found is None else found.load_rps * fraction

    def reaching(self, route: Route) -> list[float]:
        """The fraction of a route's requests that comes to each of its stages: some leave at exits before."""
        fragment = self.fragments.get(route.fragment)
        here, fractions = 1.0, []
        for name in route.stages:
            fractions.append(here)
            stage = self.stage[name]
            profile = self.profiles.get((stage.model, stage.gpu))
            if fragment is not None and profile is not None:
                for layer in stage.exits:
                    here = min(here, laws.survival(profile, fragment, layer))
        return fractions

    def memory_of(self, stage: Stage) -> float | None:
        """Memory of one instance, where the profile tells."""
        profile = self.profiles.get((stage.model, stage.gpu))
        if profile is None or profile.weight_mb is None or stage.end > profile.depth:
            return None
        return laws.memory_mb(profile, stage.start, stage.end, stage.batch, stage.exits)

    def has_stages(self, model: str) -> bool:
        """Whether anything of this model is planned."""
        return any(stage.model == model for stage in self.plan.stages)

    def depth(self, model: str) -> int:
        """Layers of a model: the profile's, or as many as the plan's stages show."""
        for (name, _), profile in self.profiles.items():
            if name == model:
                return profile.depth
        return max((stage.end for stage in self.plan.stages if stage.model == model), default=1)

    def layers(self, model: str) -> tuple[str, ...]:
        """Names of a model's layers, where a profile tells."""
        for (name, _), profile in self.profiles.items():
            if name == model:
                return profile.layers
        return ()

    def _fractions(self) -> list[tuple[str, float]]:
        return [(route.fragment, route.fraction) for route in self.plan.routes]
