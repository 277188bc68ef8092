"""Where one budget goes, as a small bar: waiting and running in alignment and shared stages, and slack."""

from __future__ import annotations

from markupsafe import Markup

from api.pictures import words
from api.pictures.drawing import element
from planner.budgeting import BudgetUse

WIDTH, HEIGHT = 200.0, 14.0

# (field, class, words), in the order of a request's way.
PARTS = (
    ("alignment_wait_ms", "wait alignment", "waits before alignment"),
    ("alignment_run_ms", "run alignment", "alignment runs"),
    ("shared_wait_ms", "wait shared", "waits before the shared stage"),
    ("shared_run_ms", "run shared", "shared stage runs"),
    ("slack_ms", "slack", "slack"),
)


def budget_bar(use: BudgetUse) -> Markup:
    """The bar: its whole length is the budget. Hidden from screen readers: the numbers stand beside."""
    total = max(use.budget_ms, sum(max(0.0, getattr(use, name)) for name, _, _ in PARTS)) or 1.0
    x, parts = 0.0, []
    for name, class_, told in PARTS:
        value = max(0.0, getattr(use, name))
        width = WIDTH * value / total
        if width > 0.05:
            title = element("title", f"{told}: {words.ms(value)} ms")
            parts.append(element("rect", title, x=x, y=0, width=width, height=HEIGHT, class_=class_))
        x += width
    return element(
        "svg",
        *parts,
        class_="budget",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        width=WIDTH,
        height=HEIGHT,
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )
