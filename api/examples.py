"""Examples for the API's description: small, whole, and fitting together: sent in order, they work."""

from __future__ import annotations

from typing import Any

WORKLOAD: dict[str, Any] = {
    "format": "regraft.workload/v1",
    "fragments": [
        {"id": "phone-7", "model": "resnet101", "start": 1, "budget_ms": 43.2, "rate_rps": 30.0},
        {"id": "phone-8", "model": "resnet101", "start": 0, "budget_ms": 51.0, "rate_rps": 30.0, "count": 4},
    ],
    "gpus": [{"id": "gpu-0", "type": "v100", "memory_mb": 16384.0}],
}

PROFILE: dict[str, Any] = {
    "format": "regraft.profile/v1",
    "model": "resnet101",
    "gpu": "v100",
    "layers": ["conv1", "layer1.0"],
    "batches": [1, 2],
    "shares": [50, 100],
    "latency_ms": [[[1.4, 0.9], [2.1, 1.3]], [[2.2, 1.5], [3.4, None]]],
    "stage_overhead_ms": 0.15,
}

# The digests of the two above.
_ID = "sha256:b9abf53374e2ee7208eac718aa9d06dd338323e97e11f7fe7f825ab50a98a088"
_PROFILE_ID = "sha256:f8fa494d65ff4178c0452eeaf466b9c9c225a6974d32944d22013e1dd600e4fb"

PLAN: dict[str, Any] = {
    "format": "regraft.plan/v1",
    "strategy": "by hand",
    "status": "feasible",
    "objective": {"share": 100.0, "gpus": 1},
    "stages": [
        {
            "id": "s0",
            "model": "resnet101",
            "gpu": "v100",
            "start": 0,
            "end": 2,
            "batch": 1,
            "share": 50,
            "instances": 1,
            "exec_ms": 3.75,
        },
        {
            "id": "s1",
            "model": "resnet101",
            "gpu": "v100",
            "start": 1,
            "end": 2,
            "batch": 1,
            "share": 50,
            "instances": 1,
            "exec_ms": 2.35,
        },
    ],
    "routes": [
        {"fragment": "phone-7", "fraction": 1.0, "stages": ["s1"], "worst_ms": 4.7},
        {"fragment": "phone-8", "fraction": 1.0, "stages": ["s0"], "worst_ms": 7.5},
    ],
    "placement": [
        {"stage": "s0", "instance": 0, "gpu": "gpu-0"},
        {"stage": "s1", "instance": 0, "gpu": "gpu-0"},
    ],
    "provenance": {"workload": _ID, "profiles": [_PROFILE_ID]},
}
_PLAN_ID = "sha256:0c046c0a0a4ce5ee6acc430a54bd56ea8369744fbbc03cb01eee42af4a176dc9"

_SETTINGS: dict[str, Any] = {"workload": _ID, "profiles": [_PROFILE_ID], "time_limit_s": 30.0}

# By the name of the request's class.
REQUESTS: dict[str, dict[str, Any]] = {
    "SubmitRun": {**_SETTINGS, "strategy": "optimal"},
    "SubmitComparison": {**_SETTINGS, "strategies": ["gslice", "graft", "optimal"]},
    "DeriveWorkload": {"clients": 2.0, "budget": 0.8},
    "DeriveProfile": {"cost_per_share": 1.7},
    "Deploy": {"plan": _PLAN_ID, "expected_generation": 0},
    "Rollback": {"generation": 1},
    "Register": {
        "name": "node-a",
        "address": "http://10.0.0.7:9100",
        "gpus": [{"id": "gpu-0", "type": "v100", "memory_mb": 16384.0}],
    },
    "ReportStatus": {
        "generation": 1,
        "workers": [
            {
                "generation": 1,
                "stage": "s1",
                "instance": 0,
                "gpu": "gpu-0",
                "state": "ready",
                "pid": 4711,
                "restarts": 0,
                "share_pct": 50,
                "effective_share_pct": 50.0,
                "enforced_by": "mps",
                "detail": "",
            }
        ],
    },
}

