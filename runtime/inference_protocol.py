"""The Open Inference Protocol (KServe v2) over HTTP: what a request asks, and how it is answered.

JSON as the protocol has it, with Triton's binary tensor extension: a body whose first
`Inference-Header-Content-Length` bytes are JSON, and whose rest is the tensors' bytes. A fragment is a
model named `resnet101@12`: the layers from 12 on; plain `resnet101` is the whole of it. There is one
input, "input", and one output, "output", with the samples along the first dimension; FP32 unless the model
takes something else there.

Parameters of a request that mean something here:

    fragment      the id of the fragment (the phone) that asks: its routes and its budget are used
    budget_ms     the time this request may take, instead of its fragment's budget
    timeout       Triton's name for the same, in microseconds

Parameters of an answer:

    total_ms      from the request's arrival to its answer being ready
    fragment      whose route it took
    generation    the deployment that answered
    copied_bytes  bytes that gateway and workers copied in memory for this request, all together
    stages        JSON text: [{"stage", "queue_ms", "exec_ms", "batch"}, …], in the order of the route
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import orjson

from runtime.errors import BadRequestError
from runtime.inference_extensions import check_tensor_parameters
from runtime.transport import Bytes
from runtime.transport_arena import Tensor

INPUT, OUTPUT = "input", "output"
HEADER_LENGTH = b"inference-header-content-length"

# The protocol's names of the types that numpy knows too.
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}


class TensorType(NamedTuple):
    """What crosses a cut: the protocol's name of its type, and the shape of one sample."""

    datatype: str
    shape: tuple[int, ...]


# Not frozen, this and what follows it: one of each is made for every request, and freezing doubles the cost.
@dataclass(slots=True)
class InferRequest:
    """One inference request: `tensor` are the bytes of `datatype` [shape], samples along dimension 0.

    `copied` counts the bytes that were copied for it so far.
    """

    id: str
    datatype: str
    shape: tuple[int, ...]
    tensor: Tensor
    fragment: str | None = None
    budget_ms: float | None = None
    binary_output: bool = False
    copied: int = 0

    def within(self, budget_ms: float) -> InferRequest:
        """The same request, wanted within this time if it is less than its own."""
        if self.budget_ms is not None and self.budget_ms <= budget_ms:
            return self
        return replace(self, budget_ms=max(budget_ms, 1e-3))


@dataclass(slots=True)
class StageTime:
    """Where a request's time went: waiting (transport included), and running in a batch of `batch`."""

    stage: str
    queue_ms: float
    exec_ms: float
    batch: int


@dataclass(slots=True)
class Answer:
    """The answer to a request: `tensor` are the bytes of `datatype` [shape]."""

    datatype: str
    shape: tuple[int, ...]
    tensor: Bytes
    fragment: str
    generation: int
    total_ms: float
    stages: tuple[StageTime, ...]
    copied_bytes: int = 0

    def parameters(self) -> dict[str, Any]:
        """What the answer says about itself; `stages` is text, since a parameter is a scalar."""
        stages = [
            {
                "stage": s.stage,
                "queue_ms": round(s.queue_ms, 3),
                "exec_ms": round(s.exec_ms, 3),
                "batch": s.batch,
            }
            for s in self.stages
        ]
        return {
            "total_ms": round(self.total_ms, 3),
            "fragment": self.fragment,
            "generation": self.generation,
            "copied_bytes": self.copied_bytes,
            "stages": orjson.dumps(stages).decode(),
        }


class Known(NamedTuple):
    """What the JSON of a request said, for the next request that says the same beside another tensor."""

    id: str
    datatype: str
    shape: tuple[int, ...]
    length: int
    fragment: str | None
    budget_ms: float | None
    binary_output: bool


# A client's requests mostly differ in their tensors alone: their JSON is read once.
_KNOWN: dict[bytes, Known] = {}
_MOST_KNOWN = 1024
_KNOWN_TEXT = 2048


def split_name(name: str) -> tuple[str, int] | None:
    """`resnet101@12` is (resnet101, 12), `resnet101` is (resnet101, 0); None for what cannot be one."""
    model, at, start = name.rpartition("@")
    if not at:
        return name, 0
    return (model, int(start)) if model and start.isascii() and start.isdigit() else None


def joined_name(model: str, start: int) -> str:
    """The name under which the layers of `model` from `start` on are served."""
    return f"{model}@{start}" if start else model


