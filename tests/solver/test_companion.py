"""The process beside a search: what it finds holds, and neither of the two outlives the other for long."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from solver import companion_work, one_stage, outcome
from solver.companion import Answer, Companion, Known, RuledOut, Task
from solver.exchanges import Exchanges
from solver.facilities import Facilities, Pattern, all_alone, total_cost
from solver.fractional_bound import Bound, fractional_bound
from solver.greedy import greedy
from solver.group_dives import GroupDives
from solver.one_stage import solve_one_stage
from solver.outcome import Status, Watch
from solver.over_used import InstancesFirst
from solver.packed_bound import PackedAscent
from solver.steps import below, common_step
from tests.solver.programs import random_program
from tests.solver.test_group_dives import begun
from tests.solver.test_groups import in_a_row
from tests.solver.test_one_stage_search import served

PATIENCE_S = 30.0


def task_of(program: Facilities) -> tuple[Task, Bound]:
    answer = all_alone(program)
    loose = fractional_bound(program, answer, Watch())
    ascent = PackedAscent(program, loose, answer, common_step(program.prices))
    ascent.run(Watch(), rounds=1_000)
    bound = Bound(value=ascent.value, worth=ascent.worth)
    task = Task(
        program=program,
        bounds=(loose, bound),
        patterns=tuple(ascent.patterns),
        answer=tuple(answer),
        heavy=False,
        seed=0,
    )
    return task, bound


def companion_of(task: Task) -> Companion:
    companion = Companion()
    companion.begin(task)
    return companion


def next_news(companion: Companion) -> list[Answer]:
    until = time.monotonic() + PATIENCE_S
    while not (found := companion.news()) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_it_finds_is_cheaper_and_serves_everybody() -> None:
    program = random_program(1, classes=40, groups=6, members=2)
    task, _ = task_of(program)
    with closing(companion_of(task)) as companion:
        cost = total_cost(task.answer)
        for _ in range(3):
            for answer in next_news(companion):
                assert total_cost(answer) < cost
                cost = total_cost(answer)
                assert served(program, list(answer)) == program.members.tolist()
            if cost < total_cost(greedy(program, Watch())):
                break
        assert cost < total_cost(task.answer)


def test_what_the_search_found_is_not_found_again() -> None:
    program = random_program(8, classes=40, groups=5, options=8)
    task, bound = task_of(program)
    best = solve_one_stage(program, watch=Watch(time_limit_s=60), threads=1)
    assert best.outcome.status is Status.OPTIMAL
    with closing(companion_of(task)) as companion:
        companion.tell(Known(answer=best.patterns, bound=bound))
        time.sleep(1.0)
        companion.news()
        time.sleep(0.5)
        assert not companion.news()


@pytest.mark.parametrize("seed", [1, 8, 21])
def test_asked_to_decide_it_finds_the_optimum_and_rules_out_what_is_below(seed: int) -> None:
    program = random_program(seed, classes=20, groups=4, options=6)
    task, bound = task_of(program)
    best = solve_one_stage(program, watch=Watch(time_limit_s=60), threads=1)
    assert best.outcome.status is Status.OPTIMAL
    cost = total_cost(best.patterns)
    with closing(companion_of(task)) as companion:
        assert companion.ruled_out == -math.inf
        companion.tell(Known(answer=task.answer, bound=bound, decide=True))
        until = time.monotonic() + PATIENCE_S
        while companion.ruled_out == -math.inf and time.monotonic() < until:
            time.sleep(0.01)
        assert companion.cost == pytest.approx(cost)
        assert companion.ruled_out == pytest.approx(below(cost, common_step(program.prices)))


def test_what_it_rules_out_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(8, classes=40, groups=5, options=8)
    best = solve_one_stage(program, watch=Watch(time_limit_s=60), threads=1)
    goal = below(best.outcome.objective, common_step(program.prices))

    class Knowing(Companion):
        def begin(self, task: Task) -> None:
            super().begin(replace(task, answer=best.patterns))
            self._news.put(best.patterns)
            self._ruled_out = goal

    monkeypatch.setattr(one_stage, "worthwhile", lambda threads: threads > 1)
    monkeypatch.setattr(one_stage, "Companion", Knowing)
    monkeypatch.setattr(one_stage.Goals, "reach", lambda *_: pytest.fail("nothing was left to prove"))
    answer = solve_one_stage(program, watch=Watch(time_limit_s=60), threads=2)
    assert answer.outcome.status is Status.OPTIMAL
    assert answer.outcome.objective == answer.outcome.lower_bound == pytest.approx(best.outcome.objective)


def test_groups_of_whole_fragments_are_dived_into_as_soon_as_they_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever else goes on is left for that."""
    program = in_a_row(2, classes=60, members=1, options=10, groups=4)
    first, groups = begun(program, whole=True)
    task, _ = task_of(program)
    task = replace(task, answer=tuple(first), memory_limit_mb=1)
    found: list[Answer | RuledOut] = []
    work = companion_work.Work(task, found.append)
    turns = iter([0.0, 0.0, math.inf])
    monkeypatch.setattr(companion_work, "resident_mb", lambda: next(turns))
    dives: list[bool] = []
    dive = GroupDives.improve

    def spied(self: GroupDives, *args: Any) -> list[Pattern] | None:
        dives.append(self.whole)
        return dive(self, *args)

    def endless(_: Exchanges, __: Answer, watch: Watch) -> None:
        assert watch.limit is None
        work.hear(Known(answer=tuple(first), bound=task.bounds[-1], whole=groups))
        assert watch.limit is not None

    monkeypatch.setattr(GroupDives, "improve", spied)
    monkeypatch.setattr(Exchanges, "improve", endless)
    monkeypatch.setattr(InstancesFirst, "fits", lambda *_: False)
    monkeypatch.setattr(outcome, "resident_mb", lambda: 0.0)
    work.run()
    assert dives == [True]
    (answer,) = found
    assert not isinstance(answer, RuledOut)
    assert total_cost(answer) < total_cost(first)
    assert served(program, list(answer)) == program.members.tolist()


