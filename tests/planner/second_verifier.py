"""A second verifier, written from section 4 of the design alone: plain JSON in, the names of broken laws out.

Where requests leave at exits it follows "Laws with exits" of docs/formats.md, word by word.

It imports nothing of the project, so that what it and `planner.laws` agree on is not one mistake made once.
It is slower, says less, and knows no place and no amount.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Json = dict[str, Any]

# Plans are written in double precision; what differs by less is rounding.
ROUNDING = 1e-6


def broken_laws(plan: Json, workload: Json, profiles: list[Json], *, max_clients: int = 48) -> set[str]:
    """The laws that this plan breaks: stage, time, capacity, routes, placement, objective."""
    return {
        law
        for law, holds in (
            ("stage", _stages_exist(plan, profiles)),
            ("routes", _routes_lead_home(plan, workload, profiles)),
            ("time", _in_time(plan, workload, profiles)),
            ("capacity", _can_carry(plan, workload, profiles)),
            ("placement", _has_room(plan, workload, profiles, max_clients)),
            ("objective", _says_its_price(plan, profiles)),
        )
        if not holds
    }


def latency_ms(stage: Json, profiles: list[Json]) -> float | None:
    """Law 1: what the stage takes by its profile; None where there is no such stage."""
    for profile in profiles:
        if profile["model"] == stage["model"] and profile["gpu"] == stage["gpu"]:
            break
    else:
        return None
    layers = range(stage["start"], stage["end"])
    if stage["start"] < 0 or not layers or stage["end"] > len(profile["layers"]):
        return None
    if stage["batch"] not in profile["batches"] or stage["share"] not in profile["shares"]:
        return None
    total: float = profile.get("stage_overhead_ms", 0.0)
    for layer in layers:
        by_share = profile["latency_ms"][layer][profile["batches"].index(stage["batch"])]
        cell = by_share[profile["shares"].index(stage["share"])]
        if cell is None:
            return None
        total += cell
    for layer in stage.get("exits", []):
        cell = _exit_at(profile, layer)["ramp_ms"][profile["batches"].index(stage["batch"])][
            profile["shares"].index(stage["share"])
        ]
        if cell is None:
            return None
        total += cell
    return total


def _exit_at(profile: Json, layer: int) -> Json:
    [item] = [item for item in profile["exits"] if item["layer"] == layer]
    return dict(item)


def _sigma(profile: Json, fragment: Json) -> dict[int, float]:
    """By the layer of each exit: the fragment's own survival, or the profile's."""
    own = fragment.get("survival")
    exits = profile.get("exits") or []
    return {item["layer"]: own[n] if own else item["survival"] for n, item in enumerate(exits)}


def _part_past(profile: Json, fragment: Json, exits_used: list[int]) -> float:
    """Of the requests of a fragment, the fraction that comes past the last of these exits."""
    if not exits_used:
        return 1.0
    sigma = _sigma(profile, fragment)
    before = [layer for layer in sorted(sigma) if layer <= fragment["start"]]
    at_start = sigma[before[-1]] if before else 1.0
    return sigma[exits_used[-1]] / at_start if at_start > 0 else 1.0


def _between(profile: Json, rows: list[list[float | None]], stage: Json, samples: float) -> float:
    """What so many samples take: straight lines, below the least as there, below one sample in proportion."""
    column = profile["shares"].index(stage["share"])
    known: list[tuple[int, float]] = []
    for size, row in sorted(zip(profile["batches"], rows, strict=True), key=lambda pair: pair[0]):
        cell = row[column]
        if size <= stage["batch"] and cell is not None:
            known.append((size, cell))
    if samples <= known[0][0]:
        return known[0][1] * min(1.0, samples)
    for (low, low_ms), (high, high_ms) in pairwise(known):
        if samples <= high:
            return low_ms + (high_ms - low_ms) * (samples - low) / (high - low)
    return known[-1][1]


def _mean_ms(stage: Json, profile: Json, flows: list[tuple[float, Json, list[int]]]) -> float:
    """expected_ms: `flows` are the requests a second of each route, its fragment, and its exits before."""
    entering = sum(load * _part_past(profile, fragment, before) for load, fragment, before in flows)
    total: float = profile.get("stage_overhead_ms", 0.0)
    used: list[int] = []
    for layer in range(stage["start"], stage["end"]):
        here = sum(load * _part_past(profile, fragment, before + used) for load, fragment, before in flows)
        samples = stage["batch"] * here / entering if used and entering else float(stage["batch"])
        total += _between(profile, profile["latency_ms"][layer], stage, samples)
        if layer + 1 in stage.get("exits", []):
            total += _between(profile, _exit_at(profile, layer + 1)["ramp_ms"], stage, samples)
            used = [*used, layer + 1]
    return total


def _at_most(value: float, limit: float) -> bool:
    return value <= limit + ROUNDING * max(1.0, abs(limit))


def _same(one: float, other: float) -> bool:
    return _at_most(one, other) and _at_most(other, one)


def _stages_exist(plan: Json, profiles: list[Json]) -> bool:
    ids = [stage["id"] for stage in plan["stages"]]
    for stage in plan["stages"]:
        expected = latency_ms(stage, profiles)
        if expected is None or not _same(stage["exec_ms"], expected) or stage["instances"] < 1:
            return False
    return len(ids) == len(set(ids))


def _routes_lead_home(plan: Json, workload: Json, profiles: list[Json]) -> bool:
    depth = {profile["model"]: len(profile["layers"]) for profile in profiles}
    stages = {stage["id"]: stage for stage in plan["stages"]}
    left_out = [item["fragment"] for item in plan.get("unplanned", [])]
    asked = {fragment["id"]: fragment for fragment in workload["fragments"]}
    if len(left_out) != len(set(left_out)) or not set(left_out) <= set(asked):
        return False
    parts = {name: 0.0 for name in asked if name not in left_out}
    for route in plan["routes"]:
        if route["fragment"] not in parts or not route["fraction"] > 0:
            return False
        parts[route["fragment"]] += route["fraction"]
        fragment = asked[route["fragment"]]
        at = fragment["start"]
        for name in route["stages"]:
            stage = stages.get(name)
            if stage is None or stage["model"] != fragment["model"] or stage["start"] != at:
                return False
            at = stage["end"]
        if at != depth.get(fragment["model"]):
            return False
    return all(_same(part, 1.0) for part in parts.values())


def _in_time(plan: Json, workload: Json, profiles: list[Json]) -> bool:
    """Twice the executions within the budget, and a `worst_ms` between the two."""
    stages = {stage["id"]: latency_ms(stage, profiles) for stage in plan["stages"]}
    budgets = {fragment["id"]: fragment["budget_ms"] for fragment in workload["fragments"]}
    for route in plan["routes"]:
        times = [stages.get(name) for name in route["stages"]]
        if route["fragment"] not in budgets or None in times:
            continue  # another law's
        worst = sum(2 * time for time in times if time is not None)
        if not (
            _at_most(worst, route["worst_ms"]) and _at_most(route["worst_ms"], budgets[route["fragment"]])
        ):
            return False
    return True


def _can_carry(plan: Json, workload: Json, profiles: list[Json]) -> bool:
    asked = {fragment["id"]: fragment for fragment in workload["fragments"]}
    for stage in plan["stages"]:
        time = latency_ms(stage, profiles)
        flows: list[tuple[float, Json, list[int]]] = []
        for route in plan["routes"]:
            fragment = asked.get(route["fragment"])
            if fragment is not None:
                before: list[int] = []
                for name in route["stages"]:
                    if name == stage["id"]:
                        asks = fragment.get("count", 1) * fragment["rate_rps"] * route["fraction"]
                        flows.append((asks, fragment, list(before)))
                    before += next((s.get("exits", []) for s in plan["stages"] if s["id"] == name), [])
        load = sum(asks for asks, _, _ in flows)
        if time is not None and any("exits" in other for other in plan["stages"]):
            [profile] = [p for p in profiles if (p["model"], p["gpu"]) == (stage["model"], stage["gpu"])]
            load = sum(asks * _part_past(profile, fragment, before) for asks, fragment, before in flows)
            time = _mean_ms(stage, profile, flows)
            said = stage.get("expected_ms")
            if stage.get("exits") and (said is None or not _same(said, time)):
                return False
        offered = max(0, stage["instances"]) * stage["batch"] * 1000
        if time is not None and not _at_most(load * time, offered):
            return False
    return True


def _has_room(plan: Json, workload: Json, profiles: list[Json], max_clients: int) -> bool:
    gpus = workload.get("gpus")
    placement = plan.get("placement", [])
    if gpus is None:
        return not placement
    stages = {stage["id"]: stage for stage in plan["stages"]}
    wanted = {(name, number) for name, stage in stages.items() for number in range(stage["instances"])}
    if sorted((item["stage"], item["instance"]) for item in placement) != sorted(wanted):
        return False
    if not {item["gpu"] for item in placement} <= {gpu["id"] for gpu in gpus}:
        return False
    for gpu in gpus:
        here = [stages[item["stage"]] for item in placement if item["gpu"] == gpu["id"]]
        if any(stage["gpu"] != gpu["type"] for stage in here) or len(here) > max_clients:
            return False
        if not _at_most(sum(stage["share"] for stage in here), 100):
            return False
        if not _at_most(sum(_memory_mb(stage, profiles) for stage in here), gpu["memory_mb"]):
            return False
    return True


def _memory_mb(stage: Json, profiles: list[Json]) -> float:
    if latency_ms(stage, profiles) is None:
        return 0.0  # another law's
    [profile] = [p for p in profiles if (p["model"], p["gpu"]) == (stage["model"], stage["gpu"])]
    layers = slice(stage["start"], stage["end"])
    weights: float = sum(profile.get("weight_mb", [])[layers])
    largest: float = max(profile.get("activation_mb", [])[layers], default=0.0)
    return float(profile.get("context_mb", 0.0)) + weights + stage["batch"] * largest


def _says_its_price(plan: Json, profiles: list[Json]) -> bool:
    cost = {(p["model"], p["gpu"]): p.get("cost_per_share", 1.0) for p in profiles}
    share = 0.0
    for stage in plan["stages"]:
        share += stage["instances"] * stage["share"] * cost.get((stage["model"], stage["gpu"]), 1.0)
    bound, gap = plan.get("lower_bound"), plan.get("gap")
    gpus = plan["objective"].get("gpus")
    if not _same(plan["objective"]["share"], share):
        return False
    if gpus is not None and gpus != len({item["gpu"] for item in plan.get("placement", [])}):
        return False
    if bound is not None and not _at_most(bound, share):
        return False
    if gap is not None and (bound is None or not _same(gap, (share - bound) / share if share else 0.0)):
        return False
    return plan["status"] != "optimal" or (bound is not None and _at_most(share, bound))
