"""A gateway that is told to stop under load: what it had accepted is answered, what comes then is refused."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from tests.runtime.cluster import (
    GATED,
    Cluster,
    Process,
    answer_of,
    assignment_of,
    cluster_in,
    ready,
    route,
    stage,
    wait_for,
)
from tests.runtime.tiny_models import GATE

PATH = f"/v2/models/{GATED}/infer"
IMAGE = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
BODY = json.dumps(
    {
        "inputs": [
            {"name": "input", "datatype": "FP32", "shape": [1, 3, 8, 8], "data": IMAGE.ravel().tolist()}
        ],
        "parameters": {"budget_ms": 120_000.0},
    }
)
# As many of each protocol; more than the worker's batch, so that some are still queued when the signal comes.
EACH = 6


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that lets the model answer; it is there until a test takes it away."""
    gate = tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv(GATE, str(gate))
    return gate


@pytest.fixture
def cluster(tmp_path: Path, gate: Path) -> Iterator[Cluster]:
    with cluster_in(tmp_path) as cluster:
        cluster.service.assign(
            node_a=assignment_of(
                1,
                [stage("one", GATED, 0, 2, batch=2), stage("two", GATED, 2, 3, batch=2)],
                [route("phone-0", GATED, 0, ["one", "two"], budget_ms=120_000.0)],
            )
        )
        try:
            yield cluster
        finally:
            gate.touch()


def start(cluster: Cluster, *options: str) -> tuple[Process, str]:
    """A gateway that serves, and where its gRPC side listens."""
    grpc_port = cluster.directory / "grpc.port"
    grpc = ("--grpc-port=0", f"--grpc-port-file={grpc_port}")
    gateway = cluster.gateway(cluster.agent("node-a", 1, "--hung-after-s=600"), options=(*grpc, *options))
    wait_for(lambda: ready(gateway), what="routed generation")
    return gateway, f"127.0.0.1:{grpc_port.read_text().strip()}"


def connect(gateway: Process) -> http.client.HTTPConnection:
    """A kept-alive connection that has been used."""
    host = gateway.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=120)
    assert ask(connection)[0] == 200
    return connection


def ask(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection.request("POST", PATH, BODY)
    response = connection.getresponse()
    return response.status, json.loads(response.read()), {k.lower(): v for k, v in response.getheaders()}


def ask_grpc(client: triton_grpc.InferenceServerClient) -> np.ndarray[Any, Any]:
    image = triton_grpc.InferInput("input", [1, 3, 8, 8], "FP32")
    image.set_data_from_numpy(IMAGE)
    answer: np.ndarray[Any, Any] = client.infer(GATED, [image], parameters={"budget_ms": 120_000.0}).as_numpy(
        "output"
    )
    return answer


def in_flight(gateway: Process) -> float:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return next(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "regraft_gateway_in_flight"
    )


def status_of(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.status


def not_ready(gateway: Process) -> bool:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    try:
        return status_of(connection, "/v2/health/ready") == 503
    finally:
        connection.close()


def test_what_was_accepted_is_answered_and_what_comes_then_is_refused(cluster: Cluster, gate: Path) -> None:
    gateway, grpc_address = start(cluster)
    connections = [connect(gateway) for _ in range(EACH)]
    idle = [connect(gateway) for _ in range(2)]
    clients = [triton_grpc.InferenceServerClient(grpc_address) for _ in range(EACH)]
    spare = triton_grpc.InferenceServerClient(grpc_address)
    assert spare.is_server_ready()
    gate.unlink()
    with ThreadPoolExecutor(2 * EACH) as pool:
        try:
            asked: list[Future[Any]] = [pool.submit(ask, connection) for connection in connections]
            called: list[Future[Any]] = [pool.submit(ask_grpc, client) for client in clients]
            wait_for(lambda: in_flight(gateway) == 2 * EACH, what="load")
            gateway.process.terminate()
            wait_for(lambda: not_ready(gateway), what="gateway that says it is not ready")

            assert not spare.is_server_ready()
            assert spare.is_server_live()
            with pytest.raises(InferenceServerException, match="stopping") as refused:
                ask_grpc(spare)
            assert "UNAVAILABLE" in refused.value.status()
            for connection in idle:
                status, answer, headers = ask(connection)
                assert status == 503
                assert "stopping" in answer["error"]
                assert headers["retry-after"] == "1"
                assert headers["connection"] == "close"
            assert in_flight(gateway) == 2 * EACH
            assert gateway.process.poll() is None
        finally:
            gate.touch()
        right = answer_of(GATED, 0, IMAGE)
        for future in asked:
            status, answer, headers = future.result(60)
            assert status == 200
            assert headers["connection"] == "close"
            np.testing.assert_allclose(answer["outputs"][0]["data"], right.ravel(), rtol=1e-4)
        for call in called:
            np.testing.assert_allclose(call.result(60), right, rtol=1e-4)
    assert gateway.process.wait(60) == 0
    for client in (*clients, spare):
        client.close()
    for connection in (*connections, *idle):
        connection.close()


def test_requests_in_a_row_on_one_connection_are_all_answered(cluster: Cluster, gate: Path) -> None:
    gateway, _ = start(cluster)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    gate.unlink()
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(BODY)}\r\n\r\n"
        connection.sendall(3 * (head + BODY).encode())
        wait_for(lambda: in_flight(gateway) == 1, what="load")
        gateway.process.terminate()
        wait_for(lambda: not_ready(gateway), what="gateway that says it is not ready")
        gate.touch()
        answers = connection.makefile("rb").read()  # until the end, which is no reset
    # They were all read in one go: the second and the third waited for the first.
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answers.count(b"connection: close\r\n") == 1
    assert gateway.process.wait(60) == 0


def test_who_is_not_answered_in_time_is_told_and_not_cut_off(cluster: Cluster, gate: Path) -> None:
    gateway, _ = start(cluster, "--drain-s=0.2")
    connection = connect(gateway)
    gate.unlink()
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(ask(connection)))
    asking.start()
    wait_for(lambda: in_flight(gateway) == 1, what="load")
    gateway.process.terminate()
    asking.join(60)
    [(status, answer, headers)] = answers
    assert (status, headers["connection"]) == (503, "close")
    assert "stopping" in answer["error"]
    assert gateway.process.wait(60) == 0
    connection.close()
