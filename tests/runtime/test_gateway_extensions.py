"""What else unmodified Triton clients ask of the gateway, over HTTP and gRPC, and how it is refused."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from runtime.errors import BadRequestError
from runtime.inference_extensions import decompress
from runtime.inference_protocol_grpc import DATA_TYPES, message_class
from tests.runtime.cluster import (
    TINY,
    answer_of,
    assignment_of,
    cluster_in,
    ready,
    route,
    stage,
    wait_for,
)

QUEUE = 8


class Addresses(NamedTuple):
    http: str
    grpc: str


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    directory = tmp_path_factory.mktemp("extensions")
    with cluster_in(directory) as cluster:
        assignment = assignment_of(1, [stage("s", TINY, 0, 3)], [route("phone-0", TINY, 0, ["s"])])
        cluster.service.assign(node_a=assignment)
        port_file = directory / "grpc.port"
        options = ("--grpc-port=0", f"--grpc-port-file={port_file}", f"--queue={QUEUE}")
        gateway = cluster.gateway(cluster.agent(), options=options)
        wait_for(lambda: ready(gateway), what="routed generation")
        yield Addresses(
            gateway.url.removeprefix("http://"), f"127.0.0.1:{Path(port_file).read_text().strip()}"
        )


KINDS = pytest.mark.parametrize("kind", ["http", "grpc"])


@pytest.fixture
def client(kind: str, addresses: Addresses) -> Iterator[Any]:
    library = getattr(tritonclient, kind)
    with library.InferenceServerClient(getattr(addresses, kind)) as client:
        yield client


def image(samples: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(samples).standard_normal((samples, 3, 8, 8)).astype(np.float32)


def given(kind: str, data: np.ndarray[Any, Any]) -> list[Any]:
    tensor = getattr(tritonclient, kind).InferInput("input", list(data.shape), "FP32")
    tensor.set_data_from_numpy(data)
    return [tensor]


def as_dict(kind: str, answer: Any) -> dict[str, Any]:
    """What a client gives for an answer: JSON over HTTP; over gRPC JSON too, if it is asked so."""
    content: dict[str, Any] = answer["config"] if kind == "grpc" else answer
    return content


@KINDS
def test_a_models_configuration_says_what_it_takes_and_how_much(kind: str, client: Any) -> None:
    options = {"as_json": True} if kind == "grpc" else {}
    config = as_dict(kind, client.get_model_config(TINY, **options))
    assert config["name"] == TINY
    assert config["max_batch_size"] == QUEUE
    [taken], [answered] = config["input"], config["output"]
    assert (taken["name"], taken["data_type"], [int(size) for size in taken["dims"]]) == (
        "input",
        "TYPE_FP32",
        [3, 8, 8],
    )
    assert (answered["data_type"], [int(size) for size in answered["dims"]]) == ("TYPE_FP32", [10])
    with pytest.raises(InferenceServerException, match="not served"):
        client.get_model_config("resnet18")


@KINDS
def test_the_index_lists_what_is_served(kind: str, client: Any) -> None:
    index = client.get_model_repository_index(**({"as_json": True} if kind == "grpc" else {}))
    models = index["models"] if kind == "grpc" else index
    assert [(model["name"], model["state"]) for model in models] == [(TINY, "READY")]


@KINDS
@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_taken(kind: str, client: Any, algorithm: str) -> None:
    option = "request_compression_algorithm" if kind == "http" else "compression_algorithm"
    answer = client.infer(TINY, given(kind, image(2)), **{option: algorithm})
    expected = answer_of(TINY, 0, image(2))
    np.testing.assert_allclose(answer.as_numpy("output"), expected, rtol=1e-4, atol=1e-5)


@KINDS
def test_asynchronous_clients_work(kind: str, addresses: Addresses) -> None:
    async def ask() -> list[Any]:
        library = getattr(tritonclient, kind)
        async with library.aio.InferenceServerClient(getattr(addresses, kind)) as client:
            assert await client.is_server_ready()
            asked = (client.infer(TINY, given(kind, image(samples))) for samples in (1, 2, 3))
            return await asyncio.gather(*asked)

    for samples, answer in zip((1, 2, 3), asyncio.run(ask()), strict=True):
        expected = answer_of(TINY, 0, image(samples))
        np.testing.assert_allclose(answer.as_numpy("output"), expected, rtol=1e-4, atol=1e-5)


@KINDS
def test_shared_memory_of_clients_is_refused_rather_than_overlooked(kind: str, client: Any) -> None:
    library = getattr(tritonclient, kind)
    tensor = library.InferInput("input", [1, 3, 8, 8], "FP32")
    tensor.set_shared_memory("region", 768)
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer(TINY, [tensor])
    output = library.InferRequestedOutput("output")
    output.set_shared_memory("region", 40)
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer(TINY, given(kind, image()), outputs=[output])
    for register in (client.register_system_shared_memory, client.get_system_shared_memory_status):
        arguments = ("region", "/key", 768) if register == client.register_system_shared_memory else ()
        with pytest.raises(InferenceServerException, match="not offered"):
            register(*arguments)


@KINDS
def test_what_would_change_the_answer_is_refused(kind: str, client: Any) -> None:
    library = getattr(tritonclient, kind)
    with pytest.raises(InferenceServerException, match="classification"):
        client.infer(
            TINY, given(kind, image()), outputs=[library.InferRequestedOutput("output", class_count=3)]
        )
    with pytest.raises(InferenceServerException, match="there is one"):
        client.infer(TINY, given(kind, image()), outputs=[library.InferRequestedOutput("logits")])


@KINDS
def test_text_and_a_second_tensor_are_refused(kind: str, client: Any) -> None:
    library = getattr(tritonclient, kind)
    text = library.InferInput("input", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([["words"]], dtype=object))
    with pytest.raises(InferenceServerException, match="BYTES"):
        client.infer(TINY, [text])
    with pytest.raises(InferenceServerException, match="one"):
        client.infer(TINY, given(kind, image()) * 2)


def test_what_grpc_clients_may_call_beside_that_is_refused_by_name(addresses: Addresses) -> None:
    with tritonclient.grpc.InferenceServerClient(addresses.grpc) as client:
        for call in (client.get_inference_statistics, client.get_trace_settings, client.get_log_settings):
            with pytest.raises(InferenceServerException, match="is not offered") as error:
                call()
            assert error.value.status() == "StatusCode.UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("body", "encoding", "complaint"),
    [
        (zlib.compress(bytes(10_000)), b"gzip", "larger than 1000 bytes when unpacked"),
        (zlib.compress(bytes(500))[:-3], b"deflate", "ends too soon"),
        (b"plain", b"gzip", "the body is not gzip"),
        (b"plain", b"br", "'br' is not taken"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused(body: bytes, encoding: bytes, complaint: str) -> None:
    with pytest.raises(BadRequestError, match=complaint):
        decompress(memoryview(body), encoding, 1000)


def test_types_in_a_configuration_are_numbered_as_triton_numbers_them() -> None:
    from tritonclient.grpc import model_config_pb2

    assert {name: model_config_pb2.DataType.Value(name) for name in DATA_TYPES} == DATA_TYPES


@pytest.mark.parametrize("name", ["ModelConfigResponse", "RepositoryIndexResponse"])
def test_messages_of_these_extensions_are_read_by_the_public_ones(name: str) -> None:
    from tritonclient.grpc import service_pb2

    content = {
        "ModelConfigResponse": {
            "config": {
                "name": "m",
                "platform": "p",
                "backend": "b",
                "max_batch_size": 4,
                "version_policy": {"latest": {"num_versions": 1}},
                "input": [{"name": "input", "data_type": 11, "dims": [3, 8]}],
                "output": [{"name": "output", "data_type": 9, "dims": [2]}],
            }
        },
        "RepositoryIndexResponse": {
            "models": [{"name": "m", "version": "1", "state": "READY", "reason": ""}]
        },
    }[name]
    ours = message_class(name)(**content).SerializeToString()
    theirs = getattr(service_pb2, name)(**content)
    assert getattr(service_pb2, name).FromString(ours) == theirs
