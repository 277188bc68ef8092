"""The gateway's gRPC side: the Open Inference Protocol's service, on the gateway's routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import numpy as np

from runtime.errors import BadRequestError, RequestError, UnknownFragmentError
from runtime.gateway import Gateway
from runtime.gateway_front import EXTENSIONS, SERVER
from runtime.inference_extensions import check_tensor_parameters
from runtime.inference_protocol import (
    DATATYPES,
    INPUT,
    OUTPUT,
    Answer,
    InferRequest,
    check_shape,
    check_size,
    model_config,
    model_metadata,
    request_parameters,
)
from runtime.inference_protocol_grpc import (
    CONTENTS,
    DATA_TYPES,
    NOT_OFFERED,
    SERVICE,
    message_class,
    parameter_value,
    set_parameter,
)
from runtime.transport_arena import Tensor

# 429 has no namesake: a full queue is a server that cannot be had just now.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.UNAVAILABLE,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

# Requests of one stream that may be under way at once.
_STREAM_AHEAD = 64

_Unary = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


class GrpcFront:
    """Turns gRPC calls into the gateway's requests, and its answers into gRPC's."""

    def __init__(self, gateway: Gateway, *, max_body_bytes: int) -> None:
        self._gateway = gateway
        self._max_body_bytes = max_body_bytes
        self._server: grpc.aio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is a free one for port 0. Raises OSError."""
        # The overhead beside the tensor is small, but not nothing.
        limit = self._max_body_bytes + (1 << 16)
        self._server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", -1)]
        )
        calls: dict[str, _Unary] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "RepositoryIndex": self._repository_index,
            "ModelInfer": self._model_infer,
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                _refusing(call),
                request_deserializer=message_class(f"{name}Request").FromString,
                response_serializer=message_class(f"{name}Response").SerializeToString,
            )
            for name, call in calls.items()
        }
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._model_stream_infer,
            request_deserializer=message_class("ModelInferRequest").FromString,
            response_serializer=message_class("ModelStreamInferResponse").SerializeToString,
        )
        for name in NOT_OFFERED:
            handlers[name] = grpc.unary_unary_rpc_method_handler(_not_offered(name))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            bound: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"gRPC port {port}: {error}") from None
        await self._server.start()
        return bound

    async def stop(self, grace_s: float = 5.0) -> None:
        """Let what is being answered be answered, then close."""
        if self._server is not None:
            await self._server.stop(grace_s)

    async def _server_live(self, _request: Any, _context: Any) -> Any:
        return message_class("ServerLiveResponse")(live=True)

    async def _server_ready(self, _request: Any, _context: Any) -> Any:
        return message_class("ServerReadyResponse")(ready=self._gateway.ready)

    async def _model_ready(self, request: Any, _context: Any) -> Any:
        _check_version(request.name, request.version)
        return message_class("ModelReadyResponse")(ready=self._gateway.model_ready(request.name))

    async def _server_metadata(self, _request: Any, _context: Any) -> Any:
        return message_class("ServerMetadataResponse")(
            name=SERVER["name"], version=SERVER["version"], extensions=EXTENSIONS
        )

    async def _model_metadata(self, request: Any, _context: Any) -> Any:
        _check_version(request.name, request.version)
        metadata = model_metadata(request.name, *self._gateway.describe(request.name))
        return message_class("ModelMetadataResponse")(**metadata)

    async def _model_config(self, request: Any, _context: Any) -> Any:
        _check_version(request.name, request.version)
        types = self._gateway.describe(request.name)
        config = model_config(request.name, *types, self._gateway.queue_limit)
        for tensor in (*config["input"], *config["output"]):
            tensor["data_type"] = DATA_TYPES[tensor["data_type"]]
        return message_class("ModelConfigResponse")(config=config)

    async def _repository_index(self, _request: Any, _context: Any) -> Any:
        models = [{"name": name, "version": "1", "state": "READY"} for name in self._gateway.names()]
        return message_class("RepositoryIndexResponse")(models=models)

    async def _model_infer(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        return await self._infer(request, context.time_remaining())

    async def _model_stream_infer(
        self, requests: AsyncIterator[Any], _context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        """Answers in the order of the requests, which run together; an error answers its own request."""
        response = message_class("ModelStreamInferResponse")
        pending: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(_STREAM_AHEAD)

        async def take() -> None:
            async for request in requests:
                await pending.put(asyncio.create_task(self._infer(request, None)))
            await pending.put(None)

        taking = asyncio.create_task(take())
        try:
            while (answering := await pending.get()) is not None:
                try:
                    yield response(infer_response=await answering)
                except RequestError as error:
                    yield response(error_message=str(error))
        finally:
            taking.cancel()
            while not pending.empty():
                left = pending.get_nowait()
                if left is not None:
                    left.cancel()

    async def _infer(self, request: Any, remaining_s: float | None) -> Any:
        _check_version(request.model_name, request.model_version)
        self._gateway.check_taking()
        asked = _parse(request)
        if remaining_s is not None:
            # Nobody waits for the answer after the call's own deadline.
            asked = asked.within(remaining_s * 1000)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | RequestError) -> None:
            if answered.done():  # the caller has gone
                return
            if isinstance(outcome, RequestError):
                answered.set_exception(outcome)
            else:
                answered.set_result(outcome)

        self._gateway.submit(request.model_name, asked, done, answered.done)
        return _render(request, await answered)


def _not_offered(name: str) -> _Unary:
    """A call of Triton's that is none of ours: refused with the reason, not only as unknown."""

    async def refuse(_request: Any, context: grpc.aio.ServicerContext) -> Any:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED, f"{name} is not offered; offered are {', '.join(EXTENSIONS)}"
        )

    return refuse


