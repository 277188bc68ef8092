"""Following the agents: each is long-polled for its routing table, and told what is routed.

An agent that does not answer keeps the table it had: its workers may well be serving.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import structlog

from runtime.gateway import Gateway

_WAIT_S = 25.0
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)

log = structlog.get_logger()


class AgentWatcher:
    """Follows one agent for a gateway."""

    def __init__(self, gateway: Gateway, url: str) -> None:
        self._gateway = gateway
        self._url = url.rstrip("/")
        self._etag = ""
        self._session = ""
        self._told = 0
        self._routed = asyncio.Event()

    def routed(self) -> None:
        """The gateway routes another generation now."""
        self._routed.set()

    async def run(self) -> None:
        """For ever."""
        timeout = httpx.Timeout(5.0, read=_WAIT_S + 10)
        # Agents are named by the user, on networks of his own: no proxy is meant.
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
            await asyncio.gather(self._poll(client), self._tell(client))

    async def _poll(self, client: httpx.AsyncClient) -> None:
        failures = 0
        while True:
            try:
                response = await client.get(
                    f"{self._url}/table",
                    params={"wait": _WAIT_S, "gateway": self._gateway.id},
                    headers={"If-None-Match": self._etag} if self._etag else {},
                )
                if response.status_code not in (200, 304):
                    raise httpx.HTTPError(f"status {response.status_code}")
                if response.status_code == 200:
                    table: dict[str, Any] = response.json()
                    self._etag = response.headers.get("etag", "")
                    self._gateway.update(self._url, table)
                    if table["session"] != self._session:  # it has started anew, and knows nothing of us
                        self._session, self._told = table["session"], 0
                        self._routed.set()
            except (httpx.HTTPError, ValueError, KeyError) as error:
                delay_s = _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]
                if failures == 0:
                    log.warning("agent away", agent=self._url, error=str(error) or type(error).__name__)
                failures += 1
                self._etag = ""
                await asyncio.sleep(delay_s)
            else:
                if failures:
                    log.info("agent back", agent=self._url)
                failures = 0

    async def _tell(self, client: httpx.AsyncClient) -> None:
        while True:
            await self._routed.wait()
            self._routed.clear()
            active = self._gateway.active
            if active is None or active.generation == self._told:
                continue
            try:
                message = {"gateway": self._gateway.id, "generation": active.generation}
                response = await client.post(f"{self._url}/routed", json=message)
                response.raise_for_status()
                self._told = active.generation
            except httpx.HTTPError:
                await asyncio.sleep(0.5)
                self._routed.set()
