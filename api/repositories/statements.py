"""What SQL lacks between SQLite and PostgreSQL: the clock in milliseconds, and INSERT … ON CONFLICT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from api.tables import Base


class now_ms(GenericFunction[int]):  # noqa: N801  (reads as the SQL function that it is)
    """Milliseconds since 1970 by the database's clock, at the time of the statement."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _now_sqlite(_element: now_ms, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


@compiles(now_ms, "postgresql")
def _now_postgresql(_element: now_ms, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


def insert_new(session: Session, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless its keys are taken; says whether it did."""
    statement = _insert(session, table).values(values).on_conflict_do_nothing()
    # RETURNING says what happened on both databases; a row count does not.
    inserted = session.execute(statement.returning(*inspect(table).primary_key)).first()
    return inserted is not None


def insert_or_replace(session: Session, table: type[Base], values: dict[str, Any]) -> None:
    """Insert a row, or replace the values of the one with this primary key."""
    keys = [column.name for column in inspect(table).primary_key]
    rest = {name: value for name, value in values.items() if name not in keys}
    statement = _insert(session, table).values(values).on_conflict_do_update(index_elements=keys, set_=rest)
    session.execute(statement)


def insert_or_replace_all(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows of the same columns, or replace the values of those with their primary keys."""
    if not rows:
        return
    keys = [column.name for column in inspect(table).primary_key]
    statement = _insert(session, table)
    rest = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    session.connection().execute(statement.on_conflict_do_update(index_elements=keys, set_=rest), list(rows))


def _insert(session: Session, table: type[Base]) -> Any:
    dialect = session.get_bind().dialect.name
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
