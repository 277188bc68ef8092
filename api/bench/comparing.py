"""Observed beside simulated beside planned (format `regraft.bench/v1`).

*Observed* is what the gateway says of each request: from its arrival to its answer, which is what a budget
speaks of, and its wait and execution in each stage. `client_…` figures are the sender's own.

*Simulated* is a replay of the plan with the very arrivals that were observed, by the profile's execution
times, those of smaller batches interpolated, and with what a rest is worth to a worker. What a hop from the
gateway to a worker and back costs is measured first, by single requests, and given to the simulation; and so
is how much longer executions take now than profiled, by rehearsals before and after, and how fast the
processor was meanwhile, half second by half second, by a yardstick.

*Planned* is the plan's own: a fragment's worst time by law 2, a stage's execution at its full batch.

A p99 of few requests is mostly chance: of 200 it is the second or third largest time. So an observed p99 has
its 95 % confidence interval, from order statistics (`api.bench.chance`). The simulation, whose times are
drawn, is replayed several times over the same arrivals, so that its own chance is small beside that.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.bench import chance
from api.bench.speed import Rehearsed
from planner.plan import Plan
from planner.profile import Profile
from planner.simulation import Replay, replay
from planner.simulation_queue import SLACK_MS, SimulationSettings
from planner.traces import Floats
from planner.workload import Workload

FORMAT = "regraft.bench/v1"
# A simulated p99 that is no further off from the observed one, in percent, counts as the same.
WITHIN_PCT = 10.0
OK = 200

# As many replays as make so many requests, within reason.
_REPLAYED_REQUESTS = 200_000
_MOST_REPLAYS = 20


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request in one stage; times in ms."""

    wait_ms: float
    exec_ms: float
    batch: int


def hop_ms(result: Mapping[str, Any]) -> float:
    """What a request waits in a stage whose worker is free: the way there and back. From single requests."""
    waits = [visit.wait_ms for visits in _visits(result).values() for visit in visits]
    return statistics.median(waits) if waits else 0.0


def batches(results: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, int]]]:
    """What each stage took for its batches: (ms, batch), by its id."""
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for result in results:
        for stage, visits in _visits(result).items():
            told: dict[tuple[float, int], int] = defaultdict(int)
            for visit in visits:
                told[visit.exec_ms, visit.batch] += 1
            # Each request tells of its whole batch.
            for (exec_ms, batch), times in told.items():
                found[stage] += [(exec_ms, batch)] * math.ceil(times / batch)
    return dict(found)


def beside(plan: Plan, workload: Workload, profiles: Sequence[Profile], run: Replay) -> dict[str, float]:
    """For which part of the time each stage has neighbours that are busy, 0 to 1, by its id.

    On a GPU they run at the same time, and are in the way by how much of it they use: `busy_fraction`. On a
    processor they take turns, and one turn between two of a worker's is enough to take its cache: what
    counts is whether any other worker is at a batch. Workers of other cores count as well: they have a cache
    in common, and the gateway works for them. `run` is a replay without neighbours, which says how busy each
    worker is.
    """
    on_gpu = {(profile.model, profile.gpu): bool(profile.measured.get("driver")) for profile in profiles}
    span_ms = max([1.0, *run.finish_ms[~np.isnan(run.finish_ms)].tolist()])
    busy = {stage.id: min(1.0, served.busy_ms / (stage.instances * span_ms)) for stage, served in run.served}
    idle = {stage.id: (1.0 - busy[stage.id], stage.instances) for stage in plan.stages if stage.id in busy}
    used = busy_fraction(plan, workload)

    def any_other(name: str) -> float:
        nobody = 1.0
        for other, (part, instances) in idle.items():
            nobody *= math.pow(part, instances - (other == name))
        return 1.0 - nobody

    return {
        stage.id: used if on_gpu[stage.model, stage.gpu] else any_other(stage.id)
        for stage in plan.stages
        if stage.id in idle
    }


