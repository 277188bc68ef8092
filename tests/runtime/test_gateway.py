"""A gateway and its agents, asked as any client of the Open Inference Protocol would ask."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from tests.runtime.cluster import (
    CHOOSY,
    SLOW,
    TINY,
    Process,
    answer_of,
    assignment_of,
    cluster_in,
    get,
    post_json,
    ready,
    route,
    stage,
    wait_for,
)
from tests.runtime.tiny_models import PAUSE_S


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Three models: tiny in two shared stages, slow in one with a short queue, choosy."""
    with cluster_in(tmp_path_factory.mktemp("gateway")) as cluster:
        stages = [
            stage("align", TINY, 0, 1),
            stage("shared", TINY, 1, 3, instances=2),
            stage("slow", SLOW, 0, 3, batch=1),
            stage("choosy", CHOOSY, 0, 2),
        ]
        routes = [
            route("phone-0", TINY, 0, ["align", "shared"]),
            route("phone-1", TINY, 1, ["shared"]),
            route("phone-2", SLOW, 0, ["slow"]),
            route("phone-3", CHOOSY, 0, ["choosy"]),
        ]
        cluster.service.assign(node_a=assignment_of(7, stages, routes))
        agent = cluster.agent()
        gateway = cluster.gateway(agent, options=("--queue=8",))
        wait_for(lambda: ready(gateway), what="routed generation")
        yield gateway


@pytest.fixture
def client(gateway: Process) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(gateway.url.removeprefix("http://"), concurrency=8) as client:
        yield client


def image(seed: int, samples: int = 1, shape: tuple[int, ...] = (3, 8, 8)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((samples, *shape)).astype(np.float32)


def tensor(data: np.ndarray[Any, Any], name: str = "input", *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(data.shape), triton_datatype(data))
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def triton_datatype(data: np.ndarray[Any, Any]) -> str:
    return {"float32": "FP32", "float64": "FP64"}[str(data.dtype)]


def times(result: triton.InferResult) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = json.loads(result.get_response()["parameters"]["stages"])
    return stages


def test_a_triton_client_finds_a_live_and_ready_server(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "regraft"
    assert client.is_model_ready(TINY)
    assert client.is_model_ready(f"{TINY}@1", "1")
    assert not client.is_model_ready("resnet18")
    assert {model["name"] for model in client.get_model_repository_index()} >= {TINY, f"{TINY}@1"}


def test_metadata_say_what_a_fragment_takes(client: triton.InferenceServerClient) -> None:
    metadata = client.get_model_metadata(f"{TINY}@1")
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 8, 8, 8]}]
    assert metadata["outputs"] == [{"name": "output", "datatype": "FP32", "shape": [-1, 10]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("samples", [1, 3, 8])
def test_answers_equal_the_models(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool | None, samples: int
) -> None:
    data = image(samples, samples)
    outputs = None if binary_out is None else [triton.InferRequestedOutput("output", binary_data=binary_out)]
    result = client.infer(TINY, [tensor(data, binary=binary_in)], outputs=outputs, request_id="r-1")
    np.testing.assert_allclose(result.as_numpy("output"), answer_of(TINY, 0, data), rtol=1e-4, atol=1e-5)
    assert result.get_response()["id"] == "r-1"
    assert result.get_response()["model_name"] == TINY


def test_a_fragment_answers_from_its_layer_on(client: triton.InferenceServerClient) -> None:
    data = image(1, 2, (8, 8, 8))
    result = client.infer(f"{TINY}@1", [tensor(data)])
    np.testing.assert_allclose(result.as_numpy("output"), answer_of(TINY, 1, data), rtol=1e-4, atol=1e-5)


def test_an_answer_says_where_its_time_went(client: triton.InferenceServerClient) -> None:
    result = client.infer(TINY, [tensor(image(0))], parameters={"fragment": "phone-0"})
    parameters = result.get_response()["parameters"]
    assert parameters["fragment"] == "phone-0"
    assert parameters["generation"] == 7
    stages = times(result)
    assert [entry["stage"] for entry in stages] == ["align", "shared"]
    assert all(entry["batch"] == 1 and entry["exec_ms"] > 0 and entry["queue_ms"] >= 0 for entry in stages)
    spent = sum(entry["queue_ms"] + entry["exec_ms"] for entry in stages)
    assert spent == pytest.approx(parameters["total_ms"], abs=5)


def test_requests_that_come_together_run_together(client: triton.InferenceServerClient) -> None:
    data = [image(number) for number in range(24)]
    pending = [
        client.async_infer(TINY, [tensor(each)], parameters={"budget_ms": 20_000}) for each in data[:8]
    ]
    results = [each.get_result() for each in pending]
    for each, result in zip(data, results, strict=False):
        np.testing.assert_allclose(result.as_numpy("output"), answer_of(TINY, 0, each), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters", "status", "complaint"),
    [
        ("resnet18", {}, "404", "not served"),
        (f"{TINY}@2", {}, "404", f"served are: {TINY}, {TINY}@1"),
        (TINY, {"fragment": "phone-9"}, "404", "there is phone-0"),
        (TINY, {"fragment": "phone-1"}, "404", "there is phone-0"),
        (TINY, {"budget_ms": -1}, "400", "budget_ms"),
        (TINY, {"budget_ms": "soon"}, "400", "budget_ms"),
    ],
)
def test_what_is_not_served_is_said_with_what_is(
    client: triton.InferenceServerClient, name: str, parameters: dict[str, Any], status: str, complaint: str
) -> None:
    with pytest.raises(InferenceServerException, match=complaint) as error:
        client.infer(name, [tensor(image(0))], parameters=parameters)
    assert error.value.status() == status


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (tensor(image(0, 1, (3, 9, 9))), r"takes FP32 \[-1, 3, 8, 8\]; this is FP32 \[1, 3, 9, 9\]"),
        (tensor(image(0)[0]), r"takes FP32 \[-1, 3, 8, 8\]; this is FP32 \[3, 8, 8\]"),
        (tensor(image(0).astype(np.float64)), "takes FP32"),
        (tensor(image(0), "image"), "named 'image'; expected \"input\""),
        (tensor(image(0, 9)), "9 samples in one request; at most 8"),
    ],
    ids=["shape", "no-batch", "type", "name", "too-many"],
)
def test_a_wrong_tensor_is_refused_with_what_is_expected(
    client: triton.InferenceServerClient, wrong: triton.InferInput, complaint: str
) -> None:
    with pytest.raises(InferenceServerException, match=complaint) as error:
        client.infer(TINY, [wrong])
    assert error.value.status() == "400"


