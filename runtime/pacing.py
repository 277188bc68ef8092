"""An even share of a core: a process that behaves as if it had a slower core to itself.

Between layers of a model the process sleeps until its processor time is its share of the time that has
passed, whenever it has worked for a while, and at the end. A batch of c ms of processor time then takes
c · 100 / share ms, wherever it falls and whatever came before, which is what a plan counts on. A kernel's
quota gives the same on average, but stops a process where the quota happens to end (`runtime.cgroups`):
beside this it is the guard.

Processes that share a core go on where others sleep. Who was held up by them within a batch makes up for it
within that batch, since it sleeps until a moment, not for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

Value = TypeVar("Value")

# Time not used in a row of batches (a sleep that lasted too long, a neighbour that was in the way) may be
# made up for in the next one, within reason.
_MOST_CREDIT_S = 0.02
# Without work for longer than this, a process had rested, and what it did not use is gone.
_REST_S = 0.001
# Sleeping costs some 0.3 ms, most of it for a cache that others have used: within a batch it waits until so
# much has been done, and what is shorter than so much is left alone.
LEAST_WORK_S = 0.002
_LEAST_SLEEP_S = 0.0001


class Pacer:
    """Holds the calling thread to `share_pct` percent of a core, from one `step` to the next."""

    def __init__(self, share_pct: float) -> None:
        self._fraction = share_pct / 100.0
        # Processor time used at `_at_s`, the moment from which the share is counted.
        self._at_s = time.monotonic()
        self._used_s = time.thread_time()
        self._stepped_s = self._at_s
        self._slept_at_s = self._used_s

    def begin(self, worked_s: float = 0.0) -> None:
        """A batch begins. Work done since the last one counts; rest does not.

        `worked_s` is what it takes for done since its last sleep, besides.
        """
        self._slept_at_s -= worked_s
        now_s = time.monotonic()
        credit_s = _MOST_CREDIT_S if now_s - self._stepped_s <= _REST_S else 0.0
        if now_s - self._due_s() > credit_s:
            self._at_s, self._used_s = now_s - credit_s, time.thread_time()

    def step(self, *, last: bool) -> None:
        """A layer is done: from time to time, sleep until what was used is the share of what has passed."""
        used_s = time.thread_time()
        if not last and used_s - self._slept_at_s < LEAST_WORK_S:
            return
        self._slept_at_s = used_s
        left_s = self._due_s() - time.monotonic()
        if left_s > _LEAST_SLEEP_S:
            time.sleep(left_s)
        self._stepped_s = time.monotonic()

    def _due_s(self) -> float:
        """The moment at which what was used so far is just the share."""
        return self._at_s + (time.thread_time() - self._used_s) / self._fraction


class Stepper(Protocol):
    """Whoever wants to be told that a layer is done, and whether it was the last one."""

    def step(self, *, last: bool) -> None: ...


class Steps(Generic[Value]):
    """Layers one after the other, with a step after each."""

    def __init__(self, layers: Sequence[Callable[[Value], Value]], stepper: Stepper) -> None:
        self._layers = layers
        self._stepper = stepper

    def __call__(self, value: Value) -> Value:
        last = len(self._layers) - 1
        for number, layer in enumerate(self._layers):
            value = layer(value)
            self._stepper.step(last=number == last)
        return value
