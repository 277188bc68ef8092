"""Files and bodies: JSON in, checked dataclasses out, and back.

Every reader refuses what it does not understand, says where it stands and what would be right, and
reports all complaints at once (up to `MAX_COMPLAINTS`). Every writer is atomic: a file is whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from planner.clients import Clients, contradictions
from planner.errors import Complaint, ContradictionError, InputError
from planner.formats_exits import exit_contradictions, rising_survival
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload

MAX_COMPLAINTS = 20
MAX_FILE_MB = float(os.environ.get("REGRAFT_MAX_FILE_MB", "1024"))

AnyDocument = Workload | Profile | Plan | Clients
Document = TypeVar("Document", Workload, Profile, Plan, Clients)

_KINDS: tuple[type[Any], ...] = (Workload, Profile, Plan, Clients)


def _with_format(kind: type[Any]) -> TypeAdapter[Any]:
    """The kind as it stands in a file: with its required `format` field."""
    name = f"{kind.__name__}File"
    field = ("format", Literal[kind.FORMAT])
    return TypeAdapter(make_dataclass(name, [field], bases=(kind,), frozen=True, kw_only=True, slots=True))


_FILES = {kind: _with_format(kind) for kind in _KINDS}
_PLAIN = {kind: TypeAdapter(kind) for kind in _KINDS}

# What only exits need is left out of parts that have none.
_UNUSED: dict[type[Any], tuple[tuple[str, tuple[str, ...]], ...]] = {
    Workload: (("fragments", ("survival",)),),
    Plan: (("stages", ("exits", "expected_ms")), ("routes", ("expected_ms",))),
}


def parse(kind: type[Document], content: bytes, *, source: str) -> Document:
    """Read a document of this kind from JSON; `source` names the file in errors.

    Raises InputError for anything that is not a well-formed, consistent document.
    """
    if not content.strip():
        raise InputError(
            source, [Complaint(place="file", problem="is empty", cure=f"expected {kind.FORMAT}")]
        )
    try:
        document = _FILES[kind].validate_json(content)
    except ValidationError as error:
        raise InputError(source, _complaints(kind, error)) from None
    document = kind(**{f.name: getattr(document, f.name) for f in fields(kind)})
    if complaints := list(_contradictions(document)):
        raise ContradictionError(source, complaints[:MAX_COMPLAINTS])
    return document


def read(kind: type[Document], path: str | Path) -> Document:
    """Read a file; `-` is standard input. Raises InputError, also where the file cannot be read."""
    source = "standard input" if str(path) == "-" else str(path)
    return parse(kind, read_bytes(path), source=source)


def read_bytes(path: str | Path) -> bytes:
    """The content of a file or of standard input (`-`), within the size limit (REGRAFT_MAX_FILE_MB)."""
    limit = int(MAX_FILE_MB * 1e6)
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(limit + 1)
    except OSError as error:
        problem = error.strerror or str(error)
        raise InputError(
            str(path), [Complaint(place="file", problem=problem, cure="give a readable file")]
        ) from None
    if len(content) > limit:
        complaint = Complaint(
            place="file", problem=f"is larger than {MAX_FILE_MB:g} MB", cure="raise REGRAFT_MAX_FILE_MB"
        )
        raise InputError(str(path), [complaint])
    return content


def read_profiles(paths: Sequence[str | Path]) -> list[Profile]:
    """Read several profiles; two for the same model and GPU type are refused, since one would be ignored."""
    profiles: list[Profile] = []
    seen: dict[tuple[str, str], str] = {}
    for path in paths:
        profile = read(Profile, path)
        key = (profile.model, profile.gpu)
        if key in seen:
            complaint = Complaint(
                place="model, gpu",
                problem=f"a profile of {profile.model} on {profile.gpu} was already given by {seen[key]}",
                cure="give each model and GPU type once",
            )
            raise InputError(str(path), [complaint])
        seen[key] = str(path)
        profiles.append(profile)
    return profiles


def to_json(document: AnyDocument) -> dict[str, Any]:
    """The document as plain JSON data, `format` first, absent options left out."""
    kind = type(document)
    # A phone is mostly alternatives not taken, at every depth; a plan's details keep their nulls.
    data: dict[str, Any] = _PLAIN[kind].dump_python(document, mode="json", exclude_none=kind is Clients)
    for parts, names in _UNUSED.get(kind, ()):
        for part in data[parts]:
            for name in names:
                if part[name] is None or part[name] == []:
                    del part[name]
    return {"format": kind.FORMAT, **{key: value for key, value in data.items() if value is not None}}


def dumps(document: AnyDocument) -> bytes:
    """The document as it is written to a file."""
    return (json.dumps(to_json(document), indent=1, allow_nan=False) + "\n").encode()


def write(document: Workload | Profile | Plan, path: str | Path) -> None:
    """Write a file whole or not at all; `-` is standard output."""
    write_bytes(dumps(document), path)


def write_bytes(content: bytes, path: str | Path) -> None:
    """Write bytes to a file in one step (a rename), or to standard output (`-`)."""
    if str(path) == "-":
        sys.stdout.write(content.decode())
        return
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        complaint = Complaint(
            place="file", problem=f"cannot be written: {error.strerror}", cure="give a writable path"
        )
        raise InputError(str(path), [complaint]) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def digest(document: AnyDocument) -> str:
    """The content's name, `sha256:…`: the same content has the same digest however it was written."""
    canonical = json.dumps(to_json(document), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _complaints(kind: type[Any], error: ValidationError) -> list[Complaint]:
    """pydantic's errors in the words of a user: where, what, and what would be right."""
    complaints: dict[str, Complaint] = {}
    items = error.errors(include_url=False)
    # A container is reported as too short when its members were refused: only the members matter.
    inner = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    for item in items:
        if item["loc"] in inner and item["loc"]:
            continue
        place = _place(item["loc"])
        problem, cure = item["msg"], ""
        match item["type"]:
            case "json_invalid":
                place, problem, cure = "file", item["msg"], "expected one JSON object"
            case "unexpected_keyword_argument":
                problem, cure = "unknown field", _known_fields(kind, item["loc"])
            case "missing" | "missing_keyword_only":
                problem, cure = "is required", ""
                if item["loc"] == ("format",):
                    cure = f'expected "{kind.FORMAT}"'
            case "literal_error" if item["loc"] == ("format",):
                problem, cure = f"is {item['input']!r}", f'expected "{kind.FORMAT}"'
            case "dataclass_type":
                problem, cure = f"is {_kind_of(item['input'])}", "expected an object"
            case "too_short":
                problem, cure = "is empty", "expected at least one entry"
            case _:
                problem = f"is {_short(item['input'])}"
                cure = item["msg"][0].lower() + item["msg"][1:]
        complaints.setdefault(place, Complaint(place=place, problem=problem, cure=cure))
    return list(complaints.values())[:MAX_COMPLAINTS]


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.startswith(("constrained-", "function-")) or step in ("int", "float"):
            continue  # the branch of a union; not a place in the file
        else:
            text += f".{step}" if text else step
    return text or "file"


def _known_fields(kind: type[Any], location: tuple[int | str, ...]) -> str:
    if len(location) == 1:
        names = ["format", *(f.name for f in fields(kind))]
        return "known here: " + ", ".join(names)
    return "remove it"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _kind_of(value: Any) -> str:
    return {list: "a list", str: "a string", int: "a number", float: "a number", type(None): "null"}.get(
        type(value), _short(value)
    )


def _contradictions(document: AnyDocument) -> Iterable[Complaint]:
    match document:
        case Workload():
            yield from _repeated("fragments", "id", [fragment.id for fragment in document.fragments])
            for number, fragment in enumerate(document.fragments):
                yield from rising_survival(f"fragments[{number}].survival", fragment.survival or ())
            yield from _repeated("gpus", "id", [gpu.id for gpu in document.gpus or ()])
        case Profile():
            yield from _profile_contradictions(document)
        case Clients():
            yield from _repeated("clients", "id", [client.id for client in document.clients])
            yield from contradictions(document)
        case Plan():
            pass  # what a plan's numbers may be is for planner.laws to say


def _repeated(place: str, field: str, names: list[str]) -> Iterable[Complaint]:
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in first:
            yield Complaint(
                place=f"{place}[{position}].{field}",
                problem=f"{name!r} is already used by {place}[{first[name]}]",
                cure="every id once; identical clients are one fragment with a count",
            )
        else:
            first[name] = position


def _profile_contradictions(profile: Profile) -> Iterable[Complaint]:
    depth = profile.depth
    for field, values in (("batches", profile.batches), ("shares", profile.shares)):
        for value, times in Counter(values).items():
            if times > 1:
                yield Complaint(
                    place=field, problem=f"{value} stands there {times} times", cure="every value once"
                )
    if len(profile.latency_ms) != depth:
        yield Complaint(
            place="latency_ms",
            problem=f"has {len(profile.latency_ms)} rows",
            cure=f"expected one for each of the {depth} layers",
        )
    for layer, row in enumerate(profile.latency_ms):
        if len(row) != len(profile.batches):
            yield Complaint(
                place=f"latency_ms[{layer}]",
                problem=f"has {len(row)} rows",
                cure=f"expected one for each of the {len(profile.batches)} batches",
            )
        for batch, cells in enumerate(row):
            if len(cells) != len(profile.shares):
                yield Complaint(
                    place=f"latency_ms[{layer}][{batch}]",
                    problem=f"has {len(cells)} cells",
                    cure=f"expected one for each of the {len(profile.shares)} shares",
                )
    yield from exit_contradictions(profile)
    for path in _not_finite(profile.measured, "measured"):
        yield Complaint(place=path, problem="is not a finite number", cure="null, or leave it out")
    sizes = (("cut_bytes", depth + 1), ("weight_mb", depth), ("activation_mb", depth))
    for field, expected in sizes:
        values = getattr(profile, field)
        if values is not None and len(values) != expected:
            yield Complaint(place=field, problem=f"has {len(values)} entries", cure=f"expected {expected}")


def _not_finite(value: Any, place: str) -> Iterable[str]:
    """Where NaN or an infinity stands in free-form data: JSON has neither."""
    match value:
        case float() if not math.isfinite(value):
            yield place
        case dict():
            for name, inner in value.items():
                yield from _not_finite(inner, f"{place}.{name}")
        case list() | tuple():
            for position, inner in enumerate(value):
                yield from _not_finite(inner, f"{place}[{position}]")
