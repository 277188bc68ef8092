"""What if: more phones, tighter budgets, other GPUs and prices; and limits on how often one may ask."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from api.client import ProblemError
from api.deriving import derive_workload
from api.errors import TooManyRequestsError
from api.limits import RateLimit
from api.views import DeriveWorkload
from planner.workload import Fragment, Workload
from tests.api.service import PROFILE, WORKLOAD, RunningService


@pytest.fixture
def service(start_service: Callable[..., RunningService]) -> RunningService:
    """A service that solves nothing."""
    return start_service(run_workers=0)


def test_a_workload_with_more_phones_and_less_time(service: RunningService) -> None:
    client = service.client()
    origin = client.create_workload(WORKLOAD)
    made = client.derive_workload(origin, clients=3, budget=0.5, rate=2.0)
    assert (made.derived_from, made.derivation) == (origin, {"clients": 3.0, "budget": 0.5, "rate": 2.0})
    assert made.clients == 3 * len(WORKLOAD.fragments)
    for before, after in zip(WORKLOAD.fragments, client.workload(made.id).fragments, strict=True):
        assert (after.count, after.budget_ms, after.rate_rps) == (
            3,
            before.budget_ms / 2,
            before.rate_rps * 2,
        )
    assert client.derive_workload(origin, clients=3, budget=0.5, rate=2.0) == made
    assert client.derive_workload(origin).id == origin


@pytest.mark.parametrize("factor", [0.01, 0.3, 0.5, 1.0, 1.37, 2.5])
def test_clients_come_whole_and_none_is_lost(factor: float) -> None:
    fragments = tuple(
        Fragment(id=str(n), model="net", start=0, budget_ms=9.0, rate_rps=1.0, count=1 + n % 5)
        for n in range(97)
    )
    total = sum(fragment.count for fragment in fragments)
    made = derive_workload(Workload(fragments=fragments), DeriveWorkload(clients=factor))
    counts = {fragment.id: fragment.count for fragment in made.fragments}
    assert abs(sum(counts.values()) - factor * total) <= 0.5
    assert all(abs(counts.get(item.id, 0) - factor * item.count) <= 1 for item in fragments)


def test_what_leads_nowhere_is_refused(service: RunningService) -> None:
    client = service.client()
    origin = client.create_workload(WORKLOAD)
    with pytest.raises(ProblemError, match="nothing is left"):
        client.derive_workload(origin, models=["another"])
    with pytest.raises(ProblemError, match="lead out of"):
        client.derive_workload(client.derive_workload(origin, budget=1e6).id, budget=1e6)


def test_a_profile_at_another_price(service: RunningService) -> None:
    client = service.client()
    origin = client.create_profile(PROFILE)
    made = client.derive_profile(origin, cost_per_share=2.5)
    profile = client.profile(made.id)
    assert profile.cost_per_share == 2.5
    assert profile.latency_ms == PROFILE.latency_ms
    assert client.derive_profile(origin, cost_per_share=PROFILE.cost_per_share).id == origin


def test_one_key_may_not_ask_without_end_and_others_are_not_harmed(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(run_workers=0, rate_rps=2)
    greedy, modest = service.http("read"), service.http("read")
    answers = [greedy.get("/v1/plans") for _ in range(30)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].json()["code"] == "too_many_requests"
    assert int(refused[0].headers["retry-after"]) >= 1
    assert modest.get("/v1/plans").status_code == 200


def test_a_bucket_refills() -> None:
    limit = RateLimit(rate_rps=5.0, burst=2)
    limit.take("a")
    limit.take("a")
    with pytest.raises(TooManyRequestsError):
        limit.take("a")
    limit.take("b")
    time.sleep(0.3)
    limit.take("a")
    unlimited = RateLimit(rate_rps=0, burst=0)
    for _ in range(1000):
        unlimited.take("a")
