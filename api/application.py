"""The application: the objects of a process, the routes, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from api import documentation, problems
from api.context import Service
from api.database import Database
from api.drifting import DriftWatch
from api.endpoints import deployments, documents, drifts, nodes, plans, probes, runs
from api.errors import ServiceError
from api.gate import Gate
from api.keys import Authenticator
from api.lane import AgentLane
from api.limits import RateLimit
from api.logs import logger
from api.metrics import Metrics
from api.pages import site
from api.roster import Roster
from api.run_worker import RunWorker
from api.settings import Settings
from api.watch import Bell, Watch

_log = logger("regraft.service")

HOUSEKEEPING_S = 1.0
_DAY_MS = 86_400_000

_DESCRIPTION = """Plans for hybrid deep learning on shared GPUs: workloads and profiles in, verified plans
out, deployed as generations onto the nodes whose agents ask for their assignment.

Every request needs an API key with the right scope (`Authorization: Bearer KEY`); only the probes are open.
There are the scopes `read`, `plan`, `deploy` and `agent`; none implies another, and a key may have several.
Errors are `application/problem+json` with a stable `code`. A POST may carry an `Idempotency-Key`: repeated
with the same body it is done once and answered the same. Lists are paged: pass `next` as `cursor`.
"""


def create_app(settings: Settings, database: Database) -> FastAPI:
    """The application over a database that has the current schema. The caller closes the database."""
    watch = Watch(database, interval_s=settings.watch_interval_s)
    service = Service(
        settings=settings,
        database=database,
        authenticator=Authenticator(
            database,
            recheck_s=settings.key_recheck_s,
            false_keys=RateLimit(settings.false_keys_rps, burst=100),
        ),
        watch=watch,
        roster=Roster(database, settings, watch),
        queued=Bell(),
        metrics=Metrics(),
    )
    app = FastAPI(
        title="Regraft",
        version=version("regraft"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would lead to whatever host the client named
        generate_unique_id_function=lambda route: route.name,
        openapi_url="/openapi.json" if settings.docs else None,
        lifespan=_lifespan,
    )
    app.state.service = service
    v1 = APIRouter(prefix="/v1")
    for module in (documents, runs, plans, deployments, drifts, nodes):
        v1.include_router(module.router)
    v1.include_router(probes.audit)
    app.include_router(v1)
    app.include_router(probes.probes)
    if settings.docs:
        app.include_router(documentation.router)
    if settings.pages:
        site.install(app, service)
    app.add_middleware(AgentLane, roster=service.roster, settings=settings)
    app.add_middleware(Gate, authenticator=service.authenticator, settings=settings, metrics=service.metrics)
    problems.install(app)
    app.openapi = partial(documentation.describe, app)  # type: ignore[method-assign]
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await service.watch.look()
    beside = (service.watch.run(), service.roster.follow(), _keep_house(service), DriftWatch(service).run())
    tasks = [asyncio.create_task(work) for work in beside]
    for _ in range(service.settings.run_workers):
        worker = RunWorker(service.database, service.settings, queued=service.queued, told=service.watch.runs)
        tasks.append(asyncio.create_task(worker.work()))
    try:
        yield
    finally:
        service.watch.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_house(service: Service) -> None:
    """Take up what lost its process, and forget old answers. Every process of the service does this."""
    rounds = 0
    while True:
        try:
            reaped = await asyncio.to_thread(_reap, service, forget=rounds % 3600 == 0)
            if reaped:
                _log.warning("runs had lost their process", runs=reaped)
                service.queued.ring()
                service.watch.runs.ring()
        except ServiceError as error:
            _log.warning("housekeeping was put off", detail=error.detail)
        rounds += 1
        await asyncio.sleep(HOUSEKEEPING_S)


def _reap(service: Service, *, forget: bool) -> list[str]:
    with service.database.writing() as store:
        if forget:
            store.idempotency.forget(older_than_ms=int(service.settings.idempotency_days * _DAY_MS))
        return store.runs.reap(attempts=service.settings.run_attempts)
