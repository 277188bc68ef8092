"""The search of `solver.exchanges` as machine code; letters and words as there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.compiled import compiled
from solver.facilities import Floats, Indices

Words = NDArray[np.uint64]

# Fragments that are covered anew at once, at most: bits of a word.
MOST_FREED = 64
# Patterns among them, in all and of those that hold the same fragment, and nodes of a search, at most.
MOST_INSIDE, MOST_ALIKE, MOST_NODES = 8_192, 1_024, 3_000
# How often whoever is freed, too, is near somebody who is; otherwise anybody. How many are asked at most.
NEAR, MOST_ASKED = 0.8, 60
# What a node and a step count, where looking at a pattern counts 1.
NODE, STEP = 10, 200
ROUNDING = 1e-6

ONE = np.uint64(1)
NONE = np.uint64(0)


class Pool(NamedTuple):
    """N patterns over K fragments: pattern p holds members[begins[p] : begins[p + 1]], rising, and masks[p]
    has a bit for each. Those whose first member is k are first[k] : first[k + 1], `reduced` rising."""

    first: Indices
    begins: Indices
    members: Indices
    masks: Words
    reduced: Floats


class Answer(NamedTuple):
    """`home` [K]: the pattern of every fragment. They are chosen[: many[0]]; place [N] says where, or −1."""

    home: Indices
    chosen: Indices
    place: Indices
    many: Indices


class Inside(NamedTuple):
    """What freed fragments can be covered by: patterns, a bit for each of the freed that they hold, and for
    each of the freed the patterns that hold it, and how many; `least` is the least share of a reduced cost
    that it pays at one of these, `needs` what these shares come to for a pattern."""

    pattern: Indices
    bits: Words
    holding: Indices
    number: Indices
    least: Floats
    needs: Floats


@compiled
def count_of(pool: Pool, p: int) -> int:
    return pool.begins[p + 1] - pool.begins[p]


@compiled
def somebody_of(pool: Pool, p: int) -> int:
    return pool.members[pool.begins[p] + np.random.randint(count_of(pool, p))]


@compiled
def among(p: int, patterns: Indices) -> bool:
    for other in patterns:  # noqa: SIM110 - machine code has no any()
        if other == p:
            return True
    return False


@compiled
def free(pool: Pool, answer: Answer, wanted: int, freed: Indices) -> tuple[int, int]:
    """Patterns of the answer that make room for one that is drawn, and some near them; how many, of how many
    fragments. 0 where there is nothing to do."""
    patterns = len(pool.reduced)
    drawn, other = np.random.randint(patterns), np.random.randint(patterns)
    if pool.reduced[other] < pool.reduced[drawn]:
        drawn = other
    if answer.place[drawn] >= 0:
        return 0, 0
    number = size = 0
    for k in pool.members[pool.begins[drawn] : pool.begins[drawn + 1]]:
        p = answer.home[k]
        if among(p, freed[:number]):
            continue
        size += count_of(pool, p)
        if size > MOST_FREED:
            return 0, 0
        freed[number] = p
        number += 1
    for _ in range(MOST_ASKED):
        if size >= wanted:
            break
        k = np.random.randint(len(answer.home))
        if np.random.random() < NEAR:
            k = somebody_of(pool, freed[np.random.randint(number)])
            if pool.first[k + 1] > pool.first[k]:
                k = somebody_of(pool, np.random.randint(pool.first[k], pool.first[k + 1]))
        p = answer.home[k]
        if size + count_of(pool, p) <= MOST_FREED and not among(p, freed[:number]):
            size += count_of(pool, p)
            freed[number] = p
            number += 1
    return number, size


@compiled
def look_inside(pool: Pool, fragments: Indices, place: Indices, limit: float, inside: Inside) -> int:
    """All patterns of at most a limit that hold none but these fragments; how much work that was."""
    word = np.zeros(pool.masks.shape[1], dtype=np.uint64)
    for k in fragments:
        word[k >> 6] |= ONE << np.uint64(k & 63)
    inside.number[: len(fragments)] = 0
    inside.least[: len(fragments)] = np.inf
    found = looked = 0
    for k in fragments:
        for p in range(pool.first[k], pool.first[k + 1]):
            looked += 1
            if pool.reduced[p] > limit or found == MOST_INSIDE:
                break
            here = True
            for part in range(len(word)):
                if pool.masks[p, part] & ~word[part] != NONE:
                    here = False
                    break
            if not here:
                continue
            bits, share = NONE, pool.reduced[p] / count_of(pool, p)
            for member in pool.members[pool.begins[p] : pool.begins[p + 1]]:
                at = place[member]
                bits |= ONE << np.uint64(at)
                inside.least[at] = min(inside.least[at], share)
                if inside.number[at] < MOST_ALIKE:
                    inside.holding[at, inside.number[at]] = found
                    inside.number[at] += 1
            inside.pattern[found], inside.bits[found] = p, bits
            found += 1
    looked += NODE * found
    for c in range(found):
        needs = 0.0
        p = inside.pattern[c]
        for member in pool.members[pool.begins[p] : pool.begins[p + 1]]:
            needs += inside.least[place[member]]
        inside.needs[c] = needs
    return looked


@compiled
def cover(
    pool: Pool, answer: Answer, inside: Inside, size: int, limit: float, taken: Indices
) -> tuple[int, float, int]:
    """Patterns that hold every freed fragment once, at most at a limit, not all of the answer: depth first,
    whom fewest hold first. How many (0: none), what they cost, and how much work that was."""
    # By depth: who is to be held next, how many patterns that do are left to be asked, and which comes first.
    at, left, begun = np.empty((3, MOST_FREED + 1), dtype=np.intp)
    covered, spent, open_least = NONE, 0.0, inside.least[:size].sum()
    if open_least > limit:
        return 0, 0.0, 0
    depth = nodes = asked = 0
    deeper = True
    while True:
        if deeper:
            fewest, rarest = MOST_ALIKE + 1, -1
            for x in range(size):
                if covered >> np.uint64(x) & ONE == NONE and inside.number[x] < fewest:
                    fewest, rarest = inside.number[x], x
            if rarest < 0:
                for c in taken[:depth]:
                    if answer.place[inside.pattern[c]] < 0:
                        return depth, spent, asked + NODE * nodes
                rarest, fewest = 0, 0  # the answer again: nothing more is asked here
            at[depth], left[depth] = rarest, fewest
            begun[depth] = np.random.randint(fewest) if fewest > 0 else 0
        deeper = False
        x = at[depth]
        while left[depth] > 0:
            left[depth] -= 1
            asked += 1
            c = inside.holding[x, (begun[depth] + left[depth]) % inside.number[x]]
            if inside.bits[c] & covered != NONE:
                continue
            reduced = pool.reduced[inside.pattern[c]]
            if spent + reduced + open_least - inside.needs[c] > limit:
                continue
            taken[depth] = c
            covered |= inside.bits[c]
            spent += reduced
            open_least -= inside.needs[c]
            nodes += 1
            depth += 1
            deeper = True
            break
        if deeper:
            continue
        depth -= 1
        if depth < 0 or nodes > MOST_NODES:
            return 0, 0.0, asked + NODE * nodes
        c = taken[depth]
        covered &= ~inside.bits[c]
        spent -= pool.reduced[inside.pattern[c]]
        open_least += inside.needs[c]


@compiled
def replace(pool: Pool, answer: Answer, freed: Indices, taken: Indices) -> None:
    """Patterns of the answer by others of the same fragments."""
    home, chosen, place, many = answer.home, answer.chosen, answer.place, answer.many
    for p in freed:
        many[0] -= 1
        last = chosen[many[0]]
        chosen[place[p]] = last
        place[last] = place[p]
        place[p] = -1
    for p in taken:
        place[p] = many[0]
        chosen[many[0]] = p
        many[0] += 1
        for k in pool.members[pool.begins[p] : pool.begins[p + 1]]:
            home[k] = p


@compiled
def exchange(
    work: int,
    seed: int,
    heats: tuple[float, float],
    sizes: tuple[int, int],
    pool: Pool,
    answer: Answer,
    least: float,
    best: Indices,
) -> tuple[int, float]:
    """Exchange patterns until so much work is done, from one heat to the other.

    Only an answer whose reduced costs come to less than `least` is told: how many patterns it has (0: there
    was none), which are in `best` [K] then, and what they come to.
    """
    np.random.seed(seed)
    inside = Inside(
        pattern=np.empty(MOST_INSIDE, dtype=np.intp),
        bits=np.empty(MOST_INSIDE, dtype=np.uint64),
        holding=np.empty((MOST_FREED, MOST_ALIKE), dtype=np.intp),
        number=np.zeros(MOST_FREED, dtype=np.intp),
        least=np.empty(MOST_FREED),
        needs=np.empty(MOST_INSIDE),
    )
    freed, taken = np.empty(MOST_FREED, dtype=np.intp), np.empty(MOST_FREED + 1, dtype=np.intp)
    fragments, place = np.empty(MOST_FREED, dtype=np.intp), np.zeros(len(answer.home), dtype=np.intp)
    now, told, done = 0.0, 0, 0
    for p in answer.chosen[: answer.many[0]]:
        now += pool.reduced[p]
    while done < work:
        done += STEP
        wanted = np.random.randint(sizes[0], sizes[1] + 1)
        number, size = free(pool, answer, wanted, freed)
        if number == 0:
            continue
        at, before = 0, 0.0
        for p in freed[:number]:
            before += pool.reduced[p]
            for k in pool.members[pool.begins[p] : pool.begins[p + 1]]:
                fragments[at], place[k] = k, at
                at += 1
        warmth = heats[0] + (heats[1] - heats[0]) * min(1.0, done / work)
        limit = before + ROUNDING - warmth * np.log(1.0 - np.random.random())
        looked = look_inside(pool, fragments[:size], place, limit, inside)
        depth, after, searched = cover(pool, answer, inside, size, limit, taken)
        done += looked + searched
        if depth == 0:
            continue
        for step in range(depth):
            taken[step] = inside.pattern[taken[step]]
        replace(pool, answer, freed[:number], taken[:depth])
        now += after - before
        if now < least - ROUNDING:
            least, told = now, answer.many[0]
            best[:told] = answer.chosen[:told]
    return told, least
