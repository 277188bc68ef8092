"""A real service on a real socket, within the test's process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx

from api.application import create_app
from api.client import Client
from api.context import Service
from api.database import Database
from api.keys import create_key
from api.server import Server, configured
from api.settings import Settings
from planner import formats
from planner.workload import Fragment, Workload
from tests.profiles import make_profile

ALL_SCOPES = ("read", "plan", "deploy", "agent")


class RunningService:
    """A service that answers on a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database)
        self.app = create_app(settings, self.database)
        self.service: Service = self.app.state.service
        self._started = threading.Event()
        self._server = Server(configured(self.app), self.service, self._started.set)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._started.wait(20), "the service did not start"
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._clients: list[Any] = []

    def key(self, *scopes: str) -> str:
        """A fresh key."""
        with self.database.writing() as store:
            return create_key(store, name="test " + "+".join(scopes), scopes=scopes)

    def client(self, *scopes: str) -> Client:
        """The Python client with a fresh key; all scopes unless some are named."""
        client = Client(self.address, self.key(*(scopes or ALL_SCOPES)))
        self._clients.append(client)
        return client

    def http(self, *scopes: str) -> httpx.Client:
        """A bare HTTP client with a fresh key; all scopes unless some are named."""
        headers = {"Authorization": f"Bearer {self.key(*(scopes or ALL_SCOPES))}"}
        # Without TLS, whose certificates take longer to read than most requests.
        client = httpx.Client(base_url=self.address, headers=headers, timeout=30, verify=False)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        """Stop as SIGTERM would."""
        for client in self._clients:
            client.close()
        self.service.watch.close_from_thread()
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the service did not stop"
        self.database.close()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve())


PROFILE = make_profile("net", "cpu", layers=8, batches=(1, 2, 4), shares=(25, 50, 100), memory=True)
WORKLOAD = Workload(
    fragments=tuple(
        Fragment(
            id=f"phone-{number}", model="net", start=number % 3, budget_ms=80.0 + 10 * number, rate_rps=10.0
        )
        for number in range(4)
    )
)
WORKLOAD_BODY = formats.dumps(WORKLOAD)
PROFILE_BODY = formats.dumps(PROFILE)


def write_documents(folder: Path) -> tuple[Path, Path]:
    """The workload and the profile as files."""
    paths = folder / "workload.json", folder / "profile.json"
    paths[0].write_bytes(WORKLOAD_BODY)
    paths[1].write_bytes(PROFILE_BODY)
    return paths
