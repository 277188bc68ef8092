"""Workloads and profiles: create, read, list. The same content gets the same id."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api import deriving, packing, presenting, views
from api.context import BODY_REFUSALS, Cursor, Limit, Planner, Reader, TheDatabase, refusals
from api.errors import ConflictError, InvalidInputError
from api.posts import Outcome, PostOnce
from api.repositories.store import Store
from api.requests import StrictRoute, parse_document, raw_body
from planner import formats
from planner.profile import Profile
from planner.workload import Workload

router = APIRouter(route_class=StrictRoute)

Body = Annotated[bytes, Depends(raw_body)]


def described_body(kind: str) -> dict[str, object]:
    """A request body that is a document, for OpenAPI."""
    schema = {"$ref": f"#/components/schemas/{kind}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _content(kind: str) -> dict[int | str, dict[str, object]]:
    schema = {"$ref": f"#/components/schemas/{kind}"}
    return {200: {"description": f"The {kind.lower()}", "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/workloads",
    tags=["workloads"],
    dependencies=[Planner],
    status_code=201,
    response_model=views.WorkloadInfo,
    openapi_extra=described_body("Workload"),
    responses={
        200: {"model": views.WorkloadInfo, "description": "The same content was stored before"},
        **refusals(409, *BODY_REFUSALS),
    },
)
def create_workload(body: Body, post: PostOnce) -> Response:
    """Store a workload (`regraft.workload/v1`). The same content gets the same id."""
    name, workload = parse_document(Workload, body)
    packed = packing.pack(workload)

    def store_it(store: Store) -> Outcome:
        created = store.documents.add_workload(name, workload, packed)
        view = presenting.workload(store.documents.workload(name))
        return Outcome(status=201 if created else 200, view=view, location=f"/v1/workloads/{name}")

    return post.answer(store_it)


@router.get("/workloads", tags=["workloads"], dependencies=[Reader], responses=refusals())
def list_workloads(
    database: TheDatabase, cursor: Cursor = None, limit: Limit = 50
) -> views.Page[views.WorkloadInfo]:
    """Workloads, newest first."""
    with database.reading() as store:
        page = store.documents.workloads(cursor=cursor, limit=limit)
    return views.Page(items=[presenting.workload(row) for row in page.items], next=page.next)


@router.get("/workloads/{workload_id}", tags=["workloads"], dependencies=[Reader], responses=refusals(404))
def read_workload(workload_id: str, database: TheDatabase) -> views.WorkloadInfo:
    """A workload without its fragments."""
    with database.reading() as store:
        return presenting.workload(store.documents.workload(workload_id))


@router.get(
    "/workloads/{workload_id}/document",
    tags=["workloads"],
    dependencies=[Reader],
    response_class=Response,
    responses={**_content("Workload"), **refusals(404)},
)
def read_workload_document(workload_id: str, database: TheDatabase) -> Response:
    """The workload itself, as it was posted."""
    with database.reading() as store:
        row = store.documents.workload(workload_id, body=True)
    return Response(packing.unpack_bytes(row.body), media_type="application/json")


@router.post(
    "/workloads/{workload_id}/variants",
    tags=["workloads"],
    dependencies=[Planner],
    status_code=201,
    response_model=views.WorkloadInfo,
    responses={
        200: {"model": views.WorkloadInfo, "description": "The same content was stored before"},
        **refusals(404, 409, *BODY_REFUSALS),
    },
)
def derive_workload(
    workload_id: str, wanted: views.DeriveWorkload, database: TheDatabase, post: PostOnce
) -> Response:
    """What if there were more clients, tighter budgets, other GPUs? A workload made from this one."""
    with database.reading() as store:
        row = store.documents.workload(workload_id, body=True)
    workload = deriving.derive_workload(packing.unpack(Workload, row.body), wanted)
    try:
        name, workload = parse_document(Workload, formats.dumps(workload))
    except InvalidInputError as error:
        raise ConflictError("the factors lead out of what a workload may be", errors=error.errors) from None
    packed = packing.pack(workload)
    derivation = wanted.model_dump(mode="json", exclude_defaults=True)

    def store_it(store: Store) -> Outcome:
        created = store.documents.add_workload(
            name, workload, packed, derived_from=workload_id, derivation=derivation
        )
        view = presenting.workload(store.documents.workload(name))
        return Outcome(status=201 if created else 200, view=view, location=f"/v1/workloads/{name}")

    return post.answer(store_it)


@router.post(
    "/profiles",
    tags=["profiles"],
    dependencies=[Planner],
    status_code=201,
    response_model=views.ProfileInfo,
    openapi_extra=described_body("Profile"),
    responses={
        200: {"model": views.ProfileInfo, "description": "The same content was stored before"},
        **refusals(409, *BODY_REFUSALS),
    },
)
def create_profile(body: Body, post: PostOnce) -> Response:
    """Store a profile (`regraft.profile/v1`). The same content gets the same id."""
    name, profile = parse_document(Profile, body)
    packed = packing.pack(profile)

    def store_it(store: Store) -> Outcome:
        created = store.documents.add_profile(name, profile, packed)
        view = presenting.profile(store.documents.profile(name))
        return Outcome(status=201 if created else 200, view=view, location=f"/v1/profiles/{name}")

    return post.answer(store_it)


@router.post(
    "/profiles/{profile_id}/variants",
    tags=["profiles"],
    dependencies=[Planner],
    status_code=201,
    response_model=views.ProfileInfo,
    responses={
        200: {"model": views.ProfileInfo, "description": "The same content was stored before"},
        **refusals(404, 409, *BODY_REFUSALS),
    },
)
def derive_profile(
    profile_id: str, wanted: views.DeriveProfile, database: TheDatabase, post: PostOnce
) -> Response:
    """What if this GPU had another price? A profile made from this one."""
    with database.reading() as store:
        row = store.documents.profile(profile_id, body=True)
    profile = deriving.derive_profile(packing.unpack(Profile, row.body), wanted)
    name, packed = formats.digest(profile), packing.pack(profile)

    def store_it(store: Store) -> Outcome:
        created = store.documents.add_profile(name, profile, packed)
        view = presenting.profile(store.documents.profile(name))
        return Outcome(status=201 if created else 200, view=view, location=f"/v1/profiles/{name}")

    return post.answer(store_it)


@router.get("/profiles", tags=["profiles"], dependencies=[Reader], responses=refusals())
def list_profiles(
    database: TheDatabase,
    model: Annotated[str | None, Query(max_length=200)] = None,
    gpu: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> views.Page[views.ProfileInfo]:
    """Profiles, newest first; of one model or GPU type where given."""
    with database.reading() as store:
        page = store.documents.profiles(model=model, gpu=gpu, cursor=cursor, limit=limit)
    return views.Page(items=[presenting.profile(row) for row in page.items], next=page.next)


@router.get("/profiles/{profile_id}", tags=["profiles"], dependencies=[Reader], responses=refusals(404))
def read_profile(profile_id: str, database: TheDatabase) -> views.ProfileInfo:
    """A profile without its latencies."""
    with database.reading() as store:
        return presenting.profile(store.documents.profile(profile_id))


@router.get(
    "/profiles/{profile_id}/document",
    tags=["profiles"],
    dependencies=[Reader],
    response_class=Response,
    responses={**_content("Profile"), **refusals(404)},
)
def read_profile_document(profile_id: str, database: TheDatabase) -> Response:
    """The profile itself, as it was posted."""
    with database.reading() as store:
        row = store.documents.profile(profile_id, body=True)
    return Response(packing.unpack_bytes(row.body), media_type="application/json")
