"""What every page has: a visitor, strict headers, and errors that are pages too."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile

from api.context import Service
from api.errors import ForbiddenError, InvalidInputError, MediaTypeError, NotFoundError, ServiceError
from api.logs import logger
from api.pages.files import address
from api.pages.library import Library
from api.pages.observing import Observatory
from api.pages.session import COOKIE, Sessions, Visitor
from api.pictures.templating import environment
from api.posts import Post
from planner.errors import InputError

_HERE = Path(__file__).parent
_log = logger("regraft.service")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FORM_FIELDS = 60
_FORM_FILES = 40


class ForeignFormError(ForbiddenError):
    """A form that none of our pages has sent."""

    code, title = "foreign_form", "The form was refused"


class SignInNeededError(Exception):
    """Nobody is signed in."""


@dataclass(frozen=True, kw_only=True)
class House:
    """The objects that the pages of one process share."""

    service: Service
    sessions: Sessions
    library: Library
    observatory: Observatory


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form that was sent by one of our own pages: its fields, and its files as (name, content)."""

    fields: dict[str, list[str]]
    files: dict[str, list[tuple[str, bytes]]]

    def one(self, name: str) -> str:
        """A field's value, without spaces around it; empty where it is missing."""
        return (self.fields.get(name) or [""])[-1].strip()

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return self.fields.get(name, [])


class PageRoute(APIRoute):
    """A route whose answers carry the pages' headers, and whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                response = await handler(request)
            except SignInNeededError:
                response = _to_sign_in(request)
            except ServiceError as error:
                response = await asyncio.to_thread(failed, request, error)
            except InputError as error:
                response = await asyncio.to_thread(failed, request, InvalidInputError.of(error))
            except RequestValidationError:
                unknown = NotFoundError("there is no page at this address")
                response = await asyncio.to_thread(failed, request, unknown)
            return _guarded(response)

        return page


def house_of(request: Request) -> House:
    """The pages' objects."""
    house: House = request.app.state.pages
    return house


def _visitor(request: Request) -> Visitor:
    visitor = house_of(request).sessions.visitor(request.cookies.get(COOKIE))
    if visitor is None:
        raise SignInNeededError
    request.state.visitor = visitor
    return visitor


def _reader(visitor: Annotated[Visitor, Depends(_visitor)]) -> Visitor:
    visitor.caller.require("read")
    return visitor


async def _form(request: Request, visitor: Annotated[Visitor, Depends(_visitor)]) -> Form:
    form = await read_form(request)
    token = form.one("csrf")
    if not hmac.compare_digest(token.encode(), visitor.token.encode()):
        raise ForeignFormError("it is not one of this sign-in's; load the page again")
    return form


TheHouse = Annotated[House, Depends(house_of)]
Reader = Annotated[Visitor, Depends(_reader)]
AnyVisitor = Annotated[Visitor, Depends(_visitor)]
OurForm = Annotated[Form, Depends(_form)]


async def read_form(request: Request) -> Form:
    """A form's content, if it comes from a page of this site. Raises ForeignFormError, MediaTypeError."""
    _check_origin(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise MediaTypeError("pages take forms")
    settings = house_of(request).service.settings
    data: FormData = await request.form(
        max_files=_FORM_FILES, max_fields=_FORM_FIELDS, max_part_size=settings.max_document_bytes
    )
    fields: dict[str, list[str]] = {}
    files: dict[str, list[tuple[str, bytes]]] = {}
    for name, value in data.multi_items():
        if isinstance(value, UploadFile):
            if value.filename:
                files.setdefault(name, []).append((value.filename, await value.read()))
        else:
            fields.setdefault(name, []).append(value)
    await data.close()
    return Form(fields=fields, files=files)


def _check_origin(request: Request) -> None:
    """Browsers say where a form comes from; whoever says nothing still needs the token."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForeignFormError("it was sent from another site")
    origin = request.headers.get("origin")
    if origin not in (None, "null") and urlsplit(origin).netloc != request.headers.get("host"):
        raise ForeignFormError("it was sent from another site")


def post_of(house: House, visitor: Visitor, form: Form, action: str) -> Post:
    """The POST of the API that a form stands for: sent twice, it is done once."""
    once = form.one("once")
    key = f"page-{once}" if once.isascii() and once.isalnum() and len(once) <= 64 else None
    fields = sorted((name, value) for name, value in form.fields.items() if name != "csrf")
    digest = hashlib.sha256(json.dumps([action, fields]).encode())
    for name, files in sorted(form.files.items()):
        for file, content in files:
            digest.update(f"{name}\n{file}\n".encode() + hashlib.sha256(content).digest())
    # One form may be several of the API's POSTs: each has a key of its own.
    own = None if key is None else f"{key}-{action}"[:200]
    return Post(house.service.database, visitor.caller, own, digest.hexdigest())


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """A page, or a part of one."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    text = _TEMPLATES.get_template(template).render(
        visitor=visitor,
        csrf=visitor.token if visitor else "",
        path=request.url.path,
        version=version("regraft"),
        **values,
    )
    return Response(text, status_code=status, media_type="text/html")


def failed(request: Request, error: ServiceError) -> Response:
    """An error as a page, or as a line of text where a part of a page was asked for."""
    if error.status >= 500:
        _log.warning("a page failed", path=request.url.path, detail=error.detail)
    template = "failed_part.html" if "hx-request" in request.headers else "failed.html"
    answer = render(request, template, status=error.status, error=error)
    answer.headers.update(
        {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
    )
    return answer


def shown(request: Request, error: ServiceError) -> Response:
    """An error that is no page's, for who looks with a browser: an address where nothing is."""
    visitor = house_of(request).sessions.visitor(request.cookies.get(COOKIE))
    if visitor is not None:
        request.state.visitor = visitor
    return _guarded(failed(request, error))


def _guarded(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def to(path: str) -> Response:
    """Go on to another page, after a form."""
    return RedirectResponse(path, status_code=303)


def inner(path: str) -> str:
    """A path of this site, or the start page: nobody is sent elsewhere by a link to our sign-in."""
    good = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if good else "/"


def _to_sign_in(request: Request) -> Response:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    if request.method != "GET":
        return to("/sign-in")
    if request.headers.get("sec-fetch-site") == "cross-site":
        # The browser keeps a Strict cookie back when a link elsewhere led here; a page of ours that leads
        # here again brings it along.
        return render(request, "again.html", target=target)
    return to("/sign-in" if target == "/" else f"/sign-in?next={quote(target, safe='/')}")


def _short(name: str) -> str:
    """An id as it is shown where its end or its beginning is enough to tell it."""
    _, _, rest = name.partition(":")
    if rest:
        return f"{rest[:10]}"
    _, _, rest = name.partition("_")
    return f"{rest[-6:]}" if rest else name[:12]


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, tz=UTC)


_TEMPLATES = environment(_HERE / "templates")
_TEMPLATES.filters |= {"short": _short, "moment": _moment}
# A form that is sent twice carries the same fresh word, and is done once.
_TEMPLATES.globals |= {"asset": address, "fresh": partial(secrets.token_hex, 12)}
