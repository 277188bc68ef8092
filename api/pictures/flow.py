"""The layered picture of one model: who enters where, where they meet, how many requests go along.

From left to right run the model's layers. Only cut points where something enters or meets have a column;
between two of them the width grows with the layers there. A bar is a stage (layout.py); bars and the bands
between them are as thick as their requests a second.
"""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from api.pictures import words
from api.pictures.account import Account
from api.pictures.drawing import element, fitting, line, picture, ribbon, text, wide
from api.pictures.layout import Bar, Layout, lay_out

MOST_BARS = 48
_WIDTH = 1120.0
_LEFT, _RIGHT = 150.0, 92.0
_TOP, _BOTTOM = 14.0, 50.0
_LEAST_BAND = 2.0


def flow_picture(account: Account, model: str, *, most_bars: int = MOST_BARS, prefix: str = "") -> Markup:
    """The picture of one model of the plan; `prefix` keeps its ids apart from those of others on a page."""
    layout = lay_out(account, model, most_bars=most_bars)
    depth = account.depth(model)
    columns = _Columns(layout, depth)
    hue = f"m{account.models.index(model) % 8}"
    height = _TOP + layout.height + _BOTTOM
    parts = [_axis(columns, account.layers(model), depth, _TOP + layout.height)]
    lanes = _Lanes(layout)
    for bar in layout.bars.values():
        parts.append(_bands(bar, layout, columns, lanes, account, hue))
    for bar in layout.bars.values():
        parts.append(_bar(bar, columns, hue, account))
    return picture(
        *parts,
        width=columns.width,
        height=height,
        title=f"{model}: how fragments flow through its {depth} layers",
        described=_described(layout, model, account),
        name=f"{prefix}flow-{account.models.index(model)}",
        class_="flow",
    )


def hidden_note(account: Account, model: str, *, most_bars: int = MOST_BARS) -> str | None:
    """What the picture leaves out or puts together, in words; None where it shows every stage."""
    layout = lay_out(account, model, most_bars=most_bars)
    notes = []
    if layout.grouped:
        stages = sum(1 for stage in account.plan.stages if stage.model == model)
        notes.append(f"{words.number(stages)} stages: those of the same layers are drawn as one bar")
    if layout.hidden:
        rate = f", {words.rate(layout.hidden_rps)} of requests" if account.workload else ""
        notes.append(f"{words.many(layout.hidden, 'smaller bar')} not drawn{rate}; the table has all of them")
    return "; ".join(notes) + "." if notes else None


class _Columns:
    """Where cut points lie: each has a zone, in which bands bend between what ends and what begins there."""

    def __init__(self, layout: Layout, depth: int) -> None:
        used = {0, depth}
        for bar in layout.bars.values():
            used |= {bar.start, bar.end}
        self.used = sorted(used)
        arriving = {bar.end for bar in layout.bars.values() if bar.onward}
        zone = 54.0 if len(self.used) <= 9 else 34.0 if len(self.used) <= 16 else 22.0
        self._zone = {cut: zone if cut in arriving else 10.0 for cut in self.used}
        self._zone[0] = self._zone[depth] = 0.0
        least = 16.0
        room = _WIDTH - _LEFT - _RIGHT - sum(self._zone.values()) - least * (len(self.used) - 1)
        per_layer = max(room, 0.0) / max(depth, 1)
        self._x: dict[int, float] = {}
        x = _LEFT
        for before, cut in zip([0, *self.used], self.used, strict=False):
            x += (cut - before) * per_layer + (least if cut else 0.0)
            self._x[cut] = x
            x += self._zone[cut]
        self.width = x + _RIGHT

    def ends(self, cut: int) -> float:
        """Where a bar that ends at this cut point ends."""
        return self._x[cut]

    def begins(self, cut: int) -> float:
        """Where a bar that begins there begins."""
        return self._x[cut] + self._zone[cut]


class _Lanes:
    """Where on the left edge of a bar the next band arrives: they are stacked, not laid over each other."""

    def __init__(self, layout: Layout) -> None:
        self._scale = layout.px_per_weight
        self._next: dict[str, float] = {}
        self._total: dict[str, float] = {}
        for bar in layout.bars.values():
            for name, weight in bar.onward.items():
                self._total[name] = self._total.get(name, 0.0) + self.thickness(weight)
            if bar.entering:
                self._total[bar.name] = self._total.get(bar.name, 0.0) + self.thickness(bar.entering_rps)

    def thickness(self, weight: float) -> float:
        return max(_LEAST_BAND, weight * self._scale)

    def arrive(self, bar: Bar, weight: float) -> float:
        """The y at which a band of this weight arrives."""
        thick, total = self.thickness(weight), self._total[bar.name]
        squeeze = min(1.0, bar.height / total)
        at = self._next.get(bar.name, bar.middle - total * squeeze / 2)
        self._next[bar.name] = at + thick * squeeze
        return at + thick * squeeze / 2


