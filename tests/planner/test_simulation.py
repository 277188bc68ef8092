"""The simulator: the same as a shared clock would give, right where theory knows the answer, and honest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import typer
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from planner import formats
from planner.arrivals import KINDS, Arrivals
from planner.commands_offline import simulate as simulate_command
from planner.errors import InputError
from planner.plan import Objective, Plan, Route, Stage
from planner.planning import make_plan
from planner.profile import Profile
from planner.simulation import replay, simulate
from planner.simulation_queue import SimulationSettings
from planner.simulation_results import SimulationSummary
from planner.workload import Fragment, Workload
from tests.planner.simpy_reference import finish_times
from tests.profiles import make_profile, make_workload

NET = make_profile(layers=10)
PACED, POISSON, TOGETHER = (Arrivals(kind=kind) for kind in ("paced", "poisson", "synchronised"))


def flat_profile(*, batches: dict[int, float], layers: int = 1) -> Profile:
    """Every layer takes these ms at these batches, at share 100."""
    row = tuple((ms,) for ms in batches.values())
    return Profile(
        model="net",
        gpu="g",
        layers=tuple(f"layer{number}" for number in range(layers)),
        batches=tuple(batches),
        shares=(100,),
        latency_ms=(row,) * layers,
    )


def one_stage(
    exec_ms: float, *, batch: int = 1, instances: int = 1, budget_ms: float, rate_rps: float, count: int = 1
) -> tuple[Plan, Workload]:
    """All of a one-layer model in one stage."""
    stage = Stage(
        id="s",
        model="net",
        gpu="g",
        start=0,
        end=1,
        batch=batch,
        share=100,
        instances=instances,
        exec_ms=exec_ms,
    )
    route = Route(fragment="f", fraction=1.0, stages=("s",), worst_ms=2 * exec_ms)
    plan = Plan(
        strategy="hand", status="feasible", objective=Objective(share=100.0), stages=(stage,), routes=(route,)
    )
    fragment = Fragment(id="f", model="net", start=0, budget_ms=budget_ms, rate_rps=rate_rps, count=count)
    return plan, Workload(fragments=(fragment,))


@pytest.fixture(scope="module")
def planned() -> dict[str, tuple[Plan, Workload]]:
    workload = make_workload([NET], fragments=12, seed=3)
    return {name: (make_plan(workload, [NET], strategy=name), workload) for name in ("gslice", "graft")}


RULES = [
    SimulationSettings(),
    SimulationSettings(order="arrival"),
    SimulationSettings(drop=False, copy_ms=0.3),
    SimulationSettings(batch_time="full", network_ms=1.0),
]


@pytest.mark.parametrize("strategy", ["gslice", "graft"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rules", RULES, ids=["default", "arrival", "no-drop", "full"])
def test_every_request_ends_as_it_does_on_one_shared_clock(
    planned: dict[str, tuple[Plan, Workload]], strategy: str, kind: Any, rules: SimulationSettings
) -> None:
    plan, workload = planned[strategy]
    run = replay(plan, workload, [NET], arrivals=Arrivals(kind=kind), seconds=5.0, settings=rules)
    assert len(run.arrival_ms) > 300
    expected = finish_times(plan, NET, run, rules)
    np.testing.assert_allclose(run.finish_ms, expected, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_one_server_with_poisson_arrivals_waits_as_long_as_theory_says(load: float) -> None:
    plan, workload = one_stage(10.0, budget_ms=1e6, rate_rps=100.0 * load)
    runs = [
        simulate(
            plan, workload, [flat_profile(batches={1: 10.0})], arrivals=POISSON, seconds=500.0, seed=seed
        )
        for seed in range(10)
    ]
    expected = load * 10.0 / (2 * (1 - load))  # M/D/1
    waits = [run.fragments[0].mean_wait_ms or 0.0 for run in runs]
    assert np.mean(waits) == pytest.approx(expected, abs=4 * np.std(waits) / np.sqrt(len(waits)))
    summary = SimulationSummary(results=tuple(runs)).to_json()
    assert summary["stages"][0]["utilisation"]["mean"] == pytest.approx(load, rel=0.02)
    assert summary["stages"][0]["mean_batch"]["mean"] == 1.0


@pytest.mark.parametrize("strategy", ["gslice", "graft"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_request_is_answered_or_dropped_and_none_before_it_can_be(
    planned: dict[str, tuple[Plan, Workload]], strategy: str, kind: Any
) -> None:
    plan, workload = planned[strategy]
    run = replay(plan, workload, [NET], arrivals=Arrivals(kind=kind), seconds=10.0)
    result = simulate(plan, workload, [NET], arrivals=Arrivals(kind=kind), seconds=10.0)
    dropped = int(np.isnan(run.finish_ms).sum())
    assert result.requests == len(run.arrival_ms)
    assert sum(stage.dropped for stage in result.stages) == dropped
    assert sum(fragment.dropped for fragment in result.fragments) == dropped
    least = {
        stage.id: sum(
            NET.latency_ms[layer][0][NET.shares.index(stage.share)] or 0
            for layer in range(stage.start, stage.end)
        )
        for stage in plan.stages
    }  # type: ignore[arg-type]
    for number, route in enumerate(plan.routes):
        latency = (run.finish_ms - run.arrival_ms)[(run.route == number) & ~np.isnan(run.finish_ms)]
        assert (latency >= sum(least[name] for name in route.stages)).all()
    for stage, outcome in zip(sorted(plan.stages, key=lambda stage: stage.start), result.stages, strict=True):
        assert outcome.stage == stage.id
        assert 0 <= outcome.utilisation <= 1
        assert outcome.mean_batch is None or 1 <= outcome.mean_batch <= stage.batch


def test_a_request_that_waits_for_a_full_batch_keeps_twice_the_execution_time() -> None:
    """Law 2 where it is sound: no more than a batch arrives within an execution."""
    plan, workload = one_stage(20.0, batch=4, budget_ms=40.0, rate_rps=10.0, count=4)
    for seed in range(20):
        result = simulate(
            plan, workload, [flat_profile(batches={4: 20.0})], arrivals=PACED, seconds=5.0, seed=seed
        )
        assert result.on_time_fraction == 1.0


def test_five_phones_that_fill_an_instance_exactly_break_law_two() -> None:
    """The example of the design: b = 4, 26.7 ms, five phones of 30 requests a second."""
    exec_ms = 80 / 3
    plan, workload = one_stage(exec_ms, batch=4, budget_ms=2 * exec_ms, rate_rps=30.0, count=5)
    profile = flat_profile(batches={4: exec_ms})
    rules = SimulationSettings(order="arrival", drop=False)
    fractions = [
        simulate(
            plan, workload, [profile], arrivals=PACED, seconds=20.0, seed=seed, settings=rules
        ).on_time_fraction
        for seed in range(30)
    ]
    assert 0.6 < min(fractions) < max(fractions) < 0.98


def test_dropping_what_is_late_anyway_helps_the_others() -> None:
    plan, workload = one_stage(10.0, budget_ms=20.0, rate_rps=105.0)
    profile = flat_profile(batches={1: 10.0})
    kept, hopeless = (
        simulate(
            plan, workload, [profile], arrivals=POISSON, seconds=60.0, settings=SimulationSettings(drop=drop)
        )
        for drop in (True, False)
    )
    assert hopeless.on_time_fraction < 0.1
    assert kept.on_time_fraction > 0.6
    assert kept.fragments[0].dropped > 0 == hopeless.fragments[0].dropped


def test_a_smaller_batch_takes_what_the_profile_says_of_it() -> None:
    profile = flat_profile(batches={1: 5.0, 2: 8.0, 8: 20.0})
    plan, workload = one_stage(20.0, batch=8, budget_ms=100.0, rate_rps=1.0, count=3)
    found = {}
    for together in (1, 2, 3):
        crowd = replace(workload, fragments=(replace(workload.fragments[0], count=together),))
        result = simulate(plan, crowd, [profile], arrivals=TOGETHER, seconds=1.0)
        found[together] = result.fragments[0].p50_ms
        full = SimulationSettings(batch_time="full")
        same = simulate(plan, crowd, [profile], arrivals=TOGETHER, seconds=1.0, settings=full)
        assert same.fragments[0].p50_ms == 20.0
    assert found == {1: 5.0, 2: 8.0, 3: 20.0}


def test_an_urgent_request_is_not_held_up_by_a_batch_it_does_not_fit_into() -> None:
    """Two come together, and one of them has no time for a batch of two: they run one after the other."""
    profile = flat_profile(batches={1: 10.0, 2: 16.0})
    stage = Stage(id="s", model="net", gpu="g", start=0, end=1, batch=2, share=100, instances=1, exec_ms=16.0)
    plan = Plan(
        strategy="hand",
        status="feasible",
        objective=Objective(share=100.0),
        stages=(stage,),
        routes=tuple(Route(fragment=name, fraction=1.0, stages=("s",), worst_ms=32.0) for name in "ab"),
    )
    fragments = (("a", 25.0), ("b", 12.0))
    workload = Workload(
        fragments=tuple(
            Fragment(id=name, model="net", start=0, budget_ms=ms, rate_rps=1.0) for name, ms in fragments
        )
    )
    result = simulate(plan, workload, [profile], arrivals=TOGETHER, seconds=1.0)
    assert [fragment.p50_ms for fragment in result.fragments] == [20.0, 10.0]
    by_arrival = SimulationSettings(order="arrival")
    result = simulate(plan, workload, [profile], arrivals=TOGETHER, seconds=1.0, settings=by_arrival)
    assert [fragment.p50_ms for fragment in result.fragments] == [16.0, 16.0]


def test_network_and_copies_take_their_time() -> None:
    profile = flat_profile(batches={1: 3.0}, layers=2)
    stages = tuple(
        Stage(
            id=name,
            model="net",
            gpu="g",
            start=start,
            end=start + 1,
            batch=1,
            share=100,
            instances=1,
            exec_ms=3.0,
        )
        for name, start in (("second", 1), ("first", 0))
    )
    route = Route(fragment="f", fraction=1.0, stages=("first", "second"), worst_ms=12.0)
    plan = Plan(
        strategy="hand", status="feasible", objective=Objective(share=200.0), stages=stages, routes=(route,)
    )
    workload = Workload(fragments=(Fragment(id="f", model="net", start=0, budget_ms=12.0, rate_rps=1.0),))
    rules = SimulationSettings(network_ms=2.0, copy_ms=0.5)
    for chosen, expected in ((SimulationSettings(), 6.0), (rules, 8.5)):
        result = simulate(plan, workload, [profile], arrivals=PACED, seconds=10.0, settings=chosen)
        assert result.fragments[0].p50_ms == pytest.approx(expected)
        assert result.fragments[0].p999_ms == pytest.approx(expected)


def test_execution_times_can_waver() -> None:
    plan, workload = one_stage(10.0, budget_ms=1e6, rate_rps=1.0)
    rules = SimulationSettings(exec_cv=0.3)
    profile = flat_profile(batches={1: 10.0})
    run = replay(plan, workload, [profile], arrivals=PACED, seconds=5000.0, settings=rules)
    took = run.finish_ms - run.arrival_ms
    assert took.mean() == pytest.approx(10.0, rel=0.02)
    assert took.std() / took.mean() == pytest.approx(0.3, rel=0.1)


def test_a_fragment_with_several_routes_uses_them_in_turn() -> None:
    plan, workload = one_stage(1.0, budget_ms=10.0, rate_rps=50.0)
    stage = plan.stages[0]
    routes = tuple(
        Route(fragment="f", fraction=fraction, stages=(name,), worst_ms=2.0)
        for name, fraction in (("s", 0.7), ("t", 0.3))
    )
    both = replace(plan, stages=(stage, replace(stage, id="t")), routes=routes)
    result = simulate(both, workload, [flat_profile(batches={1: 1.0})], arrivals=PACED, seconds=20.0)
    assert [stage.requests for stage in result.stages] == [700, 300]


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(KINDS))
def test_the_same_seed_gives_the_same_result(seed: int, kind: Literal["paced"]) -> None:
    plan, workload = one_stage(4.0, batch=2, instances=2, budget_ms=9.0, rate_rps=20.0, count=4)
    profile = flat_profile(batches={1: 3.0, 2: 4.0})
    rules = SimulationSettings(exec_cv=0.2)
    first, second, other = (
        simulate(
            plan, workload, [profile], arrivals=Arrivals(kind=kind), seconds=3.0, seed=number, settings=rules
        )
        for number in (seed, seed, seed + 1)
    )
    assert first == second
    assert first != other


def test_intervals_are_those_of_student() -> None:
    plan, workload = one_stage(10.0, budget_ms=20.0, rate_rps=60.0)
    profile = flat_profile(batches={1: 10.0})
    runs = tuple(
        simulate(plan, workload, [profile], arrivals=POISSON, seconds=20.0, seed=seed) for seed in range(4)
    )
    found = SimulationSummary(results=runs).on_time()
    parts = [run.on_time_fraction for run in runs]
    assert found.mean == pytest.approx(np.mean(parts))
    assert (found.high or 0) - found.mean == pytest.approx(3.18245 * np.std(parts, ddof=1) / 2, rel=1e-4)
    alone = SimulationSummary(results=runs[:1]).on_time()
    assert (alone.low, alone.high) == (None, None)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"stages": ()}, "there is no stage 's'"),
        ({"routes": ()}, "has no route and is not listed as unplanned"),
        (
            {"routes": (Route(fragment="f", fraction=0.5, stages=("s",), worst_ms=2.0),)},
            "fractions add up to 0.5",
        ),
    ],
)
def test_a_plan_that_does_not_hang_together_is_refused(change: dict[str, Any], complaint: str) -> None:
    plan, workload = one_stage(1.0, budget_ms=10.0, rate_rps=50.0)
    with pytest.raises(InputError, match=complaint):
        simulate(replace(plan, **change), workload, [flat_profile(batches={1: 1.0})], arrivals=PACED)


def test_a_plan_that_promises_too_much_is_replayed_and_fails() -> None:
    plan, workload = one_stage(10.0, budget_ms=15.0, rate_rps=300.0)
    result = simulate(plan, workload, [flat_profile(batches={1: 10.0})], arrivals=POISSON, seconds=10.0)
    assert result.on_time_fraction < 0.4
    assert result.stages[0].utilisation > 0.9


@pytest.fixture
def folder(planned: dict[str, tuple[Plan, Workload]], tmp_path: Path) -> Path:
    plan, workload = planned["graft"]
    formats.write(plan, tmp_path / "plan.json")
    formats.write(workload, tmp_path / "workload.json")
    formats.write(NET, tmp_path / "net.json")
    (tmp_path / "record").write_text("".join(f"{number * number / 50}\n" for number in range(50)))
    return tmp_path


def regraft(folder: Path, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(simulate_command)
    files = ["--workload", str(folder / "workload.json"), "--profile", str(folder / "net.json")]
    given_files = [str(folder / word) if (folder / word).exists() else word for word in arguments]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(folder / "plan.json"), *files, *given_files])


@pytest.mark.parametrize("arrivals", [*KINDS, "record"])
def test_the_command_reports_every_fragment_and_stage(folder: Path, arrivals: str) -> None:
    done = regraft(folder, "--arrivals", arrivals, "--seconds", "5", "--seeds", "3", "--output", "-")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["format"] == "regraft.simulation/v1"
    assert found["arrivals"] == ("recorded" if arrivals == "record" else arrivals)
    assert found["seeds"] == [0, 1, 2]
    assert len(found["fragments"]) == 12
    assert len(found["stages"]) == len(formats.read(Plan, folder / "plan.json").stages)
    assert 0 <= found["on_time"]["low"] <= found["on_time"]["mean"] <= found["on_time"]["high"] <= 1
    worst = min(item["on_time"]["mean"] for item in found["fragments"])
    assert found["least_on_time"]["mean"] <= worst + 1e-12
    assert "on time" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--arrivals", "sometimes"), "arrivals: is 'sometimes'"),
        (("--seconds", "0"), "seconds: is 0"),
        (("--seeds", "0"), "--seeds: is 0"),
        (("--copy-ms", "-1"), "copy_ms: is -1"),
        (("--exec-cv", "nan"), "exec_cv: is nan"),
        (("--burstiness", "0"), "--burstiness: is 0"),
    ],
)
def test_wrong_options_are_exit_code_2(folder: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = regraft(folder, *arguments)
    assert done.exit_code == 2
    assert complaint in done.stderr


def test_what_was_seen_can_be_replayed_as_it_was() -> None:
    plan, workload = one_stage(10.0, budget_ms=100.0, rate_rps=1.0)
    profile = flat_profile(batches={1: 10.0})
    run = replay(plan, workload, [profile], arrivals={"f": np.array([0.5, 0.504, 2.0])}, seconds=3)
    assert run.arrival_ms.tolist() == [500.0, 504.0, 2000.0]
    assert run.finish_ms.tolist() == [510.0, 520.0, 2010.0]
    nothing = replay(plan, workload, [profile], arrivals={}, seconds=3)
    assert len(nothing.finish_ms) == 0


def test_a_batch_that_nobody_measured_takes_a_time_between_those_of_its_neighbours() -> None:
    plan, workload = one_stage(40.0, batch=4, budget_ms=1000.0, rate_rps=1.0)
    profile = flat_profile(batches={1: 10.0, 4: 40.0})
    # The first is alone; the other three wait for it, and run together.
    arrivals = {"f": np.array([0.0, 0.001, 0.002, 0.003])}
    ends = {
        kind: replay(
            plan,
            workload,
            [profile],
            arrivals=arrivals,
            seconds=1,
            settings=SimulationSettings(batch_time=kind),
        ).finish_ms.tolist()
        for kind in ("taken", "between")
    }
    assert ends["taken"] == [10.0, 50.0, 50.0, 50.0]
    assert ends["between"] == [10.0, 40.0, 40.0, 40.0]


def test_beside_busy_neighbours_execution_is_slower_as_the_profile_says_at_the_nearest_share() -> None:
    plan, workload = one_stage(20.0, budget_ms=1000.0, rate_rps=1.0)
    plan = replace(plan, stages=(replace(plan.stages[0], share=25),))
    slower_pct = {"10": 40.0, "20": 10.0, "50": 0.0}
    profile = replace(flat_profile(batches={1: 20.0}), shares=(25,))
    measured = replace(profile, measured={"neighbour": {"batch": 1, "slower_pct": slower_pct}})
    arrivals = {"f": np.array([1.0])}

    def took_ms(profile: Profile, beside: float) -> float:
        settings = SimulationSettings(beside=beside)
        run = replay(plan, workload, [profile], arrivals=arrivals, seconds=2, settings=settings)
        return float(run.finish_ms[0]) - 1000.0

    assert took_ms(measured, 0.0) == pytest.approx(20.0)
    assert took_ms(measured, 0.5) == pytest.approx(21.0)
    assert took_ms(measured, 1.0) == pytest.approx(22.0)
    assert took_ms(profile, 1.0) == pytest.approx(20.0)
    # Where it was measured at several batches, a single sample is slowed as a single sample was.
    by_batch = {"20": {"1": 30.0, "4": 10.0}}
    neighbour = {"batch": 4, "slower_pct": slower_pct, "slower_pct_by_batch": by_batch}
    assert took_ms(replace(profile, measured={"neighbour": neighbour}), 1.0) == pytest.approx(26.0)


def test_execution_times_scatter_as_the_profile_says() -> None:
    plan, workload = one_stage(20.0, budget_ms=1000.0, rate_rps=1.0)
    profile = replace(flat_profile(batches={1: 20.0}), measured={"scatter_pct": 5.0})
    arrivals = {"f": np.arange(2000.0)}

    def times_ms(scatter: bool) -> np.ndarray[Any, Any]:
        settings = SimulationSettings(scatter=scatter)
        run = replay(plan, workload, [profile], arrivals=arrivals, seconds=2000, settings=settings)
        return run.finish_ms - run.arrival_ms

    assert times_ms(False).tolist() == pytest.approx([20.0] * 2000)
    assert times_ms(True).mean() == pytest.approx(20.0, rel=0.01)
    assert times_ms(True).std() == pytest.approx(1.0, rel=0.1)


def test_a_slower_machine_takes_as_much_longer_by_stage() -> None:
    plan, workload = one_stage(20.0, budget_ms=1000.0, rate_rps=1.0)
    profile = flat_profile(batches={1: 20.0})
    arrivals = {"f": np.array([1.0])}

    def took_ms(slowness: float | dict[str, float]) -> float:
        settings = SimulationSettings(slowness=slowness)
        run = replay(plan, workload, [profile], arrivals=arrivals, seconds=2, settings=settings)
        return float(run.finish_ms[0]) - 1000.0

    assert took_ms(1.0) == pytest.approx(20.0)
    assert took_ms(1.5) == took_ms({plan.stages[0].id: 1.5}) == pytest.approx(30.0)
    assert took_ms({"another": 1.5}) == pytest.approx(20.0)
    with pytest.raises(InputError, match="slowness"):
        took_ms(0.0)


def test_a_machine_whose_speed_changes_takes_as_long_as_the_moment_has_it() -> None:
    plan, workload = one_stage(20.0, budget_ms=1000.0, rate_rps=1.0)
    profile = flat_profile(batches={1: 20.0})
    arrivals = {"f": np.array([0.5, 1.0, 2.0, 2.99, 4.0])}
    settings = SimulationSettings(slowness=2.0, waver=((1000.0, 1.5), (3000.0, 0.5)))
    run = replay(plan, workload, [profile], arrivals=arrivals, seconds=5, settings=settings)
    assert run.finish_ms - run.arrival_ms == pytest.approx([40.0, 60.0, 60.0, 60.0, 20.0])
    with pytest.raises(InputError, match="waver"):
        replay(plan, workload, [profile], settings=replace(settings, waver=((0.0, 0.0),)), arrivals=arrivals)


def test_execution_times_lie_around_their_mean_as_they_were_seen_to_alone_and_beside_others() -> None:
    plan, workload = one_stage(20.0, budget_ms=1000.0, rate_rps=1.0)
    plain = flat_profile(batches={1: 20.0})
    alone = {"spread": {"0": 0.9, "50": 1.0, "100": 1.1}, "scatter_pct": 50.0}
    # Beside one that is always busy: half as long again, and one in ten up to three times that.
    beside = {"batch": 1, "slower_pct": {"50": 50.0}, "spread": {"0": 0.9, "90": 0.9, "100": 2.9}}
    arrivals = {"f": np.arange(4000.0)}

    def times_ms(
        measured: dict[str, Any], part: float, seen: tuple[tuple[float, float], ...] = ()
    ) -> np.ndarray[Any, Any]:
        settings = SimulationSettings(scatter=True, beside=part, seen={plan.stages[0].id: seen})
        profile = replace(plain, measured=measured)
        run = replay(plan, workload, [profile], arrivals=arrivals, seconds=4000, settings=settings)
        return run.finish_ms - run.arrival_ms

    quiet = times_ms(alone, 0.0)
    assert 18.0 <= quiet.min() < quiet.max() <= 22.0
    assert quiet.mean() == pytest.approx(20.0, rel=0.01)
    busy = times_ms({**alone, "neighbour": beside}, 1.0)
    assert np.quantile(busy, 0.89) == pytest.approx(27.0)
    assert 70.0 < busy.max() <= 87.0
    # What a profile says of its measuring is free: what is no spread is none.
    assert times_ms({"spread": {"half": "as much"}}, 0.0).tolist() == pytest.approx([20.0] * 4000)
    mixed = times_ms({**alone, "neighbour": beside}, 0.3)
    assert mixed.mean() == pytest.approx(0.7 * 20.0 + 0.3 * busy.mean(), rel=0.02)
    assert float((mixed > 22.0).mean()) == pytest.approx(0.3, abs=0.03)
    # The way into a stage varies by so much of the processor's time, whatever the stage takes.
    around_ms = {"0": -3.0 * plan.stages[0].share / 100, "25": 0.0, "100": 0.0}
    short = times_ms({**alone, "beyond_layers_spread_ms": around_ms}, 0.0)
    assert 15.0 <= short.min() < 17.0
    assert 21.0 < short.max() <= 22.0
    assert short.mean() == pytest.approx(20.0 - 0.25 * 1.5, rel=0.01)
    # What was seen of the stage itself counts instead of all that.
    seen = times_ms({**alone, "neighbour": beside}, 1.0, seen=((0.0, 0.8), (0.5, 0.8), (1.0, 1.6)))
    assert seen.min() == pytest.approx(0.8 * 30.0)
    assert seen.mean() == pytest.approx(30.0, rel=0.01)
    assert 46.0 < seen.max() <= 48.0


@pytest.mark.parametrize(("enforced_by", "sooner"), [("cgroup-v2", 6.0), ("pause", 15.0)])
def test_after_a_rest_a_worker_answers_sooner(enforced_by: str, sooner: float) -> None:
    plan, workload = one_stage(20.0, budget_ms=1000.0, rate_rps=1.0)
    plan = replace(plan, stages=(replace(plan.stages[0], share=25),))
    profile = replace(
        flat_profile(batches={1: 20.0}),
        shares=(25,),
        measured={"enforced_by": enforced_by, "rested_ms": {"25": 6.0}},
    )
    # After a long rest, at once after that, and 2 ms after the end of the one before.
    arrivals = {"f": np.array([1.0, 1.001, 1.0 + (40.0 - sooner + 2.0) / 1000])}
    settings = SimulationSettings(rested=True)
    run = replay(plan, workload, [profile], arrivals=arrivals, seconds=2, settings=settings)
    assert (run.finish_ms - 1000.0).tolist() == pytest.approx([20 - sooner, 40 - sooner, 60 - sooner])
    plain = replay(plan, workload, [profile], arrivals=arrivals, seconds=2)
    assert plain.finish_ms[0] == 1020.0