def test_a_search_whose_companion_is_killed_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(8, classes=40, groups=5, options=8)
    alone = solve_one_stage(program, watch=Watch(time_limit_s=60), threads=1)
    killed: list[int] = []

    class Unlucky(Companion):
        def begin(self, task: Task) -> None:
            super().begin(task)
            os.kill(self.pid, signal.SIGKILL)
            killed.append(self.pid)

    monkeypatch.setattr(one_stage, "worthwhile", lambda threads: threads > 1)
    monkeypatch.setattr(one_stage, "Companion", Unlucky)
    answer = solve_one_stage(program, watch=Watch(time_limit_s=60), threads=2)
    assert killed
    assert all(gone(pid) for pid in killed)
    assert answer.outcome.status is Status.OPTIMAL
    assert total_cost(answer.patterns) == pytest.approx(total_cost(alone.patterns))


def test_with_a_companion_the_optimum_is_the_same_and_it_ends_with_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Companion] = []

    class Noted(Companion):
        def begin(self, task: Task) -> None:
            super().begin(task)
            begun.append(self)

    monkeypatch.setattr(one_stage, "worthwhile", lambda threads: threads > 1)
    monkeypatch.setattr(one_stage, "Companion", Noted)
    for seed in (8, 9):
        program = random_program(seed, classes=40, groups=5, options=8)
        one, two = (
            solve_one_stage(program, watch=Watch(time_limit_s=60), threads=threads) for threads in (1, 2)
        )
        assert one.outcome.status is two.outcome.status is Status.OPTIMAL
        assert one.outcome.lower_bound == pytest.approx(two.outcome.lower_bound)
        assert served(program, list(two.patterns)) == program.members.tolist()
    assert begun
    assert all(gone(companion.pid) for companion in begun)


def test_with_many_classes_it_starts_early_and_still_ends_with_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Companion] = []

    class Noted(Companion):
        def __init__(self) -> None:
            super().__init__()
            started.append(self)

    monkeypatch.setattr(one_stage, "worthwhile", lambda threads: threads > 1)
    monkeypatch.setattr(one_stage, "Companion", Noted)
    monkeypatch.setattr(one_stage, "EARLY", 40)
    program = random_program(8, classes=40, groups=5, options=8)
    for limit_s in (0.0, 60.0):
        solve_one_stage(program, watch=Watch(time_limit_s=limit_s), threads=2)
    assert len(started) == 2
    assert all(gone(companion.pid) for companion in started)


SEARCH = """
import sys, time
from tests.solver.test_companion import companion_of, random_program, task_of
companion = companion_of(task_of(random_program(1, classes=40, groups=6, members=2))[0])
print(companion.pid, flush=True)
time.sleep(60)
"""


def test_a_companion_whose_search_is_killed_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", SEARCH], stdout=subprocess.PIPE, text=True) as search:
        assert search.stdout is not None
        timer = threading.Timer(PATIENCE_S, search.kill)
        timer.start()
        pid = int(search.stdout.readline())
        timer.cancel()
        assert not gone(pid)
        search.kill()
    until = time.monotonic() + PATIENCE_S
    while not gone(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert gone(pid)
