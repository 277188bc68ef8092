"""Nodes: register, assignment by long poll, status back (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api import deploying, running, views
from api.context import BODY_REFUSALS, Agent, Cursor, Limit, Reader, Service, TheService, refusals
from api.errors import ContradictionError
from api.posts import Outcome, PostOnce
from api.repositories.store import Store
from api.requests import StrictRoute
from api.roster import report_of
from planner.errors import Complaint

router = APIRouter(route_class=StrictRoute, tags=["nodes"])

_ASSIGNMENT = {
    "description": "What the node is to run (`regraft.assignment/v1`)",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Assignment"}}},
    "headers": {"ETag": {"schema": {"type": "string"}}},
}


@router.post(
    "/nodes",
    status_code=201,
    dependencies=[Agent],
    response_model=views.Node,
    responses={
        200: {"model": views.Node, "description": "A node of this name was known; its data are replaced"},
        **refusals(409, *BODY_REFUSALS),
    },
)
def register_node(wanted: views.Register, post: PostOnce, service: TheService) -> Response:
    """Register a machine with an agent. A name already known keeps its id; its data are replaced."""
    settings = service.settings
    _check_gpus(wanted.gpus)

    def register(store: Store) -> Outcome:
        gpus = [gpu.model_dump() for gpu in wanted.gpus]
        node, created = store.nodes.register(
            name=wanted.name, address=wanted.address, gpus=gpus, lease_ms=int(settings.node_lease_s * 1000)
        )
        status = store.nodes.statuses([node.id]).get(node.id)
        view = running.node_view(
            node, status, [], generation=0, now_ms=store.nodes.now_ms(), settings=settings
        )
        return Outcome(status=201 if created else 200, view=view, location=f"/v1/nodes/{node.id}")

    answer = post.answer(register)
    service.watch.look_from_thread()
    return answer


@router.get("/nodes", dependencies=[Reader], responses=refusals())
def list_nodes(service: TheService, cursor: Cursor = None, limit: Limit = 50) -> views.Page[views.Node]:
    """Nodes, newest first: their leases, what they say that they run, and what of their part does not."""
    book = _book(service)
    with service.database.reading() as store:
        page, now_ms = store.nodes.page(cursor=cursor, limit=limit), store.nodes.now_ms()
        statuses = store.nodes.statuses([node.id for node in page.items])
    items = [
        running.node_view(
            node,
            statuses.get(node.id),
            book.workers([gpu["id"] for gpu in node.gpus]),
            generation=book.resolved.generation,
            now_ms=now_ms,
            settings=service.settings,
        )
        for node in page.items
    ]
    return views.Page(items=items, next=page.next)


@router.get("/nodes/{node_id}", dependencies=[Reader], responses=refusals(404))
def read_node(node_id: str, service: TheService) -> views.Node:
    """A node."""
    book = _book(service)
    with service.database.reading() as store:
        node, now_ms = store.nodes.node(node_id), store.nodes.now_ms()
        status = store.nodes.statuses([node_id]).get(node_id)
    workers = book.workers([gpu["id"] for gpu in node.gpus])
    return running.node_view(
        node, status, workers, generation=book.resolved.generation, now_ms=now_ms, settings=service.settings
    )


@router.get(
    "/nodes/{node_id}/assignment",
    dependencies=[Agent],
    response_class=Response,
    responses={
        200: _ASSIGNMENT,
        304: {"description": "The assignment is still the one known"},
        **refusals(404),
    },
)
async def read_assignment(
    node_id: str,
    service: TheService,
    wait: Annotated[float, Query(ge=0, le=3600, description="seconds to wait for a change")] = 0.0,
    if_none_match: Annotated[str | None, Header(max_length=1000, description="the ETag known")] = None,
) -> Response:
    """What the node is to run. With `If-None-Match` and `wait`, answers when that changes, or 304 in time."""
    wait_s = min(wait, service.settings.long_poll_max_s)
    found, news = await service.roster.assignment(node_id, known=if_none_match, wait_s=wait_s)
    if not news:
        return Response(status_code=304, headers={"ETag": found.etag})
    return Response(found.body, headers={"ETag": found.etag}, media_type="application/json")


@router.put(
    "/nodes/{node_id}/status",
    dependencies=[Agent],
    status_code=204,
    response_class=Response,
    responses=refusals(404, *BODY_REFUSALS),
)
async def report_status(node_id: str, status: views.ReportStatus, service: TheService) -> Response:
    """What really runs on the node; renews its lease."""
    await service.roster.report(report_of(node_id, status))
    return Response(status_code=204)


def _check_gpus(gpus: Sequence[views.GpuView]) -> None:
    """Raises ContradictionError where a GPU is listed twice."""
    first: dict[str, int] = {}
    for number, gpu in enumerate(gpus):
        if gpu.id in first:
            problem = f"{gpu.id!r} is already gpus[{first[gpu.id]}]"
            complaint = Complaint(place=f"gpus[{number}].id", problem=problem, cure="every GPU once")
            raise ContradictionError("the node lists a GPU twice", errors=[complaint])
        first[gpu.id] = number


def _book(service: Service) -> deploying.AssignmentBook:
    """The current generation as the database has it, not as the watch last saw it."""
    with service.database.reading() as store:
        generation = store.deployments.generation()
    return deploying.AssignmentBook(deploying.resolve(service.database, generation))
