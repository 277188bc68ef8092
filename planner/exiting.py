"""Strategies for models with exits: what is planned without them, with them, and what is cheapest.

`with_exits` makes a strategy that plans without exits into one that may use them. For every model whose
inputs may leave it plans

    none         without exits, as if the profile had none
    split        with the options of `planner.exit_menu`, for several sets of split exits: all are tried by
                 merging, grouping and re-aligning, the best ones with the strategy itself
    e3, pame, multi-exit    the baselines of those names (`planner.e3`, `planner.pame`)

and takes what is cheapest. What each of them costs stands in the plan's provenance (`settings.exits`). The
lower bound is that of the strategy on `planner.exit_menu.LeastMenu`, which no plan with whatever exits
undercuts.

A model whose exits let nobody go is planned as if it had none, to the digit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from planner.exit_flows import exits_within, trimmed
from planner.exit_menu import ALL_SUBSETS, LEAST_SURVIVAL, ExitMenu, LeastMenu
from planner.exit_survival import relative_survival
from planner.graft import Tuning, tuned_graft
from planner.menu import EPSILON, Menu
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem, Progress, ProgressReport
from planner.profile import Profile
from planner.workload import Fragment

Strategy = Callable[[Problem, PlanSettings, ProgressReport], Draft]

# The parts of a model's time: without exits, for each of the best sets of split exits, and for the bound.
NONE, SPLIT, BOUND = 0.3, (0.35, 0.15), 0.2

# Fragments with so many different survivals are also planned apart, each kind with its own.
MOST_KINDS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ExitProblem:
    """Fragments of one model as they are, and as an `ExitMenu` counts them; numbers are those of `whole`.

    `counted` has loads at the model's input, and the menu that they are to be planned with.
    """

    whole: Problem
    counted: Problem
    numbers: tuple[int, ...]

    def draft(self, draft: Draft) -> Draft:
        """A draft of `counted` as one of `whole`, with as many instances as its flows need."""
        return trimmed(self.whole, self.renumbered(draft))

    def renumbered(self, draft: Draft) -> Draft:
        """The same, as many instances as it has."""
        routes = tuple(replace(route, fragment=self.numbers[route.fragment]) for route in draft.routes)
        return replace(draft, routes=routes, menus=self.counted.menus)


def with_exits(strategy: Strategy) -> Strategy:
    """The strategy, with exits where a profile has some that let anybody go."""

    def plan(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
        leaving = {
            model: exits
            for model, numbers in problem.by_model().items()
            if (exits := useful_exits(problem, numbers))
        }
        if not leaving:
            return strategy(problem, settings, progress)
        return _Planner(problem, settings, progress, strategy, leaving).plan()

    return plan


def useful_exits(problem: Problem, numbers: Sequence[int]) -> tuple[int, ...]:
    """The layers of the exits by which some request of these fragments, all of one model, leaves."""
    found = set()
    fragments = _fragments(problem, numbers)
    for one in {(fragment.start, fragment.survival): fragment for fragment in fragments}.values():
        before = 1.0
        for layer, fraction in relative_survival(problem.menu(one).profiles[0], one).items():
            if fraction < before:
                found.add(layer)
            before = fraction
    return tuple(sorted(found))


def exit_problem(
    problem: Problem,
    model: str,
    numbers: Sequence[int],
    split: Sequence[int],
    *,
    variants: Sequence[tuple[int, ...]] | None = None,
    menu: type[ExitMenu] = ExitMenu,
) -> ExitProblem:
    """These fragments of one model with the options that these split exits give."""
    plain, fragments = problem.menus[model], _fragments(problem, numbers)
    survival = mean_survival(plain.profiles[0], fragments, split)
    options = menu(plain.profiles, plain.law, split=split, survival=survival, variants=variants)
    counted = [_counted(plain.profiles[0], fragment, split, survival, max) for fragment in fragments]
    return ExitProblem(
        whole=problem,
        counted=Problem(fragments=tuple(counted), menus={model: options}),
        numbers=tuple(numbers),
    )


def mean_survival(profile: Profile, fragments: Sequence[Fragment], split: Sequence[int]) -> tuple[float, ...]:
    """The fraction of inputs that go on past each split exit, over all fragments, weighted by their load."""
    exits = profile.exits or ()
    places = [number for number, item in enumerate(exits) if item.layer in split]
    own = [fragment.survival or tuple(item.survival for item in exits) for fragment in fragments]
    if len(set(own)) == 1:
        return tuple(own[0][place] for place in places)
    total = math.fsum(fragment.load_rps for fragment in fragments)
    return tuple(
        math.fsum(
            fragment.load_rps * survival[place] for fragment, survival in zip(fragments, own, strict=True)
        )
        / total
        for place in places
    )


def _counted(
    profile: Profile,
    fragment: Fragment,
    split: Sequence[int],
    survival: Sequence[float],
    pick: Callable[[list[float]], float],
) -> Fragment:
    """The fragment with its rate at the model's input, so that on every stage it is `pick` of what comes.

    With `max` no stage gets less than comes to it, with `min` none gets more.
    """
    passing = relative_survival(profile, fragment)
    here, factors = 1.0, []
    for layer, fraction in zip(split, survival, strict=True):
        if layer <= fragment.start:
            here = fraction
    factors.append(1.0 / max(LEAST_SURVIVAL, here))
    for layer, fraction in zip(split, survival, strict=True):
        if layer > fragment.start:
            factors.append(passing[layer] / max(LEAST_SURVIVAL, fraction))
    return replace(fragment, rate_rps=fragment.rate_rps * max(LEAST_SURVIVAL, pick(factors)))


class _Planner:
    """One problem in which some models have exits."""

    def __init__(
        self,
        problem: Problem,
        settings: PlanSettings,
        progress: ProgressReport,
        strategy: Strategy,
        leaving: dict[str, tuple[int, ...]],
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._tell = progress
        self._strategy = strategy
        self._leaving = leaving
        self._started = time.perf_counter()
        self._fixed = 0.0  # what is paid for the models that are done

    def plan(self) -> Draft:
        """The cheapest draft of every model, joined."""
        by_model = self._problem.by_model()
        others = [number for model in by_model if model not in self._leaving for number in by_model[model]]
        done = 0
        drafts: list[Draft] = []
        bounds: list[float | None] = []
        notes: dict[str, object] = {}
        found: dict[str, object] = {}
        if others:
            part = len(others) / len(self._problem.fragments)
            draft = self._solve(self._problem, others, part * self._settings.time_limit_s, "no exits")
            drafts.append(draft)
            bounds.append(draft.lower_bound)
            notes.update(draft.notes)
            done = len(others)
            self._fixed += price(self._problem, draft)
        for model, split in self._leaving.items():
            numbers = by_model[model]
            left = self._settings.time_limit_s - (time.perf_counter() - self._started)
            part = len(numbers) / (len(self._problem.fragments) - done)
            draft, bound, costs = self._model(model, numbers, split, max(0.1, left * part))
            drafts.append(draft)
            bounds.append(bound)
            found[model] = costs
            done += len(numbers)
            self._fixed += price(self._problem, draft)
        known = [bound for bound in bounds if bound is not None]
        total = math.fsum(known) if len(known) == len(bounds) else None
        return joined(drafts, total, {**notes, "exits": found})

    def _model(
        self, model: str, numbers: Sequence[int], split: tuple[int, ...], time_limit_s: float
    ) -> tuple[Draft, float | None, dict[str, object]]:
        """The cheapest draft of one model, a bound on all, and what each way of planning costs."""
        plain = self._solve(self._problem, numbers, NONE * time_limit_s, f"{model} without exits")
        drafts: dict[str, Draft] = {"none": plain}
        ways: list[tuple[float, int, list[ExitProblem], Draft]] = []
        for layers in _subsets(split):
            for kinds in self._kinds(numbers):
                if self._settings.stopped:
                    break
                parts = [exit_problem(self._problem, model, kind, layers) for kind in kinds]
                if all(all_in_time(part.counted) for part in parts):
                    draft = _together([part.draft(self._roughly(part.counted)) for part in parts])
                    ways.append((price(self._problem, draft), len(ways), parts, draft))
        ways.sort(key=lambda way: way[:2])
        if ways:
            drafts["split"] = ways[0][3]
        for (_, _, parts, _), share in zip(ways, SPLIT, strict=False):
            solved = []
            for part in parts:
                limit = share * time_limit_s * len(part.numbers) / len(numbers)
                everybody = range(len(part.numbers))
                solved.append(part.draft(self._solve(part.counted, everybody, limit, f"{model} with exits")))
            drafts["split"] = min(drafts["split"], _together(solved), key=self._price)
        drafts.update(self._baselines(model, numbers))
        bound = None
        if plain.lower_bound is not None:
            bound = self._bound(model, numbers, split, BOUND * time_limit_s)
        # Of equals the one without exits.
        taken = min(drafts, key=lambda name: self._price(drafts[name]) * (1 + EPSILON * (name != "none")))
        best = drafts[taken]
        costs = {name: self._price(draft) for name, draft in drafts.items()}
        used = {
            layer
            for stage in best.stages
            for layer in exits_within(stage, _menu(self._problem, best, model).columns[stage.column].exits)
        }
        return (
            replace(best, notes={}),
            bound,
            {
                "taken": taken,
                "exits": sorted(used),
                "split_at": sorted({stage.end for stage in best.stages} & used),
                "share": costs,
                "saved": costs["none"] - costs[taken],
            },
        )

    def _price(self, draft: Draft) -> float:
        return price(self._problem, draft)

    def _kinds(self, numbers: Sequence[int]) -> list[list[list[int]]]:
        """All fragments together; and apart by their survivals, where these are few and differ."""
        kinds: dict[tuple[float, ...] | None, list[int]] = {}
        for number in numbers:
            kinds.setdefault(self._problem.fragments[number].survival, []).append(number)
        apart = [list(kinds.values())] if 1 < len(kinds) <= MOST_KINDS else []
        return [[list(numbers)], *apart]

    def _roughly(self, problem: Problem) -> Draft:
        return tuned_graft(problem, self._settings, lambda _: None, Tuning(searching=False))

    def _solve(self, problem: Problem, numbers: Sequence[int], time_limit_s: float, phase: str) -> Draft:
        """The strategy on some fragments of a problem; the draft's routes are numbered as in the problem."""

        def tell(progress: Progress) -> None:
            elapsed = time.perf_counter() - self._started
            self._tell(Progress(t_s=elapsed, phase=f"{progress.phase} ({phase})"))

        part = Problem(fragments=tuple(_fragments(problem, numbers)), menus=problem.menus)
        settings = replace(self._settings, time_limit_s=max(0.05, time_limit_s))
        draft = self._strategy(part, settings, tell)
        return replace(
            draft, routes=tuple(replace(route, fragment=numbers[route.fragment]) for route in draft.routes)
        )

    def _baselines(self, model: str, numbers: Sequence[int]) -> dict[str, Draft]:
        from planner.e3 import e3
        from planner.pame import multi_exit, pame

        drafts = {}
        for name, baseline in (("e3", e3), ("pame", pame), ("multi-exit", multi_exit)):
            if self._settings.stopped:
                break
            part = Problem(
                fragments=tuple(_fragments(self._problem, numbers)),
                menus={model: self._problem.menus[model]},
            )
            draft = baseline(part, self._settings, lambda _: None)
            drafts[name] = replace(
                draft,
                routes=tuple(replace(route, fragment=numbers[route.fragment]) for route in draft.routes),
            )
        return drafts

    def _bound(
        self, model: str, numbers: Sequence[int], split: tuple[int, ...], time_limit_s: float
    ) -> float | None:
        """A bound on every plan of the model, whatever exits it uses; None once the search was stopped."""
        if self._settings.stopped:
            return None
        plain, fragments = self._problem.menus[model], _fragments(self._problem, numbers)
        survival = mean_survival(plain.profiles[0], fragments, split)
        menu = LeastMenu(plain.profiles, plain.law, split=split, survival=survival)
        counted = [_counted(plain.profiles[0], fragment, split, survival, min) for fragment in fragments]
        relaxed = Problem(fragments=tuple(counted), menus={model: menu})
        draft = self._solve(relaxed, range(len(counted)), time_limit_s, f"bound of {model}")
        return draft.lower_bound


