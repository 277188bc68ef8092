"""API keys, answers remembered by Idempotency-Key, and the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from api.repositories.statements import insert_new, now_ms
from api.tables import AuditRow, IdempotencyRow, KeyRow, new_id


class Keys:
    """API keys: found by their prefix, proved by their hash; revoked, never deleted."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, *, name: str, prefix: str, hash: str, scopes: Sequence[str]) -> KeyRow:
        """A new key."""
        row = KeyRow(
            id=new_id("key"),
            name=name,
            prefix=prefix,
            hash=hash,
            scopes=list(scopes),
            created_ms=self._session.execute(select(now_ms())).scalar_one(),
        )
        self._session.add(row)
        self._session.flush()
        return row

    def by_prefix(self, prefix: str) -> KeyRow | None:
        """The key with this prefix, revoked or not."""
        return self._session.scalars(select(KeyRow).where(KeyRow.prefix == prefix)).one_or_none()

    def keys(self) -> list[KeyRow]:
        """All keys, oldest first."""
        return list(self._session.scalars(select(KeyRow).order_by(KeyRow.created_ms, KeyRow.id)))

    def revoke(self, name: str) -> list[KeyRow]:
        """Revoke the keys of this name, id or prefix; gives those that were still valid."""
        found = select(KeyRow).where((KeyRow.name == name) | (KeyRow.id == name) | (KeyRow.prefix == name))
        rows = list(self._session.scalars(found.where(KeyRow.revoked_ms.is_(None))))
        ids = [row.id for row in rows]
        self._session.execute(update(KeyRow).where(KeyRow.id.in_(ids)).values(revoked_ms=now_ms()))
        return rows


class Idempotency:
    """Answers by key holder and Idempotency-Key, stored in the transaction that did what they tell of."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, key_id: str, key: str) -> IdempotencyRow | None:
        """What was answered under this key, if anything was."""
        return self._session.get(IdempotencyRow, (key_id, key))

    def claim(self, key_id: str, key: str, fingerprint: str) -> bool:
        """Take the key for this transaction; false where another request has it (and has committed)."""
        values: dict[str, Any] = {
            "key_id": key_id,
            "idempotency_key": key,
            "created_ms": now_ms(),
            "fingerprint": fingerprint,
            "status": 0,
            "headers": {},
            "body": b"",
        }
        return insert_new(self._session, IdempotencyRow, values)

    def remember(self, key_id: str, key: str, *, status: int, headers: dict[str, str], body: bytes) -> None:
        """Fill in the answer of a key that was claimed in this transaction."""
        self._session.execute(
            update(IdempotencyRow)
            .where(IdempotencyRow.key_id == key_id, IdempotencyRow.idempotency_key == key)
            .values(status=status, headers=headers, body=body)
        )

    def forget(self, *, older_than_ms: int) -> None:
        """Drop answers older than this."""
        self._session.execute(
            delete(IdempotencyRow).where(IdempotencyRow.created_ms < now_ms() - older_than_ms)
        )


class Audit:
    """Who did what to which resource; rows are only added."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self, *, action: str, target: str, key_id: str | None, key_name: str | None, detail: dict[str, Any]
    ) -> None:
        """Record an action."""
        at = self._session.execute(select(now_ms())).scalar_one()
        row = AuditRow(
            at_ms=at, key_id=key_id, key_name=key_name, action=action, target=target, detail=detail
        )
        self._session.add(row)

    def entries(self, *, before: int | None, limit: int) -> list[AuditRow]:
        """Entries before this number, newest first."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        return list(self._session.scalars(query if before is None else query.where(AuditRow.id < before)))
