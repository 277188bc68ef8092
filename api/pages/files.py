"""The files a page loads, and their addresses."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import api.pictures

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def address(name: str) -> str:
    """Where a page finds a file; another content has another address."""
    return f"/assets/{name}?v={_digest(name)}"


@cache
def files() -> dict[str, bytes]:
    """All files by name: the pages' and the pictures' style sheet."""
    pictures = Path(api.pictures.__file__).parent / "pictures.css"
    folder = Path(__file__).parent / "static"
    found = [pictures, *(path for path in folder.iterdir() if path.suffix in TYPES)]
    return {path.name: path.read_bytes() for path in found}


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(files()[name]).hexdigest()[:12]
