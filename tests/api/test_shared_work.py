"""Two processes of the service and four run workers share a PostgreSQL database and its work."""

from __future__ import annotations

from collections.abc import Callable

from tests.api.service import PROFILE, WORKLOAD, RunningService


def test_every_run_is_taken_once_whoever_takes_it(
    start_service: Callable[..., RunningService], postgres_url: str
) -> None:
    services = [start_service(database=postgres_url, run_workers=2) for _ in range(2)]
    clients = [service.client() for service in services]
    workload, profile = clients[0].create_workload(WORKLOAD), clients[0].create_profile(PROFILE)
    runs = [
        clients[number % 2]
        .submit_run(workload=workload, profiles=[profile], strategy="gslice", seed=number)
        .id
        for number in range(8)
    ]
    # Each process also tells the events of runs that the other one solves.
    ended = [clients[number % 2].wait_run(run) for number, run in enumerate(runs)]
    assert {run.state for run in ended} == {"succeeded"}
    assert len({run.plan for run in ended}) == len(runs)
    for run in runs:
        states = [event.data["state"] for event in clients[1].events(run) if event.kind == "state"]
        assert states == ["queued", "running", "succeeded"]
    with services[0].database.reading() as store:
        assert {store.runs.run(run).attempts for run in runs} == {1}