def parse_request(arrived: Tensor, header_length: bytes | None, copied: int = 0) -> InferRequest:
    """Read the body of an infer request; the tensor stays where it is. Raises BadRequestError."""
    body = arrived.data
    json_bytes = _json_length(header_length, len(body))
    text = bytes(body[:json_bytes])
    known = _KNOWN.get(text)
    if known is not None and known.length == len(body) - json_bytes:
        return InferRequest(
            known.id,
            known.datatype,
            known.shape,
            Tensor(body[json_bytes:], arrived.offset + json_bytes if arrived.offset >= 0 else -1),
            known.fragment,
            known.budget_ms,
            known.binary_output,
            copied,
        )
    request = _parse(text, arrived, json_bytes, copied)
    if len(text) <= _KNOWN_TEXT and len(body) > json_bytes:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[text] = Known(
            request.id,
            request.datatype,
            request.shape,
            len(body) - json_bytes,
            request.fragment,
            request.budget_ms,
            request.binary_output,
        )
    return request


def _parse(text: bytes, arrived: Tensor, json_bytes: int, copied: int) -> InferRequest:
    try:
        content = _read_json(text)
    except ValueError as error:
        raise BadRequestError(f"the request's JSON cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise BadRequestError("the request is not a JSON object")
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadRequestError(f'"inputs" must be a list of one tensor, named "{INPUT}"')
    tensor_spec = inputs[0]
    if tensor_spec.get("name") != INPUT:
        raise BadRequestError(f'the input is named {tensor_spec.get("name")!r}; expected "{INPUT}"')
    datatype = tensor_spec.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise BadRequestError(f"the input's datatype is {datatype!r}; known are {', '.join(DATATYPES)}")
    shape = check_shape(tensor_spec.get("shape"))
    parameters = _parameters(content, "the request")
    fragment, budget_ms = request_parameters(parameters)
    identity = content.get("id", "")
    return InferRequest(
        id=identity if isinstance(identity, str) else str(identity),
        datatype=datatype,
        shape=shape,
        tensor=_tensor(tensor_spec, shape, arrived, json_bytes),
        fragment=fragment,
        budget_ms=budget_ms,
        binary_output=_wants_binary(content, parameters),
        copied=copied,
    )


def request_parameters(parameters: dict[str, Any]) -> tuple[str | None, float | None]:
    """The fragment and the budget in ms that a request's parameters name. Raises BadRequestError."""
    fragment = parameters.get("fragment")
    if fragment is not None and not isinstance(fragment, str):
        raise BadRequestError(f"the parameter fragment is {fragment!r}; expected a fragment's id, as text")
    if "budget_ms" in parameters:
        return fragment, _positive("budget_ms", parameters["budget_ms"])
    if "timeout" in parameters:
        return fragment, _positive("timeout", parameters["timeout"]) / 1000
    return fragment, None


def check_shape(value: Any) -> tuple[int, ...]:
    """The shape a request states. Raises BadRequestError."""
    if not isinstance(value, list) or not value or not all(type(size) is int and size > 0 for size in value):
        raise BadRequestError(f"the input's shape is {value!r}; expected a list of positive whole numbers")
    return tuple(value)


def check_size(length: int, datatype: str, shape: tuple[int, ...]) -> None:
    """Whether so many bytes are a tensor of that type and shape. Raises BadRequestError."""
    expected = math.prod(shape) * DATATYPES[datatype].itemsize
    if length != expected:
        raise BadRequestError(
            f"the input has {length} bytes; its shape {list(shape)} in {datatype} needs {expected}"
        )


def render_answer(name: str, request: InferRequest, answer: Answer) -> tuple[bytes, Bytes | None]:
    """The answer's JSON, and the bytes that follow it where the client asked for binary."""
    output: dict[str, Any] = {"name": OUTPUT, "datatype": answer.datatype, "shape": list(answer.shape)}
    tensor: Bytes | None = None
    finite = True
    if request.binary_output:
        tensor = answer.tensor
        output["parameters"] = {"binary_data_size": len(tensor)}
    else:
        values = np.frombuffer(answer.tensor, dtype=DATATYPES[answer.datatype])
        output["data"] = values.tolist()
        finite = bool(np.isfinite(values).all())
    content: dict[str, Any] = {
        "model_name": name,
        "model_version": "1",
        "parameters": answer.parameters(),
        "outputs": [output],
    }
    if request.id:
        content["id"] = request.id
    # JSON has no word for what is not finite; Python's own module has one that Python's clients read.
    return orjson.dumps(content) if finite else json.dumps(content).encode(), tensor


def model_metadata(name: str, given: TensorType, answered: TensorType) -> dict[str, Any]:
    """What `/v2/models/{name}` answers; -1 stands for any number of samples."""
    return {
        "name": name,
        "versions": ["1"],
        "platform": "regraft",
        "inputs": [{"name": INPUT, "datatype": given.datatype, "shape": [-1, *given.shape]}],
        "outputs": [{"name": OUTPUT, "datatype": answered.datatype, "shape": [-1, *answered.shape]}],
    }


def model_config(name: str, given: TensorType, answered: TensorType, most_samples: int) -> dict[str, Any]:
    """What Triton's model configuration extension answers; `dims` are one sample's."""
    return {
        "name": name,
        "platform": "regraft",
        "backend": "regraft",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": most_samples,
        "input": [{"name": INPUT, "data_type": f"TYPE_{given.datatype}", "dims": list(given.shape)}],
        "output": [{"name": OUTPUT, "data_type": f"TYPE_{answered.datatype}", "dims": list(answered.shape)}],
    }


def _read_json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)  # with NaN and Infinity, as Python's clients write them


