"""`python -m migrations MESSAGE`: draft the next migration from the difference to `api/tables.py`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from api import schema
from api.database import Database


def main(message: str) -> None:
    """Upgrade an empty database to the newest migration, compare, and write the draft."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    revisions = list(ScriptDirectory.from_config(config).walk_revisions())
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/scratch.sqlite")
        if revisions:
            schema.upgrade(database)
        with database.engine.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True, rev_id=f"{len(revisions) + 1:04d}")
        database.close()


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "unnamed")
