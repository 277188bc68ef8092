"""Probes for whoever runs the service, metrics for Prometheus, and the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from api import metrics, presenting, schema, views
from api.context import Deployer, Limit, Reader, TheDatabase, TheService, refusals
from api.errors import UnavailableError

probes = APIRouter(tags=["probes"])
audit = APIRouter(tags=["audit"], dependencies=[Deployer])


class Alive(BaseModel):
    """A probe's answer."""

    status: Literal["ok"]


@probes.get("/livez")
async def livez() -> Alive:
    """The process answers. Needs no key."""
    return Alive(status="ok")


@probes.get("/readyz", responses={503: refusals()[503]})
def readyz(database: TheDatabase) -> Alive:
    """The database answers and has the schema that this version needs. Needs no key."""
    try:
        schema.check(database)
    except schema.OldSchemaError as error:
        raise UnavailableError(str(error)) from None
    return Alive(status="ok")


@probes.get(
    "/metrics",
    dependencies=[Reader],
    response_class=Response,
    responses={
        200: {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **refusals(),
    },
)
def read_metrics(service: TheService) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(service.metrics.render(service.database), media_type=metrics.MEDIA_TYPE)


@audit.get("/audit", responses=refusals())
def read_audit(
    database: TheDatabase,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,15}$", description="`next` of the page before")
    ] = None,
    limit: Limit = 50,
) -> views.Page[views.AuditEntry]:
    """Who did what, newest first."""
    with database.reading() as store:
        rows = store.audit.entries(before=None if cursor is None else int(cursor), limit=limit + 1)
    more = str(rows[limit - 1].id) if len(rows) > limit else None
    return views.Page(items=[presenting.audit(row) for row in rows[:limit]], next=more)
