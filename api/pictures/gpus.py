"""The GPUs as stacked bars: share above, memory below, every instance a part. Equal GPUs are drawn once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from markupsafe import Markup

from api.pictures import words
from api.pictures.account import Account, GpuLoad, Held
from api.pictures.drawing import box, fitting, line, picture, text

MOST_BARS = 40
_LABEL, _BARS, _FIGURES = 190.0, 720.0, 210.0
_SHARE_PX, _MEMORY_PX, _ROW_PX = 22.0, 10.0, 52.0
_TOP = 22.0


def gpu_picture(account: Account, *, most: int = MOST_BARS, prefix: str = "") -> Markup:
    """Every GPU of the placement; without one, the share asked of each GPU type."""
    if not account.gpus:
        return _unplaced(account, prefix)
    groups = _alike(account.gpus)
    shown = groups[:most]
    height = _TOP + _ROW_PX * len(shown) + 6
    parts = [_scale(height)]
    for row, group in enumerate(shown):
        parts.append(_gpu(group, account, _TOP + row * _ROW_PX))
    used = [gpu for gpu in account.gpus if gpu.held]
    fullest = max(account.gpus, key=lambda gpu: gpu.share)
    return picture(
        *parts,
        width=_LABEL + _BARS + _FIGURES,
        height=height,
        title="GPUs: share and memory given to each instance",
        described=(
            f"{words.many(len(used), 'GPU')} used of {len(account.gpus)}, "
            f"{words.many(sum(len(gpu.held) for gpu in used), 'instance')} in all. "
            f"The fullest is {fullest.id} with {words.number(fullest.share)} percent of its share given out."
        ),
        name=f"{prefix}gpus",
        class_="gpus",
    )


def hidden_note(account: Account, *, most: int = MOST_BARS) -> str | None:
    """What the picture leaves out, in words."""
    groups = _alike(account.gpus)
    left = groups[most:]
    notes = []
    if any(len(group) > 1 for group in groups):
        notes.append("GPUs that hold the same are drawn once")
    if left:
        notes.append(f"{words.many(sum(map(len, left)), 'further GPU')} not drawn")
    return "; ".join(notes) + "." if notes else None


def _alike(gpus: Sequence[GpuLoad]) -> list[list[GpuLoad]]:
    """GPUs of the same kind with instances of the same stages, fullest first; the empty ones last."""
    groups: defaultdict[tuple[object, ...], list[GpuLoad]] = defaultdict(list)
    for gpu in gpus:
        content = tuple(sorted(item.stage.id for item in gpu.held))
        groups[gpu.type, gpu.memory_mb, content].append(gpu)
    return sorted(groups.values(), key=lambda group: -group[0].share)


def _gpu(group: list[GpuLoad], account: Account, y: float) -> Markup:
    gpu = group[0]
    name = gpu.id if len(gpu.id) <= 24 else gpu.id[:23] + "…"
    below = gpu.type if len(group) == 1 else f"{gpu.type} · and {len(group) - 1} alike"
    parts = [
        text(0, y + 15, name, "name"),
        text(0, y + 30, below, "small"),
        box(_LABEL, y, _BARS, _SHARE_PX, "empty"),
    ]
    x = _LABEL
    for item in gpu.held:
        width = _BARS * item.stage.share / 100
        parts.append(_part(item, account, x, y, width))
        x += width
    figures = f"{words.number(gpu.share)} % of share"
    parts.append(text(_LABEL + _BARS + 14, y + 15, figures, "figure"))
    if gpu.used_mb is not None and gpu.held:
        whole = gpu.memory_mb or max(gpu.used_mb, 1.0)
        top = y + _SHARE_PX + 4
        parts.append(box(_LABEL, top, _BARS, _MEMORY_PX, "empty", rx=2))
        x = _LABEL
        for item in gpu.held:
            width = _BARS * (item.memory_mb or 0.0) / whole
            title = f"{_name(item)}: {words.megabytes(item.memory_mb)}"
            parts.append(
                box(x + 0.5, top, width - 1, _MEMORY_PX, f"part memory {_hue(item, account)}", title, rx=2)
            )
            x += width
        of = f"{words.megabytes(gpu.used_mb)}" + (
            f" of {words.megabytes(gpu.memory_mb)}" if gpu.memory_mb else ""
        )
        parts.append(text(_LABEL + _BARS + 14, y + 33, of, "small"))
    elif not gpu.held:
        parts.append(text(_LABEL + 8, y + 15, "nothing runs here", "small"))
    return Markup("").join(parts)


def _part(item: Held, account: Account, x: float, y: float, width: float) -> Markup:
    stage = item.stage
    title = (
        f"{_name(item)}: {stage.model}, layers {stage.start} to {stage.end}, batch {stage.batch}, "
        f"{words.number(stage.share)} % of share" + _memory(item)
    )
    kind = account.kinds[stage.id]
    drawn = box(x + 0.5, y, width - 1, _SHARE_PX, f"part {kind} {_hue(item, account)}", title)
    label = fitting([f"{_name(item)} · {words.number(stage.share)} %", _name(item), stage.id], width - 8, 11)
    return drawn if label is None else drawn + text(x + 6, y + 15, label, "on-bar fine")


def _name(item: Held) -> str:
    return f"{item.stage.id} #{item.instance}" if item.stage.instances > 1 else item.stage.id


def _memory(item: Held) -> str:
    return "" if item.memory_mb is None else f", {words.megabytes(item.memory_mb)} of memory"


def _hue(item: Held, account: Account) -> str:
    return f"m{account.models.index(item.stage.model) % 8}"


def _scale(height: float) -> Markup:
    parts = []
    for percent in (0, 25, 50, 75, 100):
        x = _LABEL + _BARS * percent / 100
        parts.append(line(x, _TOP - 6, x, height - 8, "guide"))
        parts.append(text(x, 10, f"{percent} %", "tick", "middle"))
    return Markup("").join(parts)


def _unplaced(account: Account, prefix: str) -> Markup:
    """Share asked for, by GPU type, on a scale of whole GPUs."""
    asked: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in account.stages:
        asked[row.stage.gpu].append((row.stage.id, row.stage.share * row.stage.instances))
    most = max((sum(share for _, share in parts) for parts in asked.values()), default=0.0)
    gpus = max(1, math.ceil(most / 100))
    height = _TOP + _ROW_PX * max(1, len(asked))
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if gpus / step <= 12)
    drawn: list[Markup] = []
    for number in range(0, gpus + 1, step):
        x = _LABEL + _BARS * number / gpus
        drawn.append(line(x, _TOP - 6, x, height - 8, "guide"))
        drawn.append(text(x, 10, str(number), "tick", "middle"))
    drawn.append(text(_LABEL + _BARS + 14, 10, "whole GPUs", "small"))
    for place, (gpu, parts) in enumerate(sorted(asked.items())):
        y = _TOP + place * _ROW_PX
        drawn.append(text(0, y + 15, gpu, "name"))
        x = _LABEL
        for name, share in parts:
            width = _BARS * share / 100 / gpus
            stage = account.stage[name]
            hue = f"m{account.models.index(stage.model) % 8}"
            title = f"{name}: {words.many(stage.instances, 'instance')} at {words.number(stage.share)} %"
            drawn.append(box(x + 0.5, y, width - 1, _SHARE_PX, f"part {account.kinds[name]} {hue}", title))
            label = fitting([f"{name} ×{stage.instances}", name], width - 8, 11)
            if label is not None:
                drawn.append(text(x + 6, y + 15, label, "on-bar fine"))
            x += width
        total = sum(share for _, share in parts)
        drawn.append(text(_LABEL + _BARS + 14, y + 15, f"share {words.number(total)}", "figure"))
    return picture(
        *drawn,
        width=_LABEL + _BARS + _FIGURES,
        height=height,
        title="Share asked of each GPU type",
        described="The plan has no placement. "
        + " ".join(
            f"Of {gpu} it asks {words.number(sum(share for _, share in parts))} percent in all."
            for gpu, parts in sorted(asked.items())
        ),
        name=f"{prefix}gpus",
        class_="gpus",
    )


def legend(account: Account) -> list[tuple[str, str]]:
    """(class, name) of every model's colour."""
    return [(f"m{number % 8}", model) for number, model in enumerate(account.models)]
