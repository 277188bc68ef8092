"""When every fragment's requests are sent, and sending them by `regraft load`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from api.processes import Family, ProcessError
from planner.arrivals import Arrivals
from planner.plan import Plan
from planner.traces import Floats
from planner.workload import Workload

# Requests one at a time before the load: they show what a hop costs, and wake everything up.
WARM_UP_EACH = 12
_WARM_UP_GAP_S = 0.05


def schedule(
    plan: Plan, workload: Workload, arrivals: Arrivals, *, seconds: float, seed: int
) -> dict[str, Floats]:
    """The seconds at which each planned fragment's requests are sent; the same for the same arguments."""
    random = np.random.default_rng(seed)
    routed = {route.fragment for route in plan.routes}
    return {
        fragment.id: arrivals.times(
            rate_rps=fragment.rate_rps, count=fragment.count, seconds=seconds, random=random
        )
        for fragment in workload.fragments
        if fragment.id in routed
    }


def one_at_a_time(plan: Plan, workload: Workload) -> dict[str, Floats]:
    """A few requests of every fragment, so far apart that none meets another, at any stage."""
    routed = {route.fragment for route in plan.routes}
    slowest_ms = {stage.id: stage.exec_ms for stage in plan.stages}
    alone_s = {
        route.fragment: _WARM_UP_GAP_S + sum(slowest_ms[stage] for stage in route.stages) / 1000
        for route in plan.routes
    }
    at_s = 0.0
    found: dict[str, Floats] = {}
    for fragment in workload.fragments:
        if fragment.id in routed:
            gaps: Floats = alone_s[fragment.id] * np.arange(WARM_UP_EACH, dtype=np.float64)
            found[fragment.id] = at_s + gaps
            at_s = float(found[fragment.id][-1]) + alone_s[fragment.id]
    return found


def send(
    members: Family,
    gateway: str,
    workload: Workload,
    times_s: Mapping[str, Floats],
    *,
    seconds: float,
    name: str,
    show: Callable[[str], None],
    check: bool = True,
) -> dict[str, Any]:
    """Send the fragments' requests at these times; gives the load's result, with a record of each request."""
    folder = Path(members.folder)
    by_id = {fragment.id: fragment for fragment in workload.fragments}
    spec = {
        "gateway": gateway,
        "seconds": seconds,
        "check": check,
        "records": True,
        "clients": [
            {
                "fragment": fragment,
                "model": by_id[fragment].model,
                "start": by_id[fragment].start,
                "rate_rps": by_id[fragment].load_rps,
                "budget_ms": by_id[fragment].budget_ms,
                "times_s": [round(float(at_s), 6) for at_s in times],
            }
            for fragment, times in times_s.items()
        ],
    }
    spec_file, result_file = folder / f"{name}.json", folder / f"{name}-result.json"
    spec_file.write_text(json.dumps(spec))
    child = members.start(name, ["load", str(spec_file), "--output", str(result_file)])
    started = time.monotonic()
    while not child.finished():
        passed = time.monotonic() - started
        show(f"{passed:.0f} s: the phones' own layers first, then {seconds:.0f} s of requests")
        members.check()
        time.sleep(0.2)
    result: dict[str, Any] = json.loads(result_file.read_text())
    return result


def serves(gateway: str) -> None:
    """Raises ProcessError where there is no gateway that is ready."""
    try:
        status = httpx.get(f"{gateway.rstrip('/')}/v2/health/ready", timeout=10.0).status_code
    except httpx.HTTPError as error:
        raise ProcessError(f"gateway {gateway}: {error or type(error).__name__}") from None
    if status != 200:
        raise ProcessError(f"gateway {gateway}: it is not ready (status {status}); is a plan deployed?")
