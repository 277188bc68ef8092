"""What must be true of a plan wanted before it is queued: everything it names exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.errors import InvalidInputError, NotFoundError
from api.repositories.store import Store
from api.views import RunSettings
from planner.errors import Complaint, InputError
from planner.planning import find_strategy
from planner.queueing import queueing_law


def check(
    store: Store,
    *,
    workload: str,
    profiles: Sequence[str],
    strategies: Sequence[tuple[str, str]],
    queueing: str,
) -> None:
    """`strategies` are (place, name).

    Raises InvalidInputError, or NotFoundError where only documents are missing, with every complaint at once.
    """
    missing, wrong = [], []
    try:
        store.documents.workload(workload)
    except NotFoundError as error:
        missing.append(
            Complaint(place="workload", problem=error.detail, cure="post it to /v1/workloads first")
        )
    unknown = set(store.documents.missing_profiles(profiles))
    for number, name in enumerate(profiles):
        if name in unknown:
            problem = f"there is no profile {name!r}"
            cure = "post it to /v1/profiles first"
            missing.append(Complaint(place=f"profiles[{number}]", problem=problem, cure=cure))
    for place, name in strategies:
        try:
            find_strategy(name)
        except InputError as error:
            wrong += [Complaint(place=place, problem=c.problem, cure=c.cure) for c in error.complaints]
    try:
        queueing_law(queueing)
    except InputError as error:
        wrong += [Complaint(place="queueing", problem=c.problem, cure=c.cure) for c in error.complaints]
    if wrong:
        raise InvalidInputError("the run cannot be submitted", errors=[*missing, *wrong])
    if missing:
        raise NotFoundError("the run names what is not there", errors=missing)


def settings_of(request: RunSettings) -> dict[str, Any]:
    """The planner's settings of a request."""
    return {name: getattr(request, name) for name in RunSettings.model_fields}