def _refusing(call: _Unary) -> _Unary:
    """The call, with our errors as gRPC's."""

    async def refusing(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await call(request, context)
        except RequestError as error:
            await context.abort(_CODES[error.status], str(error))

    return refusing


def _parse(request: Any) -> InferRequest:
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        names = [tensor.name for tensor in request.inputs]
        raise BadRequestError(f'the inputs are {names}; expected one, "{INPUT}"')
    tensor = request.inputs[0]
    if tensor.datatype not in DATATYPES:
        raise BadRequestError(
            f"the input's datatype is {tensor.datatype!r}; known are {', '.join(DATATYPES)}"
        )
    outputs = [output.name for output in request.outputs]
    if outputs not in ([], [OUTPUT]):
        raise BadRequestError(f'the outputs asked for are {outputs}; there is one, "{OUTPUT}"')
    check_tensor_parameters(tensor.parameters, "the input")
    for output in request.outputs:
        check_tensor_parameters(output.parameters, "the output")
    shape = check_shape(list(tensor.shape))
    parameters = {name: parameter_value(value) for name, value in request.parameters.items()}
    fragment, budget_ms = request_parameters(parameters)
    return InferRequest(
        id=request.id,
        datatype=tensor.datatype,
        shape=shape,
        tensor=Tensor(_tensor(request, tensor, shape)),
        fragment=fragment,
        budget_ms=budget_ms,
        binary_output=True,
    )


def _tensor(request: Any, tensor: Any, shape: tuple[int, ...]) -> memoryview:
    datatype = DATATYPES[tensor.datatype]
    if request.raw_input_contents:
        if len(request.raw_input_contents) != 1:
            raise BadRequestError(f"{len(request.raw_input_contents)} raw inputs; expected one")
        raw = memoryview(request.raw_input_contents[0])
    else:
        contents = CONTENTS.get(tensor.datatype)
        if contents is None:
            raise BadRequestError(f"{tensor.datatype} is taken as raw_input_contents alone")
        raw = memoryview(np.asarray(getattr(tensor.contents, contents), dtype=datatype).tobytes())
    check_size(len(raw), tensor.datatype, shape)
    return raw


def _render(request: Any, answer: Answer) -> Any:
    response = message_class("ModelInferResponse")(
        model_name=request.model_name,
        model_version="1",
        id=request.id,
        outputs=[{"name": OUTPUT, "datatype": answer.datatype, "shape": answer.shape}],
        raw_output_contents=[bytes(answer.tensor)],
    )
    for name, value in answer.parameters().items():
        set_parameter(response.parameters[name], value)
    return response


def _check_version(name: str, version: str) -> None:
    if version not in ("", "1"):
        raise UnknownFragmentError(f"{name} has one version, 1; not {version}")