def price(problem: Problem, draft: Draft) -> float:
    """What a draft costs."""
    return math.fsum(
        stage.instances * float(_menu(problem, draft, stage.model).prices[stage.column])
        for stage in draft.stages
    )


def joined(drafts: Sequence[Draft], lower_bound: float | None, notes: dict[str, object]) -> Draft:
    """Drafts of different fragments as one; where they name a model's menu, all name the same columns."""
    stages: list[DraftStage] = []
    routes: list[DraftRoute] = []
    menus: dict[str, Menu] = {}
    for draft in drafts:
        first = len(stages)
        stages.extend(draft.stages)
        menus.update(draft.menus)
        routes.extend(
            replace(route, stages=tuple(first + number for number in route.stages)) for route in draft.routes
        )
    routes.sort(key=lambda route: route.fragment)
    return Draft(
        stages=tuple(stages), routes=tuple(routes), lower_bound=lower_bound, notes=notes, menus=menus
    )


def all_in_time(problem: Problem) -> bool:
    """Whether every fragment has a route within its budget."""
    return all(
        problem.menu(fragment).least_time_ms[fragment.start] <= fragment.budget_ms * (1 + EPSILON)
        for fragment in problem.fragments
    )


def _together(drafts: Sequence[Draft]) -> Draft:
    return drafts[0] if len(drafts) == 1 else joined(drafts, None, {})


def _subsets(layers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The sets of split exits that are tried: every one of a few, else all, all but one, and single ones."""
    if len(layers) <= ALL_SUBSETS:
        return [some for size in range(len(layers), 0, -1) for some in combinations(layers, size)]
    return [layers, *combinations(layers, len(layers) - 1), *((layer,) for layer in layers)]


def _menu(problem: Problem, draft: Draft, model: str) -> Menu:
    return draft.menus.get(model, problem.menus[model])


def _fragments(problem: Problem, numbers: Sequence[int]) -> list[Fragment]:
    return [problem.fragments[number] for number in numbers]
