"""Lists by cursor: newest first, and stable while new rows arrive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.errors import InvalidInputError
from planner.errors import Complaint

Row = TypeVar("Row")

# A place in a list: the time and id of the last row seen. To clients it is one word without meaning.
CURSOR = r"^[0-9]{1,15}\.[A-Za-z0-9_:-]{1,100}$"


@dataclass(frozen=True, kw_only=True)
class Slice(Generic[Row]):
    """Some rows of a list, and the cursor of the next ones (None at the end)."""

    items: list[Row]
    next: str | None


def slice_by_time(
    session: Session, query: Select[Row], table: Any, *, cursor: str | None, limit: int
) -> Slice[Row]:
    """The next `limit` rows after the cursor, by (created_ms, id), newest first. Raises InvalidInputError."""
    keys: tuple[InstrumentedAttribute[Any], ...] = (table.created_ms, table.id)
    if cursor is not None:
        created_ms, name = _decode(cursor)
        query = query.where(tuple_(*keys) < (created_ms, name))
    rows = list(session.scalars(query.order_by(*(key.desc() for key in keys)).limit(limit + 1)))
    more = len(rows) > limit
    last: Any = rows[limit - 1] if more else None
    return Slice(items=rows[:limit], next=_encode(last.created_ms, last.id) if more else None)


def _encode(number: int, name: str) -> str:
    return f"{number}.{name}"


def _decode(cursor: str) -> tuple[int, str]:
    if not re.fullmatch(CURSOR, cursor):
        complaint = Complaint(
            place="cursor", problem="is not one of ours", cure="take `next` of the page before"
        )
        raise InvalidInputError("the cursor cannot be read", errors=[complaint])
    number, name = cursor.split(".", 1)
    return int(number), name
