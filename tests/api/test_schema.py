"""The schema is made by migrations alone, and it is the one the code expects."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from typer.testing import CliRunner

from api import commands, schema
from api.database import Database, database_url
from api.tables import Base


def test_models_equal_migrations(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    schema.upgrade(database)
    assert schema.current(database) == schema.head()


def test_a_migration_can_be_taken_back(database: Database) -> None:
    schema.downgrade(database, "base")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        tables = [
            change[1].name for change in compare_metadata(context, Base.metadata) if change[0] == "add_table"
        ]
    assert set(tables) == set(Base.metadata.tables)
    schema.upgrade(database)
    schema.check(database)


def test_a_database_of_another_version_is_refused(database: Database) -> None:
    schema.check(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    with pytest.raises(schema.OldSchemaError, match="later"):
        schema.check(database)


def test_db_upgrade_makes_a_database_and_serve_asks_for_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.sqlite"
    runner = CliRunner()
    refused = runner.invoke(commands.serve, ["--database", url, "--port", "0"])
    assert refused.exit_code == 2
    assert "regraft db upgrade" in refused.output
    assert runner.invoke(commands.db, ["upgrade", "--database", url]).exit_code == 0
    database = Database(url)
    schema.check(database)
    database.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("mysql://localhost/x", "not supported"),
        ("nonsense", "not a database URL"),
    ],
)
def test_databases_that_cannot_serve_are_refused_with_what_would_be_right(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        database_url(url)
    shown = CliRunner().invoke(commands.db, ["upgrade", "--database", url])
    assert shown.exit_code == 2
    assert message in shown.output


def test_sqlite_runs_with_a_write_ahead_log_and_foreign_keys(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    database.close()
