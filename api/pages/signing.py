"""/sign-in with an API key, and /sign-out."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.errors import ForbiddenError, ServiceError, TooManyRequestsError
from api.pages.routing import OurForm, PageRoute, TheHouse, inner, read_form, render, to
from api.pages.session import COOKIE, DOOR_COOKIE

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/sign-in")
def sign_in_page(request: Request, house: TheHouse, next: str = "/") -> Response:
    """The form."""
    if house.sessions.visitor(request.cookies.get(COOKIE)) is not None:
        return to(inner(next))
    return _form(request, house, inner(next))


@router.post("/sign-in")
async def sign_in(request: Request, house: TheHouse) -> Response:
    """Prove the key; the cookie then stands for it."""
    form = await read_form(request)
    nonce = request.cookies.get(DOOR_COOKIE, "")
    target = inner(form.one("next") or "/")
    if not nonce or not house.sessions.is_token(form.one("csrf"), nonce):
        problem = "The form had become too old. Please try again; cookies have to be allowed."
        return await run_in_threadpool(_form, request, house, target, problem, ForbiddenError.status)
    key = form.one("key")
    address = request.client.host if request.client else "unknown"
    try:
        await house.service.authenticator.caller(f"Bearer {key}", address=address)
        cookie = await run_in_threadpool(house.sessions.begin, key)
    except TooManyRequestsError as error:
        return await run_in_threadpool(_form, request, house, target, error.detail.capitalize() + ".", 429)
    except ServiceError as error:
        problem = (
            "This key is not valid: it is unknown or was revoked."
            if key
            else "Paste a key to sign in with it."
        )
        status = error.status if key else 422
        return await run_in_threadpool(_form, request, house, target, problem, status)
    answer = to(target)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, cookie, max_age=house.sessions.lifetime_s, httponly=True, samesite="strict", secure=secure
    )
    answer.delete_cookie(DOOR_COOKIE, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, _form: OurForm) -> Response:
    """Forget who is here."""
    answer = to("/sign-in")
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


def _form(
    request: Request, house: TheHouse, target: str, problem: str | None = None, status: int = 200
) -> Response:
    nonce = secrets.token_urlsafe(16)
    answer = render(
        request,
        "sign_in.html",
        status=status,
        next=target,
        door=house.sessions.token(nonce),
        problem=problem,
    )
    secure = request.url.scheme == "https"
    answer.set_cookie(DOOR_COOKIE, nonce, max_age=3600, httponly=True, samesite="strict", secure=secure)
    return answer
