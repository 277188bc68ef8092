"""Deployments: make a plan the one to run; every change is a new generation, rolling back too."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from api import deploying, presenting, running, views
from api.context import (
    BODY_REFUSALS,
    Cursor,
    Deployer,
    Limit,
    Reader,
    Service,
    TheDatabase,
    TheService,
    refusals,
)
from api.errors import ConflictError, GenerationError, NotFoundError
from api.keys import Caller
from api.posts import Outcome, Post, PostOnce
from api.repositories.store import Store
from api.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["deployments"])


@router.post(
    "/deployments",
    status_code=201,
    response_model=views.Deployment,
    responses=refusals(404, 409, *BODY_REFUSALS),
)
def deploy(wanted: views.Deploy, post: PostOnce, service: TheService, caller: Any = Deployer) -> Response:
    """Run this plan from now on, as a new generation.

    A plan without placement is placed onto the GPUs of the live nodes; where it does not fit, 409 says
    what found no place.
    """
    return _deploy(wanted.plan, wanted.expected_generation, None, wanted.on_drift, post, service, caller)


@router.post(
    "/deployments/rollback",
    status_code=201,
    response_model=views.Deployment,
    responses=refusals(404, 409, *BODY_REFUSALS),
)
def roll_back(
    wanted: views.Rollback, post: PostOnce, service: TheService, caller: Any = Deployer
) -> Response:
    """Run an earlier generation's plan again, as a new generation, placed onto the nodes that live now."""
    if (answered := post.replay()) is not None:
        return answered
    with service.database.reading() as store:
        current = store.deployments.generation()
        generation = wanted.generation if wanted.generation is not None else current - 1
        if wanted.generation is None and generation < 1:
            raise ConflictError(f"the current generation is {current}; there is none before it")
        plan_id = store.deployments.deployment(generation).plan_id
    # Otherwise the next window would bring back what was rolled back from.
    careful = "propose" if service.settings.on_drift == "apply" else None
    on_drift = wanted.on_drift or careful
    return _deploy(plan_id, wanted.expected_generation, generation, on_drift, post, service, caller)


def _deploy(
    plan_id: str,
    expected: int | None,
    rollback_of: int | None,
    on_drift: str | None,
    post: Post,
    service: Service,
    caller: Caller,
) -> Response:
    if (answered := post.replay()) is not None:
        return answered
    prepared = deploying.prepare(service.database, plan_id, max_clients=service.settings.max_clients)
    if expected is not None and expected != prepared.after:
        raise GenerationError(f"the current generation is {prepared.after}, not {expected}")

    def append(store: Store) -> Outcome:
        row = store.deployments.append(
            after=prepared.after,
            plan_id=plan_id,
            rollback_of=rollback_of,
            deployed_by=caller.name,
            instances=prepared.instances,
            gpus=prepared.gpus,
            body=prepared.body,
            on_drift=on_drift,
        )
        view = presenting.deployment(row, current=row.generation)
        action = "deploy" if rollback_of is None else "rollback"
        detail = {"plan": plan_id} | ({} if rollback_of is None else {"of": rollback_of})
        return Outcome(
            status=201,
            view=view,
            location=f"/v1/deployments/{row.generation}",
            audit=(action, str(row.generation), detail),
        )

    answer = post.answer(append)
    service.watch.look_from_thread()
    return answer


@router.get("/deployments", dependencies=[Reader], responses=refusals())
def list_deployments(
    database: TheDatabase, cursor: Cursor = None, limit: Limit = 50
) -> views.Page[views.Deployment]:
    """Generations, newest first."""
    with database.reading() as store:
        page = store.deployments.deployments(cursor=cursor, limit=limit)
        current = store.deployments.generation()
    items = [presenting.deployment(row, current=current) for row in page.items]
    return views.Page(items=items, next=page.next)


@router.get("/deployments/current", dependencies=[Reader], responses=refusals(404))
def read_current_deployment(service: TheService) -> views.DeploymentStatus:
    """The current generation, and what of it does not run. 404 before the first deployment."""
    with service.database.reading() as store:
        generation = store.deployments.generation()
    if generation == 0:
        raise NotFoundError("nothing was deployed yet")
    return _status(service, generation)


@router.get("/deployments/{generation:int}", dependencies=[Reader], responses=refusals(404))
def read_deployment(
    generation: Annotated[int, Path(ge=1, lt=2**53)], service: TheService
) -> views.DeploymentStatus:
    """A generation; what does not run is said of the current one only."""
    return _status(service, generation)


def _status(service: Service, generation: int) -> views.DeploymentStatus:
    resolved = deploying.resolve(service.database, generation)
    with service.database.reading() as store:
        row = store.deployments.deployment(generation)
        current = store.deployments.generation()
        nodes, statuses, now_ms = store.nodes.nodes(), store.nodes.statuses(), store.nodes.now_ms()
    missing = []
    if generation == current:
        missing = running.not_running(
            resolved.workers, generation=generation, nodes=nodes, statuses=statuses, now_ms=now_ms
        )
    return views.DeploymentStatus(
        **presenting.deployment(row, current=current).model_dump(),
        workers=[views.WorkerPlace.model_validate(worker) for worker in resolved.workers],
        not_running=missing,
    )
