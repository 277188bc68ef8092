"""The database: transactions, the clock, and the one place where SQL errors become the service's.

SQLite runs with a write-ahead log, foreign keys and a busy timeout. Its writers take turns: within a
process by a lock (which is fairer than its own polling), between processes by BEGIN IMMEDIATE, so that no
transaction that reads first and writes later can lose the race half way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import Engine, create_engine, event, exc, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session

from api.errors import ConflictError, InvalidInputError, UnavailableError
from api.repositories.statements import now_ms
from api.repositories.store import Store

_BUSY_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S, _SILENCE_S = 10, 30


class Database:
    """Transactions over SQLite or PostgreSQL. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        self.url = database_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_pre_ping": not self.is_sqlite, "pool_timeout": _BUSY_TIMEOUT_S}
        if self.is_sqlite:
            options |= {"pool_size": 20, "max_overflow": 20, "connect_args": {"timeout": _BUSY_TIMEOUT_S}}
        else:
            options |= {"pool_size": 10, "max_overflow": 10, "pool_recycle": 1800}
            # A server that is gone without a word is one that does not answer, not one to wait for.
            patience = {"connect_timeout": _CONNECT_TIMEOUT_S, "tcp_user_timeout": 1000 * _SILENCE_S}
            options["connect_args"] = {k: v for k, v in patience.items() if k not in self.url.query}
        self.engine: Engine = create_engine(self.url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._writer = self.engine.execution_options(regraft_writes=True)
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """A transaction that only reads. Raises UnavailableError where the database does not answer."""
        with translated(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield Store(session)

    @contextmanager
    def writing(self) -> Iterator[Store]:
        """A transaction that writes: all of it or, on any exception, nothing.

        Raises UnavailableError where the database does not answer, ConflictError where a constraint stands
        in the way.
        """
        with (
            translated(),
            self._turn,
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield Store(session)

    def clock_ms(self) -> int:
        """The database's time."""
        with translated(), self.engine.connect() as connection:
            return int(connection.execute(select(now_ms())).scalar_one())

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()


def database_url(url: str) -> URL:
    """The URL with our drivers filled in. Raises ValueError for what the service cannot use."""
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        # What was given may hold a password, so it is not repeated.
        raise ValueError("this is not a database URL; expected sqlite:///FILE or postgresql://…") from None
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ValueError("the database must be a file, as in sqlite:///regraft.sqlite")
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ValueError(f"{other} is not supported; expected sqlite:///FILE or postgresql://…")


@contextmanager
def translated() -> Iterator[None]:
    """SQL errors become domain errors here and nowhere else."""
    try:
        yield
    except exc.IntegrityError as error:
        raise ConflictError("the change contradicts what is stored") from error
    except exc.DataError as error:
        raise InvalidInputError("a value cannot be stored (is there a NUL character in a text?)") from error
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise UnavailableError("the database does not answer") from error
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise UnavailableError("the connection to the database was lost") from error
        raise


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Any) -> None:
    writes = connection.get_execution_options().get("regraft_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