def _bands(bar: Bar, layout: Layout, columns: _Columns, lanes: _Lanes, account: Account, hue: str) -> Markup:
    parts = []
    for name, weight in sorted(bar.onward.items()):
        target = layout.bars.get(name)
        if target is None:
            continue
        thick = lanes.thickness(weight)
        title = f"{bar.name} → {target.name}" + (f": {words.rate(weight)}" if account.workload else "")
        y2 = lanes.arrive(target, weight)
        parts.append(
            ribbon(
                columns.ends(bar.end),
                bar.middle,
                columns.begins(target.start),
                y2,
                thick,
                f"band {hue}",
                title,
            )
        )
    if bar.entering:
        x, thick = columns.begins(bar.start), lanes.thickness(bar.entering_rps)
        fed = bar.entry_y != bar.middle
        y2 = lanes.arrive(bar, bar.entering_rps) if fed else bar.middle
        origin = columns.ends(bar.start) - 4 if fed else x - 12
        parts.append(ribbon(origin, bar.entry_y, x, y2, thick, f"band entry {hue}"))
        parts.append(element("circle", cx=origin, cy=bar.entry_y, r=3.5, class_=f"door {hue}"))
        who = words.many(bar.phones, "phone")
        label = f"{who} · {words.rate(bar.entering_rps)}" if account.workload else who
        parts.append(text(origin - 8, bar.entry_y + 4, label, "label", "end"))
    if not bar.onward and account.workload:
        x = columns.ends(bar.end)
        parts.append(ribbon(x, bar.middle, x + 14, bar.middle, lanes.thickness(bar.weight), f"band {hue}"))
        parts.append(text(x + 20, bar.middle + 4, words.rate(bar.rate_rps), "label"))
    return Markup("").join(parts)


def _bar(bar: Bar, columns: _Columns, hue: str, account: Account) -> Markup:
    left, right = columns.begins(bar.start), columns.ends(bar.end)
    width = max(right - left, 4.0)
    title = _title(bar, account)
    rect = element(
        "rect",
        element("title", title),
        x=left,
        y=bar.top,
        width=width,
        height=bar.height,
        rx=4,
        class_=f"stage {bar.kind} {hue}",
    )
    written = fitting(_names(bar), width - 12)
    if written is None:
        return rect
    return rect + text(left + 7, bar.middle + 4, written, "on-bar")


def _names(bar: Bar) -> list[str]:
    instances = sum(stage.instances for stage in bar.stages)
    times = f" ×{instances}" if instances > 1 else ""
    if len(bar.stages) > 1:
        share = sum(stage.instances * stage.share for stage in bar.stages)
        whole = f"{len(bar.stages)} stages · {instances} instances · share {words.number(share)}"
        return [whole, f"{len(bar.stages)} stages{times}", f"{len(bar.stages)}{times}"]
    stage = bar.stages[0]
    settings = f"batch {stage.batch} · {words.number(stage.share)} %{times}"
    return [
        f"{bar.name}   {settings} · {words.ms(stage.exec_ms)} ms",
        f"{bar.name}   {settings}",
        f"{bar.name} · {words.number(stage.share)} %{times}",
        f"{bar.name}{times}",
        bar.name,
    ]


def _title(bar: Bar, account: Account) -> str:
    if len(bar.stages) > 1:
        head = f"{len(bar.stages)} stages of layers {bar.start} to {bar.end}"
    else:
        stage = bar.stages[0]
        head = (
            f"{bar.name}: layers {bar.start} to {bar.end}, batch {stage.batch}, "
            f"{words.number(stage.share)} % of a {stage.gpu}, {words.many(stage.instances, 'instance')}, "
            f"{words.ms(stage.exec_ms)} ms a batch"
            + (f", exits at {', '.join(map(str, stage.exits))}" if stage.exits else "")
        )
    rate = f", {words.rate(bar.rate_rps)}" if account.workload else ""
    return f"{head}; {bar.kind}; {words.many(len(bar.fragments), 'fragment')}{rate}"


def _axis(columns: _Columns, layers: tuple[str, ...], depth: int, bottom: float) -> Markup:
    parts = []
    last_number, last_name = -1e9, -1e9
    # The two ends first: they are never left out for want of room.
    x_end = columns.ends(depth)
    for cut in columns.used:
        x = columns.ends(cut) if cut == depth else (columns.ends(cut) + columns.begins(cut)) / 2
        parts.append(line(x, _TOP - 8, x, bottom + 8, "guide"))
        crowded = cut != depth and x_end - x < 24
        if x - last_number >= 22 and not crowded:
            parts.append(text(x, bottom + 23, str(cut), "tick", "middle"))
            last_number = x
        if cut < depth and layers:
            name = layers[cut] if len(layers[cut]) <= 22 else layers[cut][:21] + "…"
            room = wide(name, 10.5)
            if x - 2 >= last_name + 12 and x + room < x_end - 4:
                parts.append(text(x - 2, bottom + 39, name, "small"))
                last_name = x + room
    parts.append(text(x_end + 14, bottom + 23, "cut point", "small"))
    if layers:
        parts.append(text(x_end + 14, bottom + 39, "layer there", "small"))
    return Markup("").join(parts)


def _described(layout: Layout, model: str, account: Account) -> str:
    """The picture in words, for who does not see it."""
    shared = sorted(
        (bar for bar in layout.bars.values() if bar.kind == "shared"), key=lambda bar: -bar.weight
    )
    entering: Callable[[Bar], float] = lambda bar: bar.entering_rps  # noqa: E731
    doors = sorted((bar for bar in layout.bars.values() if bar.entering), key=entering, reverse=True)
    sentences = [
        f"{words.many(len(layout.bars), 'bar')} for the stages of {model}.",
        "Fragments enter at cut points "
        + ", ".join(str(cut) for cut in sorted({bar.start for bar in doors})[:20])
        + ".",
    ]
    if shared:
        first = shared[0]
        sentences.append(
            f"The largest shared stage runs layers {first.start} to {first.end} for "
            f"{words.many(len(first.fragments), 'fragment')}"
            + (f", {words.rate(first.rate_rps)}." if account.workload else ".")
        )
    sentences.append("The tables of stages and fragments below say the same.")
    return " ".join(sentences)
