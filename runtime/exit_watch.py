"""Watches who leaves a gateway's models by which exit, until a plan for other survivals is called for."""

from __future__ import annotations

import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.parser import text_string_to_metric_families

from planner.forecasting import MEAN_WINDOWS, Method, Window, drifted, forecast
from planner.profile import Profile
from planner.workload import Workload
from runtime.errors import ServiceError

# Requests answered by fragment, and answered by an exit by (fragment, layer), since the gateway started.
Counts = tuple[Counter[str], Counter[tuple[str, int]]]


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
    names = {fragment.id for fragment in asked}
    windows: list[Window] = []
    before: Counts | None = None
    for now in counts:
        if before is not None:
            windows.append(window_of(before, now, names))
            expected = forecast(windows, layers, method=method)
            tell(windows[-1], expected)
            rests_on = sum(window.answered for window in windows[-MEAN_WINDOWS:])
            if expected is not None and drifted(planned, expected, rests_on):
                return expected
        before = now
    return None


def window_of(before: Counts, now: Counts, fragments: set[str]) -> Window:
    """What these fragments did between two readings; a gateway that was started anew counts from 0."""
    answered = sum(max(0, now[0][name] - before[0][name]) for name in fragments)
    left: Counter[int] = Counter()
    for (name, layer), count in now[1].items():
        if name in fragments:
            left[layer] += max(0, count - before[1][name, layer])
    return Window(answered=answered, left=dict(left))


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
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "regraft_gateway_answered_total":
                answered[sample.labels["fragment"]] = int(sample.value)
            elif sample.name == "regraft_gateway_left_total":
                left[sample.labels["fragment"], int(sample.labels["exit"])] = int(sample.value)
    return answered, left
