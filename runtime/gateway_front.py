"""The gateway's HTTP side: the Open Inference Protocol's paths, on the gateway's routes."""

from __future__ import annotations

from importlib.metadata import version
from urllib.parse import unquote

from runtime.errors import BadRequestError, RequestError, UnknownFragmentError
from runtime.gateway import Gateway
from runtime.http_server import Exchange
from runtime.inference_extensions import decompress
from runtime.inference_protocol import (
    HEADER_LENGTH,
    Answer,
    model_config,
    model_metadata,
    parse_request,
    render_answer,
)
from runtime.metrics import CONTENT_TYPE, Metrics
from runtime.transport_arena import INLINE_BYTES, Arena, Tensor

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository(index)"]
SERVER = {"name": "regraft", "version": version("regraft"), "extensions": EXTENSIONS}


_MOST_PATHS = 4096


class Front:
    """Turns HTTP requests into the gateway's, and its answers into HTTP's."""

    def __init__(
        self, gateway: Gateway, arena: Arena, metrics: Metrics, *, max_body_bytes: int = 1 << 26
    ) -> None:
        self._gateway = gateway
        self._max_body_bytes = max_body_bytes
        # Paths at which requests were accepted, so that they need not be taken apart again.
        self._inferring: dict[str, str] = {}
        self._arena = arena
        self._metrics = metrics

    def allocate(self, headers: dict[bytes, bytes], size: int) -> Tensor:
        """Where a request's body is received: tensors straight into the workers' memory."""
        json_bytes = headers.get(HEADER_LENGTH, b"")
        if size >= INLINE_BYTES and json_bytes.isdigit():
            slot = self._arena.allocate(size, int(json_bytes))
            if slot is not None:
                return slot
        return Tensor(memoryview(bytearray(size)))

    def handle(self, exchange: Exchange) -> None:
        """Answer one request, now or when its stages have."""
        try:
            name = self._inferring.get(exchange.path)
            if name is not None and exchange.method == "POST":
                self._infer(exchange, name)
            else:
                self._handle(exchange)
        except RequestError as error:
            self._gateway.tally.statuses[error.status] += 1
            _refuse(exchange, error)

    def _handle(self, exchange: Exchange) -> None:
        parts = exchange.path.strip("/").split("/")
        match parts:
            case ["v2", "models", name, "infer"] | ["v2", "models", name, "versions", "1", "infer"]:
                _expect(exchange, "POST")
                name = unquote(name)
                self._infer(exchange, name)
                if len(self._inferring) < _MOST_PATHS:
                    self._inferring[exchange.path] = name
            case ["v2", "models", name] | ["v2", "models", name, "versions", "1"]:
                _expect(exchange, "GET")
                name = unquote(name)
                exchange.respond_json(200, model_metadata(name, *self._gateway.describe(name)))
            case ["v2", "models", name, "ready"] | ["v2", "models", name, "versions", "1", "ready"]:
                _expect(exchange, "GET")
                ready = self._gateway.model_ready(unquote(name))
                exchange.respond_json(200 if ready else 503, {"name": unquote(name), "ready": ready})
            case ["v2", "models", name, "config"] | ["v2", "models", name, "versions", "1", "config"]:
                _expect(exchange, "GET")
                name, most = unquote(name), self._gateway.queue_limit
                exchange.respond_json(200, model_config(name, *self._gateway.describe(name), most))
            case ["v2", "models", name, "versions", number, *_]:
                raise UnknownFragmentError(f"{unquote(name)} has one version, 1; not {number}")
            case ["metrics"]:
                exchange.respond(200, ((b"content-type", CONTENT_TYPE),), self._metrics.render())
            case ["v2"]:
                exchange.respond_json(200, SERVER)
            case ["v2", "health", "live"]:
                exchange.respond_json(200, {"live": True})
            case ["v2", "health", "ready"]:
                ready = self._gateway.ready
                exchange.respond_json(200 if ready else 503, {"ready": ready})
            case ["v2", "repository", "index"]:
                index = [{"name": name, "version": "1", "state": "READY"} for name in self._gateway.names()]
                exchange.respond_json(200, index)
            case ["v2", "systemsharedmemory" | "cudasharedmemory", *_]:
                raise BadRequestError("shared memory is not offered: see the extensions at /v2")
            case _:
                raise UnknownFragmentError(f"there is nothing at {exchange.path}")

    def _infer(self, exchange: Exchange, name: str) -> None:
        if not exchange.early:
            self._gateway.check_taking()
        body, copied = exchange.body, exchange.copied
        encoding = exchange.headers.get(b"content-encoding")
        if encoding not in (None, b"identity"):
            body = Tensor(decompress(body.data, encoding, self._max_body_bytes))
            copied += len(body.data)
        request = parse_request(body, exchange.headers.get(HEADER_LENGTH), copied)

        def done(outcome: Answer | RequestError) -> None:
            if isinstance(outcome, RequestError):
                _refuse(exchange, outcome)
                return
            head, tensor = render_answer(name, request, outcome)
            if tensor is None:
                exchange.respond(200, ((b"content-type", b"application/json"),), head)
            else:
                headers = (
                    (b"content-type", b"application/octet-stream"),
                    (b"inference-header-content-length", b"%d" % len(head)),
                )
                exchange.respond(200, headers, head, tensor)

        self._gateway.submit(name, request, done, lambda: exchange.gone)


def _expect(exchange: Exchange, method: str) -> None:
    if exchange.method != method and not (method == "GET" and exchange.method == "HEAD"):
        raise BadRequestError(f"{exchange.path} takes {method}, not {exchange.method}")


def _refuse(exchange: Exchange, error: RequestError) -> None:
    headers = ((b"retry-after", b"1"),) if error.status in (429, 503) else ()
    exchange.respond_json(error.status, {"error": str(error)}, headers)
