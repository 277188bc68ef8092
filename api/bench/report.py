"""What `regraft bench` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from api.bench.comparing import WITHIN_PCT
from planner.profile import WAVERING_PCT, Profile
from planner.terminal import console as make_console

console = make_console()

# Others that use more of the processor than this make observed times theirs.
NOISY_PCT = 5.0


def doubts(profiles: Sequence[Profile]) -> None:
    """Which profiles a simulation cannot be exact with."""
    for profile in profiles:
        scatter_pct = profile.measured.get("scatter_pct")
        if isinstance(scatter_pct, int | float) and scatter_pct > WAVERING_PCT:
            console.print(
                f"the machine did not keep its speed while {profile.model} was profiled (runs differ by "
                f"{scatter_pct:.0f} %): what is simulated is no more exact",
                style="yellow",
            )


def show(found: Mapping[str, Any]) -> None:
    """One kind of arrivals: all requests, then fragments, then stages."""
    observed, simulated = found["observed"], found["simulated"]
    console.rule(
        f"[bold]{found['arrivals']}: {found['requests']} requests in {found['seconds']:g} s", align="left"
    )
    if found["others_busy_pct"] > NOISY_PCT:
        console.print(
            f"other processes used {found['others_busy_pct']:.0f} % of the processor meanwhile: what is "
            "observed here is theirs as well",
            style="yellow",
        )
    if found["slower_pct"]:
        told = ", ".join(f"{stage} {_off(pct)}" for stage, pct in found["slower_pct"].items())
        console.print(f"in rehearsals stages took, against their profiles: {told}; the simulation knows that")
    overall = Table("", "on time", "p50", "p99", "dropped", "refused", "failed", "wrong")
    overall.add_row(
        "simulated",
        _pct(simulated["on_time_fraction"]),
        _ms(simulated["p50_ms"]),
        _ms(simulated["p99_ms"]),
        str(simulated["dropped"]),
        *("",) * 3,
    )
    overall.add_row(
        "observed",
        _pct(observed["on_time_fraction"]),
        _ms(observed["p50_ms"]),
        _ms(observed["p99_ms"]),
        *(str(observed[name]) for name in ("dropped", "refused", "errors", "wrong")),
    )
    overall.add_row(
        "at the client",
        _pct(observed["client_on_time_fraction"]),
        _ms(observed["client_p50_ms"]),
        _ms(observed["client_p99_ms"]),
        *("",) * 4,
    )
    console.print(overall)
    fragments = Table(
        *("fragment", "sent", "budget", "planned worst", "p50 simulated", "p50 observed"),
        *("p99 simulated", "p99 observed", "95 % interval", "simulation off", "in interval", "on time"),
    )
    for item in found["fragments"]:
        on_time = item["observed"]["on_time"] / item["requests"] if item["requests"] else None
        fragments.add_row(
            f"{item['fragment']} ({item['model']}@{item['start']})",
            str(item["requests"]),
            _ms(item["budget_ms"]),
            _ms(item["planned"]["worst_ms"]),
            *(_ms(item[side]["p50_ms"]) for side in ("simulated", "observed")),
            *(_ms(item[side]["p99_ms"]) for side in ("simulated", "observed")),
            _interval(item["observed"]["p99_interval_ms"]),
            _off(item["p99_off_pct"]) + _mark(item["p99_within"]),
            {True: "yes", False: "no", None: "–"}[item["p99_in_interval"]],
            _pct(on_time),
        )
    console.print(fragments)
    _say_chance(found)
    stages = Table(
        *("stage", "layers", "batch", "share", "exec planned", "simulated", "observed", "simulation off"),
        *("mean batch sim.", "obs.", "mean wait sim.", "obs.", "p99 wait sim.", "obs."),
    )
    for item in found["stages"]:
        sides = (item["simulated"], item["observed"])
        stages.add_row(
            f"{item['stage']} ({item['model']})",
            f"{item['start']}–{item['end']}",
            str(item["batch"]),
            f"{item['share']:g} × {item['instances']}",
            _ms(item["planned"]["exec_ms"]),
            *(_ms(side["exec_ms"]) for side in sides),
            _off(item["exec_off_pct"]),
            *("–" if side["mean_batch"] is None else f"{side['mean_batch']:.2f}" for side in sides),
            *(_ms(side["mean_wait_ms"]) for side in sides),
            *(_ms(side["p99_wait_ms"]) for side in sides),
        )
    console.print(stages)


def repeated(found: Mapping[str, Any], off_pct: Mapping[str, float | None]) -> None:
    """What the same requests, sent once more, did to the p99 of each fragment."""
    told = ", ".join(f"{name} {_off(pct)}" for name, pct in off_pct.items() if pct is not None)
    console.print(
        f"{found['arrivals']}, the same requests once more: observed p99 against the first: {told or '–'}"
    )


def judged(found: Mapping[str, Any]) -> None:
    """What the runs of one kind of arrivals, taken together, say of the simulation."""
    several = found["runs"] > 1
    told = f"{found['arrivals']}, {found['runs']} runs together" if several else found["arrivals"]
    console.print(
        f"{told}: simulated p99 within {WITHIN_PCT:g} % of observed for {found['within']} of "
        f"{len(found['fragments'])} fragments, off for {found['off']}, "
        f"not to be told from chance for {found['unclear']}"
    )
    apart_pct = found["runs_apart_pct"]
    if several and apart_pct is not None and apart_pct > WITHIN_PCT:
        console.print(
            f"equal runs differ by up to {apart_pct:.0f} % in the p99 of a fragment: chance, or a machine "
            f"that does not keep its speed; a single run cannot tell {WITHIN_PCT:g} %",
            style="yellow",
        )


def _say_chance(found: Mapping[str, Any]) -> None:
    fragments = [item for item in found["fragments"] if item["p99_within"] is not None]
    console.print(
        f"simulated p99 within {WITHIN_PCT:g} % of observed: {found['p99_within_fragments']} of "
        f"{len(fragments)} fragments; within its 95 % interval: {found['p99_in_interval_fragments']}"
    )
    wanted = {
        item["fragment"]: item["p99_wants_seconds"]
        for item in fragments
        if item["p99_wants_seconds"] is not None
    }
    if wanted:
        console.print(
            f"too few requests: chance alone moves the p99 of {', '.join(wanted)} by more than "
            f"{WITHIN_PCT:g} %; --seconds {max(wanted.values()):.0f} would say more",
            style="yellow",
        )


def judge(found: Mapping[str, Any], target: float) -> bool:
    """Say whether the promise was kept; true when it was, or when the simulation does not expect it to be.

    A plan promises nothing for arrivals that it was not made for: there, what counts is that the
    simulation had said so.
    """
    observed, simulated = found["observed"], found["simulated"]
    seen, expected = observed["on_time_fraction"], simulated["on_time_fraction"]
    if observed["wrong"]:
        console.print(f"{observed['wrong']} answers are wrong", style="red")
        return False
    if seen is None or expected is None:
        console.print("nothing was sent", style="red")
        return False
    off = "" if found["p99_off_pct"] is None else f"; simulated p99 {_off(found['p99_off_pct'])} of observed"
    if seen >= target:
        console.print(f"{found['arrivals']}: the promise was kept: {_pct(seen)} on time{off}", style="green")
        return True
    if expected < target:
        console.print(
            f"{found['arrivals']}: {_pct(seen)} on time; the plan is not made for such arrivals, and the "
            f"simulation expects {_pct(expected)}{off}",
            style="yellow",
        )
        return True
    console.print(
        f"{found['arrivals']}: the promise was broken: {_pct(seen)} on time, {_pct(target)} asked, "
        f"{_pct(expected)} simulated{off}",
        style="red",
    )
    return False


def _interval(ends: Sequence[float | None]) -> str:
    low, high = ("?" if end is None else f"{end:.1f}" for end in ends)
    return f"{low} to {high}"


def _mark(within: bool | None) -> str:
    return "" if within is None or within else " !"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms" if value < 1000 else f"{value:.0f} ms"


def _pct(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def _off(pct: float | None) -> str:
    return "–" if pct is None else f"{pct:+.1f} %"