def busy_fraction(plan: Plan, workload: Workload) -> float:
    """How much of the devices is in use at the planned rates, 0 to 1, on average.

    Each request is counted as its part of a full batch. A plan without placement fills its devices.
    """
    rates_rps = {fragment.id: fragment.load_rps for fragment in workload.fragments}
    used_s = {stage.id: stage.share / 100 * stage.exec_ms / 1000 / stage.batch for stage in plan.stages}
    work = math.fsum(
        rates_rps.get(route.fragment, 0.0) * route.fraction * used_s[stage]
        for route in plan.routes
        for stage in route.stages
    )
    placed = {place.gpu for place in plan.placement}
    shares = sum(stage.share * stage.instances for stage in plan.stages)
    devices = len(placed) or max(1, math.ceil(shares / 100))
    return min(1.0, work / devices)


def compare(
    plan: Plan,
    workload: Workload,
    profiles: Sequence[Profile],
    result: Mapping[str, Any],
    *,
    arrivals: str,
    seconds: float,
    hop: float,
    seed: int,
    rehearsed: Rehearsed | None = None,
    waver: Sequence[tuple[float, float]] = (),
) -> dict[str, Any]:
    """Lay one load's result beside the simulation of the same arrivals and beside the plan.

    `rehearsed` is what executions took in other loads around this one, and `waver` from how many ms on they
    take how many times as long as on average (`api.bench.speed`).
    """
    rehearsed = rehearsed or Rehearsed(visits={})
    came: dict[str, Floats] = {
        client["fragment"]: np.array(sorted(record[0] for record in client["records"]))
        for client in result["clients"]
    }
    # On the way in, and once more between two stages: what a stage's wait has beyond its queue.
    settings = SimulationSettings(
        batch_time="between",
        rested=True,
        scatter=True,
        slowness=rehearsed.slowness(plan, profiles, {}),
        waver=waver,
        network_ms=hop,
        copy_ms=hop,
    )
    lonely = replay(plan, workload, profiles, arrivals=came, seconds=seconds, seed=seed, settings=settings)
    busy = beside(plan, workload, profiles, lonely)
    slowness = rehearsed.slowness(plan, profiles, busy)
    scatter = rehearsed.scatter(plan, profiles, busy)
    settings = replace(settings, beside=busy, slowness=slowness, seen=scatter)
    requests = sum(map(len, came.values()))
    replays = max(1, min(_MOST_REPLAYS, _REPLAYED_REQUESTS // max(1, requests)))
    runs = [
        replay(plan, workload, profiles, arrivals=came, seconds=seconds, seed=seed + again, settings=settings)
        for again in range(replays)
    ]
    run = runs[0]
    latency = np.stack([each.finish_ms - each.arrival_ms for each in runs])
    seen = [_latencies(client) for client in result["clients"]]
    every = [value for values in seen for value in values]
    fragments = [
        _fragment(plan, workload, client, values, latency[:, _of(run, client["fragment"])], seconds)
        for client, values in zip(result["clients"], seen, strict=True)
    ]
    totals = result["totals"]
    sent = totals["sent"]
    on_time = sum(item["observed"]["on_time"] for item in fragments)
    simulated_on_time = math.fsum(item["simulated"]["on_time"] for item in fragments)
    observed_p99, simulated_p99 = _quantile(every, 0.99), _quantile(latency, 0.99)
    return {
        "arrivals": arrivals,
        "seconds": seconds,
        "requests": sent,
        "observed": {
            "on_time_fraction": on_time / sent if sent else None,
            "client_on_time_fraction": totals["on_time_fraction"],
            "p50_ms": _quantile(every, 0.5),
            "p99_ms": observed_p99,
            "client_p50_ms": totals["p50_ms"],
            "client_p99_ms": totals["p99_ms"],
            **{name: totals[name] for name in ("dropped", "refused", "errors", "wrong", "max_abs_error")},
        },
        "simulated": {
            "on_time_fraction": simulated_on_time / requests if requests else None,
            "p50_ms": _quantile(latency, 0.5),
            "p99_ms": simulated_p99,
            "dropped": round(float(np.isnan(latency).sum() / replays), 1),
            "replays": replays,
        },
        "slower_pct": {stage: round(100.0 * (times - 1.0), 1) for stage, times in slowness.items()},
        "waver": [list(change) for change in waver],
        "p99_off_pct": _off_pct(simulated_p99, observed_p99),
        "p99_within_fragments": sum(item["p99_within"] is True for item in fragments),
        "p99_in_interval_fragments": sum(item["p99_in_interval"] is True for item in fragments),
        "fragments": fragments,
        "stages": [_stage(run, number, _visits(result)) for number in range(len(run.served))],
    }


def _of(run: Replay, name: str) -> NDArray[np.bool_]:
    """Which requests of a replay are this fragment's."""
    numbers = {fragment.id: number for number, fragment in enumerate(run.fragments)}
    mine: NDArray[np.bool_] = run.fragment == numbers[name]
    return mine


def _fragment(
    plan: Plan,
    workload: Workload,
    client: Mapping[str, Any],
    seen: Sequence[float],
    mine: NDArray[np.float64],
    seconds: float,
) -> dict[str, Any]:
    """`mine` [replay][request] are the simulated latencies of its requests in ms, nan where dropped."""
    name = client["fragment"]
    budget_ms = next(fragment.budget_ms for fragment in workload.fragments if fragment.id == name)
    observed, simulated = _quantile(seen, 0.99), _quantile(mine, 0.99)
    interval = chance.quantile_interval(seen, 0.99)
    off_pct = _off_pct(simulated, observed)
    return {
        "fragment": name,
        "model": client["model"],
        "start": client["start"],
        "budget_ms": budget_ms,
        "requests": client["sent"],
        "planned": {"worst_ms": max(route.worst_ms for route in plan.routes if route.fragment == name)},
        "simulated": {
            "on_time": round(float((mine <= budget_ms + SLACK_MS).sum() / len(mine)), 2),
            "p50_ms": _quantile(mine, 0.5),
            "p99_ms": simulated,
        },
        "observed": {
            "on_time": sum(1 for value in seen if value <= budget_ms),
            "p50_ms": _quantile(seen, 0.5),
            "p99_ms": observed,
            "p99_interval_ms": [interval.low, interval.high],
            "client_p99_ms": client["p99_ms"],
            "dropped": client["dropped"],
            "wrong": client["wrong"],
        },
        "p99_off_pct": off_pct,
        "p99_within": None if off_pct is None else abs(off_pct) <= WITHIN_PCT,
        "p99_in_interval": None if simulated is None or observed is None else interval.holds(simulated),
        # How long it takes to know the observed p99 to that; None where it is known already.
        "p99_wants_seconds": chance.seconds_wanted(interval, observed, len(seen), seconds, WITHIN_PCT),
    }


def repeated(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float | None]:
    """How far each fragment's p99 is off in the second of two runs with the very same arrivals, in percent.

    No simulation can be nearer to both than half of it.
    """
    before = {item["fragment"]: item["observed"]["p99_ms"] for item in first["fragments"]}
    return {
        item["fragment"]: _off_pct(item["observed"]["p99_ms"], before[item["fragment"]])
        for item in second["fragments"]
    }


def together(results: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The runs of one kind of arrivals, judged as one: each fragment's p99, simulated beside observed.

    Observed is the p99 of all its requests in these runs. A fragment is `within` where the simulation is no
    more than WITHIN_PCT from that. Otherwise it is `unclear` where the simulation lies among the confidence
    intervals of the runs, so that the next run could be just that; else `off`. More requests narrow the
    intervals; where equal runs differ (`runs_apart_pct`), only a quieter machine does.
    """
    fragments = []
    for number, client in enumerate(results[0]["clients"]):
        items = [run["fragments"][number] for run in compared]
        every = [value for result in results for value in _latencies(result["clients"][number])]
        known = [item["observed"]["p99_ms"] for item in items if item["observed"]["p99_ms"] is not None]
        expected = [item["simulated"]["p99_ms"] for item in items if item["simulated"]["p99_ms"] is not None]
        observed = _quantile(every, 0.99)
        simulated = statistics.fmean(expected) if expected else None
        off_pct = _off_pct(simulated, observed)
        ends = [item["observed"]["p99_interval_ms"] for item in items]
        among = simulated is not None and chance.around([tuple(each) for each in ends]).holds(simulated)
        fragments.append(
            {
                "fragment": client["fragment"],
                "simulated_p99_ms": None if simulated is None else round(simulated, 3),
                "observed_p99_ms": observed,
                "p99_off_pct": off_pct,
                "runs_apart_pct": round(100.0 * (max(known) / min(known) - 1.0), 2) if known else None,
                "verdict": None
                if off_pct is None
                else "within"
                if abs(off_pct) <= WITHIN_PCT
                else "unclear"
                if among
                else "off",
            }
        )
    apart = [item["runs_apart_pct"] for item in fragments if item["runs_apart_pct"] is not None]
    return {
        "arrivals": compared[0]["arrivals"],
        "runs": len(compared),
        "runs_apart_pct": max(apart, default=None),
        **{
            verdict: sum(item["verdict"] == verdict for item in fragments)
            for verdict in ("within", "unclear", "off")
        },
        "fragments": fragments,
    }


def _stage(run: Replay, number: int, visits: Mapping[str, list[Visit]]) -> dict[str, Any]:
    stage, served = run.served[number]
    seen = visits.get(stage.id, [])
    # Each request tells of its whole batch, so a batch of four is told four times.
    batches = math.fsum(1.0 / visit.batch for visit in seen)
    observed_exec = math.fsum(visit.exec_ms / visit.batch for visit in seen) / batches if seen else None
    simulated_exec = served.busy_ms / served.batches if served.batches else None
    full = [visit.exec_ms for visit in seen if visit.batch == stage.batch]
    return {
        "stage": stage.id,
        "model": stage.model,
        "start": stage.start,
        "end": stage.end,
        "batch": stage.batch,
        "share": stage.share,
        "instances": stage.instances,
        "planned": {"exec_ms": stage.exec_ms},
        "simulated": {
            "requests": len(served.request),
            "mean_batch": len(served.request) / served.batches if served.batches else None,
            "exec_ms": simulated_exec,
            "mean_wait_ms": float(served.wait_ms.mean()) if len(served.wait_ms) else None,
            "p99_wait_ms": _quantile(served.wait_ms, 0.99),
        },
        "observed": {
            "requests": len(seen),
            "mean_batch": len(seen) / batches if seen else None,
            "exec_ms": observed_exec,
            "p99_exec_ms": _quantile([visit.exec_ms for visit in seen], 0.99),
            "full_batch_exec_ms": statistics.fmean(full) if full else None,
            "mean_wait_ms": statistics.fmean(visit.wait_ms for visit in seen) if seen else None,
            "p99_wait_ms": _quantile([visit.wait_ms for visit in seen], 0.99),
        },
        "exec_off_pct": _off_pct(simulated_exec, observed_exec),
    }


def _visits(result: Mapping[str, Any]) -> dict[str, list[Visit]]:
    """Every request's visits, by stage."""
    found: dict[str, list[Visit]] = defaultdict(list)
    for client in result["clients"]:
        for _, status, _, _, stages in client["records"]:
            if status == OK:
                for stage, wait_ms, exec_ms, batch in stages:
                    found[stage].append(Visit(wait_ms=wait_ms, exec_ms=exec_ms, batch=batch))
    return found


def _latencies(client: Mapping[str, Any]) -> list[float]:
    return [gateway_ms for _, status, _, gateway_ms, _ in client["records"] if status == OK]


def _quantile(values: Sequence[float] | NDArray[np.float64], part: float) -> float | None:
    """The smallest value that this part of the values does not exceed; of what is answered."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return round(float(np.quantile(known, part, method="inverted_cdf")), 3) if len(known) else None


def _off_pct(simulated: float | None, observed: float | None) -> float | None:
    """How far the simulation is above (+) or below (−) what was observed, in percent of that."""
    if simulated is None or observed is None or observed <= 0:
        return None
    return round(100.0 * (simulated / observed - 1.0), 2)
