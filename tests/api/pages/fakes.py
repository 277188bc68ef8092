"""An agent that says that its workers run, and a gateway that says what it observed."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


class FakeAgent:
    """Registers a node of CPU cores, and reports whatever it is assigned as ready, until stopped."""

    def __init__(self, http: httpx.Client, *, name: str = "node-a", cores: int = 16) -> None:
        gpus = [{"id": f"core-{n}", "type": "cpu", "memory_mb": 8000.0} for n in range(cores)]
        body = {"name": name, "address": "http://127.0.0.1:9100", "gpus": gpus}
        response = http.post("/v1/nodes", json=body)
        assert response.is_success, response.text
        self._http = http
        self._id = response.json()["id"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _work(self) -> None:
        while not self._stop.wait(0.15):
            assigned = self._http.get(f"/v1/nodes/{self._id}/assignment").json()
            workers = [
                {
                    "generation": assigned["generation"],
                    "stage": worker["stage"],
                    "instance": worker["instance"],
                    "gpu": worker["gpu"],
                    "state": "ready",
                    "pid": 4711,
                    "share_pct": 25,
                    "effective_share_pct": 25.0,
                    "enforced_by": "cgroup-v2",
                }
                for worker in assigned["workers"]
            ]
            self._http.put(
                f"/v1/nodes/{self._id}/status",
                json={"generation": assigned["generation"], "workers": workers},
            )


class FakeGateway:
    """Serves /metrics as a gateway does; `text` is what it says."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(fake.text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def gateway_metrics(routes: list[dict[str, Any]], *, late: str) -> str:
    """What a gateway says after a thousand answers to each; every tenth of the fragment `late` was late."""
    lines, names = [], set()
    for route in routes:
        fragment = route["fragment"]
        lines.append(f'regraft_gateway_answered_total{{fragment="{fragment}"}} 1000')
        on_time = 900 if fragment == late else 1000
        lines.append(f'regraft_gateway_on_time_total{{fragment="{fragment}"}} {on_time}')
        name = f"{route['model']}@{route['start']}" if route["start"] else route["model"]
        if name in names:
            continue
        names.add(name)
        for bound, count in (("0.01", 0), ("0.02", 5000), ("0.04", 10000), ("+Inf", 10000)):
            lines.append(f'regraft_gateway_request_seconds_bucket{{name="{name}",le="{bound}"}} {count}')
    return "\n".join(lines) + "\n"
