"""`regraft serve` as a process of its own, which a test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from api.client import Client


class ServiceProcess:
    """The service as an operator starts it."""

    def __init__(self, folder: Path, database: str, *arguments: str, **environment: str) -> None:
        self._log = folder / "service.log"
        port_file = folder / "port"
        port_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            command = [sys.executable, "-c", "from api.command_line import main; main()", "serve"]
            command += ["--database", database, "--port", "0", "--port-file", str(port_file), *arguments]
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + 60
        while not port_file.exists():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "the service does not come up"
            time.sleep(0.02)
        self.address = f"http://127.0.0.1:{int(port_file.read_text())}"

    def client(self, key: str) -> Client:
        """The Python client."""
        return Client(self.address, key)

    def http(self, key: str) -> httpx.Client:
        """A bare HTTP client."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=30)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """As an operator would; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()
