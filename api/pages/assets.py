"""Style sheets and scripts, from the package's own files; a page loads nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response

from api.errors import NotFoundError
from api.pages.files import TYPES, files
from api.pages.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/assets/{name}")
def asset(name: str, request: Request) -> Response:
    """A file. Its address carries a digest of it, so that it may be kept for a year."""
    content = files().get(name)
    if content is None:
        raise NotFoundError(f"there is no file {name!r}")
    age = "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
    return Response(content, media_type=TYPES[Path(name).suffix], headers={"Cache-Control": age})