EVENTS = """id: 1
event: state
data: {"state": "queued"}

id: 2
event: state
data: {"state": "running", "attempt": 1}

id: 3
event: progress
data: {"t": 0.11, "phase": "graft", "objective": 100.0, "bound": 50.0, "gap": 0.5}

id: 4
event: state
data: {"state": "succeeded", "plan": "plan_01a21e1ac5403b10d880534734a4"}

"""

PROBLEM: dict[str, Any] = {
    "type": "urn:regraft:problem:invalid_input",
    "title": "The input is wrong",
    "status": 422,
    "code": "invalid_input",
    "detail": "request body: 1 complaint",
    "errors": [
        {
            "place": "fragments[0].budget_ms",
            "problem": "is -3",
            "cure": "input should be greater than 0",
        }
    ],
}

_AT = "2026-11-27T17:43:20.644000Z"
_RUN_ID, _COMPARISON_ID = "run_01a21e1aba897e165b9dd164ce65", "comparison_01a21e1ac575191c853d77fe44b8"
_NODE_ID = "node_01a21e1ae613077eb142aaae9b8b"
_OF = {"workload": _ID, "profiles": [_PROFILE_ID]}
_FIGURES = {"share": 100.0, "gpus": 1, "stages": 2, "instances": 2, "lower_bound": 100.0, "gap": 0.0}
_GPU = REQUESTS["Register"]["gpus"][0]
_PLACES = [{"stage": "s0", "instance": 0, "gpu": "gpu-0"}, {"stage": "s1", "instance": 0, "gpu": "gpu-0"}]
_NOT_RUNNING = [{**_PLACES[0], "node": "node-a", "reason": "not_reported"}]

_DEPLOYMENT: dict[str, Any] = {
    "generation": 1,
    "id": "deployment_01a21e1ae642742d150f654b8b33",
    "created_at": _AT,
    "plan": _PLAN_ID,
    "rollback_of": None,
    "deployed_by": "ops",
    "instances": 2,
    "gpus": 1,
    "current": True,
}
_DIFFERENCE: dict[str, Any] = {
    "before": "plan_01a21e1acbd0654081e13d153995",
    "after": _PLAN_ID,
    "share": -25.0,
    "added": [],
    "removed": [],
    "restarted": [
        {
            "before": {**PLAN["stages"][0], "share": 75},
            "after": PLAN["stages"][0],
            "changed": ["share"],
        }
    ],
    "rerouted": [
        {
            "fragment": "phone-7",
            "before": [{"fraction": 1.0, "cuts": [1, 2]}],
            "after": [{"fraction": 0.5, "cuts": [1, 2]}, {"fraction": 0.5, "cuts": [0, 2]}],
        }
    ],
    "unchanged": 1,
}

_OUTLOOK: dict[str, Any] = {
    "model": "resnet101",
    "own": False,
    "layers": [1],
    "fragments": 2,
    "planned": [0.5],
    "seen": [0.71],
    "expected": [0.72],
    "windows": 4,
    "answered": 7200,
    "rests_on": 1800,
    "difference": 0.22,
    "drifted": True,
    "harder": True,
}

