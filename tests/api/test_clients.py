"""The Python client: synchronous and asynchronous from one source, patient, and clear about problems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from api import client_core, client_twin
from api.async_client import AsyncClient
from api.client import Client, ProblemError, UnreachableError
from api.client_core import EventReader
from tests.api.service import ALL_SCOPES, PROFILE, WORKLOAD, RunningService


def test_the_synchronous_client_is_made_from_the_asynchronous_one() -> None:
    made = client_twin.twin(client_twin.SOURCE.read_text())
    assert client_twin.TWIN.read_text() == made, "run `python -m api.client_twin`"


def test_both_clients_do_the_same(service: RunningService) -> None:
    key = service.key(*ALL_SCOPES)

    async def use() -> tuple[str, str, str]:
        async with AsyncClient(service.address, key) as client:
            workload, profile = await client.create_workload(WORKLOAD), await client.create_profile(PROFILE)
            run = await client.submit_run(workload=workload, profiles=[profile], strategy="gslice")
            run = await client.wait_run(run.id)
            assert (await client.plan(str(run.plan))).strategy == "gslice"
            assert len(await client.runs()) == 1
            return workload, profile, run.id

    workload, profile, run = asyncio.run(use())
    with Client(service.address, key) as client:
        assert (client.create_workload(WORKLOAD), client.create_profile(PROFILE)) == (workload, profile)
        assert client.run(run).state == "succeeded"


def test_lists_are_read_to_their_end(start_service: Callable[..., RunningService]) -> None:
    service = start_service(run_workers=0)
    client = service.client()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    ids = [client.submit_run(workload=workload, profiles=[profile], strategy="graft").id for _ in range(55)]
    assert [run.id for run in client.runs()] == ids[::-1]
    assert [run.id for run in client.runs(state="running")] == []


def test_a_problem_says_everything_in_its_message(service: RunningService) -> None:
    client = service.client("read")
    with pytest.raises(ProblemError, match=r"lacks a scope.*'plan'"):
        client.create_workload(WORKLOAD)
    with pytest.raises(ProblemError) as refused:
        service.client().submit_run(workload="w", profiles=["p"], strategy="graft")
    assert "profiles[0]: there is no profile 'p'" in str(refused.value)


def test_a_service_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_core, "FIRST_PAUSE_S", 0.001)
    with (
        Client("http://127.0.0.1:9", "key") as client,
        pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"),
    ):
        client.runs()


def test_an_answer_that_is_not_the_services_is_a_problem_too() -> None:
    request = httpx.Request("GET", "http://proxy/v1/plans")
    with pytest.raises(ProblemError, match="not the service's"):
        client_core.checked(httpx.Response(502, text="<html>Bad gateway</html>", request=request))


def test_event_streams_are_read_whatever_they_contain() -> None:
    reader = EventReader(last=3)
    lines = [": ping", "", "event: state", 'data: {"state":', 'data: "queued"}', "id: 4", "retry: 5", "", ""]
    events = [event for line in lines for event in reader.read(line)]
    assert [(event.seq, event.kind, event.data) for event in events] == [(4, "state", {"state": "queued"})]
    assert reader.last == 4
