"""Examples for the API's description: small, whole, and such that they fit together."""

from __future__ import annotations

from typing import Any

WORKLOAD: dict[str, Any] = {
    "format": "regraft.workload/v1",
    "fragments": [
        {"id": "phone-7", "model": "resnet101", "start": 12, "budget_ms": 43.2, "rate_rps": 30.0},
        {"id": "phone-8", "model": "resnet101", "start": 9, "budget_ms": 51.0, "rate_rps": 30.0, "count": 4},
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

_ID = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_PROFILE_ID = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
_PLAN_ID = "plan_01a2075108a8e532ebb45b2fabe8"

_SETTINGS: dict[str, Any] = {"workload": _ID, "profiles": [_PROFILE_ID], "time_limit_s": 30.0}

# By the name of the request's class.
REQUESTS: dict[str, dict[str, Any]] = {
    "SubmitRun": {**_SETTINGS, "strategy": "optimal"},
    "SubmitComparison": {**_SETTINGS, "strategies": ["gslice", "graft", "optimal"]},
    "DeriveWorkload": {"clients": 2.0, "budget": 0.8},
    "DeriveProfile": {"cost_per_share": 1.7},
    "Deploy": {"plan": _PLAN_ID, "expected_generation": 3},
    "Rollback": {"generation": 2},
    "Register": {
        "name": "node-a",
        "address": "http://10.0.0.7:9100",
        "gpus": [{"id": "node-a/gpu-0", "type": "v100", "memory_mb": 16384.0}],
    },
    "ReportStatus": {
        "generation": 3,
        "workers": [
            {
                "generation": 3,
                "stage": "s1",
                "instance": 0,
                "gpu": "node-a/gpu-0",
                "state": "ready",
                "pid": 4711,
                "restarts": 0,
                "share_pct": 25,
                "effective_share_pct": 25.0,
                "enforced_by": "mps",
                "detail": "",
            }
        ],
    },
}

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
