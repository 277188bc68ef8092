"""What a gateway tells its agents of exits: how many requests were answered, and how many left where.

Counts grow from the moment a generation is routed, by fragment. One agent that answers is told, every few
seconds; it adds them to what it reports to the service (docs/protocol.md), which notices that inputs have
become easier or harder than the plan was made for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from runtime.exit_reports import exit_reports
from runtime.gateway import Gateway

_EVERY_S = 2.0


def exit_counts(gateway: Gateway) -> list[dict[str, Any]]:
    """What is to be told of the routed generation: of its fragments that pass an exit in use."""
    router = gateway.active
    if router is None:
        return []
    asked = {route.fragment for route in router.routes if any(hop.pool.kind.exits for hop in route.hops)}
    return exit_reports({gateway.id: (router.generation, router.exits.report(asked))})


class ExitReporter:
    """Tells one of the agents, the next where one does not answer."""

    def __init__(self, gateway: Gateway, agents: Sequence[str]) -> None:
        self._gateway = gateway
        self._agents = [url.rstrip("/") for url in agents]

    async def run(self) -> None:
        """For ever."""
        timeout = httpx.Timeout(5.0)
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
            while True:
                await asyncio.sleep(_EVERY_S)
                for report in exit_counts(self._gateway):
                    await self._tell(client, report)

    async def _tell(self, client: httpx.AsyncClient, message: dict[str, Any]) -> None:
        for url in list(self._agents):
            try:
                response = await client.post(f"{url}/exits", json=message)
                response.raise_for_status()
            except httpx.HTTPError:
                # The one that answered last is asked first.
                self._agents.remove(url)
                self._agents.append(url)
            else:
                return
