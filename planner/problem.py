"""What a strategy is given, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from planner.menu import Menu
from planner.workload import Fragment


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How to plan. Times in seconds; `gap` is the relative gap at which a search may stop.

    `should_stop` is asked now and then during the search; once it says True the best plan so far is taken.
    A process that has more than `memory_limit_mb` resident (0: no limit) gives up searching, too.
    `deadline_s` is when, on the clock of `time.perf_counter`, the time limit ends; whoever starts the clock
    sets it.
    """

    time_limit_s: float = 60.0
    gap: float = 0.0
    threads: int = 2
    seed: int = 0
    infeasible: Literal["fail", "partial"] = "fail"
    queueing: str = "plain"
    memory_limit_mb: int = 0
    deadline_s: float = field(default=math.inf, compare=False, repr=False)
    should_stop: Callable[[], bool] | None = field(default=None, compare=False, repr=False)

    @property
    def stopped(self) -> bool:
        """Whoever asked for the plan wants the best one so far, now."""
        return self.should_stop is not None and self.should_stop()


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a solve is, `t_s` seconds after its start; share and bound are None before there is one."""

    t_s: float
    phase: str
    objective: float | None = None
    lower_bound: float | None = None
    gap: float | None = None


ProgressReport = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """The fragments that can be planned at all, and the menu of every model they need.

    Every fragment here has at least one route within its budget (see `Menu.least_time_ms`), so a
    strategy always finds a plan: in the worst case each fragment alone.
    """

    fragments: tuple[Fragment, ...]
    menus: dict[str, Menu]

    def menu(self, fragment: Fragment) -> Menu:
        """The menu of the fragment's model."""
        return self.menus[fragment.model]

    def by_model(self) -> dict[str, list[int]]:
        """Numbers of the fragments of every model, in the order of the workload: models share nothing."""
        groups: dict[str, list[int]] = {}
        for number, fragment in enumerate(self.fragments):
            groups.setdefault(fragment.model, []).append(number)
        return groups


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftStage:
    """Layers [start, end) of `model` with `instances` of the menu's column number `column`."""

    model: str
    start: int
    end: int
    column: int
    instances: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftRoute:
    """`fraction` of fragment number `fragment` passes through the draft's stages of these numbers."""

    fragment: int
    stages: tuple[int, ...]
    fraction: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A plan by numbers.

    `lower_bound` holds for every valid plan (law 6), or is None; `notes` go into the plan's provenance.
    """

    stages: tuple[DraftStage, ...]
    routes: tuple[DraftRoute, ...]
    lower_bound: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
