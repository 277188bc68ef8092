"""Which requests a free worker takes, and which it drops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.batching import Backlog, ExecEstimate

MS = 1_000_000


def estimate(**exec_ms: float) -> ExecEstimate:
    """Batches of n take `nN` ms."""
    made = ExecEstimate()
    for name, ms in exec_ms.items():
        made.record(int(name[1:]), ms, 0)
    return made


def backlog(*requests: tuple[str, float] | tuple[str, float, int]) -> Backlog[str]:
    made: Backlog[str] = Backlog()
    for name, deadline_ms, *samples in requests:
        made.put(name, deadline_ns=int(deadline_ms * MS), samples=samples[0] if samples else 1)
    return made


def test_a_free_worker_takes_what_is_queued_without_waiting_for_a_full_batch() -> None:
    queued = backlog(("a", 100), ("b", 100))
    assert queued.take(8, 0, estimate(n1=10, n8=20)).batch == ["a", "b"]
    assert len(queued) == 0
    assert queued.samples == 0


def test_it_takes_no_more_than_its_batch() -> None:
    queued = backlog(*((name, 100.0) for name in "abcde"))
    assert queued.take(4, 0, estimate(n1=10, n4=20)).batch == list("abcd")
    assert queued.take(4, 0, estimate(n1=10, n4=20)).batch == ["e"]


def test_the_most_urgent_go_first_and_equals_in_order_of_arrival() -> None:
    queued = backlog(("late", 300), ("soon", 100), ("also-soon", 100))
    assert queued.take(2, 0, estimate(n1=10, n4=20)).batch == ["soon", "also-soon"]


def test_a_request_of_several_samples_takes_several_places() -> None:
    queued = backlog(("a", 100, 3), ("b", 200, 2), ("c", 300, 1))
    assert queued.take(4, 0, estimate(n1=10, n4=20)).batch == ["a"]
    assert queued.take(4, 0, estimate(n1=10, n4=20)).batch == ["b", "c"]


def test_a_request_larger_than_the_batch_runs_alone() -> None:
    queued = backlog(("large", 1000, 9), ("small", 2000))
    assert queued.take(4, 0, estimate(n1=10, n4=20)).batch == ["large"]


def test_what_cannot_be_on_time_even_alone_is_dropped() -> None:
    queued = backlog(("hopeless", 9), ("fine", 100))
    taken = queued.take(4, 0, estimate(n1=10, n4=20))
    assert taken.late == ["hopeless"]
    assert taken.batch == ["fine"]


def test_an_urgent_request_goes_ahead_in_a_smaller_batch_if_the_rest_can_wait() -> None:
    # All four together would be ready at 20: too late for the first, which alone is ready at 10.
    queued = backlog(("urgent", 12), ("b", 100), ("c", 100), ("d", 100))
    times = estimate(n1=10, n4=20)
    taken = queued.take(4, 0, times)
    assert taken.batch == ["urgent"]
    assert taken.late == []
    assert queued.take(4, 10 * MS, times).batch == ["b", "c", "d"]


def test_one_urgent_request_is_dropped_rather_than_three_others() -> None:
    # The urgent one alone is ready at 10, and then the others at 28, too late for them.
    queued = backlog(("urgent", 12), ("b", 25), ("c", 25), ("d", 25))
    taken = queued.take(4, 0, estimate(n1=10, n4=20))
    assert taken.late == ["urgent"]
    assert taken.batch == ["b", "c", "d"]


def test_one_slow_measurement_drops_nothing() -> None:
    times = estimate(n1=10)
    times.record(1, 500.0, 0)
    assert backlog(("a", 50)).take(4, 0, times).batch == ["a"]


def test_a_worker_that_seems_too_slow_for_everybody_is_tried_again_before_long() -> None:
    times = estimate(n1=500)
    now = 2000 * MS  # two seconds after that measurement
    outcomes = [backlog(("a", 2000 + 50)).take(4, now, times) for _ in range(100)]
    assert outcomes[0].late == ["a"]
    assert outcomes[-1].batch == ["a"]


def test_drops_under_load_do_not_wear_down_a_fresh_estimate() -> None:
    times = estimate(n1=10)
    for _ in range(1000):
        assert backlog(("a", 9)).take(1, 0, times).late == ["a"]


def test_the_time_of_a_batch_is_interpolated_between_those_measured() -> None:
    times = estimate(n1=10, n4=16, n8=40)
    assert times.ms(2) == pytest.approx(12)
    assert times.ms(6) == pytest.approx(28)
    assert times.ms(16) == pytest.approx(80)
    assert ExecEstimate().ms(3) == 0.0


def test_late_requests_are_found_while_nobody_is_free() -> None:
    queued = backlog(("late", 5), ("fine", 100))
    assert queued.drop_late(0, estimate(n1=10)) == ["late"]
    assert len(queued) == 1


def test_what_nobody_wants_any_more_is_taken_out() -> None:
    queued = backlog(("a", 100), ("b", 100, 2), ("c", 50))
    assert queued.remove(lambda name: name == "b") == ["b"]
    assert queued.remove(lambda name: name == "b") == []
    assert queued.samples == 2
    assert queued.take(4, 0, estimate(n1=10)).batch == ["c", "a"]


@settings(max_examples=300, deadline=None)
@given(
    requests=st.lists(st.tuples(st.integers(1, 120), st.integers(1, 6)), max_size=20),
    limit=st.integers(1, 8),
    now_ms=st.integers(0, 60),
)
def test_every_request_is_run_dropped_or_still_queued_and_none_twice(
    requests: list[tuple[int, int]], limit: int, now_ms: int
) -> None:
    queued: Backlog[int] = Backlog()
    for name, (deadline_ms, samples) in enumerate(requests):
        queued.put(name, deadline_ns=deadline_ms * MS, samples=samples)
    times = estimate(n1=8, n4=14, n8=20)
    outcome: list[int] = []
    while len(queued):
        before = queued.samples
        taken = queued.take(limit, now_ms * MS, times)
        size = sum(requests[name][1] for name in taken.batch)
        assert size <= limit or len(taken.batch) == 1
        assert before - queued.samples == size + sum(requests[name][1] for name in taken.late)
        if taken.batch:
            first = min(requests[name][0] for name in taken.batch)
            assert now_ms + times.ms(size) <= first or len(taken.batch) == 1
        outcome += [*taken.batch, *taken.late]
    assert sorted(outcome) == list(range(len(requests)))
