"""`regraft bench`: what is observed is laid beside what was simulated and planned, and judged by that."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from api.bench import chance, comparing, driving, report
from api.bench.speed import Rehearsed, Speed, waver
from planner import formats
from planner.arrivals import Arrivals
from planner.plan import Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.simulation import replay
from planner.simulation_queue import SimulationSettings
from planner.simulation_server import server_of
from planner.workload import Fragment, Workload
from runtime.models import open_chain
from runtime.yardstick import Yardstick
from tests.profiles import make_profile, make_workload
from tests.runtime.cluster import wait_for

MODEL = "tests.runtime.tiny_models:tiny"
NET = make_profile(layers=10)
HOP_MS = 0.5


@pytest.fixture(scope="module")
def planned() -> tuple[Plan, Workload]:
    workload = make_workload([NET], fragments=6, seed=3)
    return make_plan(workload, [NET], strategy="graft"), workload


def as_simulated(plan: Plan, workload: Workload, *, slower: float = 1.0) -> dict[str, Any]:
    """What a load would tell had everything happened as the simulator says, or `slower` times as slowly."""
    times = driving.schedule(plan, workload, Arrivals(kind="poisson"), seconds=20, seed=1)
    settings = SimulationSettings(batch_time="between", rested=True, network_ms=HOP_MS, copy_ms=HOP_MS)
    run = replay(plan, workload, [NET], arrivals=times, seconds=20, settings=settings)
    visits: dict[int, list[list[Any]]] = {}
    for stage, served in run.served:
        sizes = {end: int(np.sum(served.end_ms == end)) for end in served.end_ms.tolist()}
        for request, wait, end in zip(served.request, served.wait_ms, served.end_ms, strict=True):
            batch = sizes[float(end)]
            visits.setdefault(int(request), []).append(
                [stage.id, float(wait) + HOP_MS, slower * stage.exec_ms, batch]
            )
    clients = []
    for number, fragment in enumerate(run.fragments):
        mine = np.flatnonzero(run.fragment == number)
        records: list[list[Any]] = []
        for request in mine.tolist():
            finish = run.finish_ms[request]
            if np.isnan(finish):
                records.append([run.arrival_ms[request] / 1000, 504, 1.0, None, []])
                continue
            total = float(slower * (finish - run.arrival_ms[request]))
            records.append([run.arrival_ms[request] / 1000, 200, total, total, visits[request]])
        clients.append(
            {
                "fragment": fragment.id,
                "model": fragment.model,
                "start": fragment.start,
                "sent": len(records),
                "dropped": sum(record[1] == 504 for record in records),
                "wrong": 0,
                "p99_ms": None,
                "records": records,
            }
        )
    totals = {
        "sent": sum(client["sent"] for client in clients),
        **dict.fromkeys(("on_time_fraction", "p50_ms", "p99_ms"), None),
        **dict.fromkeys(("dropped", "refused", "errors", "wrong"), 0),
        "max_abs_error": 0.0,
    }
    return {"clients": clients, "totals": totals}


def compared(planned: tuple[Plan, Workload], result: dict[str, Any]) -> dict[str, Any]:
    return comparing.compare(*planned, [NET], result, arrivals="poisson", seconds=20, hop=HOP_MS, seed=0)


def test_what_happens_as_simulated_differs_by_nothing(planned: tuple[Plan, Workload]) -> None:
    found = compared(planned, as_simulated(*planned))
    assert found["p99_off_pct"] == pytest.approx(0, abs=0.1)
    assert found["observed"]["on_time_fraction"] == found["simulated"]["on_time_fraction"]
    for item in found["fragments"]:
        assert item["p99_off_pct"] == pytest.approx(0, abs=0.1)
        assert item["p99_within"] is item["p99_in_interval"] is True
        low, high = item["observed"]["p99_interval_ms"]
        assert (low or 0) <= item["observed"]["p99_ms"] <= (high or math.inf)
        assert item["observed"]["on_time"] == item["simulated"]["on_time"]
        assert item["planned"]["worst_ms"] > 0
    for stage in found["stages"]:
        assert stage["observed"]["requests"] == stage["simulated"]["requests"]
        assert stage["observed"]["mean_batch"] == pytest.approx(stage["simulated"]["mean_batch"])


def test_devices_are_as_busy_as_the_planned_rates_make_them(planned: tuple[Plan, Workload]) -> None:
    plan, workload = planned
    busy = comparing.busy_fraction(plan, workload)
    assert 0 < busy <= 1
    slower = tuple(replace(fragment, rate_rps=fragment.rate_rps / 4) for fragment in workload.fragments)
    assert comparing.busy_fraction(plan, replace(workload, fragments=slower)) == pytest.approx(busy / 4)
    alone = replace(plan, stages=plan.stages[:1], routes=())
    assert comparing.busy_fraction(alone, workload) == 0


def test_on_a_processor_any_other_worker_at_a_batch_is_in_the_way(planned: tuple[Plan, Workload]) -> None:
    plan, workload = planned
    times = driving.schedule(plan, workload, Arrivals(kind="paced"), seconds=20, seed=1)
    run = replay(plan, workload, [NET], arrivals=times, seconds=20, settings=SimulationSettings())
    on_gpu = replace(NET, measured={"driver": "550.1"})
    used = comparing.busy_fraction(plan, workload)
    assert comparing.beside(plan, workload, [on_gpu], run) == {stage.id: used for stage in plan.stages}
    found = comparing.beside(plan, workload, [NET], run)
    assert found.keys() == {stage.id for stage in plan.stages}
    assert all(0 < part <= 1 for part in found.values())
    # As a coin for each worker: at a batch or not.
    random = np.random.default_rng(0)
    name = plan.stages[0].id
    at_work = np.zeros(20_000, dtype=bool)
    for stage, served in run.served:
        busy = served.busy_ms / (stage.instances * float(np.nanmax(run.finish_ms)))
        for _ in range(stage.instances - (stage.id == name)):
            at_work |= random.random(len(at_work)) < busy
    assert found[name] == pytest.approx(at_work.mean(), abs=0.02)


def test_what_is_slower_than_simulated_is_said_to_be(planned: tuple[Plan, Workload]) -> None:
    found = compared(planned, as_simulated(*planned, slower=1.25))
    # The simulation is a fifth below what was observed.
    assert found["p99_off_pct"] == pytest.approx(-20, abs=0.1)
    assert found["p99_within_fragments"] == 0
    assert not any(item["p99_within"] for item in found["fragments"])
    assert found["observed"]["on_time_fraction"] < found["simulated"]["on_time_fraction"]


def test_what_rehearsals_take_is_told_to_the_simulation(planned: tuple[Plan, Workload]) -> None:
    first = replace(planned[0].stages[0], batch=2)
    plan = replace(planned[0], stages=(first, *planned[0].stages[1:]))
    others = [stage.id for stage in plan.stages[1:]]
    # Two batches of one and one of two, of which each of its requests tells.
    told = [[first.id, 0.5, ms, batch] for ms, batch in ((10.0, 1), (14.0, 1), (30.0, 2), (30.0, 2))]
    records = [[0.0, 200, 20.0, 20.0, [visit]] for visit in told]
    visits = comparing.batches([{"clients": [{"records": some}]} for some in (records[:1], records[1:])])
    assert visits == {first.id: [(10.0, 1), (14.0, 1), (30.0, 2)]}
    visits = {first.id: 5 * visits[first.id]}

    def slower(profile: Profile, then_ms: float | None, now_ms: float | None) -> dict[str, float]:
        return Rehearsed(visits=visits, then_ms=then_ms, now_ms=now_ms).slowness(plan, [profile], {})

    one_ms, two_ms = server_of(first, NET, SimulationSettings(batch_time="between")).exec_ms[1:3]
    rehearsed = 54.0 / (2 * one_ms + two_ms)
    profiled = replace(NET, measured={"yardstick_ms": 0.1})
    # Since the rehearsals the processor has become a tenth slower, since the profile a quarter.
    assert slower(profiled, 0.125 / 1.1, 0.125) == pytest.approx(
        {first.id: 1.1 * rehearsed} | dict.fromkeys(others, 1.25)
    )
    odd = replace(NET, measured={"yardstick_ms": "?"})
    for profile, then_ms, now_ms in ((NET, 0.1, 0.1), (profiled, None, None), (odd, None, 0.1)):
        assert slower(profile, then_ms, now_ms) == {first.id: pytest.approx(rehearsed)}
    # Neighbours slowed the rehearsals down as well, and are not counted twice.
    beside = replace(NET, measured={"neighbour": {"batch": 1, "slower_pct": {"50": 50.0}}})
    found = Rehearsed(visits=visits).slowness(plan, [beside], {first.id: 1.0})
    assert found == {first.id: pytest.approx(rehearsed / 1.5)}
    # How they lie around their mean is told as well: those of one, and the larger ones.
    [points] = Rehearsed(visits=visits).scatter(plan, [NET], {}).values()
    taken = np.interp((np.arange(3000) + 0.5) / 3000, *zip(*points, strict=True))
    seen = np.array([10.0 / one_ms, 14.0 / one_ms, 30.0 / two_ms])
    assert (points[0][1], points[-1][1]) == pytest.approx(
        (seen.min() / seen.mean(), seen.max() / seen.mean())
    )
    assert taken.mean() == pytest.approx(1.0, abs=0.02)
    # Who leaves early is in no time; and of a few batches the time is chance.
    early = replace(plan, stages=(replace(first, exits=(first.start + 1,)),))
    assert Rehearsed(visits=visits).slowness(early, [NET], {}) == {}
    for some in ([(10.0, 1)], 20 * [(90.0, first.batch + 1)]):
        assert Rehearsed(visits={first.id: some}).slowness(plan, [NET], {}) == {}


def test_stages_that_have_become_slower_are_simulated_so(planned: tuple[Plan, Workload]) -> None:
    result = as_simulated(*planned)
    took = {
        stage.id: [(1.25 * server_of(stage, NET, SimulationSettings(batch_time="between")).exec_ms[1], 1)]
        * 20
        for stage in planned[0].stages
    }
    rehearsed = Rehearsed(visits=took)
    found = comparing.compare(
        *planned, [NET], result, arrivals="poisson", seconds=20, hop=HOP_MS, seed=0, rehearsed=rehearsed
    )
    assert found["slower_pct"] == dict.fromkeys(took, 25.0)
    assert found["p99_off_pct"] > 15
    for before, stage in zip(compared(planned, result)["stages"], found["stages"], strict=True):
        if stage["batch"] == 1:
            assert stage["simulated"]["exec_ms"] == pytest.approx(1.25 * before["simulated"]["exec_ms"])


def test_the_processors_speed_is_measured_until_one_has_enough() -> None:
    with closing(Speed()) as speed:
        began_s = time.monotonic()
        wait_for(lambda: len(speed.between(began_s, math.inf)) > 1, what="speed")
        seen = speed.between(began_s, began_s + 60)
        assert all(0 < ms < 1000 for _, ms in seen)
        assert all(0 < before < after < 60 for (before, _), (after, _) in pairwise(seen))
        assert speed.between(began_s - 60, began_s - 50) == []


def test_a_slow_moment_is_simulated_when_it_was(planned: tuple[Plan, Workload]) -> None:
    changes = waver([(0.0, 0.1), (5.0, 0.3), (5.5, 0.1), (6.0, 0.1)])
    assert changes == [(0, 0.6667), (5000, 2.0), (5500, 0.6667), (6000, 0.6667)]
    assert waver([]) == []
    # Half a second of twenty is slow: as many requests take longer, and usual ones what they took.
    changes = [(0.0, 1.0), (5000.0, 1.3), (5500.0, 1.0)]
    found = comparing.compare(
        *planned,
        [NET],
        as_simulated(*planned),
        arrivals="paced",
        seconds=20,
        hop=HOP_MS,
        seed=0,
        waver=changes,
    )
    assert found["waver"][1] == [5000, 1.3]
    assert found["simulated"]["p99_ms"] > 1.05 * found["observed"]["p99_ms"]
    assert found["simulated"]["p50_ms"] == pytest.approx(found["observed"]["p50_ms"], rel=0.01)


def test_a_hop_is_what_single_requests_wait(planned: tuple[Plan, Workload]) -> None:
    plan, workload = planned
    times = driving.one_at_a_time(plan, workload)
    every = sorted(at_s for some in times.values() for at_s in some)
    slowest_s = max(sum(s.exec_ms for s in plan.stages if s.id in r.stages) for r in plan.routes) / 1000
    assert min(np.diff(every)) > 0.04
    assert len(every) == driving.WARM_UP_EACH * len(workload.fragments)
    assert every[-1] < len(every) * (slowest_s + 0.06)
    visits = [["s", wait_ms, 3.0, 1] for wait_ms in (0.4, 0.5, 9.0)]
    records = [[0.0, 200, 4.0, 4.0, [visit]] for visit in visits]
    assert comparing.hop_ms({"clients": [{"records": records}]}) == 0.5
    assert comparing.hop_ms({"clients": []}) == 0.0


def test_the_interval_of_a_p99_holds_the_true_one_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    true = -np.log(0.01)
    held = [
        chance.quantile_interval(random.exponential(size=1500).tolist(), 0.99).holds(true) for _ in range(400)
    ]
    assert 0.93 <= np.mean(held) <= 0.985


def test_of_few_requests_the_p99_is_not_known() -> None:
    few = [float(value) for value in range(1, 211)]
    interval = chance.quantile_interval(few, 0.99)
    assert interval.high is None
    assert interval.low == 205.0
    assert interval.holds(1e9)
    assert not interval.holds(204.0)
    assert chance.seconds_wanted(interval, 208.0, 210, 60.0, 10.0) == 286.0
    assert chance.quantile_interval([], 0.99).low is None
    # Half as wide takes four times as long.
    wide = chance.Interval(low=90.0, high=120.0)
    assert chance.seconds_wanted(wide, 100.0, 500, 60.0, 10.0) == 240.0
    assert chance.seconds_wanted(wide, 100.0, 500, 60.0, 20.0) is None
    assert chance.seconds_wanted(interval, None, 0, 60.0, 10.0) is None


def test_the_same_requests_once_more_show_what_no_simulation_can_foresee(
    planned: tuple[Plan, Workload],
) -> None:
    first, second = (compared(planned, as_simulated(*planned, slower=slower)) for slower in (1.0, 1.05))
    off_pct = comparing.repeated(first, second)
    assert set(off_pct) == {item["fragment"] for item in first["fragments"]}
    # Who was dropped in the one was dropped in the other.
    assert list(off_pct.values()) == pytest.approx([5.0] * len(off_pct), abs=0.02)


def judged(planned: tuple[Plan, Workload], *slower: float) -> dict[str, Any]:
    results = [as_simulated(*planned, slower=each) for each in slower]
    return comparing.together(results, [compared(planned, result) for result in results])


def test_equal_runs_are_judged_together(planned: tuple[Plan, Workload]) -> None:
    fragments = len(planned[1].fragments)
    found = judged(planned, 1.0, 1.0)
    assert (found["runs"], found["within"], found["unclear"], found["off"]) == (2, fragments, 0, 0)
    assert found["runs_apart_pct"] == 0
    # A simulation that no run bears out is off, however far the runs are apart.
    found = judged(planned, 1.5, 2.0)
    assert (found["within"], found["off"]) == (0, fragments)
    assert found["runs_apart_pct"] == pytest.approx(100 / 3, abs=0.1)
    # One that lies between two runs may be right; only what is near to all their requests is within.
    found = judged(planned, 0.7, 1.7)
    assert (found["within"], found["unclear"], found["off"]) == (0, fragments, 0)
    assert found["runs_apart_pct"] == pytest.approx(100 * (17 / 7 - 1), abs=0.1)
    nothing = as_simulated(*planned)
    for client in nothing["clients"]:
        client["records"] = []
    found = comparing.together([nothing], [compared(planned, nothing)])
    assert (found["within"], found["unclear"], found["off"], found["runs_apart_pct"]) == (0, 0, 0, None)


def test_a_profile_of_a_machine_that_wavered_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    report.doubts([replace(NET, measured={"scatter_pct": 14.7})])
    assert NET.model in capsys.readouterr().out
    report.doubts(
        [NET, replace(NET, measured={"scatter_pct": 6.0}), replace(NET, measured={"scatter_pct": "?"})]
    )
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("observed", "simulated", "wrong", "kept"),
    [
        (0.9995, 1.0, 0, True),
        (0.99, 1.0, 0, False),  # it could have been
        (0.80, 0.82, 0, True),  # nobody had promised more
        (1.0, 1.0, 1, False),
        (None, None, 0, False),
    ],
)
def test_a_promise_is_broken_only_where_it_could_be_kept(
    observed: float | None, simulated: float | None, wrong: int, kept: bool
) -> None:
    found = {
        "arrivals": "paced",
        "observed": {"on_time_fraction": observed, "wrong": wrong},
        "simulated": {"on_time_fraction": simulated},
        "p99_off_pct": 1.0,
    }
    assert report.judge(found, 0.999) is kept


def regraft(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from api.command_line import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.slow
def test_a_plan_is_served_driven_and_laid_beside_its_promises(tmp_path: Path) -> None:
    measured = regraft(
        *("profile", MODEL, "-o", str(tmp_path), "--batches", "1,2", "--shares", "50,100", "--seconds", "0.5")
    )
    assert measured.returncode == 0, measured.stderr
    [profile_file] = tmp_path.glob("*.cpu.json")
    profile = formats.read(Profile, profile_file)
    workload = Workload(
        fragments=tuple(
            Fragment(id=f"phone-{start}", model=MODEL, start=start, budget_ms=3000.0, rate_rps=10.0, count=2)
            for start in (0, 1)
        )
    )
    plan = make_plan(workload, [profile], strategy="graft", settings=PlanSettings(queueing="poisson"))
    formats.write(workload, tmp_path / "workload.json")
    formats.write(plan, tmp_path / "plan.json")
    # A record of arrivals of one's own: one a second, but for a crowd in the middle.
    (tmp_path / "arrivals.txt").write_text("".join(f"{at_s}\n" for at_s in (0, 1, 2, 2.01, 2.02, 3, 4)))
    done = regraft(
        *("bench", str(tmp_path / "plan.json"), "--workload", str(tmp_path / "workload.json")),
        *("--profile", str(profile_file), "--seconds", "2", "--on-time", "0.9"),
        *("--arrivals", "paced", "--arrivals", str(tmp_path / "arrivals.txt"), "--arrivals", "paced"),
        *("--output", str(tmp_path / "bench.json")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the promise was kept" in done.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["format"] == "regraft.bench/v1"
    assert found["hop_ms"] > 0
    assert "too few requests" in done.stdout
    assert "the same requests once more" in done.stdout
    paced, recorded, again = found["runs"]
    assert [(item["arrivals"], item["runs"]) for item in found["judged"]] == [
        ("paced", 2),
        (str(tmp_path / "arrivals.txt"), 1),
    ]
    assert "paced, 2 runs together" in done.stdout
    assert again["requests"] == paced["requests"]
    assert again["repeats"]["run"] == 0
    assert set(again["repeats"]["p99_off_pct"]) == {"phone-0", "phone-1"}
    assert (paced["arrivals"], recorded["arrivals"]) == ("paced", str(tmp_path / "arrivals.txt"))
    assert paced["requests"] == 80
    for run in (paced, recorded):
        assert run["requests"] > 30
        assert set(run["slower_pct"]) == {stage.id for stage in plan.stages}
        assert run["observed"]["wrong"] == run["observed"]["errors"] == 0
        assert run["observed"]["on_time_fraction"] > 0.9
        assert 0 <= run["others_busy_pct"] <= 100
        assert {item["fragment"] for item in run["fragments"]} == {"phone-0", "phone-1"}
        for item in run["fragments"]:
            assert item["simulated"]["p99_ms"] > 0
            assert 0 < item["observed"]["p50_ms"] <= item["observed"]["p99_ms"]
        assert sum(stage["observed"]["requests"] for stage in run["stages"]) >= run["requests"]


def test_a_gateway_that_is_not_there_is_named(planned: tuple[Plan, Workload], tmp_path: Path) -> None:
    plan, workload = planned
    formats.write(plan, tmp_path / "plan.json")
    formats.write(workload, tmp_path / "workload.json")
    formats.write(NET, tmp_path / "profile.json")
    done = regraft(
        *("bench", str(tmp_path / "plan.json"), "--workload", str(tmp_path / "workload.json")),
        *("--profile", str(tmp_path / "profile.json"), "--gateway", "http://127.0.0.1:1"),
    )
    assert done.returncode == 1
    assert "gateway http://127.0.0.1:1" in done.stdout
    wrong = regraft("bench", str(tmp_path / "plan.json"), "--workload", str(tmp_path / "nothing.json"))
    assert wrong.returncode == 2


@pytest.mark.parametrize(("name", "layers", "whole_ms"), [("regnet", 18, 7.62), ("mobilenet", 20, 5.28)])
def test_clocked_layers_take_what_they_say_and_pass_on_what_they_are_given(
    name: str, layers: int, whole_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clocked model stops the yardstick of its process; here others need it.
    monkeypatch.setattr(Yardstick, "seconds", Yardstick.seconds)
    chain = open_chain(f"benchmarks.clocked:{name}")
    assert chain.depth == layers
    half = chain.fragment(0, layers // 2), chain.fragment(layers // 2, layers)
    given = chain.example(2)
    began_s = time.thread_time()
    answer = half[1](half[0](given))
    assert 1000 * (time.thread_time() - began_s) >= whole_ms * 1.65 - 0.01
    assert torch.equal(answer, given)
    assert Yardstick().seconds() == Yardstick().seconds()
