"""/docs and /openapi.json: the API described, with nothing from elsewhere.

`python -m api.documentation` writes the description to openapi.json, which is kept in the repository, so
that a change of the API shows as a difference; a test says that it is up to date.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from api import examples, views
from api.importing import MAX_PROFILES
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload

_REF = "#/components/schemas/{model}"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Regraft: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START = """window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def page() -> Response:
    """Swagger UI, from the package's own files."""
    return Response(_PAGE, media_type="text/html")


@router.get("/docs/start.js")
def start() -> Response:
    """What the page begins with; a file, so that a content security policy may forbid inline scripts."""
    return Response(_START, media_type="text/javascript")


@router.get("/docs/{name}")
def asset(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in _ASSETS:
        return Response(status_code=404)
    content = (files("fastapi_offline") / "static" / name).read_bytes()
    return Response(content, media_type=_ASSETS[name], headers={"Cache-Control": "max-age=86400"})


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with formats, examples, and the ways from an answer to the next request."""
    if app.openapi_schema:
        return app.openapi_schema
    described = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components: dict[str, Any] = described["components"]["schemas"]
    for kind in (Workload, Profile, Plan):
        components |= _format(kind)
    components["NewPlan"] = _new_plan(components)
    components |= _model(views.Problem) | {"Assignment": _ASSIGNMENT}
    # FastAPI's own 422 is never sent.
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    components["Workload"]["examples"] = [examples.WORKLOAD]
    components["Profile"]["examples"] = [examples.PROFILE]
    components["NewPlan"]["examples"] = [examples.PLAN]
    components["Problem"]["examples"] = [examples.PROBLEM]
    components["Plan"]["examples"] = [examples.PLAN]
    for name, example in (examples.REQUESTS | examples.ANSWERS).items():
        components[name]["examples"] = [example]
    described["components"]["parameters"] = {"IdempotencyKey": _IDEMPOTENCY_KEY}
    for operations in described["paths"].values():
        for method, operation in operations.items():
            _complete(method, operation)
    app.openapi_schema = described
    return described


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Headers, links, parameters as they can be written, and what an Idempotency-Key does for a POST."""
    for status, response in operation["responses"].items():
        if status in ("201", "202", "200") and method == "post":
            response["headers"] = {"Location": {"schema": {"type": "string"}, "description": "where it is"}}
            response["links"] = _LINKS.get(operation["operationId"], {})
        if stream := response.get("content", {}).get("text/event-stream"):
            # FastAPI says `itemSchema`, a word of OpenAPI 3.2, in a description that says it is 3.1.
            stream.pop("itemSchema", None)
            stream |= {"schema": _EVENTS, "example": examples.EVENTS}
    for parameter in operation.get("parameters", []):
        # A parameter may be left out, but there is no way to write null in a URL or a header.
        choices = [item for item in parameter["schema"].pop("anyOf", []) if item != {"type": "null"}]
        if len(choices) == 1:
            parameter["schema"] |= choices[0]
        elif choices:
            parameter["schema"]["anyOf"] = choices
    for scope in {name for asked in operation.get("security", []) for name in asked["HTTPBearer"]}:
        operation["description"] += f"\n\nNeeds a key with the scope `{scope}`."
    if method == "post":
        operation["description"] += _REPEATABLE


def _format(kind: type[Any]) -> dict[str, Any]:
    """A format and its parts, as components."""
    schema = TypeAdapter(kind).json_schema(ref_template=_REF)
    parts: dict[str, Any] = schema.pop("$defs", {})
    schema["properties"] = {"format": {"const": kind.FORMAT, "type": "string"}, **schema["properties"]}
    schema["required"] = ["format", *schema.get("required", [])]
    return {kind.__name__: schema, **parts}


def _new_plan(components: dict[str, Any]) -> dict[str, Any]:
    """A plan to be stored: as any other, but it has to say what it was made from."""
    origin = components["Provenance"]
    digest = {"type": "string", "minLength": 1, "description": "an id that the service gave"}
    named = {
        "workload": digest,
        "profiles": {"type": "array", "items": digest, "minItems": 1, "maxItems": MAX_PROFILES},
    }
    provenance = {
        **origin,
        "properties": {**origin["properties"], **named},
        "required": ["workload", "profiles"],
    }
    plan = components["Plan"]
    return {
        **plan,
        "title": "NewPlan",
        "properties": {**plan["properties"], "provenance": provenance},
        "required": [*plan["required"], "provenance"],
    }


def _model(kind: type[Any]) -> dict[str, Any]:
    schema = kind.model_json_schema(ref_template=_REF)
    parts: dict[str, Any] = schema.pop("$defs", {})
    return {kind.__name__: schema, **parts}


# Not a parameter of the operations: a description cannot say that the same key with another body is refused.
_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Every POST takes it. Repeated with the same key and body, a request is done once and "
    "answered the same, with the header `Idempotency-Replayed: true`; the same key with another body is "
    "refused with 422 and the code `idempotency_key_reused`. A request that was refused may be mended and "
    "sent again with its key.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}
_REPEATABLE = (
    "\n\nMay carry an `Idempotency-Key` header (see `#/components/parameters/IdempotencyKey`): repeated with "
    "the same key and body it is done once and answered the same."
)


def _link(operation: str, parameter: str, source: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": {parameter: f"$response.body#/{source}"}}


_LINKS: dict[str, dict[str, Any]] = {
    "create_workload": {
        "read": _link("read_workload", "workload_id", "id"),
        "document": _link("read_workload_document", "workload_id", "id"),
        "vary": _link("derive_workload", "workload_id", "id"),
    },
    "create_profile": {
        "read": _link("read_profile", "profile_id", "id"),
        "document": _link("read_profile_document", "profile_id", "id"),
        "vary": _link("derive_profile", "profile_id", "id"),
    },
    "create_plan": {
        "read": _link("read_plan", "plan_id", "id"),
        "document": _link("read_plan_document", "plan_id", "id"),
        "deploy": {"operationId": "deploy", "requestBody": {"plan": "$response.body#/id"}},
    },
    "submit_run": {
        "read": _link("read_run", "run_id", "id"),
        "stop": _link("stop_run", "run_id", "id"),
        "cancel": _link("cancel_run", "run_id", "id"),
    },
    "submit_comparison": {
        "read": _link("read_comparison", "comparison_id", "id"),
        "differences": _link("read_comparison_differences", "comparison_id", "id"),
    },
    "deploy": {"read": _link("read_deployment", "generation", "generation")},
    "roll_back": {"read": _link("read_deployment", "generation", "generation")},
    "register_node": {
        "read": _link("read_node", "node_id", "id"),
        "assignment": _link("read_assignment", "node_id", "id"),
        "report": _link("report_status", "node_id", "id"),
    },
}

_EVENTS: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "description": "the whole stream"},
        {
            "type": "object",
            "description": "one event of it",
            "required": ["id", "event", "data"],
            "properties": {
                "id": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "for Last-Event-ID"},
                "event": {"enum": ["state", "progress"]},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "description": "`state`: {state, plan, failure, reason, attempt}, what applies of it; "
                    "`progress`: {t, phase, objective, bound, gap}",
                },
            },
        },
    ]
}

