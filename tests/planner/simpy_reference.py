"""The simulator again, the slow and obvious way: SimPy processes on one shared clock, sorted lists as queues.

It shares nothing with `planner.simulation` but the requests it is given, so that the two can be compared
request by request. Times are in ms.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, NamedTuple

import simpy

from planner import laws
from planner.plan import Plan, Stage
from planner.profile import Profile
from planner.simulation import Replay
from planner.simulation_queue import SimulationSettings

EXACT = 1e-6


class Request(NamedTuple):
    """One request in a stage's queue."""

    deadline: float
    queued: float
    number: int


def finish_times(plan: Plan, profile: Profile, run: Replay, settings: SimulationSettings) -> list[float]:
    """When each of the run's requests is answered, in its order; nan for one that is dropped."""
    environment = simpy.Environment()
    finished = [math.nan] * len(run.arrival_ms)
    queues = {stage.id: Queue(environment, stage, profile, settings) for stage in plan.stages}

    def later(route: int, position: int) -> float:
        rest = plan.routes[route].stages[position + 1 :]
        return sum(queues[name].takes(1) + settings.copy_ms for name in rest)

    def enter(number: int, position: int) -> None:
        route = int(run.route[number])
        stages = plan.routes[route].stages
        if position == len(stages):
            finished[number] = environment.now
            return
        budget = run.fragments[int(run.fragment[number])].budget_ms
        deadline = float(run.arrival_ms[number]) + budget - later(route, position)
        queues[stages[position]].put(Request(deadline, environment.now, number), position)

    def answered(number: int, position: int) -> None:
        last = position + 1 == len(plan.routes[int(run.route[number])].stages)
        environment.process(after(0 if last else settings.copy_ms, number, position + 1))

    def after(delay: float, number: int, position: int) -> Generator[Any, Any, None]:
        yield environment.timeout(delay)
        enter(number, position)

    def arrive() -> Generator[Any, Any, None]:
        for number in sorted(range(len(finished)), key=lambda number: (run.arrival_ms[number], number)):
            due = float(run.arrival_ms[number]) + settings.network_ms
            if due > environment.now:
                yield environment.timeout(due - environment.now)
            enter(number, 0)

    for queue in queues.values():
        queue.answered = answered
    environment.process(arrive())
    environment.run()
    return finished


class Queue:
    """A stage: requests that wait, and how many of its instances are idle."""

    def __init__(
        self, environment: simpy.Environment, stage: Stage, profile: Profile, settings: SimulationSettings
    ) -> None:
        self.environment = environment
        self.stage = stage
        self.profile = profile
        self.settings = settings
        self.idle = stage.instances
        self.waiting: list[tuple[Request, int]] = []
        self.answered: Any = None
        self.woken = False

    def takes(self, size: int) -> float:
        """How long a batch of this size takes."""
        stage = self.stage
        if self.settings.batch_time == "full":
            return stage.exec_ms
        for batch in sorted(self.profile.batches):
            found = laws.exec_ms(self.profile, stage.start, stage.end, batch, stage.share)
            if size <= batch <= stage.batch and found is not None:
                return found
        return stage.exec_ms

    def put(self, request: Request, position: int) -> None:
        self.waiting.append((request, position))
        self.wake()

    def wake(self) -> None:
        """Look at the queue once everything of this instant has happened."""
        if not self.woken:
            self.woken = True
            self.environment.process(self.look())

    def look(self) -> Generator[Any, Any, None]:
        for _ in range(4):  # a request needs up to three steps from one stage's end to the next one's queue
            yield self.environment.timeout(0)
        self.woken = False
        while self.idle and self.waiting:
            batch = self.choose()
            if batch:
                self.idle -= 1
                self.environment.process(self.run(batch))

    def run(self, batch: list[tuple[Request, int]]) -> Generator[Any, Any, None]:
        yield self.environment.timeout(self.takes(len(batch)))
        self.idle += 1
        for request, position in batch:
            self.answered(request.number, position)
        self.wake()

    def choose(self) -> list[tuple[Request, int]]:
        now, settings = self.environment.now, self.settings
        if settings.order == "deadline":
            self.waiting.sort(key=lambda item: (item[0].deadline, item[0].queued, item[0].number))
        else:
            self.waiting.sort(key=lambda item: (item[0].queued, item[0].deadline, item[0].number))
        batch: list[tuple[Request, int]] = []
        while self.waiting and len(batch) < self.stage.batch:
            item = self.waiting.pop(0)
            if not settings.drop or now + self.takes(1) <= item[0].deadline + EXACT:
                batch.append(item)
        if not settings.drop or settings.order == "arrival":
            return batch
        while batch and now + self.takes(len(batch)) > batch[0][0].deadline + EXACT:
            for size in range(len(batch) - 1, 0, -1):
                end = now + self.takes(size)
                both = end + self.takes(len(batch) - size)
                if end <= batch[0][0].deadline + EXACT and both <= batch[size][0].deadline + EXACT:
                    self.waiting.extend(batch[size:])
                    return batch[:size]
            batch.pop(0)
        return batch
