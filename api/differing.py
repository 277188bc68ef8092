"""What changes from one plan to another: the words are those of whoever has to run the second.

A stage *is* its model, GPU type and layers; the same one at another batch, share or number of instances is
restarted. Stages with equal layers are paired in the order of likeness: the same first, then the rest in
the order of the plans. A fragment's way is the cut points it passes, with the fraction of its requests.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from api import views
from planner.plan import Plan, Stage

_SETTINGS = ("batch", "share", "instances", "exits")


def difference(before_id: str, before: Plan, after_id: str, after: Plan) -> views.PlanDiff:
    """Stages added, removed and restarted, fragments re-routed."""
    added, removed, restarted, unchanged = [], [], [], 0
    old, new = _by_layers(before), _by_layers(after)
    for layers in sorted(old.keys() | new.keys()):
        left, right = old.get(layers, []), new.get(layers, [])
        left, right, same = _without_pairs(left, right)
        unchanged += same
        paired = min(len(left), len(right))
        for one, other in zip(left[:paired], right[:paired], strict=True):
            changed = [name for name in _SETTINGS if getattr(one, name) != getattr(other, name)]
            restarted.append(views.StageChange(before=_view(one), after=_view(other), changed=changed))
        removed += [_view(stage) for stage in left[paired:]]
        added += [_view(stage) for stage in right[paired:]]
    ways, new_ways = _ways(before), _ways(after)
    rerouted = [
        views.RouteChange(fragment=name, before=ways.get(name, []), after=new_ways.get(name, []))
        for name in sorted(ways.keys() | new_ways.keys())
        if ways.get(name) != new_ways.get(name)
    ]
    return views.PlanDiff(
        before=before_id,
        after=after_id,
        share=after.objective.share - before.objective.share,
        added=added,
        removed=removed,
        restarted=restarted,
        rerouted=rerouted,
        unchanged=unchanged,
    )


def _by_layers(plan: Plan) -> dict[tuple[str, str, int, int], list[Stage]]:
    groups: dict[tuple[str, str, int, int], list[Stage]] = defaultdict(list)
    for stage in plan.stages:
        groups[stage.model, stage.gpu, stage.start, stage.end].append(stage)
    return groups


def _without_pairs(left: list[Stage], right: list[Stage]) -> tuple[list[Stage], list[Stage], int]:
    """Both lists without the stages that are the same in both, and how many these are."""
    rest, kept, same = list(right), [], 0
    for stage in left:
        twin = next((other for other in rest if _settings(other) == _settings(stage)), None)
        if twin is None:
            kept.append(stage)
        else:
            rest.remove(twin)
            same += 1
    return kept, rest, same


def _settings(stage: Stage) -> tuple[Any, ...]:
    return tuple(getattr(stage, name) for name in _SETTINGS)


def _ways(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    stages = {stage.id: stage for stage in plan.stages}
    ways: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for route in plan.routes:
        passed = [stages[name] for name in route.stages]
        cuts = [stage.start for stage in passed] + [passed[-1].end]
        ways[route.fragment].append({"fraction": route.fraction, "cuts": cuts})
    for way in ways.values():
        way.sort(key=lambda item: (item["cuts"], item["fraction"]))
    return ways


def _view(stage: Stage) -> views.StageView:
    return views.StageView(**asdict(stage))
