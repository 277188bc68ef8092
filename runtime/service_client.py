"""The agent's way to the service: register, ask for the assignment, report (docs/protocol.md)."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx

from runtime.errors import ServiceError


class Node(NamedTuple):
    """This machine, as the service knows it."""

    id: str
    lease_s: float
    heartbeat_s: float


class Assignment(NamedTuple):
    """What this machine is to run, with the tag that asks for the next change of it."""

    document: dict[str, Any]
    etag: str


class ServiceClient:
    """Talks to one service with one key. Every method raises ServiceError."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(10.0, connect=5.0),
        )

    async def register(self, name: str, address: str, gpus: list[dict[str, Any]]) -> Node:
        """Make this machine known, or renew what is known of it."""
        body = {"name": name, "address": address, "gpus": gpus}
        response = await self._send("POST", "/v1/nodes", json=body)
        node = _object(response)
        try:
            return Node(str(node["id"]), float(node["lease_s"]), float(node["heartbeat_s"]))
        except (KeyError, TypeError, ValueError):
            raise ServiceError(
                f"the service's answer has no id, lease_s and heartbeat_s: {_excerpt(response)}"
            ) from None

    async def assignment(self, node: str, *, wait_s: float, etag: str = "") -> Assignment | None:
        """The assignment; None when it has not changed from `etag` for `wait_s` seconds."""
        response = await self._send(
            "GET",
            f"/v1/nodes/{node}/assignment",
            params={"wait": f"{wait_s:g}"},
            headers={"If-None-Match": etag} if etag else {},
            timeout=httpx.Timeout(10.0, connect=5.0, read=wait_s + 15),
        )
        if response.status_code == 304:
            return None
        return Assignment(_object(response), response.headers.get("etag", ""))

    async def report(self, node: str, status: dict[str, Any]) -> None:
        """Say what really runs; it renews the lease."""
        await self._send("PUT", f"/v1/nodes/{node}/status", json=status)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ServiceError(f"{self._client.base_url}: {reason}") from None
        if response.status_code >= 400:
            raise ServiceError(
                f"{method} {path}: {response.status_code}: {_excerpt(response)}", status=response.status_code
            )
        return response


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ServiceError(f"the service's answer is not a JSON object: {_excerpt(response)}")
    return content


def _excerpt(response: httpx.Response) -> str:
    """The problem's detail, or the beginning of whatever came."""
    try:
        problem = response.json()
        return str(problem.get("detail") or problem.get("title") or problem)[:300]
    except (ValueError, AttributeError):
        return response.text[:300]
