"""Who looks at a page: signing in with an API key, and what protects forms.

The key itself is seen once, when it is proved. From then on a cookie says who is there:

    PREFIX.EXPIRES.NONCE.MAC        MAC = HMAC-SHA256(secret, PREFIX.EXPIRES.NONCE.hash of the key)

The secret is the process's own unless `REGRAFT_SESSION_SECRET` is set, so that nobody who reads the database
can make a cookie; the key's hash is part of the signature, and its row is looked at again every
`key_recheck_s`, so that a revoked key ends its sessions. A form carries a token made from the cookie's nonce:
another site can neither send the cookie (it is SameSite=Strict) nor know the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from api.database import Database
from api.keys import Caller
from api.limits import RateLimit
from api.settings import Settings
from api.tables import KeyRow
from api.views import Scope

COOKIE = "regraft_session"
# What a form has for a cookie before anybody has signed in.
DOOR_COOKIE = "regraft_door"
_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who looks at a page, and the token that the page's forms carry."""

    caller: Caller
    token: str

    def can(self, scope: Scope) -> bool:
        """Whether the key has this scope."""
        return scope in self.caller.scopes

    def lacks(self, scope: Scope) -> str | None:
        """Why a button is not available, in words; None where it is."""
        if self.can(scope):
            return None
        return f"The key “{self.caller.name}” lacks the scope “{scope}”."


class Sessions:
    """Makes and reads cookies. One for a process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._secret = (settings.session_secret or secrets.token_urlsafe(32)).encode()
        self._lifetime_s = int(settings.session_hours * 3600)
        self._recheck_s = settings.key_recheck_s
        self._rate = RateLimit(settings.rate_rps, burst=2 * settings.rate_rps)
        self._rows: OrderedDict[str, tuple[float, KeyRow | None]] = OrderedDict()
        self._lock = Lock()

    @property
    def lifetime_s(self) -> int:
        """How long a cookie is good for."""
        return self._lifetime_s

    def begin(self, key: str) -> str:
        """A cookie for a key that has just been proved."""
        prefix = key.strip().removeprefix("rg_").partition("_")[0]
        row = self._row(prefix, fresh=True)
        assert row is not None, "the key was proved"
        nonce = secrets.token_urlsafe(12)
        signed = f"{prefix}.{int(time.time()) + self._lifetime_s}.{nonce}"
        return f"{signed}.{self._mac(signed, row.hash)}"

    def visitor(self, cookie: str | None) -> Visitor | None:
        """Who shows this cookie; None where it is none of ours, has expired, or its key was revoked.

        Raises TooManyRequestsError.
        """
        signed, _, mac = (cookie or "").rpartition(".")
        parts = signed.split(".")
        if len(parts) != 3 or not parts[1].isascii() or not parts[1].isdigit():
            return None
        prefix, expires, nonce = parts
        if int(expires) < time.time():
            return None
        row = self._row(prefix)
        if row is None or not hmac.compare_digest(mac.encode(), self._mac(signed, row.hash).encode()):
            return None
        with self._lock:
            self._rate.take(row.id)
        caller = Caller(key_id=row.id, name=row.name, scopes=frozenset(row.scopes))
        return Visitor(caller=caller, token=self.token(nonce))

    def token(self, nonce: str) -> str:
        """The token of forms that are shown to whoever has a cookie with this nonce."""
        return self._mac("form", nonce)

    def is_token(self, token: str, nonce: str) -> bool:
        """Whether this is that token."""
        return hmac.compare_digest(token.encode(), self.token(nonce).encode())

    def _row(self, prefix: str, *, fresh: bool = False) -> KeyRow | None:
        now = time.monotonic()
        with self._lock:
            known = self._rows.get(prefix)
        if not fresh and known is not None and now - known[0] < self._recheck_s:
            return known[1]
        row = None
        if prefix.isascii() and prefix.isalnum():
            with self._database.reading() as store:
                row = store.keys.by_prefix(prefix)
        if row is not None and row.revoked_ms is not None:
            row = None
        with self._lock:
            self._rows[prefix] = (now, row)
            self._rows.move_to_end(prefix)
            while len(self._rows) > _REMEMBERED:
                self._rows.popitem(last=False)
        return row

    def _mac(self, *parts: str) -> str:
        return hmac.new(self._secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()
