"""What was counted between two readings of the gateways' counters.

A gateway counts from the moment it routes a generation; a reading is {gateway: {fragment: counts}} of one
generation. Two agents may tell of one gateway, one of them late: the larger counts are the newer. A gateway
that is not heard of keeps its last reading, and what it counted meanwhile falls into the window in which it
is heard again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from planner.drifting import Counted, Counts

Reading = dict[str, dict[str, Any]]

# Gateways are remembered by the thousand: each start of one is another.
_REMEMBERED = 1000


def reading_of(reported: Iterable[Mapping[str, Any]], generation: int, before: Reading) -> Reading:
    """The counters of this generation as the nodes last reported them (`exits` of a status).

    What was known `before`, of the same generation, and is not reported any more is kept.
    """
    found: Reading = {gateway: dict(fragments) for gateway, fragments in before.items()}
    for report in reported:
        if report["generation"] != generation:
            continue
        # Whoever is heard of goes to the end: the others are forgotten first.
        fragments = found[report["gateway"]] = found.pop(report["gateway"], {})
        for name, counts in report["fragments"].items():
            if name not in fragments or _size(counts) > _size(fragments[name]):
                fragments[name] = counts
    for gateway in list(found)[:-_REMEMBERED]:
        del found[gateway]
    return found


def counted_between(before: Reading, now: Reading, in_use: Mapping[str, frozenset[int]]) -> Counts:
    """What all gateways counted from one reading to the next, by fragment; `in_use` are its exits."""
    answered: Counter[str] = Counter()
    by_layer: dict[str, dict[str, Counter[int]]] = {}
    for gateway, fragments in now.items():
        for name, counts in fragments.items():
            known = before.get(gateway, {}).get(name, {})
            answered[name] += max(0, counts["answered"] - known.get("answered", 0))
            here = by_layer.setdefault(name, {"left": Counter(), "lost": Counter()})
            for which, total in here.items():
                for layer, count in counts[which].items():
                    total[int(layer)] += max(0, count - known.get(which, {}).get(layer, 0))
    return {
        name: Counted(
            exits=in_use.get(name, frozenset()),
            answered=answered[name],
            left=dict(here["left"]),
            lost=dict(here["lost"]),
        )
        for name, here in by_layer.items()
        if answered[name] or here["lost"].total()
    }


def counts_to_json(counts: Counts) -> dict[str, Any]:
    """As it is stored."""
    return {
        name: {
            "exits": sorted(one.exits),
            "answered": one.answered,
            "left": {str(layer): number for layer, number in one.left.items()},
            "lost": {str(layer): number for layer, number in one.lost.items()},
        }
        for name, one in counts.items()
    }


def counts_from_json(stored: Mapping[str, Any]) -> Counts:
    """As it was stored."""
    return {
        name: Counted(
            exits=frozenset(one["exits"]),
            answered=one["answered"],
            left={int(layer): number for layer, number in one["left"].items()},
            lost={int(layer): number for layer, number in one["lost"].items()},
        )
        for name, one in stored.items()
    }


def _size(counts: Mapping[str, Any]) -> int:
    return int(counts["answered"] + sum(counts["lost"].values()))
