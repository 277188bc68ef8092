"""The heuristic `graft`: merge, group, re-align (design section 5.1), and then search around what they give.

Named after the paper; what it does beyond the three names in the abstract is our reconstruction, described
in `planner.merging`, `planner.grouping`, `planner.realigning` and `planner.searching`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from planner.allocating import Demand, Tree, demands_of, draft, price_of
from planner.chaining import alone
from planner.exit_menu import ExitMenu
from planner.exit_splitting import split_at_exits
from planner.forest import Forest, Fronts
from planner.grouping import Similarity, group
from planner.menu import Menu
from planner.merging import CLOSENESS, MAX_RUN, merge
from planner.problem import Draft, PlanSettings, Problem, Progress, ProgressReport
from planner.realigning import realign
from planner.searching import Search


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """The parameters of `graft`; benchmarks/planner_ablation.py shows what each of them buys.

    `closeness` and `max_run` bound merges, `similarity` groups what is re-aligned together; at most
    `search_size` demands are searched together. Effort is counted in steps of the search, in `rounds`:
    `steps_per_demand` for every demand, but all together at least `least_steps` (few demands can have more
    each) and at most `most_steps_per_demand` each. A short time limit allows `steps_per_s` for each of its
    seconds at most. So the plan depends on the input and the settings, and not on how fast the machine is.
    """

    similarity: Similarity = field(default_factory=Similarity)
    closeness: float = CLOSENESS
    max_run: int = MAX_RUN
    search_size: int = 256
    merging: bool = True
    realigning: bool = True
    searching: bool = True
    recombining: bool = True
    rounds: int = 3
    steps_per_demand: float = 3.0
    least_steps: int = 4500
    most_steps_per_demand: int = 90
    steps_per_s: float = 500.0

    def steps(self, demands: int, time_limit_s: float) -> int:
        """Steps of search for so many demands, all models and rounds together; at least one."""
        wanted = min(
            max(self.steps_per_demand * demands, self.least_steps), self.most_steps_per_demand * demands
        )
        return max(1, int(min(wanted, self.steps_per_s * time_limit_s)))


# The search stops after this part of the time limit, however few its steps were by then: a brake for machines
# several times slower than `Tuning.steps_per_s` expects. What is left is for placing and verifying.
BRAKE = 0.75


def graft(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """Merged, grouped and re-aligned fragments, improved by local search; never above `gslice+`."""
    return tuned_graft(problem, settings, progress, Tuning())


def tuned_graft(
    problem: Problem,
    settings: PlanSettings,
    progress: ProgressReport,
    tuning: Tuning,
    keep: Callable[[Draft], None] | None = None,
) -> Draft:
    """`graft` with parameters of one's own; `keep` is told of what there is after each of its parts."""
    started = time.perf_counter()

    def whole() -> Draft:
        menus = problem.menus
        return draft({model: _last_touch(menus[model], garden.trees()) for model, garden in gardens.items()})

    def must_stop() -> bool:
        return settings.stopped or time.perf_counter() - started > BRAKE * settings.time_limit_s

    single = demands_of(problem, identical_as_one=False)
    classes = demands_of(problem, identical_as_one=True)
    gardens: dict[str, _Garden] = {}
    for model in single:
        gardens[model] = _Garden(problem.menus[model], single[model], classes[model], tuning, must_stop)
        _report(progress, started, f"re-aligned {model}", gardens)
    count = sum(len(group) for group in classes.values())
    steps = tuning.steps(count, settings.time_limit_s)
    for round_number in range(tuning.rounds if tuning.searching else 0):
        if keep is not None:
            keep(whole())
        for model, garden in gardens.items():
            part = math.ceil(steps / tuning.rounds * len(classes[model]) / count)
            garden.improve(part, seed=settings.seed + round_number, must_stop=must_stop)
            _report(progress, started, f"searched {model}", gardens)
    return whole()


def _last_touch(menu: Menu, trees: list[Tree]) -> list[Tree]:
    """With exits, stages are split at them where that is cheaper."""
    return split_at_exits(menu, trees) if isinstance(menu, ExitMenu) else trees


class _Garden:
    """One model's forest: planted by merging, grouping and re-aligning, and improved in rounds."""

    def __init__(
        self,
        menu: Menu,
        single: Sequence[Demand],
        classes: Sequence[Demand],
        tuning: Tuning,
        must_stop: Callable[[], bool],
    ) -> None:
        self.tuning = tuning
        self._fronts = Fronts(menu)
        self._classes = list(classes)
        # With chains, which are not always the cheapest, classes may cost more than their members alone.
        self._unmerged = alone(menu, single)
        merged = merge(menu, classes, closeness=tuning.closeness, max_run=tuning.max_run)
        candidates = [alone(menu, merged)]
        if tuning.realigning and not must_stop():
            demands = merged if tuning.merging else self._classes
            groups = group(demands, tuning.similarity)
            candidates.append([tree for part in groups for tree in realign(menu, [demands[n] for n in part])])
        self._trees = min(candidates, key=price_of)
        self._whole: Search | None = None

    @property
    def price(self) -> float:
        """What the forest costs now."""
        return price_of(self.trees())

    def trees(self) -> list[Tree]:
        """The forest as it is now."""
        return min((self._trees, self._unmerged), key=price_of)

    def improve(self, steps: int, *, seed: int, must_stop: Callable[[], bool]) -> None:
        """Search around trees that are alike, as many at a time as have a group's worth of demands."""
        if len(self._classes) <= self.tuning.search_size:
            if self._whole is None:
                self._whole = self._search(self._classes, self._trees, seed)
            self._whole.improve(steps, must_stop)
            self._trees = self._whole.trees()
            return
        trees = []
        for part in self._parts(seed):
            members = {member for tree in part for demand in tree.leaves() for member in demand.members}
            demands = [demand for demand in self._classes if demand.members[0] in members]
            search = self._search(demands, part, seed)
            search.improve(math.ceil(steps * len(demands) / len(self._classes)), must_stop)
            trees.extend(search.trees())
        self._trees = trees

    def _search(self, demands: Sequence[Demand], trees: Sequence[Tree], seed: int) -> Search:
        forest = Forest(self._fronts, demands)
        return Search(forest, forest.planted(trees), seed=seed, recombine=self.tuning.recombining)

    def _parts(self, seed: int) -> list[list[Tree]]:
        """The trees in parts; start and budget take turns, from round to round, in what makes them alike."""
        roots = [
            Demand(
                start=tree.start,
                budget_ms=min(demand.budget_ms for demand in tree.leaves()),
                load_rps=tree.load_rps,
                members=(number,),
            )
            for number, tree in enumerate(self._trees)
        ]
        sizes = [sum(len(demand.members) for demand in tree.leaves()) for tree in self._trees]
        alike = Similarity(
            max_size=self.tuning.search_size,
            start_weight=(1.0, 3.0)[seed % 2],
            budget_weight=(3.0, 1.0)[seed % 2],
            rate_weight=0.0,
        )
        return [[self._trees[number] for number in part] for part in group(roots, alike, sizes=sizes)]


def _report(progress: ProgressReport, started: float, phase: str, gardens: dict[str, _Garden]) -> None:
    price = sum(garden.price for garden in gardens.values())
    progress(Progress(t_s=time.perf_counter() - started, phase=phase, objective=price))
