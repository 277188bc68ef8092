"""What a request asks, however it is written."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from runtime import inference_protocol
from runtime.errors import BadRequestError
from runtime.inference_protocol import Answer, InferRequest, parse_request, render_answer
from runtime.transport_arena import Tensor


def binary(data: np.ndarray[Any, Any], **content: Any) -> tuple[Tensor, bytes]:
    """A request's body with a binary tensor, as it lies at byte 64 of an arena, and its header's length."""
    spec = {
        "name": "input",
        "datatype": "FP32",
        "shape": list(data.shape),
        "parameters": {"binary_data_size": data.nbytes},
    }
    head = json.dumps({"inputs": [spec], **content}).encode()
    return Tensor(memoryview(head + data.tobytes()), 64), str(len(head)).encode()


def test_a_second_request_that_says_the_same_has_its_own_tensor() -> None:
    first, second = (np.full((2, 3), number, np.float32) for number in (1, 2))
    parameters = {"fragment": "phone-0", "budget_ms": 7, "binary_data_output": True}
    asked = [parse_request(*binary(data, parameters=parameters, id="r")) for data in (first, second)]
    for request, data in zip(asked, (first, second), strict=True):
        np.testing.assert_array_equal(np.frombuffer(request.tensor.data, np.float32).reshape(2, 3), data)
        assert request.shape == (2, 3)
        assert (request.id, request.fragment, request.budget_ms) == ("r", "phone-0", 7)
        assert request.binary_output
    assert asked[0].tensor.offset == asked[1].tensor.offset > 64
    assert asked[0].within(3.0).budget_ms == 3.0
    assert asked[0].budget_ms == asked[1].budget_ms == 7


def test_the_same_words_before_fewer_bytes_are_refused_as_ever() -> None:
    body, length = binary(np.ones((2, 3), np.float32))
    parse_request(body, length)
    with pytest.raises(BadRequestError, match="20 bytes follow"):
        parse_request(Tensor(body.data[:-4]), length)


def test_bytes_that_nobody_announced_are_refused_and_not_remembered() -> None:
    head = json.dumps(
        {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": [5.0]}]}
    ).encode()
    for _ in range(2):
        with pytest.raises(BadRequestError, match="4 bytes follow the JSON"):
            parse_request(Tensor(memoryview(head + bytes(4))), str(len(head)).encode())
    request = parse_request(Tensor(memoryview(head)), None)
    assert np.frombuffer(request.tensor.data, np.float32).tolist() == [5.0]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_protocol, "_MOST_KNOWN", 4)
    for number in range(20):
        parse_request(*binary(np.ones((1, 2), np.float32), id=str(number)))
        assert len(inference_protocol._KNOWN) <= 4


def test_numbers_that_are_none_survive_as_pythons_clients_write_them() -> None:
    text = '{"inputs": [{"name": "input", "datatype": "FP32", "shape": [2], "data": [NaN, Infinity]}]}'
    request = parse_request(Tensor(memoryview(text.encode())), None)
    values = np.frombuffer(request.tensor.data, np.float32)
    assert math.isnan(values[0])
    assert values[1] == math.inf
    answer = Answer("FP32", (2,), memoryview(values.tobytes()), "phone-0", 1, 2.0, ())
    head, tensor = render_answer("m", InferRequest("", "FP32", (2,), request.tensor), answer)
    assert tensor is None
    assert math.isnan(json.loads(head)["outputs"][0]["data"][0])
