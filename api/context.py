"""What endpoints share: the process's objects, the caller and the scope it needs, and page parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer

from api.database import Database
from api.keys import Authenticator, Caller
from api.metrics import Metrics
from api.repositories.paging import CURSOR
from api.roster import Roster
from api.settings import Settings
from api.views import Problem, Scope
from api.watch import Bell, Watch


@dataclass(frozen=True, kw_only=True)
class Service:
    """The objects of one service process."""

    settings: Settings
    database: Database
    authenticator: Authenticator
    watch: Watch
    roster: Roster
    queued: Bell
    metrics: Metrics


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def service_of(request: Request) -> Service:
    """The process's objects."""
    return _service(request)


async def database_of(request: Request) -> Database:
    """The process's database."""
    return _service(request).database


TheService = Annotated[Service, Depends(service_of)]
TheDatabase = Annotated[Database, Depends(database_of)]

# The gate has checked the key before any of this; here it is only described, and the scope is asked for.
_bearer = HTTPBearer(auto_error=False, description="An API key, as `regraft keys create` prints it")


def _scoped(scope: Scope) -> Any:
    async def check(request: Request, _described: Annotated[Any, Security(_bearer)]) -> Caller:
        caller: Caller = request.scope["caller"]
        caller.require(scope)
        return caller

    return Security(check, scopes=[scope])


Reader = _scoped("read")
Planner = _scoped("plan")
Deployer = _scoped("deploy")
Agent = _scoped("agent")

Cursor = Annotated[str | None, Query(pattern=CURSOR, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=200, description="entries on a page")]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems an endpoint may answer, for OpenAPI: with these statuses, or as any may."""
    described = {
        400: "The request cannot be read",
        401: "No key, or not a valid one",
        403: "The key lacks the scope",
        404: "There is no such resource",
        408: "The body did not arrive in time",
        409: "The present state does not allow it",
        413: "The body is too large",
        415: "The body is not JSON",
        422: "The input is wrong; `errors` say what, where, and what would be right",
        429: "More requests than one key may send; `Retry-After` says when to come again",
        500: "A defect of the service",
        503: "The service cannot answer at the moment; try again",
    }
    wanted = sorted({400, 401, 403, 422, 429, 500, 503, *statuses})
    content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": described[status], "content": content} for status in wanted}


BODY_REFUSALS = (400, 408, 413, 415)
