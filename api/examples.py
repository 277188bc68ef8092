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
