"""Better answers by exchanging patterns: they serve everybody, cost less, and stop at the optimum."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from solver import exchanges
from solver.branching import Node
from solver.enumeration import patterns_within, together, written_down
from solver.exchange_kernel import MOST_ALIKE, MOST_INSIDE, Answer, Inside, Pool, cover, look_inside
from solver.exchanges import Exchanges
from solver.facilities import all_alone, settle, total_cost
from solver.fractional_bound import Bound
from solver.outcome import Watch
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program
from tests.solver.test_one_stage_search import served
from tests.solver.test_row_dives import ascent_of


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "WORK", 30_000)


@pytest.mark.parametrize("seed", range(12))
def test_exchanges_lead_down_to_the_optimum_and_no_further(seed: int) -> None:
    program = random_program(seed, classes=6)
    search = Exchanges(program, ascent_of(program), seed=seed)
    answer = settle(program, all_alone(program))
    for _ in range(4):
        better = search.improve(answer, Watch())
        if better is None:
            continue
        assert total_cost(better) < total_cost(answer)
        assert served(program, better) == program.members.tolist()
        answer = better
    assert total_cost(answer) == pytest.approx(best_one_stage(program))


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", range(1, 4))
def test_over_many_fragments_answers_are_whole_and_cheaper(seed: int, members: int) -> None:
    """Who is one of several alike stays where he is."""
    program = random_program(seed, classes=80, groups=4, options=6, members=members)
    ascent = ascent_of(program)
    first = settle(program, all_alone(program))
    better = Exchanges(program, ascent, seed=seed).improve(first, Watch())
    assert better is not None
    assert served(program, better) == program.members.tolist()
    assert ascent.value * (1 - 1e-9) <= total_cost(better) < total_cost(first)


def test_the_same_seed_finds_the_same() -> None:
    program = random_program(1, classes=60, groups=4, options=6)
    first = settle(program, all_alone(program))
    found = [Exchanges(program, ascent_of(program), seed=3).improve(first, Watch()) for _ in range(2)]
    assert found[0] is not None
    assert found[0] == found[1]


def test_there_is_nothing_to_do_where_there_is_no_time() -> None:
    program = random_program(1, classes=30, groups=4, options=6)
    search = Exchanges(program, ascent_of(program), seed=0)
    first = settle(program, all_alone(program))
    assert search.improve(first, Watch(time_limit_s=0.0)) is None
    assert search.improve(first, Watch()) is not None


def test_where_too_many_patterns_cost_nothing_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(1, classes=40, groups=4, options=6)
    monkeypatch.setattr(exchanges, "WRITTEN", 5)
    monkeypatch.setattr(exchanges, "TRIES", 50)
    search = Exchanges(program, ascent_of(program), seed=0)
    assert search.fits
    assert search.improve(settle(program, all_alone(program)), Watch()) is None
    assert not search.fits


def test_where_everybody_is_one_of_several_alike_it_does_not_fit() -> None:
    program = random_program(1, classes=20, groups=4, options=6)
    program = replace(program, members=2 * program.members)
    search = Exchanges(program, ascent_of(program), seed=0)
    assert search.improve(settle(program, all_alone(program)), Watch()) is None
    assert not search.fits


def test_only_better_prices_are_listened_to() -> None:
    program = random_program(1, classes=30, groups=4, options=6)
    ascent = ascent_of(program)
    search = Exchanges(program, ascent, seed=0)
    told = Node(limits={}, bound=ascent.value + 1, worth=np.zeros(len(program)), duals={})
    search.tell(None)
    search.tell(Node(limits={}, bound=ascent.value - 1, worth=np.zeros(len(program)), duals={}))
    assert search.prices is not told
    search.tell(told)
    assert search.prices is told


def test_of_patterns_with_the_same_members_the_cheapest_is_kept() -> None:
    program = random_program(2, classes=8, groups=3, options=5)
    worth = np.full(len(program), 20.0)
    everything = patterns_within(program, worth, 60.0, 100_000)
    assert everything is not None
    answer = all_alone(program)
    both = together([written_down(program, answer, Bound(value=0.0, worth=worth), np.inf), everything])
    members = [tuple(both.pattern(program, n).classes) for n in range(len(both))]
    assert len(members) == len(set(members))
    least: dict[tuple[int, ...], float] = {}
    for pattern in [*answer, *(everything.pattern(program, n) for n in range(len(everything)))]:
        least[pattern.classes] = min(pattern.cost, least.get(pattern.classes, np.inf))
    assert dict(zip(members, both.cost.tolist(), strict=True)) == pytest.approx(least)


def random_pool(
    rng: np.random.Generator, fragments: int, patterns: int
) -> tuple[Pool, list[tuple[int, ...]]]:
    sets = {tuple(sorted(rng.choice(fragments, rng.integers(1, 4), replace=False))) for _ in range(patterns)}
    sets |= {(k,) for k in range(fragments)}
    reduced = {members: float(rng.integers(0, 6)) for members in sets}
    ordered = sorted(sets, key=lambda members: (members[0], reduced[members]))
    pool = Pool(
        first=np.searchsorted([members[0] for members in ordered], np.arange(fragments + 1)),
        begins=np.concatenate([[0], np.cumsum([len(members) for members in ordered])]),
        members=np.array([k for members in ordered for k in members]),
        masks=np.array([[sum(1 << int(k) for k in members)] for members in ordered], dtype=np.uint64),
        reduced=np.array([reduced[members] for members in ordered]),
    )
    return pool, ordered


@pytest.mark.parametrize("seed", range(40))
def test_a_cover_is_found_where_there_is_another_one_at_the_price(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool, sets = random_pool(rng, 6, 14)
    alone = [p for p, members in enumerate(sets) if len(members) == 1]
    place = np.full(len(sets), -1, dtype=np.intp)
    place[alone] = np.arange(6)
    answer = Answer(home=np.array(alone), chosen=np.array(alone), place=place, many=np.array([6]))
    prices = {
        sum(float(pool.reduced[p]) for p in chosen)
        for many in range(1, 7)
        for chosen in itertools.combinations(range(len(sets)), many)
        if sorted(k for p in chosen for k in sets[p]) == list(range(6)) and list(chosen) != alone
    }
    inside = Inside(
        pattern=np.empty(MOST_INSIDE, dtype=np.intp),
        bits=np.empty(MOST_INSIDE, dtype=np.uint64),
        holding=np.empty((64, MOST_ALIKE), dtype=np.intp),
        number=np.zeros(64, dtype=np.intp),
        least=np.empty(64),
        needs=np.empty(MOST_INSIDE),
    )
    everybody, taken = np.arange(6), np.empty(65, dtype=np.intp)
    for limit in (0.5, 4.5, min(prices) - 0.5, min(prices) + 0.5):
        look_inside(pool, everybody, everybody, limit, inside)
        many, paid, _ = cover(pool, answer, inside, 6, limit, taken)
        assert (many > 0) == (min(prices) <= limit)
        if many:
            chosen = inside.pattern[taken[:many]]
            assert sorted(k for p in chosen for k in sets[p]) == list(range(6))
            assert paid == pytest.approx(pool.reduced[chosen].sum())
            assert paid <= limit
            assert sorted(chosen.tolist()) != alone
