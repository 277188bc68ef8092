"""API keys: how they are made, and how a request's key is checked.

A key is `rg_PREFIX_SECRET`. The prefix finds the row; the secret (256 random bits) is proved against its
argon2 hash. That proof is slow on purpose, so a key that was proved once is remembered by its SHA-256, and
only its row is looked at again, every `key_recheck_s`, to see whether it was revoked.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from api.database import Database
from api.errors import ForbiddenError, UnauthorizedError
from api.limits import RateLimit
from api.repositories.store import Store
from api.tables import KeyRow
from api.views import SCOPES, Scope

# OWASP's parameters for argon2id: 19 MiB, two passes.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _HASHER.hash("nobody")
_REMEMBERED = 10_000
_MAX_NAME = 200


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who a request comes from."""

    key_id: str
    name: str
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raises ForbiddenError unless the key has the scope."""
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes)) or "none"
            raise ForbiddenError(
                f"this needs the scope {scope!r}; the key {self.name!r} has {has}", scope=scope
            )


def create_key(store: Store, *, name: str, scopes: Sequence[str]) -> str:
    """Make a key and return it; nobody can read it again.

    Raises ValueError for unknown scopes, and for a name that lists and logs cannot show.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        what = f"unknown scope {', '.join(unknown)}" if unknown else "no scope was given"
        raise ValueError(f"scopes: {what}; there are {', '.join(SCOPES)}")
    if not name.strip() or not name.isprintable() or len(name) > _MAX_NAME:
        raise ValueError(f"name: {name[:60]!r} cannot be one; give 1 to {_MAX_NAME} printable characters")
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    ordered = [scope for scope in SCOPES if scope in scopes]
    row = store.keys.add(name=name, prefix=prefix, hash=_HASHER.hash(secret), scopes=ordered)
    store.audit.add(
        action="key.create",
        target=row.id,
        key_id=None,
        key_name=None,
        detail={"name": name, "scopes": ordered},
    )
    return f"rg_{prefix}_{secret}"


@dataclass
class _Proved:
    caller: Caller
    hash: str
    checked_s: float


class Authenticator:
    """Checks keys against the database, with a memory of those that were proved. One for a process."""

    def __init__(self, database: Database, *, recheck_s: float, false_keys: RateLimit) -> None:
        self._database = database
        self._recheck_s = recheck_s
        self._false_keys = false_keys
        self._proved: OrderedDict[bytes, _Proved] = OrderedDict()
        # A proof costs 20 ms and 19 MiB: whoever sends many false keys waits in line, and does so alone.
        self._proving = asyncio.Semaphore(1)

    async def caller(self, authorization: str | None, *, address: str) -> Caller:
        """Who sends this Authorization header from this address.

        Raises UnauthorizedError; TooManyRequestsError where too many false keys came from there.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise UnauthorizedError(
                "send the header `Authorization: Bearer KEY`; `regraft keys create` makes a key"
            )
        name = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._proved.get(name)
        if known is not None and time.monotonic() - known.checked_s < self._recheck_s:
            return known.caller
        prefix, _, secret = token.removeprefix("rg_").partition("_")
        row = await asyncio.to_thread(self._find, prefix)
        if row is None or row.revoked_ms is not None:
            self._proved.pop(name, None)
            row = None
        elif known is not None and secrets.compare_digest(known.hash, row.hash):
            known.checked_s = time.monotonic()
            return known.caller
        self._false_keys.check(address)
        async with self._proving:
            waited = self._proved.get(name)
            if row is not None and waited is not None and waited.hash == row.hash:
                return waited.caller  # others came with the same key, and the first has proved it
            # An unknown prefix takes as long as a false secret.
            proved = await asyncio.to_thread(_prove, row.hash if row else _NOBODY, secret)
        if row is None or not proved:
            self._false_keys.count(address)
            raise UnauthorizedError("this key is not valid: it is unknown or was revoked")
        caller = Caller(key_id=row.id, name=row.name, scopes=frozenset(row.scopes))
        self._proved[name] = _Proved(caller=caller, hash=row.hash, checked_s=time.monotonic())
        while len(self._proved) > _REMEMBERED:
            self._proved.popitem(last=False)
        return caller

    def _find(self, prefix: str) -> KeyRow | None:
        if not (prefix.isascii() and prefix.isalnum()):
            return None
        with self._database.reading() as store:
            return store.keys.by_prefix(prefix)


def _prove(hash: str, secret: str) -> bool:
    try:
        return _HASHER.verify(hash, secret.encode("utf-8", "surrogateescape"))
    except VerificationError:
        return False
