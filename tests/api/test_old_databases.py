"""Databases of earlier versions are upgraded and go on being used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine

from api import schema
from api.client import Client
from api.database import Database, database_url
from tests.api.service import PROFILE, WORKLOAD, RunningService
from tests.api.test_deployments import register

FOLDER = Path(__file__).parent / "databases"
VERSIONS = sorted(path.name.split(".")[0] for path in FOLDER.glob("*.sqlite.sql"))


def restore_sqlite(version: str, tmp_path: Path) -> tuple[str, str]:
    """The database as it was left; gives its URL and a key."""
    text = (FOLDER / f"{version}.sqlite.sql").read_text()
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(text)
    connection.close()
    return f"sqlite:///{path}", text.splitlines()[0].removeprefix("-- key: ")


def restore_postgresql(version: str, url: str) -> str:
    """The database as it was left; gives a key."""
    text = (FOLDER / f"{version}.postgresql.sql").read_text()
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
        cursor = connection.connection.cursor()
        cursor.execute(text.encode())
        cursor.close()
    engine.dispose()
    return text.splitlines()[0].removeprefix("-- key: ")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_of_an_earlier_version_is_upgraded_and_used(
    version: str,
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    start_service: Callable[..., RunningService],
) -> None:
    if kind == "sqlite":
        url, key = restore_sqlite(version, tmp_path)
    else:
        url = request.getfixturevalue("postgres_url")
        key = restore_postgresql(version, url)
    database = Database(url)
    assert schema.current(database) == version
    schema.upgrade(database)
    schema.check(database)
    database.close()

    # These databases grow old; their Idempotency-Keys are to be remembered nevertheless.
    service = start_service(database=url, idempotency_days=36_500)
    with Client(service.address, key) as client:
        (workload,), (profile,) = client.workloads(), client.profiles()
        assert client.workload(workload.id) == WORKLOAD
        assert client.profile(profile.id) == PROFILE
        assert [item.generation for item in client.deployments()] == [3, 2, 1]
        current = client.deployment()
        assert current is not None
        assert current.rollback_of == 1
        assert {item.reason for item in current.not_running} == {"node_gone"}
        waiting, *finished = client.runs()  # the newest had not begun; by now it may even have ended
        assert sorted(run.strategy for run in finished) == ["graft", "gslice"]
        for run in finished:
            assert [event.data["state"] for event in client.events(run.id) if event.kind == "state"] == [
                "queued",
                "running",
                "succeeded",
            ]
            assert client.plan(str(run.plan)).strategy == run.strategy
        assert client.wait_run(waiting.id).state == "succeeded"
        with httpx.Client(base_url=service.address, headers={"Authorization": f"Bearer {key}"}) as http:
            body = {"workload": workload.id, "profiles": [profile.id], "strategy": "graft"}
            again = http.post("/v1/plan-runs", json=body, headers={"Idempotency-Key": "fixture"})
            assert again.json()["id"] == waiting.id
            register(http)
        assert client.deploy(str(finished[0].plan)).generation == 4


def test_every_version_has_its_database() -> None:
    head = int(schema.head())
    assert [f"{number:04d}" for number in range(1, head + 1)] == VERSIONS, (
        "python -m tests.api.databases.make"
    )
    for version in VERSIONS:
        assert (FOLDER / f"{version}.postgresql.sql").exists()
