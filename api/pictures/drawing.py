"""SVG elements as escaped text, and the small arithmetic of drawing. Sizes in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

# The width of an average character, as a part of the font's size.
_CHARACTER = 0.56
FONT_PX = 12.0


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """`<tag …>children</tag>`; children that are not Markup are escaped, and so are attributes.

    An attribute's underscores become hyphens and a trailing one goes (`class_`); None leaves it out.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _value(value))
        for name, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(children)
    if not inside and tag not in ("text", "title", "desc"):
        return Markup("<{}{}/>").format(Markup(tag), written)
    return Markup("<{}{}>{}</{}>").format(Markup(tag), written, inside, Markup(tag))


def picture(
    *children: str, width: float, height: float, title: str, described: str, name: str, class_: str
) -> Markup:
    """A whole picture, described for who does not see it; `name` is unique on a page."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", described, id=f"{name}-desc"),
        *children,
        class_=f"picture {class_}",
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        xmlns="http://www.w3.org/2000/svg",
    )


def text(x: float, y: float, content: str, class_: str, anchor: str | None = None) -> Markup:
    """A line of text; `anchor` is start, middle or end."""
    return element("text", content, x=x, y=y, class_=class_, text_anchor=anchor)


def box(
    x: float, y: float, width: float, height: float, class_: str, title: str | None = None, rx: float = 3
) -> Markup:
    """A rectangle, with a tooltip where `title` is given."""
    inside = () if title is None else (element("title", title),)
    return element(
        "rect",
        *inside,
        x=x,
        y=y,
        width=max(width, 0.5),
        height=max(height, 0.5),
        rx=min(rx, width / 2),
        class_=class_,
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def ribbon(
    x1: float, y1: float, x2: float, y2: float, thickness: float, class_: str, title: str | None = None
) -> Markup:
    """A band that leaves (x1, y1) and arrives at (x2, y2) level, as thick all along."""
    half, bend = thickness / 2, (x1 + x2) / 2
    path = (
        f"M{_value(x1)} {_value(y1 - half)}"
        f"C{_value(bend)} {_value(y1 - half)} {_value(bend)} {_value(y2 - half)} "
        f"{_value(x2)} {_value(y2 - half)}"
        f"L{_value(x2)} {_value(y2 + half)}"
        f"C{_value(bend)} {_value(y2 + half)} {_value(bend)} {_value(y1 + half)} "
        f"{_value(x1)} {_value(y1 + half)}Z"
    )
    inside = () if title is None else (element("title", title),)
    return element("path", *inside, d=path, class_=class_)


def points(pairs: Iterable[tuple[float, float]]) -> str:
    """Points as a polyline or polygon wants them."""
    return " ".join(f"{_value(x)},{_value(y)}" for x, y in pairs)


def wide(content: str, font_px: float = FONT_PX) -> float:
    """About how wide a text is."""
    return len(content) * font_px * _CHARACTER


def fitting(choices: Sequence[str], width: float, font_px: float = FONT_PX) -> str | None:
    """The first of these texts, longest first, that fits; None where none does."""
    return next((choice for choice in choices if wide(choice, font_px) <= width), None)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, roughly `about` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / about
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
