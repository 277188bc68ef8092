"""Reading requests strictly: UTF-8, real JSON, bounded depth; documents by `planner.formats`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api.errors import InvalidInputError
from planner import formats
from planner.errors import Complaint, InputError
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload

Document = TypeVar("Document", Workload, Profile, Plan)


class StrictRequest(Request):
    """A request whose body was read, and parsed strictly, before FastAPI looks at it.

    FastAPI answers 400 for whatever goes wrong while it reads a body, so that has to happen before.
    """

    async def json(self) -> Any:
        return strict_json(await self.body())


class StrictRoute(APIRoute):
    """A route that reads its request strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            strictly = StrictRequest(request.scope, request.receive)
            if await strictly.body() and self.body_field is not None:
                strict_json(await strictly.body())
            return await handler(strictly)

        return strict


def strict_json(body: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no NaN, not nested without end. Raises RequestValidationError."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_float=_number)
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8") from None
    except RecursionError:
        raise _invalid("it is nested too deep") from None
    except ValueError as error:
        raise _invalid(str(error)) from None


async def raw_body(request: Request) -> bytes:
    """The request's body, for documents that `planner.formats` reads."""
    return await request.body()


def parse_document(kind: type[Document], body: bytes) -> tuple[str, Document]:
    """A document and its digest from a request's body.

    Raises InvalidInputError, and RequestValidationError for a plan that is not strictly JSON.
    """
    if kind is Plan:
        strict_json(body)  # its free-form fields may hold what the readers would change without a word
    try:
        try:
            document = formats.parse(kind, body, source="request body")
        except InputError as error:
            document = _again(kind, body, error)
        return formats.digest(document), document
    except InputError as error:
        raise InvalidInputError.of(error) from None
    except ValueError as error:
        # A profile's `measured` is free-form: the readers let NaN pass there, which JSON cannot carry.
        complaint = Complaint(
            place="measured", problem=f"cannot be written as JSON: {error}", cure="remove the value"
        )
        raise InvalidInputError("request body: 1 complaint", errors=[complaint]) from None


def _again(kind: type[Document], body: bytes, error: InputError) -> Document:
    """Read a refused document with 1.0 written as 1: to JSON both are the same integer.

    Raises InputError: the second complaints where the form was the trouble, else the first.
    """
    try:
        plain = json.dumps(
            json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_float=_number)
        ).encode()
    except (ValueError, RecursionError):
        raise error from None
    return formats.parse(kind, plain, source="request body")


def _number(text: str) -> int | float:
    """A JSON number; a whole one is an integer, however it was written."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _invalid(message: str) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "json_invalid", "loc": ("body",), "msg": "", "ctx": {"error": message}}]
    )
