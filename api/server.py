"""The service as a process: listen, tell where, serve until told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.context import Service
from api.wire import wire

# Longer than agents are silent, so that they need not connect again for every status.
_KEEP_ALIVE_S = 75


class Server(uvicorn.Server):
    """uvicorn, which answers everybody who waits before it closes their connections."""

    def __init__(self, config: uvicorn.Config, service: Service, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._listening = listening

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.watch.close_from_thread()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a service that was told to stop and did is a success: its exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()


def configured(app: FastAPI) -> uvicorn.Config:
    """uvicorn's configuration for the application."""
    settings = app.state.service.settings
    return uvicorn.Config(
        app,
        port=0,
        lifespan="on",
        log_level="warning",
        access_log=False,
        http=wire(settings.body_timeout_s),
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.shutdown_grace_s) or 1,
        backlog=4096,
    )


def serve(app: FastAPI, *, host: str, port: int, port_file: Path | None, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `tell` gets the base address once requests are answered.

    Port 0 takes a free one. `port_file` then holds the number, written whole. Raises OSError where the
    address cannot be listened on.
    """
    service: Service = app.state.service
    listener = socket.create_server((host, port), family=_family(host), backlog=4096)
    # Connections inherit it. asyncio sees to it only where a socket says that it is TCP, which these do not;
    # without it every answer of more than one packet waits 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound = listener.getsockname()[1]

    def listening() -> None:
        shown = f"[{host}]" if ":" in host else host
        if port_file is not None:
            _write(port_file, f"{bound}\n")
        tell(f"http://{shown}:{bound}")

    config = configured(app)
    # What is there now stays: looking through it again and again costs more with every agent that waits.
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(Server(config, service, listening).serve(sockets=[listener]))
    finally:
        listener.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _write(path: Path, text: str) -> None:
    """Write in one step, so that nobody reads half a number."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
