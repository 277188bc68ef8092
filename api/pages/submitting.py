"""/submit: a workload pasted, from a file, stored before, or the demo's; errors shown where they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from api import packing, views
from api.endpoints import documents as document_endpoints
from api.endpoints import runs as run_endpoints
from api.errors import InvalidInputError, ServiceError
from api.pages.locating import Spot, spot
from api.pages.routing import Form, House, OurForm, PageRoute, Reader, TheHouse, post_of, render, to
from api.pages.session import Visitor
from api.pictures import words
from api.requests import parse_document
from planner.errors import Complaint, InputError
from planner.planning import STRATEGIES, prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.queueing import QUEUEING_LAWS
from planner.workload import Workload

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_DEMO = Path(__file__).parent / "demo"
_MOST_STORED = 50
_MOST_ERRORS = 20
_DEFAULTS: dict[str, Any] = {
    "source": "demo",
    "workload_text": "",
    "workload_id": "",
    "profiles_from": "files",
    "profile_ids": [],
    "profile_text": "",
    "strategies": ["gslice", "graft", "optimal"],
    "time_limit_s": "30",
    "gap_pct": "0",
    "seed": "0",
    "threads": "2",
    "infeasible": "fail",
    "queueing": "plain",
}
_LABELS = {
    "workload": "workload",
    "profiles": "profiles",
    "strategies": "strategies",
    "time_limit_s": "seconds each may search",
    "gap_pct": "gap",
    "seed": "seed",
    "threads": "threads",
    "infeasible": "what cannot be planned",
    "queueing": "room for waiting",
}
SAID = {
    "gslice": "every fragment alone, at its cheapest batch and share",
    "gslice+": "merges fragments that start at the same layer",
    "static": "for phones with a fixed cut: every fragment alone",
    "static+": "for phones with a fixed cut: merged",
    "nexus": "whole models packed into sessions, no re-alignment",
    "multi-exit": "for models with early exits: one stage, all exits in use",
    "pame": "for early exits: one stage, survivors compacted",
    "e3": "for early exits: parts between exits",
    "graft": "merges, groups and re-aligns by heuristic; quick",
    "optimal": "routes with any number of shared stages, and a bound on every plan",
    "optimal-one": "one shared stage a route, by integer program",
}

Document = TypeVar("Document", Workload, Profile)


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """Something wrong with a field: what, what would be right, and where in its text."""

    field: str
    problem: str
    cure: str = ""
    place: str = ""
    spot: Spot | None = None
    source: str = ""


class _FormError(Exception):
    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__(f"{len(self.errors)} fields")


@router.get("/submit")
def submit_page(request: Request, house: TheHouse, _visitor: Reader, workload: str = "") -> Response:
    """The form; with the id of a stored workload where one was asked for."""
    values = dict(_DEFAULTS)
    if workload:
        values |= {"source": "stored", "workload_id": workload, "profiles_from": "stored"}
        with house.service.database.reading() as store:
            models = store.documents.workload(workload).models
            stored = store.documents.profiles(model=None, gpu=None, cursor=None, limit=_MOST_STORED).items
        values["profile_ids"] = [row.id for row in stored if row.model in models]
    return _page(request, house, values, [])


@router.post("/submit")
def submit(request: Request, house: TheHouse, visitor: Reader, form: OurForm) -> Response:
    """Store the documents and queue the runs; or show the form again with what is wrong where."""
    visitor.caller.require("plan")
    values: dict[str, Any] = {
        name: form.one(name) for name in _DEFAULTS if not isinstance(_DEFAULTS[name], list)
    }
    values["workload_text"] = (form.fields.get("workload_text") or [""])[-1]
    values["profile_text"] = (form.fields.get("profile_text") or [""])[-1]
    values |= {"strategies": form.all("strategies"), "profile_ids": form.all("profile_ids")}
    try:
        return to(_submit(house, visitor, form, values))
    except _FormError as error:
        return _page(request, house, values, error.errors[:_MOST_ERRORS], status=422)


def _submit(house: House, visitor: Visitor, form: Form, values: dict[str, Any]) -> str:
    """Gives the address to go on to. Raises _FormError."""
    errors: list[FieldError] = []
    settings = _settings(values, errors)
    text, workload = _workload(house, form, values, errors)
    profiles = _profiles(house, form, values, workload, errors)
    if workload is not None and profiles and settings is not None and not errors:
        _check_together(text, workload, profiles, settings, errors)
    if errors or workload is None or settings is None:
        raise _FormError(errors)
    try:
        workload_id = _store(house, visitor, form, "workload", workload)
        profile_ids = [
            _store(house, visitor, form, f"profile-{number}", profile)
            for number, profile in enumerate(profiles)
        ]
        wanted = {
            "workload": workload_id,
            "profiles": profile_ids,
            **{name: getattr(settings, name) for name in views.RunSettings.model_fields},
        }
        strategies = values["strategies"]
        if len(strategies) == 1:
            answer = run_endpoints.submit_run(
                views.SubmitRun(strategy=strategies[0], **wanted),
                post_of(house, visitor, form, "run"),
                house.service,
                visitor.caller,
            )
            return f"/runs/{json.loads(bytes(answer.body))['id']}"
        answer = run_endpoints.submit_comparison(
            views.SubmitComparison(strategies=strategies, **wanted),
            post_of(house, visitor, form, "comparison"),
            house.service,
            visitor.caller,
        )
        return f"/compare/{json.loads(bytes(answer.body))['id']}"
    except ServiceError as error:
        if not error.errors:
            raise
        raise _FormError(
            [
                FieldError(field="workload", problem=f"{item.place} {item.problem}", cure=item.cure)
                for item in error.errors
            ]
        ) from None


def _page(
    request: Request, house: House, values: dict[str, Any], errors: Sequence[FieldError], status: int = 200
) -> Response:
    with house.service.database.reading() as store:
        workloads = store.documents.workloads(cursor=None, limit=_MOST_STORED).items
        profiles = store.documents.profiles(model=None, gpu=None, cursor=None, limit=_MOST_STORED).items
    by_field: dict[str, list[FieldError]] = {}
    for error in errors:
        by_field.setdefault(error.field, []).append(error)
    return render(
        request,
        "submit.html",
        status=status,
        values=values,
        errors=errors,
        labels=_LABELS,
        by_field=by_field,
        workloads=workloads,
        profiles=profiles,
        strategies=[(name, SAID.get(name, "")) for name in STRATEGIES],
        laws=list(QUEUEING_LAWS),
        demo=_demo_facts(),
    )


def _settings(values: dict[str, Any], errors: list[FieldError]) -> PlanSettings | None:
    before = len(errors)
    if not values["strategies"]:
        errors.append(FieldError(field="strategies", problem="None is chosen.", cure="choose at least one"))
    unknown = [name for name in values["strategies"] if name not in STRATEGIES]
    if unknown:
        errors.append(FieldError(field="strategies", problem=f"There is no strategy {unknown[0]!r}."))
    numbers: dict[str, Any] = {}
    for field, name, kind, factor in (
        ("time_limit_s", "time_limit_s", float, 1),
        ("gap_pct", "gap", float, 0.01),
        ("seed", "seed", int, 1),
        ("threads", "threads", int, 1),
    ):
        try:
            value = kind(values[field].replace(",", "."))
            numbers[name] = value * factor if factor != 1 else value
        except ValueError:
            errors.append(
                FieldError(
                    field=field, problem=f"“{values[field][:40]}” is not a {'whole ' * (kind is int)}number."
                )
            )
    for name in ("infeasible", "queueing"):
        numbers[name] = values[name]
    if len(errors) > before:
        return None
    if numbers["queueing"] not in QUEUEING_LAWS:
        errors.append(FieldError(field="queueing", problem="There is no such queueing law."))
        return None
    try:
        views.RunSettings(**numbers)
    except ValidationError as error:
        fields = {"gap": "gap_pct"}
        for item in error.errors():
            name = str(item["loc"][0])
            errors.append(FieldError(field=fields.get(name, name), problem=f"{item['msg']}."))
        return None
    return PlanSettings(**numbers)


def _workload(
    house: House, form: Form, values: dict[str, Any], errors: list[FieldError]
) -> tuple[str, Workload | None]:
    match values["source"]:
        case "demo":
            text = (_DEMO / "workload.json").read_text()
        case "stored":
            if not values["workload_id"]:
                errors.append(FieldError(field="workload", problem="No stored workload is chosen."))
                return "", None
            return "", house.library.workload(values["workload_id"])
        case "file":
            files = form.files.get("workload_file") or []
            if not files:
                errors.append(FieldError(field="workload", problem="No file is chosen."))
                return "", None
            name, content = files[0]
            return _text(content), _parse(Workload, content, "workload", name, errors)
        case _:
            text = values["workload_text"]
            if not text.strip():
                errors.append(
                    FieldError(
                        field="workload", problem="It is empty.", cure="paste a workload, or take the demo’s"
                    )
                )
                return "", None
    return text, _parse(Workload, text.encode(), "workload", "", errors)


def _profiles(
    house: House, form: Form, values: dict[str, Any], workload: Workload | None, errors: list[FieldError]
) -> list[Profile]:
    found: list[Profile | None] = []
    before = len(errors)
    if values["source"] == "demo":
        found += [
            _parse(Profile, path.read_bytes(), "profiles", path.name, errors)
            for path in sorted(_DEMO.glob("*.profile.json"))
        ]
    else:
        found += [house.library.profile(name) for name in values["profile_ids"]]
        for name, content in form.files.get("profile_files") or []:
            found.append(_parse(Profile, content, "profiles", name, errors))
        if values["profile_text"].strip():
            found.append(_parse(Profile, values["profile_text"].encode(), "profiles", "", errors))
    profiles = [profile for profile in found if profile is not None]
    if not profiles and len(errors) == before:
        models = sorted({item.model for item in workload.fragments}) if workload else []
        needed = f"one each for {', '.join(models)}" if models else "one for each model"
        errors.append(FieldError(field="profiles", problem="None is given.", cure=needed))
    return profiles


def _check_together(
    text: str, workload: Workload, profiles: list[Profile], settings: PlanSettings, errors: list[FieldError]
) -> None:
    """What no single document shows: models without a profile, cuts beyond the last layer, small budgets."""
    try:
        _, unplanned = prepare(workload, profiles, settings)
    except InputError as error:
        for item in error.complaints:
            field = "profiles" if item.place.startswith("profiles") else "workload"
            errors.append(_field_error(field, item, text if field == "workload" else "", ""))
        return
    if not unplanned or (settings.infeasible == "partial" and len(unplanned) < len(workload.fragments)):
        return
    numbers = {fragment.id: number for number, fragment in enumerate(workload.fragments)}
    for left in unplanned[:_MOST_ERRORS]:
        place = f"fragments[{numbers[left.fragment]}].budget_ms"
        changes = "; or ".join(words.what_would_help(left))
        errors.append(
            FieldError(
                field="workload",
                problem=f"{left.fragment} cannot be planned. {words.why_left_out(left)}",
                cure=changes,
                place=place,
                spot=spot(text, place) if text else None,
            )
        )
    count = words.many(len(unplanned), "fragment cannot", "fragments cannot")
    errors.append(
        FieldError(
            field="infeasible",
            problem=f"{count} be planned.",
            cure="choose “plan the others” to leave them out",
        )
    )


def _parse(
    kind: type[Document], content: bytes, field: str, source: str, errors: list[FieldError]
) -> Document | None:
    try:
        return parse_document(kind, content)[1]
    except InvalidInputError as error:
        complaints = error.errors
    except ServiceError as error:
        complaints = error.errors or (Complaint(place="", problem=error.detail),)
    text = _text(content)
    errors += [_field_error(field, item, text, source) for item in complaints]
    return None


def _field_error(field: str, item: Complaint, text: str, source: str) -> FieldError:
    return FieldError(
        field=field,
        problem=item.problem,
        cure=item.cure,
        place=item.place,
        spot=spot(text, item.place, item.problem) if text else None,
        source=source,
    )


def _store(house: House, visitor: Visitor, form: Form, name: str, document: Workload | Profile) -> str:
    """Store a document as the API would; gives its id."""
    body = packing.unpack_bytes(packing.pack(document))
    post = post_of(house, visitor, form, name)
    if isinstance(document, Workload):
        answer = document_endpoints.create_workload(body, post)
    else:
        answer = document_endpoints.create_profile(body, post)
    return str(json.loads(bytes(answer.body))["id"])


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _demo_facts() -> dict[str, Any]:
    workload = json.loads((_DEMO / "workload.json").read_text())
    return {
        "fragments": len(workload["fragments"]),
        "models": sorted({item["model"] for item in workload["fragments"]}),
        "gpus": len(workload.get("gpus") or []),
    }
