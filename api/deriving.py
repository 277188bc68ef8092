"""What if: a workload or a profile made from another, by factors."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate, pairwise

from api.errors import ConflictError
from api.views import DeriveProfile, DeriveWorkload
from planner.errors import Complaint
from planner.profile import Profile
from planner.workload import Gpu, Workload


def derive_workload(workload: Workload, wanted: DeriveWorkload) -> Workload:
    """The workload with other numbers. Raises ConflictError where nothing is left of it.

    Clients come in whole numbers: their total is `clients` times the old one, rounded, and every fragment
    gets its share of it within one client. A fragment that gets none is left out.
    """
    kept = [item for item in workload.fragments if wanted.models is None or item.model in wanted.models]
    scaled = [wanted.clients * total for total in accumulate(item.count for item in kept)]
    # Rounding the running total, not each fragment, keeps what is lost at one place for the next.
    totals = [0, *(math.floor(total + 0.5) for total in scaled)]
    counts = [after - before for before, after in pairwise(totals)]
    fragments = tuple(
        replace(
            item, count=count, budget_ms=item.budget_ms * wanted.budget, rate_rps=item.rate_rps * wanted.rate
        )
        for item, count in zip(kept, counts, strict=True)
        if count > 0
    )
    if not fragments:
        complaint = Complaint(place="models", problem="leaves no fragment", cure="models of the workload")
        raise ConflictError("nothing is left of the workload", errors=[complaint])
    gpus = workload.gpus
    if wanted.gpus is not None:
        gpus = tuple(Gpu(**gpu.model_dump()) for gpu in wanted.gpus) or None
    return replace(workload, fragments=fragments, gpus=gpus)


def derive_profile(profile: Profile, wanted: DeriveProfile) -> Profile:
    """The profile of the same GPU at another price."""
    return replace(profile, cost_per_share=wanted.cost_per_share)
