"""The database's schema: made and changed by the migrations alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import migrations
from api.database import Database, translated

_LOCK = 4711  # any number that nothing else in the database uses


class OldSchemaError(Exception):
    """The database's schema is not the one this version of the service needs."""

    def __init__(self, found: str | None, needed: str) -> None:
        self.found = found
        self.needed = needed
        what = f"is at {found}" if found else "is empty"
        super().__init__(f"the database {what}, this version needs {needed}; run `regraft db upgrade` first")


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to this revision. Raises UnavailableError where the database does not answer."""
    _migrate(database, lambda config: command.upgrade(config, revision))


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to this revision; what only newer ones can hold is lost."""
    _migrate(database, lambda config: command.downgrade(config, revision))


def current(database: Database) -> str | None:
    """The revision of the database; None where it has no schema."""
    with translated(), database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The revision that this version of the service needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None, "there are no migrations in the package"
    return revision


def check(database: Database) -> None:
    """Raises OldSchemaError unless the database has exactly the schema that this version needs."""
    found, needed = current(database), head()
    if found != needed:
        raise OldSchemaError(found, needed)


def _migrate(database: Database, how: Callable[[Config], None]) -> None:
    config = _config()
    with translated(), database.engine.connect() as connection:
        if database.is_sqlite:
            # SQLite changes a table by copying and dropping it, which references to its rows would forbid.
            _enforce_references(connection, False)
        else:
            # Two processes that migrate at once take turns; the second then finds nothing to do.
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
            connection.commit()
        try:
            config.attributes["connection"] = connection
            how(config)
            connection.commit()
            if database.is_sqlite:
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                assert not broken, f"the migration left references to nothing: {broken[:5]}"
        finally:
            if database.is_sqlite:
                connection.rollback()
                _enforce_references(connection, True)
            else:
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")
                connection.commit()


def _enforce_references(connection: Connection, enforced: bool) -> None:
    # Not within a transaction, where SQLite ignores it: past SQLAlchemy, which would begin one.
    raw: Any = connection.connection.driver_connection
    raw.execute(f"PRAGMA foreign_keys={'ON' if enforced else 'OFF'}").close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config
