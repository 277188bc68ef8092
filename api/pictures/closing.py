"""Objective and bound closing in on each other over the seconds of a solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.pictures import words
from api.pictures.drawing import element, line, picture, points, text, ticks

_WIDTH, _HEIGHT = 1080.0, 280.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 96.0, 16.0, 40.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Where a solve was `t_s` seconds after its start."""

    t_s: float
    objective: float | None
    bound: float | None


def closing_picture(readings: Sequence[Reading], *, until_s: float | None = None) -> Markup | None:
    """The two lines; None before there is anything to draw. The last values go on to `until_s`."""
    objectives = _line([(item.t_s, item.objective) for item in readings], falling=True)
    bounds = _line([(item.t_s, item.bound) for item in readings], falling=False)
    if not objectives and not bounds:
        return None
    end_s = max([until_s or 0.0, 1e-3, *(item.t_s for item in readings)])
    low, high = _range(objectives, bounds)

    def x(t_s: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * t_s / end_s

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - max(value, low)) / (high - low)

    parts = [_axes(low, high, end_s, x, y)]
    steps = _steps(objectives, end_s)
    lower = _steps(bounds, end_s)
    if steps and lower:
        between = [(x(t), y(v)) for t, v in steps] + [(x(t), y(v)) for t, v in reversed(lower)]
        parts.append(element("polygon", points=points(between), class_="gap"))
    ends: list[tuple[float, str, str]] = []
    for drawn, name, class_ in ((steps, "plan", "objective"), (lower, "bound", "bound")):
        if not drawn:
            continue
        parts.append(
            element("polyline", points=points((x(t), y(v)) for t, v in drawn), class_=f"curve {class_}")
        )
        parts.append(element("circle", cx=x(drawn[-1][0]), cy=y(drawn[-1][1]), r=3.5, class_=f"end {class_}"))
        ends.append((y(drawn[-1][1]), f"{name} {words.number(drawn[-1][1])}", class_))
    for at, label, class_ in _apart(ends):
        parts.append(text(_WIDTH - _RIGHT + 8, at + 4, label, f"label {class_}"))
    last_plan = objectives[-1][1] if objectives else None
    last_bound = bounds[-1][1] if bounds else None
    return picture(
        *parts,
        width=_WIDTH,
        height=_HEIGHT,
        title="Share of the best plan and lower bound over time",
        described=(
            f"After {words.seconds(end_s)} the best plan has share {words.number(last_plan)}, and no plan "
            f"has less than {words.number(last_bound)}."
        ),
        name="closing",
        class_="closing",
    )


def _line(pairs: Sequence[tuple[float, float | None]], *, falling: bool) -> list[tuple[float, float]]:
    """The best value so far at every time at which it changed."""
    kept: list[tuple[float, float]] = []
    for t_s, value in sorted((t, v) for t, v in pairs if v is not None):
        if not kept or (value < kept[-1][1] if falling else value > kept[-1][1]):
            kept.append((t_s, value))
    return kept


def _steps(values: Sequence[tuple[float, float]], end_s: float) -> list[tuple[float, float]]:
    """A value holds until the next one comes."""
    drawn: list[tuple[float, float]] = []
    for number, (t_s, value) in enumerate(values):
        if number:
            drawn.append((t_s, values[number - 1][1]))
        drawn.append((t_s, value))
    if values:
        drawn.append((max(end_s, values[-1][0]), values[-1][1]))
    return drawn


def _range(
    objectives: Sequence[tuple[float, float]], bounds: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """What is shown: from a little below the last bound's neighbourhood, so that the end can be seen."""
    values = [value for _, value in objectives] + [value for _, value in bounds]
    high, low = max(values), min(values)
    # A first bound of next to nothing would flatten everything that comes after it.
    final = objectives[-1][1] if objectives else high
    low = max(low, final - 3 * max(high - final, 0.2 * abs(final))) if bounds else low
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return max(0.0, low - pad) if low >= 0 else low - pad, high + pad


def _apart(ends: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Labels at the ends of the lines, moved so that they do not lie on each other."""
    if len(ends) == 2 and ends[1][0] - ends[0][0] < 17:
        middle = (ends[0][0] + ends[1][0]) / 2
        return [(middle - 8.5, *ends[0][1:]), (middle + 8.5, *ends[1][1:])]
    return ends


def _axes(low: float, high: float, end_s: float, x: object, y: object) -> Markup:
    assert callable(x)
    assert callable(y)
    parts = []
    for value in ticks(low, high, 4):
        parts.append(line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), "guide"))
        parts.append(text(_LEFT - 8, y(value) + 4, words.number(value), "tick", "end"))
    for t_s in ticks(0, end_s, 6):
        parts.append(text(x(t_s), _HEIGHT - _BOTTOM + 18, f"{t_s:g}", "tick", "middle"))
    parts.append(line(_LEFT, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, "axis"))
    parts.append(text(_WIDTH - _RIGHT, _HEIGHT - 6, "seconds", "small", "end"))
    parts.append(text(_LEFT, _HEIGHT - 6, "share, percent of one GPU", "small"))
    return Markup("").join(parts)
