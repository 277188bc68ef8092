"""What the demo shows, and whether the promises were kept."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

from planner.arrivals import Arrivals
from planner.comparing import row_of
from planner.partitioning import Partition
from planner.plan import Plan
from planner.profile import Profile
from planner.simulation import simulate
from planner.terminal import console as make_console
from planner.terminal import table_of
from planner.workload import Workload

console = make_console()

# A simulation long enough for a 99th percentile of phones that send every half a minute.
_SIMULATED_S = 3600.0


def show_profiles(profiles: list[Profile]) -> None:
    """What each model costs here."""
    table = Table(
        "model", "layers", "batches", "shares", "one picture, whole core", "stage against sum of layers"
    )
    for profile in profiles:
        largest = profile.shares.index(max(profile.shares))
        cells = [layer[profile.batches.index(1)][largest] for layer in profile.latency_ms]
        off = profile.measured.get("additivity_error_pct")
        table.add_row(
            profile.model,
            str(profile.depth),
            ", ".join(map(str, profile.batches)),
            ", ".join(map(str, profile.shares)),
            _ms(math.fsum(cell for cell in cells if cell is not None)),
            f"{off:+.1f} %" if isinstance(off, int | float) else "–",
        )
    console.print(table)


def show_cuts(partition: Partition, profiles: list[Profile], source: str) -> None:
    """Where every phone cuts, and what that leaves to the server."""
    depths = {profile.model: profile.depth for profile in profiles}
    scales = ", ".join(f"{scale:g}" for scale in sorted({choice.scale for choice in partition.choices}))
    console.print(
        f"{len(partition.choices)} phones; links from {source}, times {scales} as an assumed uplink"
    )
    table = Table("phone", "link now", "cuts at", "on the phone", "upload", "SLO", "left for the server")
    for choice in partition.choices:
        offloaded = choice.status == "offloaded"
        table.add_row(
            choice.client,
            f"{choice.mbps:.1f} Mbps",
            f"{choice.cut} of {depths[choice.model]}" if offloaded else choice.status,
            _ms(choice.device_ms),
            _ms(choice.upload_ms),
            _ms(choice.slo_ms),
            _ms(choice.budget_ms) if offloaded else "–",
        )
    console.print(table)


def show_plans(plans: list[Plan]) -> None:
    """The strategies side by side."""
    console.print(table_of([row_of(plan) for plan in plans]))
    first, last = plans[0], plans[-1]
    saved = 100 * (1 - last.objective.share / first.objective.share)
    console.print(f"{last.strategy} needs {saved:.0f} % less share than {first.strategy}")


def show_stages(plan: Plan, held: dict[str, set[str]]) -> None:
    """The stages that run, and how each worker is held to its share."""
    table = Table(
        "stage", "model", "layers", "batch", "share", "workers", "one batch", "fragments", "held by"
    )
    for stage in plan.stages:
        fragments = {route.fragment for route in plan.routes if stage.id in route.stages}
        table.add_row(
            stage.id,
            stage.model,
            f"{stage.start}…{stage.end}",
            str(stage.batch),
            f"{stage.share} %",
            str(stage.instances),
            _ms(stage.exec_ms),
            str(len(fragments)),
            ", ".join(sorted(held.get(stage.id, ()))),
        )
    console.print(table)


def judge(
    result: dict[str, Any],
    plan: Plan,
    workload: Workload,
    profiles: list[Profile],
    *,
    on_time: float,
    seed: int,
) -> bool:
    """Show promised beside observed for every fragment; true when all promises of the demo were kept.

    *Promised* is the plan's worst time, *simulated* what a replay of the plan by its profile expects, and
    *observed* the time from a request's arrival at the gateway to its answer, which is what a budget
    speaks of. A request is on time when its answer is with the phone within the budget.
    """
    forecast = {
        item.fragment: item
        for item in simulate(
            plan, workload, profiles, arrivals=Arrivals(kind="paced"), seconds=_SIMULATED_S, seed=seed
        ).fragments
    }
    worst = {route.fragment: route.worst_ms for route in plan.routes}
    table = Table(
        *("fragment", "budget", "promised", "simulated p50", "observed p50", "simulated p99", "observed p99"),
        *("sent", "on time", "dropped", "wrong"),
    )
    for client in result["clients"]:
        name = client["fragment"]
        table.add_row(
            f"{name} ({client['model']}@{client['start']})",
            _ms(client["budget_ms"]),
            _ms(worst[name]),
            _ms(forecast[name].p50_ms),
            _ms(client["gateway_p50_ms"]),
            _ms(forecast[name].p99_ms),
            _ms(client["gateway_p99_ms"]),
            str(client["sent"]),
            "–" if client["on_time_fraction"] is None else f"{100 * client['on_time_fraction']:.1f} %",
            str(client["dropped"]),
            str(client["wrong"]),
        )
    console.print(table)
    totals = result["totals"]
    fraction = totals["on_time_fraction"] or 0.0
    console.print(
        f"{totals['sent']} requests: {100 * fraction:.2f} % on time (asked: {100 * on_time:g} %), "
        f"{totals['dropped']} dropped, {totals['errors'] + totals['refused']} failed; "
        f"{totals['answered']} answers compared with the whole model's, {totals['wrong']} wrong, "
        f"largest difference {totals['max_abs_error']:.2g}"
    )
    good = True
    if totals["wrong"] or not totals["answered"]:
        console.print("an answer is wrong" if totals["wrong"] else "nothing was answered", style="red")
        good = False
    if fraction < on_time:
        console.print(
            f"too few requests were on time: {100 * fraction:.2f} % of {100 * on_time:g} %", style="red"
        )
        good = False
    if good:
        console.print("every answer equals the whole model's, and the promises were kept", style="green")
    return good


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms" if value < 1000 else f"{value:.0f} ms"
