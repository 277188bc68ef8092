"""A copy of a SQLite database that is in use: whole, as of one moment, and readers and writers go on."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from api.database import Database


class BackupError(Exception):
    """The copy cannot be made; the message says why."""


def backup(database: Database, target: Path) -> int:
    """Copy the database to a file that must not be there yet; gives its size in bytes.

    The copy needs no write-ahead log of its own, and only its owner may read it. Raises BackupError.
    """
    if not database.is_sqlite:
        raise BackupError("this copies SQLite databases; for PostgreSQL take pg_dump")
    if target.exists():
        raise BackupError(f"{target} is already there; name another file")
    source = str(database.url.database)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}") from None
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(temporary)) as copy:
            # In one step: it reads from one snapshot, and a write-ahead log lets others write meanwhile.
            original.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE").close()
            (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise BackupError(f"the copy is damaged: {verdict}")
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        os.replace(temporary, target)
    except (sqlite3.Error, OSError) as error:
        raise BackupError(f"{source} cannot be copied: {error}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return size
