"""The relaxation of 5.2 over groups in which every fragment is whole at one facility: goals ruled out by it.

In `solver.group_bound` a fragment may be cut among unlike instances of a group. Where instances hold few
fragments that is most of what the bound misses, and a tree hardly gets it back: each of its levels decides
one group, and the others are as they were. Here L(π) = Σ_k m_k π_k − Σ_g V_g(π) is raised with the V_g of
whole fragments. They are decided by CP-SAT (`solver.group_packing`), each on its own, some at a time.

What makes that possible is that prices π are multiples of a unit: V_g is one as well, and that nothing earns
a unit more is proven much sooner than that nothing earns a millionth more. Rounding π costs little, since it
changes L only by what groups lack or serve twice. The units are coarse first, and finer where L does not rise
any further. Next prices are at most a unit from the best ones, where what groups chose so far promises most
(a bundle method; Marsten, Hogan and Blankenship, *The boxstep method for large-scale optimization*, 1975);
moving costs a little, so that a price of which nothing is known stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event

import highspy
import numpy as np

from solver.compact import able_pairs
from solver.facilities import Facilities, Floats, Indices
from solver.fractional_bound import Bound
from solver.group_bound import Able, GroupAscent
from solver.group_labels import ALIKE, Choice, TooManyLabelsError
from solver.group_packing import GroupPacking
from solver.highs import quiet
from solver.outcome import Watch

# Units one after the other, as parts of the price step.
UNITS = (10, 20, 40, 80)
# What a price that moves is taken to cost, as a part of what it brings if nothing else changes.
RELUCTANCE = 0.3
# What CP-SAT may do for one group, and pairs of facility and class with which it is not asked.
WORK, MOST_PAIRS = 1.0, 2_000
# Pairs in all that labels may leave for a goal: with more of them it takes too long.
MOST_ABLE = 12_000
# The same of facilities in all.
MOST_FACILITIES = 250
# Rounds of the relaxation over labels before.
ROUNDS = 400
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Cut:
    """A group earns at least rest + Σ_k π_k counts_k: `lasting` where that is proven, otherwise it is near
    the prices at which it chose so alone; `of_best`: these are the best ones."""

    group: int
    classes: Indices
    counts: Floats
    rest: float
    lasting: bool
    of_best: bool


class WholeAscent(GroupAscent):
    """The ascent to it, from the prices of `bound`, with so many threads."""

    def __init__(
        self,
        program: Facilities,
        able: Able,
        bound: Bound,
        goal: float,
        step: float,
        *,
        seed: int,
        threads: int,
    ) -> None:
        packings = {
            number: GroupPacking(program, number, seed, work=WORK, most_pairs=MOST_PAIRS)
            for number in range(len(program.groups))
        }
        super().__init__(program, able, bound, [], goal, step, packings=packings)
        self._whole, self._threads = packings, threads
        self._turn, self._cuts = 0, list[_Cut]()
        self._at = self._in_units(self.worth)

    def run(self, watch: Watch, *, rounds: int) -> bool:
        """Raise the bound; true where the goal is ruled out, or it does not rise any further."""
        try:
            for _ in range(rounds):
                if self.ended or watch.limit is not None:
                    break
                self._rise(watch)
        except TooManyLabelsError:
            self.hopeless = True
        return self.ended

    def _rise(self, watch: Watch) -> None:
        """What all groups earn at most at the next prices, and the ones after these."""
        before = self.level
        self._value_at(self._at, watch)
        if watch.limit is not None:
            return
        better = self.level > before
        self._learn(better)
        if better:
            self._left_out(watch)
        self.ended = self.done
        while not self.ended:
            worth = self._promising()
            if worth is not None:
                self._at = worth
                break
            self._turn += 1
            self._cuts = [cut for cut in self._cuts if cut.lasting or cut.of_best]
            self.ended = self._turn == len(UNITS)

    def _learn(self, better: bool) -> None:
        """Keep what groups earned last, and chose, as lower bounds on what they earn at other prices."""
        worth, earned, chosen = self._last
        self._cuts = [cut for cut in self._cuts if cut.lasting or (cut.of_best and not better)]
        for number, choice in chosen.items():
            served = float(worth[choice.classes] @ choice.counts)
            # Labels' choices may be none, and then this is no bound: it is good for the next prices alone.
            earns_most = served - choice.cost >= earned[number] - self._unit / 2
            lasting = earns_most and self._whole[number].known(choice)
            cut = _Cut(number, choice.classes, choice.counts, earned[number] - served, lasting, better)
            self._cuts.append(cut)

    def _promising(self) -> Floats | None:
        """The most promising prices near the best ones; None where nothing seems to be won."""
        best, unit, many = self.worth, self._unit, len(self.program)
        members = self.program.members.astype(np.float64)
        highs, infinite = quiet(), highspy.kHighsInf
        # How much each price rises and falls, and what each group earns.
        for sign, room in ((-1.0, self._alone - best), (1.0, best)):
            for k in range(many):
                highs.addCol(sign * members[k] + RELUCTANCE, 0.0, max(0.0, min(unit, room[k])), 0, [], [])
        for _ in self._groups:
            highs.addCol(1.0, 0.0, infinite, 0, [], [])
        for cut in self._cuts:
            columns = [*cut.classes, *(many + cut.classes), 2 * many + self._groups.index(cut.group)]
            values = np.concatenate([-cut.counts, cut.counts, [1.0]])
            least = cut.rest + float(best[cut.classes] @ cut.counts)
            highs.addRow(least, infinite, len(columns), np.array(columns, np.int32), values)
        highs.run()
        change = np.array(highs.getSolution().col_value)[: 2 * many]
        value = float(best @ members) - float(highs.getInfo().objective_function_value)
        worth = self._in_units(best + change[:many] - change[many:])
        same = np.abs(worth - best).max() < unit * ALIKE or np.abs(worth - self._at).max() < unit * ALIKE
        return None if same or value <= self.level * (1 + ALIKE) else worth

    def _in_units(self, worth: Floats) -> Floats:
        return np.minimum(np.round(worth / self._unit) * self._unit, self._alone)

    @property
    def _unit(self) -> float:
        return self.step / UNITS[self._turn]

    def _packed_whole(
        self,
        worth: Floats,
        unpacked: list[tuple[int, float]],
        earned: dict[int, float],
        value: float,
        watch: Watch,
    ) -> Iterator[tuple[int, float, Choice | None]]:
        stop = Event()

        def one(number: int, known: float) -> tuple[int, float, Choice | None] | None:
            need = self._enough - value
            if need <= 0 or stop.is_set():
                return None
            of = (self._labels[number], worth, known, earned[number], need)
            most, better = self._whole[number].best_in_units(*of, self._unit, Watch(should_stop=stop.is_set))
            return number, most, better

        with ThreadPoolExecutor(self._threads) as pool:
            open_: set[Future[tuple[int, float, Choice | None] | None]] = {
                pool.submit(one, number, known) for number, known in unpacked
            }
            while open_:
                done, open_ = wait(open_, timeout=POLL_S, return_when=FIRST_COMPLETED)
                watch.update()
                if watch.limit is not None:
                    stop.set()
                for number, most, better in filter(None, (future.result() for future in done)):
                    value += earned[number] - most
                    yield number, most, better


class WholeGroups:
    """Goals of one program, one after the other."""

    def __init__(self, program: Facilities, step: float, *, seed: int, threads: int) -> None:
        self._program, self._step = program, step
        self._seed, self._threads = seed, threads
        self._ascent: WholeAscent | None = None
        # There are too many pairs, whatever the goal to come.
        self._given_up = step <= 0 or sum(len(group) for group in program.groups) > MOST_FACILITIES

    @property
    def fits(self) -> bool:
        """Whether it may be of use."""
        return not self._given_up

    def rule_out(self, goal: float, bounds: list[Bound], watch: Watch) -> bool:
        """Whether it is proven that no answer costs at most `goal`, which never falls; `bounds` are known.

        Asked for the same goal again, it goes on where it was.
        """
        if self._ascent is None or goal > self._ascent.goal * (1 + 1e-9):
            if self._given_up:
                return False
            labels = self._over_labels(goal, bounds, watch)
            if labels is None or labels.done:
                return labels is not None
            known, last = labels.known, self._ascent
            bound = known.bound if last is None else Bound(value=known.bound.value, worth=last.worth)
            self._ascent = WholeAscent(
                self._program, known.able, bound, goal, self._step, seed=self._seed, threads=self._threads
            )
        ascent = self._ascent
        while not ascent.hopeless and watch.limit is None and not ascent.run(watch, rounds=1):
            pass
        return ascent.done

    def _over_labels(self, goal: float, bounds: list[Bound], watch: Watch) -> GroupAscent | None:
        """The ascent over labels, which leaves out most pairs; None where there is no use in going on."""
        able = able_pairs(self._program, bounds, goal)
        best = max(bounds, key=lambda bound: bound.value)
        labels = GroupAscent(self._program, able, best, [], goal, self._step)
        labels.run(watch, rounds=ROUNDS)
        if watch.limit is not None:
            return None
        self._given_up = labels.hopeless or sum(int(pairs.sum()) for pairs in labels.able) > MOST_ABLE
        return None if self._given_up else labels
