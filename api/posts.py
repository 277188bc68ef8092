"""POST, once: what a request does, its audit entry and its answer are one transaction.

With an `Idempotency-Key` the answer is stored in that same transaction, so a repeated request either finds
the whole of it or nothing: same key and request, same answer; same key, another request, 422. Requests that
fail store nothing and may be repeated with the same key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from api.database import Database
from api.errors import ConflictError, InvalidInputError, KeyReusedError
from api.keys import Caller
from api.repositories.store import Store
from api.tables import IdempotencyRow
from planner.errors import Complaint

REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a POST did: its answer, and the audit entry if it is worth one."""

    status: int
    view: BaseModel
    location: str | None = None
    audit: tuple[str, str, dict[str, Any]] | None = None  # action, target, detail


class Post:
    """The one POST being answered."""

    def __init__(self, database: Database, caller: Caller, key: str | None, fingerprint: str) -> None:
        self._database = database
        self._caller = caller
        self._key = key
        self._fingerprint = fingerprint

    def replay(self) -> Response | None:
        """The answer given before under this key, if any: for a POST whose preparation is dear.

        Raises KeyReusedError.
        """
        if self._key is None:
            return None
        with self._database.reading() as store:
            found = store.idempotency.find(self._caller.key_id, self._key)
        return None if found is None else self._again(found)

    def answer(self, act: Callable[[Store], Outcome]) -> Response:
        """Do it in one transaction, and answer; or answer as before.

        Raises KeyReusedError, and what `act` raises.
        """
        with self._database.writing() as store:
            if self._key is not None and not store.idempotency.claim(
                self._caller.key_id, self._key, self._fingerprint
            ):
                found = store.idempotency.find(self._caller.key_id, self._key)
                if found is None:
                    raise ConflictError("another request with this Idempotency-Key is under way; repeat it")
                return self._again(found)
            outcome = act(store)
            if outcome.audit is not None:
                action, target, detail = outcome.audit
                caller = self._caller
                store.audit.add(
                    action=action, target=target, key_id=caller.key_id, key_name=caller.name, detail=detail
                )
            body = outcome.view.model_dump_json().encode()
            headers = {"Location": outcome.location} if outcome.location else {}
            if self._key is not None:
                store.idempotency.remember(
                    self._caller.key_id, self._key, status=outcome.status, headers=headers, body=body
                )
        return Response(body, status_code=outcome.status, headers=headers, media_type="application/json")

    def _again(self, found: IdempotencyRow) -> Response:
        if found.fingerprint != self._fingerprint:
            raise KeyReusedError("this Idempotency-Key came with another request before; take a new one")
        headers = {**found.headers, REPLAYED: "true"}
        return Response(found.body, status_code=found.status, headers=headers, media_type="application/json")


async def _post(request: Request) -> Post:
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode())
    digest.update(await request.body())
    service, caller = request.app.state.service, request.scope["caller"]
    return Post(service.database, caller, _key(request), digest.hexdigest())


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        complaint = Complaint(
            place="header Idempotency-Key",
            problem=f"is {key[:60]!r}",
            cure="1 to 200 visible ASCII characters",
        )
        raise InvalidInputError("the Idempotency-Key cannot be used", errors=[complaint])
    return key


PostOnce = Annotated[Post, Depends(_post)]
