"""Alembic migrations: the only maker of the database's schema.

`api.schema` runs them, with a connection of its own; there is no alembic.ini. To write the next one, change
`api/tables.py`, then run `python -m migrations "what changes"` against an empty scratch database: it makes a
draft in `versions/` from the difference, to be read and corrected by a person.
"""
