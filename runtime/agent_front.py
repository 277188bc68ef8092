"""The agent's HTTP side, for gateways and for whoever watches: /table, /routed, /exits, /metrics, /livez."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from runtime.agent import Agent
from runtime.agent_metrics import agent_metrics
from runtime.http_server import Exchange
from runtime.metrics import CONTENT_TYPE, Metrics

_MAX_WAIT_S = 60.0


class AgentFront:
    """Serves one agent's table."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._metrics = Metrics(lambda: agent_metrics(agent))

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        match exchange.method, exchange.path:
            case "GET", "/table":
                await self._table(exchange)
            case "POST", "/routed":
                self._routed(exchange)
            case "POST", "/exits":
                self._exits(exchange)
            case "GET", "/metrics":
                exchange.respond(200, ((b"content-type", CONTENT_TYPE),), self._metrics.render())
            case "GET", "/livez":
                exchange.respond_json(200, {"agent": self._agent.name})
            case _:
                exchange.respond_json(
                    404, {"error": f"there is nothing at {exchange.method} {exchange.path}"}
                )

    async def _table(self, exchange: Exchange) -> None:
        query = parse_qs(exchange.query)
        agent = self._agent
        if "gateway" in query:
            agent.gateway_asks(query["gateway"][0])
        try:
            wait_s = min(_MAX_WAIT_S, float(query.get("wait", ["0"])[0]))
        except ValueError:
            exchange.respond_json(400, {"error": "wait is a number of seconds"})
            return
        if exchange.headers.get(b"if-none-match") == _etag(agent):
            await agent.wait_for_change(agent.version, wait_s)
            if exchange.headers[b"if-none-match"] == _etag(agent):
                exchange.respond(304, ((b"etag", _etag(agent)),))
                return
        exchange.respond_json(200, agent.table(), ((b"etag", _etag(agent)),))

    def _routed(self, exchange: Exchange) -> None:
        try:
            message = json.loads(exchange.text)
            gateway, generation = message["gateway"], message["generation"]
            if not isinstance(gateway, str) or type(generation) is not int:
                raise TypeError
        except (ValueError, KeyError, TypeError):
            exchange.respond_json(400, {"error": 'expected {"gateway": id, "generation": number}'})
            return
        self._agent.gateway_routes(gateway, generation)
        exchange.respond(204, ())

    def _exits(self, exchange: Exchange) -> None:
        try:
            message = json.loads(exchange.text)
            gateway, generation = message["gateway"], message["generation"]
            fragments = message["fragments"]
            if not isinstance(gateway, str) or type(generation) is not int or generation < 0:
                raise TypeError
            if not all(map(_are_counts, fragments.values())):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError):
            counts = '{"answered": number, "left": {layer: number}, "lost": {layer: number}}'
            expected = f'{{"gateway": id, "generation": number, "fragments": {{fragment: {counts}}}}}'
            exchange.respond_json(400, {"error": f"expected {expected}"})
            return
        self._agent.gateway_counts(gateway, generation, fragments)
        exchange.respond(204, ())


def _are_counts(item: Any) -> bool:
    numbers = [item["answered"], *item["left"].values(), *item["lost"].values()]
    whole = all(type(number) is int and number >= 0 for number in numbers)
    return whole and item.keys() == {"answered", "left", "lost"}


def _etag(agent: Agent) -> bytes:
    return f'"{agent.session}-{agent.version}"'.encode()
