"""Everything the planner raises on purpose.

PlannerError
├── InputError            the input is wrong: what, where, and what would be right (exit code 2)
│   └── ContradictionError    each part is well formed, but they contradict each other
├── InfeasibleError       no plan meets the promises; carries a reason for each fragment (exit code 3)
├── DoesNotFitError       the plan needs more than the GPUs have; says what found no place (exit code 3)
└── InvalidPlanError      a strategy made a plan that the verifier refuses: a defect of ours
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.plan import Unplanned


class PlannerError(Exception):
    """The root of this package's errors."""


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One thing wrong with an input: where it stands, what is wrong, what would be right."""

    place: str
    problem: str
    cure: str = ""

    def __str__(self) -> str:
        cure = f" ({self.cure})" if self.cure else ""
        return f"{self.place}: {self.problem}{cure}"


class InputError(PlannerError):
    """The input is wrong. `source` names the file (or `request body`), `complaints` say what and where."""

    def __init__(self, source: str, complaints: list[Complaint]) -> None:
        self.source = source
        self.complaints = complaints
        super().__init__("\n".join(f"{source}: {complaint}" for complaint in complaints))


class ContradictionError(InputError):
    """Every part of the document is what it should be, but the parts contradict each other."""


class InfeasibleError(PlannerError):
    """No plan meets the promises of these fragments; `reasons` says why, fragment by fragment.

    `problem` is what the message says of all of them together.
    """

    def __init__(self, reasons: list[Unplanned], problem: str = "no plan meets the promises of") -> None:
        self.reasons = reasons
        names = ", ".join(reason.fragment for reason in reasons[:5])
        more = f" and {len(reasons) - 5} more" if len(reasons) > 5 else ""
        super().__init__(f"{problem} {names}{more}")


class DoesNotFitError(PlannerError):
    """A plan was made, but the GPUs do not hold it; `missing` names every stage that found no place.

    `would_help` are changes that would make it fit, where somebody asked for them (`planner.fitting`).
    `tried` says that plans of fewer, larger instances were made as well, and did not fit either.
    """

    def __init__(
        self,
        missing: list[dict[str, Any]],
        would_help: dict[str, Any] | None = None,
        *,
        tried: bool = False,
    ) -> None:
        self.missing = missing
        self.would_help = would_help
        self.tried = tried
        count = sum(int(item["instances"]) for item in missing)
        stages = ", ".join(str(item["stage"]) for item in missing[:5])
        others = "; nor did plans of fewer, larger instances fit" if tried else ""
        super().__init__(f"{count} instances find no place on the GPUs (of stages {stages}){others}")


class InvalidPlanError(PlannerError):
    """A strategy made a plan that breaks a law. Never shown as a plan; always a defect to report."""
