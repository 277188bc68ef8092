"""The names of the metrics: in the code, in the documentation, and on the dashboard."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from runtime.agent import Agent
from runtime.agent_metrics import agent_metrics, memory_bytes
from runtime.gateway import Gateway
from runtime.gateway_metrics import gateway_metrics
from runtime.metrics import Metrics
from runtime.shares import Use
from runtime.transport_arena import Arena
from tests.runtime.cluster import REPOSITORY

DASHBOARD = REPOSITORY / "examples" / "grafana-dashboard.json"


def families() -> list[Metric]:
    """Everything that a gateway and an agent tell, while they have nothing to tell of."""
    arena = Arena(1 << 20)
    agent = SimpleNamespace(newest=0, devices={"node-a/cpu-0": None}, state=SimpleNamespace(workers=[]))
    try:
        return [*gateway_metrics(Gateway(), arena), *agent_metrics(cast(Agent, agent))]
    finally:
        arena.close()


def exposed_names() -> set[str]:
    """As they stand in a scrape, histograms by their common name."""
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in families()}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def test_the_documentation_lists_every_metric_and_no_other() -> None:
    text = (REPOSITORY / "docs" / "runtime.md").read_text()
    documented = re.findall(r"^\| `(regraft_\w+)` \|", text, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == exposed_names()


def test_the_dashboard_shows_metrics_that_exist_and_forgets_none() -> None:
    histograms = {family.name for family in families() if family.type == "histogram"}
    shown = set()
    for expression in expressions():
        for name in re.findall(r"\bregraft_\w+", expression):
            plain = re.sub(r"_(bucket|sum|count)$", "", name)
            shown.add(plain if plain in histograms else name)
    assert shown == exposed_names()


def test_the_dashboard_asks_for_labels_that_exist() -> None:
    known = {"le", "status", "name", "fragment", "state", "gpu", "instance"}
    known |= {label for family in families() for label in family._labelnames}  # type: ignore[attr-defined]
    for expression in expressions():
        for group in re.findall(r"by \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= known, expression
    for panel in panels():
        for target in panel.get("targets", []):
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known


def test_the_dashboard_can_be_imported() -> None:
    content = json.loads(DASHBOARD.read_text())
    assert [given["pluginId"] for given in content["__inputs"]] == ["prometheus"]
    assert content["templating"]["list"][0]["type"] == "datasource"
    assert content["schemaVersion"] >= 36
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_what_is_told_is_prometheus_text() -> None:
    text = Metrics(lambda: iter(families())).render().decode()
    told = {family.name for family in text_string_to_metric_families(text)}
    assert {name.removesuffix("_total") for name in exposed_names()} == told


def test_the_used_share_of_a_core_is_the_processor_time_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = {"now": 10.0, "processor": 3.0}
    monkeypatch.setattr("runtime.shares.time.monotonic", lambda: clock["now"])
    monkeypatch.setattr("runtime.shares.time.process_time", lambda: clock["processor"])
    core, gpu = Use(on_cpu=True), Use(on_cpu=False)
    clock.update(now=12.0, processor=3.5)
    assert core.since_last_pct(1.0, 50.0) == pytest.approx(25.0)
    assert gpu.since_last_pct(1.0, 50.0) == pytest.approx(25.0)
    clock.update(now=13.0, processor=3.6)
    assert core.since_last_pct(1.2, 50.0) == pytest.approx(10.0)
    assert gpu.since_last_pct(1.2, 50.0) == pytest.approx(10.0)


def test_memory_is_read_from_the_kernel() -> None:
    size = memory_bytes(os.getpid())
    assert size is not None
    assert size > 1 << 20
    assert memory_bytes(0) is None
