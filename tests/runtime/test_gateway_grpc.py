"""The gateway over gRPC, asked by an unmodified tritonclient."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from runtime.inference_protocol_grpc import message_class
from tests.runtime.cluster import (
    CHOOSY,
    SLOW,
    TINY,
    answer_of,
    assignment_of,
    cluster_in,
    ready,
    route,
    stage,
    wait_for,
)
from tests.runtime.tiny_models import PAUSE_S


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("grpc")
    with cluster_in(directory) as cluster:
        stages = [stage("s0", TINY, 0, 1), stage("s1", TINY, 1, 3), stage("slow", SLOW, 0, 3, batch=1)]
        stages += [stage("choosy", CHOOSY, 0, 2)]
        routes = [
            route("phone-0", TINY, 0, ["s0", "s1"]),
            route("phone-1", TINY, 1, ["s1"]),
            route("phone-2", SLOW, 0, ["slow"]),
            route("phone-3", CHOOSY, 0, ["choosy"]),
        ]
        cluster.service.assign(node_a=assignment_of(3, stages, routes))
        port_file = directory / "grpc.port"
        gateway = cluster.gateway(
            cluster.agent(), options=("--grpc-port=0", f"--grpc-port-file={port_file}", "--queue=4")
        )
        wait_for(lambda: ready(gateway), what="routed generation")
        yield f"127.0.0.1:{port_file.read_text().strip()}"


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as client:
        yield client


def image(seed: int, samples: int = 1, shape: tuple[int, ...] = (3, 8, 8)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((samples, *shape)).astype(np.float32)


def tensor(data: np.ndarray[Any, Any], name: str = "input") -> triton.InferInput:
    made = triton.InferInput(name, list(data.shape), "FP32")
    made.set_data_from_numpy(data)
    return made


def test_a_triton_client_finds_a_live_and_ready_server(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(TINY)
    assert client.get_server_metadata(as_json=True)["name"] == "regraft"
    metadata = client.get_model_metadata(f"{TINY}@1", as_json=True)
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": ["-1", "8", "8", "8"]}]
    assert metadata["outputs"] == [{"name": "output", "datatype": "FP32", "shape": ["-1", "10"]}]


@pytest.mark.parametrize("samples", [1, 4])
def test_answers_equal_the_models_and_say_where_their_time_went(
    client: triton.InferenceServerClient, samples: int
) -> None:
    data = image(1, samples)
    result = client.infer(TINY, [tensor(data)], parameters={"fragment": "phone-0"}, request_id="r-9")
    np.testing.assert_allclose(result.as_numpy("output"), answer_of(TINY, 0, data), rtol=1e-4, atol=1e-5)
    response = result.get_response(as_json=True)
    assert response["id"] == "r-9"
    assert response["parameters"]["fragment"]["string_param"] == "phone-0"
    assert response["parameters"]["generation"]["int64_param"] == "3"
    assert response["parameters"]["total_ms"]["double_param"] > 0
    stages = json.loads(response["parameters"]["stages"]["string_param"])
    assert [entry["stage"] for entry in stages] == ["s0", "s1"]


def test_requests_over_a_stream_are_answered_in_order_each_with_its_own_errors(
    client: triton.InferenceServerClient,
) -> None:
    heard: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: heard.put((result, error)))
    for number in range(3):
        client.async_stream_infer(TINY, [tensor(image(number))], request_id=str(number))
    client.async_stream_infer("resnet18", [tensor(image(0))])
    client.async_stream_infer(TINY, [tensor(image(3))], request_id="3")
    answers = [heard.get(timeout=30) for _ in range(5)]
    client.stop_stream()
    assert "not served" in str(answers.pop(3)[1])
    for number, (result, error) in enumerate(answers):
        assert error is None
        assert result.get_response().id == str(number)
        expected = answer_of(TINY, 0, image(number))
        np.testing.assert_allclose(result.as_numpy("output"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "data", "options", "code", "complaint"),
    [
        ("resnet18", tensor(image(0)), {}, "NOT_FOUND", "not served"),
        (TINY, tensor(image(0)), {"model_version": "2"}, "NOT_FOUND", "one version"),
        (TINY, tensor(image(0, 1, (3, 9, 9))), {}, "INVALID_ARGUMENT", "takes FP32"),
        (TINY, tensor(image(0), "image"), {}, "INVALID_ARGUMENT", "expected one"),
        (TINY, tensor(image(0)), {"parameters": {"budget_ms": 0}}, "INVALID_ARGUMENT", "positive number"),
        (TINY, tensor(image(0)), {"parameters": {"fragment": "x"}}, "NOT_FOUND", "there is phone-0"),
        (CHOOSY, tensor(-np.abs(image(0))), {}, "INTERNAL", "negative input"),
        (SLOW, tensor(image(0)), {"timeout": int(PAUSE_S * 500_000)}, "DEADLINE_EXCEEDED", "dropped"),
    ],
)
def test_errors_have_the_codes_of_grpc_and_say_what_would_be_right(
    client: triton.InferenceServerClient,
    name: str,
    data: triton.InferInput,
    options: dict[str, Any],
    code: str,
    complaint: str,
) -> None:
    with pytest.raises(InferenceServerException, match=complaint) as error:
        client.infer(name, [data], **options)
    assert error.value.status() == f"StatusCode.{code}"


def test_a_full_queue_is_unavailable_and_says_why(client: triton.InferenceServerClient) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    for number in range(20):
        client.async_infer(SLOW, [tensor(image(number))], lambda result, error: heard.put(error or result))
    outcomes = [heard.get(timeout=30) for _ in range(20)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, InferenceServerException)]
    assert 0 < len(refused) <= 15
    assert {error.status() for error in refused} == {"StatusCode.UNAVAILABLE"}
    assert all("are queued" in str(error) for error in refused)


def test_tensors_may_come_as_typed_values_too(address: str) -> None:
    data = image(5)
    request = service_pb2.ModelInferRequest(model_name=TINY)
    given = request.inputs.add(name="input", datatype="FP32", shape=data.shape)
    given.contents.fp32_contents.extend(data.ravel().tolist())
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        response = call(request, timeout=30)
    answer = np.frombuffer(response.raw_output_contents[0], dtype=np.float32).reshape(1, 10)
    np.testing.assert_allclose(answer, answer_of(TINY, 0, data), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "ModelInferRequest",
        "ModelInferResponse",
        "ModelStreamInferResponse",
        "ModelMetadataResponse",
        "ServerMetadataResponse",
        "ModelReadyRequest",
        "ServerLiveResponse",
        "ServerReadyResponse",
    ],
)
def test_our_messages_are_those_of_the_public_protocol(name: str) -> None:
    def fields(descriptor: Any) -> dict[str, Any]:
        return {
            field.name: (
                field.number,
                field.type,
                field.is_repeated,
                fields(field.message_type) if field.message_type is not None else None,
            )
            for field in descriptor.fields
        }

    theirs = fields(getattr(service_pb2, name).DESCRIPTOR)
    ours = fields(message_class(name).DESCRIPTOR)
    assert ours == {field: theirs[field] for field in ours}
    assert ours
