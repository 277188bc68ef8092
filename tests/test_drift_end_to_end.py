"""Inputs become harder while real workers serve them: the service plans anew, and the new plan is served."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api.demo import system as demo_system
from api.processes import family
from planner.profile import Exit, Profile
from planner.workload import Fragment, Workload

MODEL = "tests.runtime.tiny_models:marked"
PHONE = "phone-0"
WORKLOAD = Workload(fragments=(Fragment(id=PHONE, model=MODEL, start=0, budget_ms=2000.0, rate_rps=100.0),))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The directory of the model's ramp, which needs no training."""
    from runtime.ramps import Ramps, save_ramps
    from tests.runtime.tiny_models import Bright

    ramps = Ramps(
        model=MODEL,
        classes=10,
        layers=(1,),
        thresholds=(0.9,),
        modules=(Bright(10),),
        factory="tests.runtime.tiny_models:bright",
    )
    save_ramps(ramps, tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def profile() -> Profile:
    """A made-up profile of the model."""
    from runtime.models import open_chain

    layers = open_chain(MODEL).layers
    return Profile(
        model=MODEL,
        gpu="cpu",
        layers=layers,
        batches=(1, 4),
        shares=(10, 20, 50),
        latency_ms=tuple(((10.0, 5.0, 2.0), (16.0, 8.0, 3.2)) for _ in layers),
        exits=(Exit(layer=1, ramp_ms=((1.0, 0.5, 0.2), (1.6, 0.8, 0.32)), survival=0.3),),
    )


@pytest.fixture
def system(tmp_path: Path, weights: Path) -> Iterator[demo_system.System]:
    environment = {
        "REGRAFT_WEIGHTS": str(weights),
        "REGRAFT_ON_DRIFT": "apply",
        "REGRAFT_DRIFT_WINDOW_S": "2",
        "REGRAFT_DRIFT_WINDOWS": "8",
        "REGRAFT_NODE_HEARTBEAT_S": "0.5",
    }
    with family(tmp_path, environment) as members, demo_system.start(members, tmp_path) as running:
        yield running


def tensor(*, hard: bool) -> list[float]:
    """An input whose first channel is dark, or bright."""
    return [0.0 if hard else 1.0] * 64 + [0.5] * 128


class Phone:
    """Sends inputs one after the other; `generations` are those that have answered."""

    def __init__(self, system: demo_system.System) -> None:
        self._http = httpx.Client(base_url=system.gateway, trust_env=False)
        self._path = f"/v2/models/{quote(MODEL)}/infer"
        self.generations: list[int] = []
        self.sent = 0

    def sends(self, hard_of_ten: int) -> None:
        """Ten inputs."""
        for number in range(10):
            given = {
                "name": "input",
                "shape": [1, 3, 8, 8],
                "datatype": "FP32",
                "data": tensor(hard=number < hard_of_ten),
            }
            body: dict[str, Any] = {"inputs": [given], "parameters": {"fragment": PHONE}}
            answer = self._http.post(self._path, json=body)
            assert answer.status_code == 200, answer.text
            self.generations.append(answer.json()["parameters"]["generation"])
            self.sent += 1

    def close(self) -> None:
        self._http.close()


@pytest.mark.slow
def test_harder_inputs_lead_to_a_plan_for_them_that_is_served(
    system: demo_system.System, profile: Profile
) -> None:
    client = system.client
    plan_id, plan = demo_system.plan(
        system, WORKLOAD, [profile], strategy="multi-exit", queueing="headroom", time_limit_s=5, seed=0,
        on_event=lambda _: None,
    )  # fmt: skip
    assert any(stage.exits for stage in plan.stages)
    demo_system.deploy(system, plan_id, lambda _: None)
    phone = Phone(system)
    deadline = time.monotonic() + 90

    def goes_on(hard_of_ten: int, until: Any) -> None:
        while not until():
            assert time.monotonic() < deadline, (client.exits(), client.drifts())
            phone.sends(hard_of_ten)

    # As planned, 3 of 10 go on past the exit: the service comes to know, and leaves all as it is.
    goes_on(3, lambda: any(kind.windows for kind in client.exits().outlooks))
    [kind] = client.exits().outlooks
    assert (kind.planned, kind.layers) == ([0.3], [1])
    assert kind.expected == pytest.approx([0.3], abs=0.05)
    assert client.drifts() == []

    # Then all do.
    goes_on(10, lambda: phone.generations and phone.generations[-1] > 1)
    first = client.drifts()[-1]
    assert (first.generation, first.plan, first.state, first.applied_as) == (1, plan_id, "applied", 2)
    assert first.outlooks[0].harder
    served = client.deployment(2)
    assert served is not None
    assert (served.plan, served.deployed_by) == (first.new_plan, "drift")
    assert client.workload(first.workload).fragments[0].survival == pytest.approx(
        tuple(first.outlooks[0].expected or ()), abs=1e-4
    )
    assert first.new_share is not None
    assert first.new_share >= first.share
    # Every request was answered, those over the change too.
    assert len(phone.generations) == phone.sent
    phone.close()
