"""At a share of a core, work takes as long as on a core that is so much slower, wherever it falls."""

from __future__ import annotations

import time

import pytest

from runtime.pacing import Pacer, Steps


class Core:
    """A clock and a processor: work lets time pass on both, sleep on the clock alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, oversleep_s: float = 0.0) -> None:
        self.now_s = self.used_s = 0.0
        self.oversleep_s = oversleep_s
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "thread_time", lambda: self.used_s)
        monkeypatch.setattr(time, "sleep", self.wait)

    def work(self, seconds: float, *, held_up_s: float = 0.0) -> None:
        self.now_s += seconds + held_up_s
        self.used_s += seconds

    def wait(self, seconds: float) -> None:
        self.now_s += seconds + self.oversleep_s


def took_ms(core: Core, pacer: Pacer, layers_ms: list[float], *, held_up_ms: float = 0.0) -> float:
    """One batch; the first layer is held up by a neighbour on the core."""
    began_s = core.now_s
    pacer.begin()
    for number, layer_ms in enumerate(layers_ms, 1):
        core.work(layer_ms / 1000, held_up_s=held_up_ms / 1000 if number == 1 else 0.0)
        pacer.step(last=number == len(layers_ms))
    return 1000 * (core.now_s - began_s)


def test_a_batch_takes_its_processor_time_over_the_share_after_a_rest_and_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = Core(monkeypatch)
    pacer = Pacer(25)
    for rest_s in (0.0, 0.0, 0.0, 0.05, 3.0, 0.0):
        core.now_s += rest_s
        assert took_ms(core, pacer, [1, 2, 3]) == pytest.approx(24)


def test_it_sleeps_whenever_it_has_worked_for_a_while_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(monkeypatch)
    pacer = Pacer(50)
    ends_ms: list[float] = []

    def layer(value: str) -> str:
        ends_ms.append(1000 * core.now_s)
        core.work(0.0015)
        return value

    pacer.begin()
    assert Steps([layer, layer, layer], pacer)("as it is") == "as it is"
    # The first layer is too short to sleep for; after the second 3 ms have been worked, so 6 have passed.
    assert [*ends_ms, 1000 * core.now_s] == [0, pytest.approx(1.5), pytest.approx(6), pytest.approx(9)]


def test_its_first_sleep_can_be_brought_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(monkeypatch)
    pacer = Pacer(50)
    slept_after = []
    monkeypatch.setattr(
        time, "sleep", lambda seconds: (slept_after.append(round(1000 * core.used_s, 3)), core.wait(seconds))
    )
    pacer.begin(0.0015)
    for _ in range(3):
        core.work(0.001)
        pacer.step(last=False)
    # 1.5 ms count as worked before, so 1 ms is enough; the next sleep comes after 2 ms more, as always.
    assert slept_after == [1.0, 3.0]


def test_who_was_held_up_makes_up_for_it_within_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(monkeypatch)
    assert took_ms(core, Pacer(25), [2, 2, 2], held_up_ms=14) == pytest.approx(24)


def test_sleeping_too_long_costs_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(monkeypatch, oversleep_s=0.002)
    pacer = Pacer(50)
    for _ in range(100):
        took_ms(core, pacer, [5, 5])
    assert core.used_s / core.now_s == pytest.approx(0.5, abs=0.01)


def test_a_rest_buys_nothing_and_neither_does_a_long_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(monkeypatch)
    pacer = Pacer(25)
    took_ms(core, pacer, [6])
    core.now_s += 100
    assert took_ms(core, pacer, [6]) == pytest.approx(24)
    # Stopped for a second within a batch: of that it makes up for 20 ms in the next, and for no more.
    assert took_ms(core, pacer, [6], held_up_ms=1000) == pytest.approx(1006)
    assert took_ms(core, pacer, [6]) == pytest.approx(6)
    assert took_ms(core, pacer, [6]) == pytest.approx(22)
    assert took_ms(core, pacer, [6]) == pytest.approx(24)
