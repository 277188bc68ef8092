"""What exits are worth in plans: by batch, from easy inputs to hard ones, and with a wrong forecast.

    python -m benchmarks.exits_planned batches|hardness|together|forecast

The profile is synthetic (`tests.profiles`, 12 layers, exits after 4 and 8), its
batching as strong as a GPU's for small batches: a batch of 16 takes 4 times what one sample does. One
model, phones that start at its input; shares are percent of a GPU, and every plan is verified.

`batches`: the largest load that plans of at most 400 % of share carry, and the share that 2,000 requests a
second cost, at one batch size each. `hardness`: the share for the same load as more inputs go on.
`forecast`: planned with survivals that are wrong by up to 50 %, simulated (Poisson) with the true ones.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from planner import laws
from planner.arrivals import arrivals_of
from planner.errors import InfeasibleError
from planner.plan import Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.simulation import simulate
from planner.workload import Fragment, Workload
from tests.exits import with_exits
from tests.profiles import make_profile, make_workload

STRATEGIES = ("gslice+", "multi-exit", "pame", "e3", "graft")
NAMES = {"gslice+": "stock", "multi-exit": "multi-exit", "pame": "pame", "e3": "e3", "graft": "planned"}
SHARES = (10, 20, 30, 50, 75, 100)
SETTINGS = PlanSettings(time_limit_s=4.0, threads=1)
CAP = 400.0


def profile(
    batches: tuple[int, ...], survival: tuple[float, ...] = (0.5, 0.25), ramp: float = 0.15
) -> Profile:
    """The model that is planned for."""
    plain = make_profile(layers=12, batches=batches, shares=SHARES, alpha=0.8, seed=11, total_ms=10.0)
    return with_exits(plain, survival, layers=(4, 8), ramp=ramp)


def share(strategy: str, made: Profile, rate_rps: float, budget_ms: float = 400.0) -> float:
    """What it costs to serve so many requests a second; infinite where it cannot be done."""
    fragment = Fragment(id="f", model="net", start=0, budget_ms=budget_ms, rate_rps=rate_rps)
    try:
        plan = make_plan(Workload(fragments=(fragment,)), [made], strategy=strategy, settings=SETTINGS)
    except InfeasibleError:
        return float("inf")
    return plan.objective.share


def goodput(strategy: str, made: Profile) -> float:
    """The largest rate that at most CAP percent of share carry, to 1 %."""
    low, high = 1.0, 2.0
    while share(strategy, made, high) <= CAP:
        low, high = high, 2 * high
    while high > 1.01 * low:
        middle = (low * high) ** 0.5
        if share(strategy, made, middle) <= CAP:
            low = middle
        else:
            high = middle
    return low


def batches() -> None:
    for survival, ramp in (((0.5, 0.25), 0.15), ((0.8, 0.6), 0.6)):
        print(f"survival {survival}, ramp {ramp:.0%} of a layer")
        _batches(survival, ramp)


def _batches(survival: tuple[float, ...], ramp: float) -> None:
    print(f"goodput at {CAP:g} % of share, requests a second (beside stock)")
    print("| batch | " + " | ".join(NAMES[name] for name in STRATEGIES) + " |")
    for batch in (1, 2, 4, 8, 16):
        sizes = tuple(size for size in (1, 2, 4, 8, 16) if size <= batch)
        # Smaller batches were measured, since batches shrink; the plan may use the largest alone.
        made = only(profile(sizes, survival, ramp), batch)
        found = [goodput(name, made) for name in STRATEGIES]
        print(f"| {batch} | " + " | ".join(f"{one:.0f} ({one / found[0]:.2f})" for one in found) + " |")
    print("share for 2,000 requests a second")
    for batch in (1, 2, 4, 8, 16):
        sizes = tuple(size for size in (1, 2, 4, 8, 16) if size <= batch)
        found = [share(name, only(profile(sizes, survival, ramp), batch), 2000.0) for name in STRATEGIES]
        print(f"| {batch} | " + " | ".join(f"{one:.0f} ({one / found[0]:.2f})" for one in found) + " |")


def only(made: Profile, batch: int) -> Profile:
    """The profile in which stages run at this batch alone: of smaller ones no last layer was measured.

    The last layer has no cells at smaller batches, and neither has the first; what is in between shrinks.
    """
    rows = [list(layer) for layer in made.latency_ms]
    for layer in range(made.depth):
        for place, size in enumerate(made.batches):
            if size < batch and layer in edges(made):
                rows[layer][place] = tuple(None for _ in made.shares)
    return replace(made, latency_ms=tuple(tuple(layer) for layer in rows))


def edges(made: Profile) -> set[int]:
    """Layers without which no stage that starts at the input, or at an exit, can be made."""
    return {0, *(item.layer for item in made.exits or ())}


def hardness() -> None:
    print("share for 2,000 requests a second, batches 1 to 16, by survival past the two exits")
    print("| survival | " + " | ".join(NAMES[name] for name in STRATEGIES) + " | split at |")
    for first in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0):
        made = profile((1, 2, 4, 8, 16), (first, first**2))
        found = [share(name, made, 2000.0) for name in STRATEGIES]
        fragment = Fragment(id="f", model="net", start=0, budget_ms=400.0, rate_rps=2000.0)
        plan = make_plan(Workload(fragments=(fragment,)), [made], strategy="graft", settings=SETTINGS)
        said = plan.provenance.settings.get("exits", {}).get("net", {})
        print(
            f"| {first:g}, {first**2:.2g} | "
            + " | ".join(f"{one:.0f} ({one / found[0]:.2f})" for one in found)
            + f" | {said.get('taken', 'none')} {said.get('split_at', '')} |"
        )


def together() -> None:
    print("| layers, fragments, survival | " + " | ".join(NAMES[name] for name in STRATEGIES) + " | none |")
    for layers, count, survival in ((20, 20, (0.5, 0.2)), (40, 30, (0.9, 0.7, 0.5, 0.3, 0.2))):
        made = with_exits(make_profile(layers=layers), survival)
        workload = make_workload([made], fragments=count, rates=(20, 300), seed=3)
        settings = replace(SETTINGS, time_limit_s=20.0)
        plans = [make_plan(workload, [made], strategy=name, settings=settings) for name in STRATEGIES]
        none = plans[-1].provenance.settings["exits"]["net"]["share"]["none"]
        shares = " | ".join(f"{plan.objective.share:.0f}" for plan in plans)
        print(f"| {layers}, {count}, {survival} | {shares} | {none:.0f} |")


def forecast() -> None:
    print("planned with survivals wrong by so much, simulated with the true ones (0.5, 0.25), Poisson, 60 s")
    print("| error | share | beside exact | on time |")
    true = profile((1, 2, 4, 8, 16))
    exact = 0.0
    fragments = tuple(
        Fragment(id=f"f{number}", model="net", start=0, budget_ms=150.0, rate_rps=50.0, count=1)
        for number in range(40)
    )
    workload = Workload(fragments=fragments)
    for error in (0.0, -0.1, -0.2, -0.3, -0.5, 0.1, 0.2, 0.3, 0.5):
        wrong = profile((1, 2, 4, 8, 16), (min(1.0, 0.5 * (1 + error)), min(1.0, 0.25 * (1 + error))))
        settings = replace(SETTINGS, queueing="headroom")
        plan = make_plan(workload, [wrong], strategy="graft", settings=settings)
        exact = exact or plan.objective.share
        # What is verified is the plan with its own profile; what happens is decided by the true survivals.
        own = tuple(replace(fragment, survival=(0.5, 0.25)) for fragment in fragments)
        result = replayed(plan, Workload(fragments=own), true)
        print(
            f"| {error:+.0%} | {plan.objective.share:.0f} | {plan.objective.share / exact:.2f} "
            f"| {result:.4f} |"
        )


def replayed(plan: Plan, workload: Workload, true: Profile) -> float:
    """The fraction on time."""
    made = retold(plan, workload, true)
    result = simulate(made, workload, [true], arrivals=arrivals_of("poisson"), seconds=60.0)
    asked = sum(item.requests for item in result.fragments)
    return float(np.sum([item.on_time for item in result.fragments]) / asked)


def retold(plan: Plan, workload: Workload, true: Profile) -> Plan:
    """The plan with what the true survivals make of its means: one for other survivals states others."""
    case = laws._Case(plan, workload, [true])
    stages = tuple(
        replace(stage, expected_ms=case.expected_ms[stage.id]) if stage.exits else stage
        for stage in plan.stages
    )
    routes = tuple(replace(route, expected_ms=None) for route in plan.routes)
    return replace(plan, stages=stages, routes=routes)


if __name__ == "__main__":
    tables = {"batches": batches, "hardness": hardness, "together": together, "forecast": forecast}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=tables)
    tables[parser.parse_args().table]()
