"""How often somebody may come: a bucket for each name, refilled steadily."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from api.errors import TooManyRequestsError

_REMEMBERED = 10_000


@dataclass
class _Bucket:
    tokens: float
    at_s: float


class RateLimit:
    """`rate_rps` requests a second for each name, `burst` of them at once; a rate of 0 is no limit.

    For one event loop. Whoever was not seen for long is forgotten, and begins with a full bucket.
    """

    def __init__(self, rate_rps: float, burst: float) -> None:
        self._rate_rps = rate_rps
        self._burst = max(1.0, burst)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, name: str) -> None:
        """Raises TooManyRequestsError where the bucket is empty; takes nothing."""
        if self._rate_rps and (bucket := self._refilled(name)).tokens < 1:
            wait_s = math.ceil((1 - bucket.tokens) / self._rate_rps)
            raise TooManyRequestsError(
                f"no more than {self._rate_rps:g} a second are answered; wait {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )

    def count(self, name: str) -> None:
        """Count something that cannot be refused any more."""
        if self._rate_rps:
            self._refilled(name).tokens -= 1

    def take(self, name: str) -> None:
        """Count a request, or raise TooManyRequestsError."""
        if self._rate_rps:
            self.check(name)
            self._buckets[name].tokens -= 1

    def _refilled(self, name: str) -> _Bucket:
        now = time.monotonic()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(tokens=self._burst, at_s=now)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at_s) * self._rate_rps)
        bucket.at_s = now
        self._buckets.move_to_end(name)
        return bucket
