"""The process beside a search for 5.3: its plans hold and are cheaper, and it ends with the search."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from planner import route_turns
from planner.laws import verify
from planner.planning import make_plan
from planner.problem import PlanSettings
from solver.outcome import Watch
from solver.recreation import Recreation
from solver.route_bound import RouteBound
from solver.route_companion import RouteCompanion, RouteKnown, RouteTask
from solver.route_repairs import price_of
from tests.profiles import make_coarse_profile, make_workload
from tests.solver.test_companion import gone
from tests.solver.test_route_repairs import alone, case

PATIENCE_S = 30.0


@pytest.mark.parametrize("told_of_use", [True, False])
@pytest.mark.parametrize("seed", [0, 3, 5])
def test_it_finds_the_best_plan(seed: int, told_of_use: bool) -> None:
    _, _, graph, best = case(seed)
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    bound.run(Watch())
    plan = alone(graph)
    first = price_of(graph, plan)
    task = RouteTask(graph=graph, plan=tuple(plan), condensed=np.arange(len(graph.load)), step=10.0, seed=0)
    known = RouteKnown(
        plan=tuple(plan),
        arcs=graph.everything,
        use=bound.use if told_of_use else np.zeros(len(graph.tail)),
        prices=bound.guide.astype(np.float32),
        final=True,
    )
    with closing(RouteCompanion(task)) as companion:
        companion.tell(known)
        until, prices = time.monotonic() + PATIENCE_S, [first]
        while prices[-1] > best * (1 + 1e-6) and time.monotonic() < until:
            time.sleep(0.05)
            news = companion.news()
            if news is None:
                continue
            prices.append(price_of(graph, news))
            served = np.bincount([path.k for path, _ in news], [part for _, part in news], len(graph.load))
            assert served == pytest.approx(np.ones(len(graph.load)))
            assert all(graph.in_time(path.k, path.arcs) for path, _ in news)
        assert prices == sorted(prices, reverse=True)
        assert prices[-1] == pytest.approx(best)
    assert gone(companion.pid)


def test_it_rests_when_told_to_and_goes_on_afterwards() -> None:
    _, _, graph, best = case(0)
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    bound.run(Watch())
    plan = tuple(alone(graph))
    task = RouteTask(graph=graph, plan=plan, condensed=np.arange(len(graph.load)), step=10.0, seed=0)
    known = RouteKnown(
        plan=plan, arcs=graph.everything, use=bound.use, prices=bound.guide.astype(np.float32), final=True
    )
    sent: list[float] = []
    work = task.begin(lambda found: sent.append(price_of(graph, found)))
    work.hear(replace(known, rest=True))
    threading.Thread(target=work.run, daemon=True).start()
    time.sleep(0.5)
    assert not sent
    work.hear(known)
    until = time.monotonic() + PATIENCE_S
    while min(sent, default=np.inf) > best * (1 + 1e-6) and time.monotonic() < until:
        time.sleep(0.05)
    assert min(sent) == pytest.approx(best)
    work.hear(replace(known, rest=True))


@pytest.mark.parametrize(
    ("most", "rest", "helps"), [(100, False, True), (3, False, False), (100, True, False)]
)
def test_it_begins_with_searches_from_no_plan_where_each_is_quick(
    most: int, rest: bool, helps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solver.route_companion.MOST_AFRESH", most)
    _, _, graph, _ = case(0)
    plan = tuple(alone(graph))
    task = RouteTask(graph=graph, plan=plan, condensed=np.arange(len(graph.load)), step=10.0, seed=0)
    sent: list[float] = []
    work = task.begin(lambda found: sent.append(price_of(graph, found)))
    known = RouteKnown(
        plan=plan, arcs=graph.everything, use=np.zeros(0), prices=np.zeros(0, np.float32), rest=rest
    )
    work.hear(known)
    search = Recreation(graph, 10.0, plan, 0)
    work.start(search, Watch())
    assert bool(sent) == helps == (search.price < price_of(graph, plan))
    assert sent == sorted(sent, reverse=True)
    assert search.price == min([*sent, price_of(graph, plan)])


@pytest.mark.parametrize("killed", [False, True])
def test_optimal_with_it_proves_the_same_and_outlives_it(
    killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    class Noted(RouteCompanion):
        def __init__(self, task: RouteTask) -> None:
            super().__init__(task)
            begun.append(self.pid)
            if killed:
                os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(route_turns, "worthwhile", lambda threads: threads > 1)
    monkeypatch.setattr(route_turns, "RouteCompanion", Noted)
    profile = make_coarse_profile(null_cells=0.2, seed=3)
    workload = make_workload([profile], fragments=20, seed=0)
    one, two = (
        make_plan(
            workload,
            [profile],
            strategy="optimal",
            settings=PlanSettings(time_limit_s=60, threads=threads),
        )
        for threads in (1, 2)
    )
    assert len(begun) == 1
    assert gone(begun[0])
    assert one.objective.share == two.objective.share == one.lower_bound == two.lower_bound
    assert not verify(two, workload, [profile]).violations
