"""Whether inputs have become easier or harder than a running plan was made for.

Fragments that were planned with the same survival (a *kind*: one model, and the survival of its own, if it
has one) are watched together: what they did at exits, window after window, becomes a forecast
(`planner.forecasting`), and that is laid beside what the plan assumes. A kind whose plan uses no exit is not
seen at all: what nobody asks, nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.forecasting import (
    DEFAULT,
    TOLERANCE,
    Kind,
    Method,
    Seen,
    Window,
    drifted,
    forecast,
    kind_of,
    pooled,
    rests_on,
    with_survivals,
)
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Requests of one fragment in one window: answered, those that left, by the exit's layer, and lost.

    Lost are those that were dropped or failed after they had gone on past an exit, by the last one's layer.
    `exits` are the layers of those that were in use then on all of the fragment's routes.
    """

    exits: frozenset[int]
    answered: int
    left: Mapping[int, int]
    lost: Mapping[int, int]


# What was counted in one window, by fragment.
Counts = Mapping[str, Counted]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """One kind of fragments: what it was planned with, what was seen, and what is expected.

    Survivals are those past the exits at `layers`; `seen` is that of the last window that saw enough and None
    while none did, `expected` the forecast for the next. `answered` is what all windows saw together,
    `rests_on` what the forecast rests on.
    """

    model: str
    own: bool
    layers: tuple[int, ...]
    fragments: int
    planned: tuple[float, ...]
    seen: tuple[float, ...] | None
    expected: tuple[float, ...] | None
    windows: int
    answered: int
    rests_on: int
    drifted: bool

    @property
    def kind(self) -> Kind:
        """The kind in the workload that the plan was made for."""
        return self.model, self.planned if self.own else None

    @property
    def difference(self) -> float:
        """The largest difference between what is expected and what was planned with."""
        if self.expected is None:
            return 0.0
        pairs = zip(self.planned, self.expected, strict=True)
        return max((abs(now - before) for before, now in pairs), default=0.0)

    @property
    def harder(self) -> bool:
        """Whether more is expected to go on past some exit than was planned with."""
        pairs = zip(self.planned, self.expected or self.planned, strict=True)
        return any(now > before for before, now in pairs)


def outlooks(
    plan: Plan,
    workload: Workload,
    profiles: Sequence[Profile],
    windows: Sequence[Counts],
    *,
    method: Method = DEFAULT,
    tolerance: float = TOLERANCE,
) -> list[Outlook]:
    """Every kind of fragments on whose way exits are in use, laid beside the windows, oldest first."""
    by_model = {profile.model: profile.exits or () for profile in profiles}
    used = exits_in_use(plan)
    kinds: dict[Kind, list[str]] = {}
    starts = {fragment.id: fragment.start for fragment in workload.fragments}
    for fragment in workload.fragments:
        if used.get(fragment.id):
            kinds.setdefault(kind_of(fragment), []).append(fragment.id)
    found = []
    for (model, own), names in kinds.items():
        layers = tuple(item.layer for item in by_model[model])
        planned = own if own is not None else tuple(item.survival for item in by_model[model])
        series: list[Window] = []
        answered = 0
        for counts in windows:
            seen = [
                Seen(
                    start=starts[name],
                    exits=counted.exits,
                    answered=counted.answered,
                    left=counted.left,
                    lost=counted.lost,
                )
                for name in names
                if (counted := counts.get(name)) is not None
            ]
            answered += sum(one.answered for one in seen)
            series.append(pooled(seen, layers, planned))
        known = [window for window in series if window.answered]
        expected = forecast(series, layers, method=method)
        basis = rests_on(series, method=method)
        found.append(
            Outlook(
                model=model,
                own=own is not None,
                layers=layers,
                fragments=len(names),
                planned=planned,
                seen=known[-1].survival(layers) if known else None,
                expected=expected,
                windows=len(known),
                answered=answered,
                rests_on=basis,
                drifted=expected is not None and drifted(planned, expected, basis, tolerance=tolerance),
            )
        )
    return found


def exits_in_use(plan: Plan) -> dict[str, frozenset[int]]:
    """For every fragment, the layers of the exits in use on all of its routes."""
    exits = {stage.id: stage.exits for stage in plan.stages}
    found: dict[str, frozenset[int]] = {}
    for route in plan.routes:
        here = frozenset(layer for name in route.stages for layer in exits[name])
        found[route.fragment] = found.get(route.fragment, here) & here
    return found


def forecast_workload(workload: Workload, seen: Sequence[Outlook], *, digits: int = 4) -> Workload:
    """The workload to plan for: every kind that has drifted with the survival expected of it."""
    expected = {
        outlook.kind: [round(fraction, digits) for fraction in outlook.expected]
        for outlook in seen
        if outlook.drifted and outlook.expected is not None
    }
    return with_survivals(workload, expected)
