"""Other serving systems with a stage that computes next to nothing, for `benchmarks.data_plane`.

Each runs in an environment of its own (`benchmarks/peers/requirements.txt`), with the settings that made it
fastest here: one worker process, batches of up to 16, raw bytes in and out, no JSON. They are asked by the
same client as the gateway, over kept-alive HTTP/1.1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

HERE = Path(__file__).parent / "peers"


class Peer(NamedTuple):
    """A peer: its name, the script that starts it, and where it takes requests."""

    name: str
    script: str
    path: str


PEERS = (
    Peer("Mosec", "serve_mosec.py", "/inference"),
    Peer("LitServe", "serve_litserve.py", "/predict"),
    Peer("Ray Serve", "serve_ray.py", "/"),
)


@contextlib.contextmanager
def running(peer: Peer, environment: Path) -> Iterator[str]:
    """The peer's address, once it answers; all its processes are ended afterwards."""
    port = _free_port()
    command = [str(environment / "bin" / "python"), str(HERE / peer.script), "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    family: list[psutil.Process] = []
    try:
        _wait(url + peer.path, process)
        family = psutil.Process(process.pid).children(recursive=True)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def raw_request(url: str, path: str, body: bytes) -> list[bytes]:
    """A POST of raw bytes, ready to be sent any number of times."""
    lines = (
        f"POST {path} HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return [lines.encode(), body]


def versions(environment: Path) -> dict[str, str]:
    """What is compared with, as installed."""
    names = ("mosec", "litserve", "ray")
    code = f"from importlib.metadata import version; print(*(version(n) for n in {names}))"
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-c", code], capture_output=True, text=True, check=True
    )
    return dict(zip(names, done.stdout.split(), strict=True))


def _wait(url: str, process: subprocess.Popen[bytes], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    request = urllib.request.Request(url, bytes(8192), {"Content-Type": "application/octet-stream"})
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as response:
            if response.status == 200 and len(response.read()) == 32:
                return
        time.sleep(0.3)
    raise RuntimeError(f"{process.args!r} does not answer at {url}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
