"""What goes over the wire beside workloads, profiles and plans: requests and answers, for service and client.

Requests are strict: unknown fields, texts for numbers, NaN are refused. Answers may gain fields in later
versions, so the client ignores those it does not know.
"""

from __future__ import annotations

from api.views.base import (
    SCOPES,
    Answer,
    ComplaintView,
    GpuView,
    Page,
    Problem,
    Request,
    Scope,
)
from api.views.deployments import (
    AuditEntry,
    Deploy,
    Deployment,
    DeploymentStatus,
    NotRunning,
    Rollback,
    WorkerPlace,
)
from api.views.documents import (
    DeriveProfile,
    DeriveWorkload,
    ProfileInfo,
    WorkloadInfo,
)
from api.views.drifts import (
    Drift,
    ExitOutlook,
    Exits,
    OnDrift,
)
from api.views.nodes import (
    ExitCounts,
    GatewayExits,
    Node,
    Register,
    ReportStatus,
    Worker,
)
from api.views.plans import (
    PlanDiff,
    PlanInfo,
    RouteChange,
    StageChange,
    StageView,
)
from api.views.runs import (
    Comparison,
    ComparisonDifference,
    ComparisonDifferences,
    ComparisonRow,
    Failure,
    Run,
    RunEvent,
    RunProgress,
    RunSettings,
    State,
    SubmitComparison,
    SubmitRun,
)

__all__ = [
    "SCOPES",
    "Answer",
    "AuditEntry",
    "Comparison",
    "ComparisonDifference",
    "ComparisonDifferences",
    "ComparisonRow",
    "ComplaintView",
    "Deploy",
    "Deployment",
    "DeploymentStatus",
    "DeriveProfile",
    "DeriveWorkload",
    "Drift",
    "ExitCounts",
    "ExitOutlook",
    "Exits",
    "Failure",
    "GatewayExits",
    "GpuView",
    "Node",
    "NotRunning",
    "OnDrift",
    "Page",
    "PlanDiff",
    "PlanInfo",
    "Problem",
    "ProfileInfo",
    "Register",
    "ReportStatus",
    "Request",
    "Rollback",
    "RouteChange",
    "Run",
    "RunEvent",
    "RunProgress",
    "RunSettings",
    "Scope",
    "StageChange",
    "StageView",
    "State",
    "SubmitComparison",
    "SubmitRun",
    "Worker",
    "WorkerPlace",
    "WorkloadInfo",
]
