"""Plans made elsewhere (`regraft plan`, or another tool), judged before they are stored.

A plan says in its provenance what it was made from: the digests of its workload and profiles, under which
the service knows these. Only a plan that keeps every law with them is taken. Its lower bound remains its
maker's word: that no plan is cheaper is a proof, which no verdict can repeat.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from api import packing
from api.database import Database
from api.errors import ContradictionError, InvalidInputError, InvalidPlanError, NotFoundError
from planner import laws
from planner.errors import Complaint
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload

MAX_VIOLATIONS = 100
MAX_PROFILES = 1000


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a plan was made from, by id."""

    workload_id: str
    profiles: list[str]


def judge(database: Database, plan: Plan, *, max_clients: int) -> Origin:
    """Verify a plan against the stored documents its provenance names; may take seconds.

    Raises InvalidInputError where it names none, NotFoundError where they are not stored,
    ContradictionError where two of its profiles are of one model and GPU type, and InvalidPlanError with
    every broken law.
    """
    origin = _origin(plan)
    workload, profiles = _documents(database, origin)
    verdict = laws.verify(plan, workload, profiles, max_clients=max_clients)
    if not verdict.valid:
        broken = verdict.violations
        raise InvalidPlanError(
            f"the plan breaks the laws at {len(broken)} place{'s' if len(broken) != 1 else ''}",
            errors=[Complaint(place=item.place, problem=f"{item.law}: {item.message}") for item in broken],
            violations=[asdict(item) for item in broken[:MAX_VIOLATIONS]],
        )
    return origin


def _origin(plan: Plan) -> Origin:
    made_from = plan.provenance
    complaints = []
    if not made_from.workload:
        complaints.append(
            Complaint(place="provenance.workload", problem="is required", cure="the workload's digest")
        )
    if len(made_from.profiles) > MAX_PROFILES:
        problem = f"names {len(made_from.profiles)} profiles"
        complaints.append(
            Complaint(place="provenance.profiles", problem=problem, cure=f"at most {MAX_PROFILES}")
        )
    elif not made_from.profiles:
        complaints.append(
            Complaint(place="provenance.profiles", problem="is required", cure="the profiles' digests")
        )
    if complaints or made_from.workload is None:
        raise InvalidInputError("the plan does not say what it was made from", errors=complaints)
    return Origin(workload_id=made_from.workload, profiles=list(made_from.profiles))


def _documents(database: Database, origin: Origin) -> tuple[Workload, list[Profile]]:
    missing, bodies = [], []
    with database.reading() as store:
        for number, name in enumerate(origin.profiles):
            try:
                bodies.append(store.documents.profile(name, body=True).body)
            except NotFoundError as error:
                place = f"provenance.profiles[{number}]"
                cure = "post it to /v1/profiles first"
                missing.append(Complaint(place=place, problem=error.detail, cure=cure))
        try:
            body = store.documents.workload(origin.workload_id, body=True).body
        except NotFoundError as error:
            cure = "post it to /v1/workloads first"
            missing.append(Complaint(place="provenance.workload", problem=error.detail, cure=cure))
    if missing:
        raise NotFoundError("the plan was made from what is not there", errors=missing)
    profiles = [packing.unpack(Profile, item) for item in bodies]
    kinds = Counter((profile.model, profile.gpu) for profile in profiles)
    twice = [f"{model} on {gpu}" for (model, gpu), times in kinds.items() if times > 1]
    if twice:
        complaint = Complaint(
            place="provenance.profiles",
            problem=f"names two profiles of {', '.join(twice)}",
            cure="each model and GPU type once",
        )
        raise ContradictionError("the plan's profiles contradict each other", errors=[complaint])
    return packing.unpack(Workload, body), profiles