def test_what_cannot_be_on_time_is_dropped_and_said_so(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="dropped before stage slow") as error:
        client.infer(SLOW, [tensor(image(0))], parameters={"budget_ms": PAUSE_S * 500})
    assert error.value.status() == "504"
    # Triton's own name for it, in microseconds.
    with pytest.raises(InferenceServerException, match="dropped before stage slow"):
        client.infer(SLOW, [tensor(image(0))], timeout=int(PAUSE_S * 500_000))


def test_a_full_queue_refuses_at_once(gateway: Process) -> None:
    body = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 8, 8], "data": [0.0] * 192}]}
    with ThreadPoolExecutor(24) as threads:
        outcomes = list(
            threads.map(lambda _: post_json(f"{gateway.url}/v2/models/{SLOW}/infer", body), range(24))
        )
    statuses = [status for status, _ in outcomes]
    assert set(statuses) == {200, 429}
    # One runs, one is sent ahead, eight wait.
    assert statuses.count(200) >= 10
    assert all("queued" in content["error"] for status, content in outcomes if status == 429)


def test_a_request_that_makes_the_model_raise_is_told_why(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="stage choosy: ValueError: negative input") as error:
        client.infer(CHOOSY, [tensor(-np.abs(image(0)))])
    assert error.value.status() == "500"
    data = np.abs(image(1))
    result = client.infer(CHOOSY, [tensor(data)])
    np.testing.assert_allclose(result.as_numpy("output"), answer_of(CHOOSY, 0, data), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "headers", "complaint"),
    [
        (b"{", {}, "JSON cannot be read"),
        (b"[]", {}, "not a JSON object"),
        (b"{}", {}, '"inputs" must be'),
        (b'{"inputs": []}', {}, '"inputs" must be'),
        (
            b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 8, 8]}]}',
            {},
            'neither "data" nor',
        ),
        (
            b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, -3], "data": []}]}',
            {},
            "positive whole numbers",
        ),
        (
            b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": ["a", "b"]}]}',
            {},
            "list of numbers",
        ),
        (
            b'{"inputs": [{"name": "input", "datatype": "BYTES", "shape": [1, 2], "data": [1, 2]}]}',
            {},
            "known are",
        ),
        (b"{}", {"Inference-Header-Content-Length": "99"}, "at most the body's 2 bytes"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, "Inference-Header-Content-Length"),
        (
            b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2],'
            b' "parameters": {"binary_data_size": 8}}]}1234',
            {"Inference-Header-Content-Length": "107"},
            "4 bytes follow",
        ),
        (b"x" * 20, {"Content-Encoding": "br"}, "Content-Encoding"),
    ],
)
def test_malformed_requests_get_an_error_that_helps(
    gateway: Process, content: bytes, headers: dict[str, str], complaint: str
) -> None:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"))
    connection.request("POST", f"/v2/models/{TINY}/infer", content, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 400
    assert complaint in answer["error"]
    connection.request("GET", "/v2/health/live")
    assert connection.getresponse().status == 200  # the same connection goes on
    connection.close()


def test_a_large_tensor_is_copied_once_on_its_way_in_and_out(client: triton.InferenceServerClient) -> None:
    data = image(3, 4, (8, 8, 8))  # 8 KiB: received into the workers' memory
    result = client.infer(f"{TINY}@1", [tensor(data)])
    np.testing.assert_allclose(result.as_numpy("output"), answer_of(TINY, 1, data), rtol=1e-4, atol=1e-5)
    # What came in one piece with the request's head is copied out of it; nothing else is.
    assert result.get_response()["parameters"]["copied_bytes"] <= 2 * (data.nbytes + 1024) + 4096


def test_prometheus_can_read_what_happens(gateway: Process, client: triton.InferenceServerClient) -> None:
    client.infer(TINY, [tensor(image(0))], parameters={"fragment": "phone-0"})
    for name, data, parameters in (
        (SLOW, image(0), {"budget_ms": PAUSE_S * 500}),
        (CHOOSY, -np.abs(image(0)), {}),
    ):
        with pytest.raises(InferenceServerException):
            client.infer(name, [tensor(data)], parameters=parameters)
    with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=10) as response:
        text = response.read().decode()
    samples = {
        (sample.name, sample.labels.get("fragment", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["regraft_gateway_generation", ""] == 7
    assert samples["regraft_gateway_answered_total", "phone-0"] >= 1
    assert samples["regraft_gateway_on_time_total", "phone-0"] >= 1
    assert samples["regraft_gateway_planned_rps", "phone-0"] == 10.0
    assert samples["regraft_gateway_dropped_total", "phone-2"] >= 1
    assert samples["regraft_gateway_failed_total", "phone-3"] >= 1
    assert samples["regraft_gateway_refused_total", "phone-3"] == 0
    for name in ("wait_seconds", "exec_seconds", "batch_samples"):
        assert samples[f"regraft_stage_{name}_count", ""] >= 0
    assert samples["regraft_gateway_in_flight", ""] == 0


def test_unknown_paths_and_methods_are_refused(gateway: Process) -> None:
    assert get(f"{gateway.url}/v3")[0] == 404
    assert get(f"{gateway.url}/v2/models/{TINY}/infer")[0] == 400
    assert get(f"{gateway.url}/v2/models/{TINY}/versions/2")[0] == 404
    status, answer = get(f"{gateway.url}/v2/models/{TINY}@x")
    assert status == 404
    assert "model@start" in answer["error"]


def test_before_anything_is_deployed_a_gateway_says_that_it_does_not_serve(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        gateway = cluster.gateway(cluster.agent())
        gateway.listening()
        assert get(f"{gateway.url}/v2/health/live")[0] == 200
        assert get(f"{gateway.url}/v2/health/ready") == (503, {"ready": False})
        status, answer = post_json(f"{gateway.url}/v2/models/{TINY}/infer", {})
        assert status in (400, 503)
        status, answer = get(f"{gateway.url}/v2/models/{TINY}")
        assert status == 503
        assert "no generation is routed" in answer["error"]
