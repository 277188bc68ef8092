"""Watches who leaves a gateway's models by which exit, until a plan for other survivals is called for."""

from __future__ import annotations

import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from planner.forecasting import Method, Seen, Window, drifted, forecast, pooled, rests_on
from planner.profile import Profile
from planner.workload import Fragment, Workload
from runtime.errors import ServiceError


class Counts(NamedTuple):
    """What a gateway has counted since its start: by fragment, and by fragment and exit.

    `lost` were dropped or failed after they had gone on past an exit, that one the last. `in_use` are the
    exits of its stages now, by model; without it all are taken to be.
    """

    answered: Counter[str]
    left: Counter[tuple[str, int]]
    lost: Counter[tuple[str, int]]
    in_use: Mapping[str, frozenset[int]] | None = None


def watch(
    counts: Iterator[Counts],
    workload: Workload,
    profile: Profile,
    *,
    method: Method,
    tell: Callable[[Window, tuple[float, ...] | None], None],
) -> tuple[float, ...] | None:
    """The survival to plan with once it has drifted from what was; None when the counts end before.

    Each item of `counts` ends a window. Fragments that start behind the first exit are not counted: what
    leaves by it was not asked here.
    """
    exits = profile.exits or ()
    layers = [item.layer for item in exits]
    asked = [
        fragment
        for fragment in workload.fragments
        if fragment.model == profile.model and (not layers or fragment.start < layers[0])
    ]
    planned = tuple(item.survival for item in exits)
    if asked and asked[0].survival is not None:
        planned = asked[0].survival
    windows: list[Window] = []
    before: Counts | None = None
    for now in counts:
        if before is not None:
            used = now.in_use.get(profile.model, frozenset()) if now.in_use is not None else frozenset(layers)
            seen = [seen_between(before, now, fragment, used) for fragment in asked]
            windows.append(pooled(seen, layers, planned))
            expected = forecast(windows, layers, method=method)
            tell(windows[-1], expected)
            answered = rests_on(windows, method=method)
            if expected is not None and drifted(planned, expected, answered):
                return expected
        before = now
    return None


def seen_between(before: Counts, now: Counts, fragment: Fragment, exits: frozenset[int]) -> Seen:
    """What a fragment did between two readings; a gateway that was started anew counts from 0."""

    def by_layer(earlier: Counter[tuple[str, int]], later: Counter[tuple[str, int]]) -> dict[int, int]:
        return {
            layer: max(0, count - earlier[name, layer])
            for (name, layer), count in later.items()
            if name == fragment.id
        }

    return Seen(
        start=fragment.start,
        exits=exits,
        answered=max(0, now.answered[fragment.id] - before.answered[fragment.id]),
        left=by_layer(before.left, now.left),
        lost=by_layer(before.lost, now.lost),
    )


def counts_of(url: str, every_s: float, *, limit: int | None = None) -> Iterator[Counts]:
    """A gateway's counts, read every so many seconds. Raises ServiceError where it cannot be read."""
    number = 0
    while limit is None or number < limit:
        if number:
            time.sleep(every_s)
        number += 1
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/metrics", timeout=10) as response:
                text = response.read().decode()
        except (OSError, ValueError) as error:
            raise ServiceError(f"{url}: its metrics cannot be read: {error}") from None
        yield read_counts(text)


def read_counts(text: str) -> Counts:
    """The counts in a gateway's metrics."""
    answered: Counter[str] = Counter()
    left: Counter[tuple[str, int]] = Counter()
    lost: Counter[tuple[str, int]] = Counter()
    in_use: dict[str, frozenset[int]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "regraft_gateway_answered_total":
                answered[sample.labels["fragment"]] = int(sample.value)
            elif sample.name == "regraft_gateway_left_total":
                left[sample.labels["fragment"], int(sample.labels["exit"])] = int(sample.value)
            elif sample.name == "regraft_gateway_lost_total":
                lost[sample.labels["fragment"], int(sample.labels["exit"])] = int(sample.value)
            elif sample.name == "regraft_stage_workers" and sample.value > 0 and sample.labels["exits"]:
                layers = frozenset(int(layer) for layer in sample.labels["exits"].split(","))
                model = sample.labels["model"]
                in_use[model] = in_use.get(model, frozenset()) | layers
    return Counts(answered, left, lost, in_use)
