"""What becomes of requests when a gateway is told to stop under load.

    python -m benchmarks.gateway_stopping

Clients of HTTP (kept-alive connections) and of gRPC send to a real gateway with one worker, each as soon as
its last request is answered; in the middle the gateway gets SIGTERM. Prints how it ended, and the outcomes of
the requests by when they were sent: before the signal, within some ms of it, while the gateway was stopping,
and after its end. Each batch takes a pause in the worker, so that there are always requests in execution and
in the queue.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.runtime.cluster import SLOW, Process, assignment_of, cluster_in, ready, route, stage, wait_for

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
BUDGET_MS = 60_000.0
# Sent so shortly before or after the signal, a request may have been accepted or not.
NEAR_S = 0.005
_PAUSE_S = 0.01


class Outcomes:
    """What became of each request: its protocol, when it was sent, and its status."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[tuple[str, float, str]] = []

    def add(self, protocol: str, sent_s: float, outcome: str) -> None:
        with self._lock:
            self._all.append((protocol, sent_s, outcome))

    def between(self, since_s: float, until_s: float) -> str:
        """Counted, of those that were sent in this time."""
        found = Counter((name, what) for name, sent_s, what in self._all if since_s <= sent_s < until_s)
        return ", ".join(f"{name} {what}: {count}" for (name, what), count in sorted(found.items())) or "–"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=16, help="of each protocol")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load before the signal")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, cluster_in(Path(folder)) as cluster:
        cluster.service.assign(
            node_a=assignment_of(
                1,
                [stage("only", SLOW, 0, 3, batch=4)],
                [route("phone", SLOW, 0, ["only"], budget_ms=BUDGET_MS)],
            )
        )
        grpc_port = Path(folder) / "grpc.port"
        options = ("--grpc-port=0", f"--grpc-port-file={grpc_port}")
        gateway = cluster.gateway(cluster.agent(), options=options)
        wait_for(lambda: ready(gateway), what="routed generation")
        stop_under_load(gateway, f"127.0.0.1:{grpc_port.read_text().strip()}", arguments)


def stop_under_load(gateway: Process, grpc_address: str, arguments: argparse.Namespace) -> None:
    outcomes, over = Outcomes(), threading.Event()
    host = gateway.url.removeprefix("http://")
    threads = [
        threading.Thread(target=send, args=(address, outcomes, over))
        for send, address in ((send_http, host), (send_grpc, grpc_address))
        for _ in range(arguments.clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(arguments.seconds)
    signal_s = time.monotonic()
    gateway.process.terminate()
    status = gateway.process.wait(60)
    end_s = time.monotonic()
    time.sleep(0.3)
    over.set()
    for thread in threads:
        thread.join()
    print(f"exit code {status}, {end_s - signal_s:.2f} s after the signal")
    print("sent before the signal:", outcomes.between(0.0, signal_s - NEAR_S))
    print(f"within {1000 * NEAR_S:g} ms of it:", outcomes.between(signal_s - NEAR_S, signal_s + NEAR_S))
    print("while it was stopping:", outcomes.between(signal_s + NEAR_S, end_s))
    print("after its end:", outcomes.between(end_s, float("inf")))


def send_http(host: str, outcomes: Outcomes, over: threading.Event) -> None:
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 3, 8, 8], "data": IMAGE.ravel().tolist()}
    body = json.dumps({"inputs": [tensor], "parameters": {"budget_ms": BUDGET_MS}})
    connection = http.client.HTTPConnection(host, timeout=60)
    while not over.is_set():
        sent_s = time.monotonic()
        try:
            connection.request("POST", f"/v2/models/{SLOW}/infer", body)
            response = connection.getresponse()
            response.read()
            outcome = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error).__name__
            connection.close()
        outcomes.add("HTTP", sent_s, outcome)
        if outcome != "200":
            time.sleep(_PAUSE_S)
    connection.close()


def send_grpc(address: str, outcomes: Outcomes, over: threading.Event) -> None:
    image = triton.InferInput("input", [1, 3, 8, 8], "FP32")
    image.set_data_from_numpy(IMAGE)
    with contextlib.closing(triton.InferenceServerClient(address)) as client:
        while not over.is_set():
            sent_s = time.monotonic()
            try:
                client.infer(SLOW, [image], parameters={"budget_ms": BUDGET_MS})
                outcome = "OK"
            except InferenceServerException as error:
                stopping = "stopping" in error.message()
                outcome = f"{error.status()}{' (stopping)' if stopping else ''}".removeprefix("StatusCode.")
            outcomes.add("gRPC", sent_s, outcome)
            if outcome != "OK":
                time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
