"""How a search behaves: heard of at least every second, ended when it has to, and its best plan kept."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace

import pytest

from planner import formats
from planner.planning import make_plan
from planner.problem import PlanSettings, Progress, ProgressReport
from planner.supervision import supervise
from solver.outcome import Limit
from tests.profiles import make_profile, make_workload


def within(seconds: float) -> PlanSettings:
    return PlanSettings(time_limit_s=seconds, deadline_s=time.perf_counter() + seconds)


class Listener:
    """Notes when, and from which thread, it was told what."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, Progress]] = []
        self.threads: set[int] = set()
        self.began_s = time.perf_counter()

    def __call__(self, report: Progress) -> None:
        self.heard.append((time.perf_counter() - self.began_s, report))
        self.threads.add(threading.get_ident())

    @property
    def longest_silence_s(self) -> float:
        times = [0.0, *(when for when, _ in self.heard)]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


def test_a_silent_search_is_still_heard_of_from_the_callers_own_thread() -> None:
    listener = Listener()

    def silent(_: PlanSettings, tell: ProgressReport) -> str:
        tell(Progress(t_s=0.1, phase="thinking", objective=5.0))
        time.sleep(2.5)
        return "done"

    found = supervise(silent, within(60), listener)
    assert found.answer == "done"
    assert found.limit is None
    assert len(listener.heard) >= 3
    assert {report.phase for _, report in listener.heard} == {"thinking"}
    assert [report.t_s for _, report in listener.heard] == sorted(r.t_s for _, r in listener.heard)
    assert listener.threads == {threading.get_ident()}


def test_a_search_that_does_not_listen_is_left_behind_when_its_time_is_over() -> None:
    forever = threading.Event()
    started = time.perf_counter()
    found = supervise(lambda *_: forever.wait(60), within(0.5), lambda _: None)
    forever.set()
    assert found.answer is None
    assert found.limit is Limit.TIME
    assert time.perf_counter() - started < 30


def test_a_stop_reaches_the_search_and_its_answer_is_taken() -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()

    def listening(settings: PlanSettings, _: ProgressReport) -> str:
        while not settings.stopped:
            time.sleep(0.01)
        return "best so far"

    found = supervise(listening, replace(within(60), should_stop=stop.is_set), lambda _: None)
    assert found.answer == "best so far"
    assert found.limit is Limit.STOPPED


def test_more_memory_than_allowed_ends_the_search() -> None:
    found = supervise(
        lambda settings, _: [time.sleep(0.01) for _ in iter(lambda: settings.stopped, True)],
        replace(within(60), memory_limit_mb=1),
        lambda _: None,
    )
    assert found.limit is Limit.MEMORY


def test_what_the_search_raises_is_raised_except_out_of_memory() -> None:
    def broken(*_: object) -> str:
        raise ValueError("as it happens")

    def greedy(*_: object) -> str:
        raise MemoryError

    with pytest.raises(ValueError, match="as it happens"):
        supervise(broken, within(60), lambda _: None)
    assert supervise(greedy, within(60), lambda _: None).limit is Limit.MEMORY


@pytest.mark.parametrize("strategy", ["optimal-one", "optimal"])
def test_there_is_a_plan_to_keep_before_the_long_search_and_no_silence_in_any_phase(strategy: str) -> None:
    profile = make_profile(layers=20)
    workload = make_workload([profile], fragments=200)
    listener = Listener()
    settings = PlanSettings(time_limit_s=6.0, threads=1)
    make_plan(workload, [profile], strategy=strategy, settings=settings, progress=listener)
    first, report = next((when, heard) for when, heard in listener.heard if heard.objective is not None)
    assert report.phase == "first plan"
    assert first < 10
    assert report.gap is not None
    assert listener.longest_silence_s < 5
    shares = [heard.objective for _, heard in listener.heard if heard.objective is not None]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("strategy", ["optimal-one", "optimal"])
@pytest.mark.parametrize("limit", ["time", "stopped", "memory"])
def test_status_limit_and_detail_are_three_things_in_the_plan(strategy: str, limit: str) -> None:
    profile = make_profile(layers=60, total_ms=30)
    workload = make_workload([profile], fragments=120)
    plan = make_plan(
        workload,
        [profile],
        strategy=strategy,
        settings=PlanSettings(
            time_limit_s=0.5 if limit == "time" else 60.0,
            threads=1,
            memory_limit_mb=1 if limit == "memory" else 0,
        ),
        should_stop=(lambda: True) if limit == "stopped" else None,
    )
    assert plan.status == "feasible"
    ended = plan.provenance.settings["ended"]
    assert ended["limit"] == limit
    assert ended["detail"]
    assert {route.fragment for route in plan.routes} == {fragment.id for fragment in workload.fragments}


def test_the_same_seed_and_one_thread_give_the_same_plan_byte_for_byte() -> None:
    profile = make_profile(layers=12, batches=(1, 4, 8), shares=(10, 25, 50, 75, 100))
    workload = make_workload([profile], fragments=12, rates=(5.0, 60.0))
    settings = PlanSettings(time_limit_s=200.0, threads=1, seed=4)
    documents = []
    for _ in range(2):
        plan = make_plan(workload, [profile], strategy="optimal-one", settings=settings)
        assert plan.provenance.settings["ended"]["limit"] is None
        plan = replace(plan, provenance=replace(plan.provenance, seconds=0.0))
        documents.append(formats.to_json(plan))
    assert documents[0] == documents[1]


def test_five_models_are_planned_within_the_time_of_one() -> None:
    profiles = [make_profile(f"net-{number}", layers=30, seed=number) for number in range(5)]
    workload = make_workload(profiles, fragments=250)
    started = time.perf_counter()
    make_plan(workload, profiles, strategy="optimal", settings=PlanSettings(time_limit_s=2.0, threads=1))
    assert time.perf_counter() - started < 12
