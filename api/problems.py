"""The seam where errors become application/problem+json; nothing else writes an error to a client."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from api.errors import (
    BadRequestError,
    InternalError,
    InvalidInputError,
    MediaTypeError,
    MethodError,
    NotFoundError,
    ServiceError,
    TooLargeError,
)
from api.logs import logger
from planner.errors import Complaint, InputError

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20

_log = logger("regraft.service")

# What the framework raises by itself, in our words.
_BY_STATUS: dict[int, tuple[type[ServiceError], str]] = {
    400: (BadRequestError, "the request cannot be read"),
    404: (NotFoundError, "there is nothing at this path"),
    405: (MethodError, "this path does not have the method"),
    413: (TooLargeError, "the body is too large"),
    415: (MediaTypeError, "the service reads application/json"),
}


def document(error: ServiceError) -> dict[str, Any]:
    """The problem as plain data (RFC 9457, with `code` and `errors` beside the standard's members)."""
    problem: dict[str, Any] = {
        "type": f"urn:regraft:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    if error.errors:
        problem["errors"] = [
            {"place": item.place, "problem": item.problem, "cure": item.cure}
            for item in error.errors[:MAX_ERRORS]
        ]
    return problem | error.extra


def response(error: ServiceError) -> Response:
    """The problem as an answer."""
    content = json.dumps(document(error)).encode()
    return Response(content, status_code=error.status, headers=error.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Register the seam."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(InputError, _input_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _unexpected)


async def _service_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return response(error)


async def _input_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, InputError)
    return response(InvalidInputError.of(error))


async def _validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    complaints = [_complaint(item) for item in error.errors()[:MAX_ERRORS]]
    return response(InvalidInputError("the request does not have the form it should", errors=complaints))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind, detail = _BY_STATUS.get(error.status_code, (BadRequestError, str(error.detail)))
    problem = kind(detail)
    problem.headers |= dict(error.headers or {})
    if error.status_code == 405:
        problem.headers["Allow"] = _allowed(request)
    shown: Callable[[Request, ServiceError], Response] | None = getattr(request.app.state, "show", None)
    if shown is not None and _is_read_by_a_person(request):
        return await run_in_threadpool(shown, request, problem)
    return response(problem)


def _is_read_by_a_person(request: Request) -> bool:
    """A browser asks for a page that is not there."""
    return not request.url.path.startswith("/v1/") and "text/html" in request.headers.get("accept", "")


async def _client_gone(_request: Request, _error: Exception) -> Response:
    return response(BadRequestError("the client went away before its request was complete"))


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("unexpected error", method=request.method, path=request.url.path, exc_info=error)
    return response(InternalError("this is a defect of the service; its log has the details"))


def _allowed(request: Request) -> str:
    """The methods of a path: the framework knows only those of the first route that has it."""
    described: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    path = request.url.path
    templates = [path] if path in described else [t for t in described if compile_path(t)[0].match(path)]
    return ", ".join(sorted({method.upper() for template in templates for method in described[template]}))


def _complaint(item: dict[str, Any]) -> Complaint:
    """pydantic's error in the words of a user."""
    location: Sequence[int | str] = item["loc"]
    where, *steps = location
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    if where != "body":
        place = f"{where} parameter {place}"
    match item["type"]:
        case "missing":
            return Complaint(place=place or "body", problem="is required")
        case "extra_forbidden":
            return Complaint(place=place, problem="unknown field", cure="remove it")
        case "json_invalid":
            return Complaint(
                place="body", problem=f"is not JSON: {item['ctx']['error']}", cure="expected an object"
            )
    given = repr(item.get("input"))
    given = given if len(given) <= 60 else given[:57] + "…"
    message = str(item["msg"])
    return Complaint(place=place or "body", problem=f"is {given}", cure=message[:1].lower() + message[1:])