_ASSIGNMENT: dict[str, Any] = {
    "type": "object",
    "title": "Assignment",
    "description": "The whole plan, with the part of it that a node runs (docs/protocol.md).",
    "required": ["format", "generation", "deployment", "plan", "stages", "routes", "workers"],
    "properties": {
        "format": {"const": "regraft.assignment/v1", "type": "string"},
        "generation": {"type": "integer", "minimum": 0, "description": "0 before the first deployment"},
        "deployment": {"type": ["string", "null"]},
        "plan": {"type": ["string", "null"]},
        "stages": {"type": "array", "items": {"$ref": "#/components/schemas/Stage"}},
        "routes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "fragment",
                    "fraction",
                    "stages",
                    "worst_ms",
                    "model",
                    "start",
                    "budget_ms",
                    "rate_rps",
                ],
                "properties": {
                    "fragment": {"type": "string"},
                    "fraction": {"type": "number"},
                    "stages": {"type": "array", "items": {"type": "string"}},
                    "worst_ms": {"type": "number"},
                    "model": {"type": "string"},
                    "start": {"type": "integer"},
                    "budget_ms": {"type": "number"},
                    "rate_rps": {"type": "number", "description": "all clients of the fragment together"},
                },
            },
        },
        "workers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["stage", "instance", "gpu", "memory_mb"],
                "properties": {
                    "stage": {"type": "string"},
                    "instance": {"type": "integer"},
                    "gpu": {"type": "string"},
                    "memory_mb": {"type": "number"},
                },
            },
        },
    },
}


def text() -> str:
    """The description as it is kept in the repository."""
    from api.application import create_app
    from api.database import Database
    from api.settings import Settings

    # Describing asks nothing of the database.
    app = create_app(Settings(docs=True), Database("sqlite:///unused.sqlite"))
    return json.dumps(app.openapi(), indent=1) + "\n"


if __name__ == "__main__":
    Path("openapi.json").write_text(text())
