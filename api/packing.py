"""Documents as they are stored: compact JSON, compressed."""

from __future__ import annotations

import json
import zlib
from typing import Any, TypeVar

from planner import formats
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload

Document = TypeVar("Document", Workload, Profile, Plan)


def pack(document: Workload | Profile | Plan) -> bytes:
    """A document as it is stored."""
    return pack_json(formats.to_json(document))


def unpack(kind: type[Document], body: bytes) -> Document:
    """A stored document. Raises InputError where it is not one of this version's."""
    return formats.parse(kind, unpack_bytes(body), source="stored document")


def pack_json(data: dict[str, Any]) -> bytes:
    """Plain JSON data as it is stored."""
    return zlib.compress(json.dumps(data, separators=(",", ":"), allow_nan=False).encode())


def unpack_bytes(body: bytes) -> bytes:
    """The JSON text of something stored."""
    return zlib.decompress(body)
