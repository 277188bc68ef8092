"""Where the bars of the layered picture lie.

A bar is a stage, or all stages of the same layers where there are too many to draw. Every bar hangs on the
one that most of its requests go to next, so a model's bars are trees whose roots run to the last layer. A
tree is drawn with its root on the right and what flows into it stacked to the left, in the rows that the root
spans: no two bars overlap, and whoever enters has a row of its own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from api.pictures.account import Account
from planner.plan import Stage

ROW_PX = 24.0
TALLEST_PX = 64.0
# All roots together are about so tall, unless they are too many for their names.
_ALL_PX = 360.0
_GAP_PX = 7.0
_ENTRY_PX = 20.0


@dataclass(kw_only=True, eq=False)
class Bar:
    """Stages of the same layers, with what flows through them; `top` and `height` in pixels."""

    name: str
    start: int
    end: int
    stages: list[Stage] = field(default_factory=list)
    kind: str = "alone"
    rate_rps: float = 0.0
    fragments: set[str] = field(default_factory=set)
    entering_rps: float = 0.0
    entering: set[str] = field(default_factory=set)
    phones: int = 0
    onward: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    weight: float = 0.0
    top: float = 0.0
    height: float = ROW_PX
    entry_y: float = 0.0

    @property
    def middle(self) -> float:
        """The height at which it is passed."""
        return self.top + self.height / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """A model's bars, laid out; `hidden` are bars left out as too many, with their requests a second."""

    bars: dict[str, Bar]
    height: float
    px_per_weight: float
    hidden: int
    hidden_rps: float
    grouped: bool


def lay_out(account: Account, model: str, *, most_bars: int) -> Layout:
    """The bars of a model: a stage each, or stages of the same layers together, at most `most_bars`."""
    stages = [stage for stage in account.plan.stages if stage.model == model]
    grouped = len(stages) > most_bars
    bars = _bars(account, stages, grouped)
    roots, children = _trees(bars)
    roots.sort(key=lambda bar: -_tree_weight(bar, children))
    kept: dict[str, Bar] = {}
    hidden = 0
    hidden_rps = 0.0
    shown: list[Bar] = []
    for root in roots:
        tree = _tree(root, children)
        if kept and len(kept) + len(tree) > most_bars:
            hidden += len(tree)
            hidden_rps += root.rate_rps
            continue
        shown.append(root)
        kept.update((bar.name, bar) for bar in tree)
    heaviest = max((bar.weight for bar in kept.values()), default=0.0)
    together = sum(root.weight for root in shown)
    px_per_weight = min(TALLEST_PX / heaviest, _ALL_PX / together) if heaviest > 0 else 0.0
    shown.sort(key=lambda bar: min(part.start for part in _tree(bar, children)))
    y = 0.0
    for root in shown:
        y = _place(root, children, y, px_per_weight) + 2 * _GAP_PX
    return Layout(
        bars=kept,
        height=max(y - 2 * _GAP_PX, ROW_PX),
        px_per_weight=px_per_weight,
        hidden=hidden,
        hidden_rps=hidden_rps,
        grouped=grouped,
    )


def _bars(account: Account, stages: list[Stage], grouped: bool) -> dict[str, Bar]:
    names = {stage.id: f"{stage.start}–{stage.end}" if grouped else stage.id for stage in stages}
    bars: dict[str, Bar] = {}
    for stage in stages:
        bar = bars.setdefault(names[stage.id], Bar(name=names[stage.id], start=stage.start, end=stage.end))
        bar.stages.append(stage)
        bar.fragments |= account.users[stage.id]
        bar.rate_rps += account.load_rps.get(stage.id, 0.0)
        kind = account.kinds[stage.id]
        bar.kind = kind if len(bar.stages) == 1 or kind == "shared" else bar.kind
    for route in account.plan.routes:
        if route.stages[0] not in names:
            continue
        way = [names[name] for name in route.stages]
        rate = account.rate_of(route.fragment, route.fraction)
        weight = route.fraction if rate is None else rate
        first = bars[way[0]]
        first.entering.add(route.fragment)
        first.entering_rps += weight
        fragment = account.fragments.get(route.fragment)
        first.phones += fragment.count if fragment else 1
        reaching = account.reaching(route)
        for (name, following), part in zip(pairwise(way), reaching[1:], strict=True):
            bars[name].onward[following] += weight * part
        for name, part in zip(way, reaching, strict=True):
            bars[name].weight += weight * part
    return bars


def _trees(bars: dict[str, Bar]) -> tuple[list[Bar], dict[str, list[Bar]]]:
    """The roots, and what hangs on each bar."""
    roots: list[Bar] = []
    children: dict[str, list[Bar]] = {name: [] for name in bars}
    for bar in bars.values():
        if bar.onward:
            children[max(bar.onward, key=lambda name: bar.onward[name])].append(bar)
        else:
            roots.append(bar)
    return roots, children


def _tree(root: Bar, children: dict[str, list[Bar]]) -> list[Bar]:
    found = [root]
    for bar in found:
        found += children[bar.name]
    return found


def _tree_weight(root: Bar, children: dict[str, list[Bar]]) -> float:
    return sum(bar.entering_rps for bar in _tree(root, children))


def _place(bar: Bar, children: dict[str, list[Bar]], top: float, px_per_weight: float) -> float:
    """Place a bar and all that hangs on it from `top` downwards; gives the lower edge."""
    bar.height = max(ROW_PX, bar.weight * px_per_weight)
    fed = sorted(children[bar.name], key=lambda child: (child.start, child.name))
    if not fed:
        bar.top = top
        bar.entry_y = bar.middle
        return top + bar.height
    y = top
    for child in fed:
        y = _place(child, children, y, px_per_weight) + _GAP_PX
    if bar.entering:
        thick = max(_ENTRY_PX, bar.entering_rps * px_per_weight)
        bar.entry_y = y + thick / 2
        y += thick + _GAP_PX
    lower = y - _GAP_PX
    bar.top = max(top, (top + lower - bar.height) / 2)
    return max(lower, bar.top + bar.height)