def _json_length(header_length: bytes | None, body_length: int) -> int:
    if header_length is None:
        return body_length
    if not header_length.isdigit() or int(header_length) > body_length:
        raise BadRequestError(
            f"Inference-Header-Content-Length is {header_length.decode('latin-1')!r}; "
            f"expected the length of the JSON, at most the body's {body_length} bytes"
        )
    return int(header_length)


def _parameters(content: dict[str, Any], owner: str) -> dict[str, Any]:
    parameters = content.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequestError(f"{owner}'s parameters are {parameters!r}; expected an object")
    return parameters


def _tensor(spec: dict[str, Any], shape: tuple[int, ...], arrived: Tensor, json_bytes: int) -> Tensor:
    binary = arrived.data[json_bytes:]
    parameters = _parameters(spec, "the input")
    check_tensor_parameters(parameters, "the input")
    length = parameters.get("binary_data_size")
    if length is None:
        if len(binary):
            raise BadRequestError(
                f"{len(binary)} bytes follow the JSON, but the input has no parameter binary_data_size"
            )
        return Tensor(_tensor_from_json(spec, DATATYPES[spec["datatype"]], math.prod(shape)))
    if type(length) is not int or length != len(binary):
        raise BadRequestError(
            f"the input's binary_data_size is {length!r}, but {len(binary)} bytes follow the JSON "
            "(is Inference-Header-Content-Length right?)"
        )
    check_size(length, spec["datatype"], shape)
    return Tensor(binary, arrived.offset + json_bytes if arrived.offset >= 0 else -1)


def _tensor_from_json(spec: dict[str, Any], datatype: np.dtype[Any], count: int) -> memoryview:
    if "data" not in spec:
        raise BadRequestError('the input has neither "data" nor the parameter binary_data_size')
    try:
        values = np.asarray(spec["data"], dtype=datatype)
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError(
            f'the input\'s "data" is not a (nested) list of numbers of {spec["datatype"]}'
        ) from None
    if values.size != count:
        raise BadRequestError(f"the input's data has {values.size} numbers; its shape needs {count}")
    return memoryview(values.tobytes())


def _wants_binary(content: dict[str, Any], parameters: dict[str, Any]) -> bool:
    outputs = content.get("outputs")
    if not outputs:
        return parameters.get("binary_data_output") is True
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise BadRequestError('"outputs" must be a list of objects')
    names = [output.get("name") for output in outputs]
    if names != [OUTPUT]:
        raise BadRequestError(f'the outputs asked for are {names}; there is one, "{OUTPUT}"')
    own = _parameters(outputs[0], "the output")
    check_tensor_parameters(own, "the output")
    return own.get("binary_data", parameters.get("binary_data_output")) is True


def _positive(name: str, value: Any) -> float:
    if isinstance(value, str):  # some clients only send text
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        raise BadRequestError(f"the parameter {name} is {value!r}; expected a positive number")
    return float(value)