# By the name of the answer's class.
ANSWERS: dict[str, dict[str, Any]] = {
    "WorkloadInfo": {
        "id": _ID,
        "created_at": _AT,
        "fragments": 2,
        "clients": 5,
        "gpus": 1,
        "models": ["resnet101"],
        "derived_from": None,
        "derivation": None,
    },
    "ProfileInfo": {
        "id": _PROFILE_ID,
        "created_at": _AT,
        "model": "resnet101",
        "gpu": "v100",
        "layers": 2,
        "batches": [1, 2],
        "shares": [50.0, 100.0],
        "measured": {},
    },
    "Run": {
        "id": _RUN_ID,
        "created_at": _AT,
        **_OF,
        "comparison": None,
        "strategy": "optimal",
        "settings": {
            "time_limit_s": 30.0,
            "gap": 0.0,
            "seed": 0,
            "threads": 2,
            "infeasible": "fail",
            "queueing": "plain",
        },
        "state": "succeeded",
        "wanted": None,
        "attempts": 1,
        "started_at": _AT,
        "finished_at": _AT,
        "progress": {"t": 0.12, "phase": "routes", "objective": 100.0, "bound": 100.0, "gap": 0.0},
        "failure": None,
        "plan": _PLAN_ID,
    },
    "PlanInfo": {
        "id": _PLAN_ID,
        "created_at": _AT,
        "run": None,
        **_OF,
        "digest": _PLAN_ID,
        "strategy": "by hand",
        "status": "feasible",
        **_FIGURES,
        "lower_bound": None,
        "gap": None,
        "seconds": None,
        "unplanned": 0,
    },
    "PlanDiff": _DIFFERENCE,
    "Comparison": {
        "id": _COMPARISON_ID,
        "created_at": _AT,
        **_OF,
        "done": True,
        "rows": [
            {
                "strategy": "gslice",
                "run": _RUN_ID,
                "state": "succeeded",
                "plan": _PLAN_ID,
                **_FIGURES,
                "seconds": 0.76,
                "failure": None,
            }
        ],
    },
    "ComparisonDifferences": {
        "id": _COMPARISON_ID,
        "baseline": "gslice",
        "plan": _DIFFERENCE["before"],
        "rows": [{"strategy": "graft", "run": _RUN_ID, "plan": _PLAN_ID, "difference": _DIFFERENCE}],
    },
    "Deployment": _DEPLOYMENT,
    "DeploymentStatus": {**_DEPLOYMENT, "workers": _PLACES, "not_running": _NOT_RUNNING},
    "Node": {
        "id": _NODE_ID,
        "name": "node-a",
        "address": "http://10.0.0.7:9100",
        "gpus": [_GPU],
        "lease": "live",
        "lease_s": 9.0,
        "heartbeat_s": 3.0,
        "lease_until": _AT,
        "registered_at": _AT,
        "reported_at": _AT,
        "generation": 1,
        "workers": REQUESTS["ReportStatus"]["workers"],
        "assigned": 2,
        "not_running": _NOT_RUNNING,
    },
    "Exits": {
        "generation": 1,
        "on_drift": "propose",
        "window_s": 60.0,
        "tolerance": 0.05,
        "at": _AT,
        "outlooks": [_OUTLOOK],
    },
    "Drift": {
        "id": "drift_019a8f3c1d2e5b6a7c8d9e0f1a2b",
        "created_at": _AT,
        "generation": 1,
        "plan": _PLAN_ID,
        "mode": "propose",
        "state": "proposed",
        "detail": None,
        "outlooks": [_OUTLOOK],
        "workload": _ID,
        "run": _RUN_ID,
        "new_plan": "plan_019a8f3c1d2e5b6a7c8d9e0f1a2c",
        "share": 100.0,
        "new_share": 150.0,
        "applied_as": None,
    },
    "AuditEntry": {
        "id": 7,
        "at": _AT,
        "key": "ops",
        "action": "deploy",
        "target": "1",
        "detail": {"plan": _PLAN_ID},
    },
    "Assignment": {
        "format": "regraft.assignment/v1",
        "generation": 1,
        "deployment": _DEPLOYMENT["id"],
        "plan": _PLAN_ID,
        "stages": PLAN["stages"],
        "routes": [
            {**PLAN["routes"][0], "model": "resnet101", "start": 1, "budget_ms": 43.2, "rate_rps": 30.0}
        ],
        "workers": [{**_PLACES[0], "memory_mb": 450.0}],
    },
}
