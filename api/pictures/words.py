"""Numbers and reasons in words, as the pages and reports show them."""

from __future__ import annotations

import math
from typing import Any

from planner.plan import Unplanned

NOTHING = "–"


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits and thousands apart; a dash for None."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) >= 10**digits or float(value).is_integer():
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as percent."""
    return NOTHING if fraction is None else f"{100 * fraction:.{digits}f}\u202f%"


def ms(value: float | None) -> str:
    """Milliseconds."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.1f}" if abs(value) < 1000 else number(round(value))


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return NOTHING
    if value < 100:
        return f"{value:.1f}\u202fs" if value >= 1 else f"{value:.2f}\u202fs"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}\u202fmin {rest:02d}\u202fs"


def rate(value: float | None) -> str:
    """Requests a second."""
    if value is None:
        return ""
    return f"{number(value, 3)}/s"


def many(count: float, one: str, several: str | None = None) -> str:
    """`1 stage`, `3 stages`."""
    return f"{number(count)} {one if count == 1 else several or one + 's'}"


def megabytes(value: float | None) -> str:
    """Memory."""
    if value is None:
        return NOTHING
    return f"{value / 1000:.1f}\u202fGB" if value >= 1000 else f"{value:.0f}\u202fMB"


def why_left_out(item: Unplanned) -> str:
    """Why a fragment has no route."""
    detail = item.detail
    match item.reason:
        case "budget_too_small":
            least, budget = _float(detail, "least_possible_ms"), _float(detail, "budget_ms")
            return (
                f"Its budget is {ms(budget)} ms, and the fastest way through the remaining layers takes "
                f"{ms(least)} ms, waiting included."
            )
        case "not_measured":
            layers = detail.get("layers") or []
            shown = ", ".join(str(layer) for layer in layers[:8]) + (" …" if len(layers) > 8 else "")
            return f"No profile has a measurement of layer {shown}." if shown else "A layer was not measured."
    return item.reason.replace("_", " ").capitalize() + "."


def what_would_help(item: Unplanned) -> list[str]:
    """The smallest changes, each of which would be enough alone."""
    changes: list[str] = []
    detail = item.detail
    help_ = detail.get("would_help") or {}
    for kind, value in help_.items():
        match kind:
            case "share_gpu":
                continue  # said with the share
            case "budget_ms":
                short = _float(detail, "short_by_ms")
                more = f", {ms(short)} ms more" if short is not None else ""
                changes.append(f"a budget of {ms(value)} ms{more}")
            case "start":
                changes.append(f"the phone runs the layers before {value} itself, within the same budget")
            case "share_pct":
                of = f" of a {help_['share_gpu']}" if "share_gpu" in help_ else ""
                changes.append(f"profiles measured at a share of {number(value)} %{of}")
            case "queueing":
                changes.append(f"planning with the laxer queueing law “{value}”")
            case "measure_layers":
                changes.append("measure layers " + ", ".join(str(layer) for layer in value[:8]))
            case _:
                changes.append(f"{kind.replace('_', ' ')}: {value}")
    return changes


def _float(detail: dict[str, Any], name: str) -> float | None:
    value = detail.get(name)
    return float(value) if isinstance(value, int | float) else None
