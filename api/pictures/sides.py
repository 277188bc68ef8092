"""Strategies side by side: a bar of share for each, and the bound that no plan can undercut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.pictures import words
from api.pictures.drawing import box, line, picture, text, ticks

_LABEL, _BARS, _FIGURES = 130.0, 620.0, 160.0
_ROW_PX, _BAR_PX, _TOP, _BOTTOM = 34.0, 22.0, 26.0, 26.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A strategy's result; `share` is None while there is none, and `state` says why."""

    strategy: str
    share: float | None
    state: str


def sides_picture(sides: Sequence[Side], bound: float | None) -> Markup | None:
    """The bars; None where no strategy has a plan."""
    shares = [side.share for side in sides if side.share is not None]
    if not shares:
        return None
    most, best = max(shares), min(shares)
    height = _TOP + _ROW_PX * len(sides) + _BOTTOM
    scale = _BARS / (most * 1.02 or 1.0)
    parts = []
    for value in ticks(0, most, 6):
        x = _LABEL + value * scale
        parts.append(line(x, _TOP - 4, x, height - _BOTTOM, "guide"))
        parts.append(text(x, height - _BOTTOM + 16, words.number(value), "tick", "middle"))
    for number, side in enumerate(sides):
        y = _TOP + number * _ROW_PX
        parts.append(text(_LABEL - 12, y + 16, side.strategy, "name", "end"))
        if side.share is None:
            parts.append(text(_LABEL + 8, y + 16, side.state, "small"))
            continue
        winner = " best" if side.share <= best * (1 + 1e-9) else ""
        parts.append(box(_LABEL, y, side.share * scale, _BAR_PX, f"side{winner}"))
        more = "" if winner else f"  +{100 * (side.share / best - 1):.0f}\u202f%" if best else ""
        parts.append(text(_LABEL + side.share * scale + 8, y + 16, words.number(side.share) + more, "figure"))
    if bound is not None:
        x = _LABEL + bound * scale
        parts.append(line(x, _TOP - 8, x, height - _BOTTOM + 2, "bound-line"))
        parts.append(text(x, 12, f"no plan has less than {words.number(bound)}", "label bound", _anchor(x)))
    parts.append(text(_LABEL + _BARS + _FIGURES, height - _BOTTOM + 16, "share", "small", "end"))
    told = "; ".join(f"{side.strategy} {words.number(side.share)}" for side in sides)
    return picture(
        *parts,
        width=_LABEL + _BARS + _FIGURES,
        height=height,
        title="Share each strategy needs",
        described=f"Share by strategy: {told}." + (f" Lower bound {words.number(bound)}." if bound else ""),
        name="sides",
        class_="sides",
    )


def _anchor(x: float) -> str:
    return "start" if x < _LABEL + 110 else "end" if x > _LABEL + _BARS - 110 else "middle"
