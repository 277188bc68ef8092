"""The inner loop of `solver.subset_rows` as machine code: rows of a shape that a relaxation breaks."""

from __future__ import annotations

import numpy as np

from solver.compiled import compiled
from solver.facilities import Floats, Indices

# How much better a class has to be to take another's place.
BETTER = 1e-7


@compiled
def change(
    columns: Indices, begin: int, end: int, held: Indices, by: int, divisor: int, used: Floats
) -> float:
    """By how much the row changes where these columns hold so much more of it."""
    value = 0.0
    for place in range(begin, end):
        column = columns[place]
        before = held[column]
        value += ((before + by) // divisor - before // divisor) * used[column]
    return value


@compiled
def put(columns: Indices, begin: int, end: int, held: Indices, by: int, divisor: int, used: Floats) -> float:
    """The same, and they do."""
    value = change(columns, begin, end, held, by, divisor, used)
    for place in range(begin, end):
        held[columns[place]] += by
    return value


@compiled
def broken(
    begins: Indices,
    columns: Indices,
    first: Indices,
    classes: Indices,
    used: Floats,
    weights: Indices,
    divisor: int,
    violation: float,
    starts: int,
    seed: int,
) -> tuple[Indices, Floats]:
    """Classes of rows of these weights, falling, that are broken by more than `violation`, and by how much.

    Class k is held by columns[begins[k]:begins[k + 1]], column c holds classes[first[c]:first[c + 1]] and is
    used used[c]. From classes near one another, drawn, on: one after the other is exchanged for the best one
    in its place, until none is better.
    """
    np.random.seed(seed)
    among, size, limit = len(begins) - 1, len(weights), weights.sum() // divisor
    rows, values, found = np.empty((starts, size), dtype=np.intp), np.empty(starts), 0
    held = np.zeros(len(used), dtype=np.intp)
    if among < size:
        return rows[:0], values[:0]
    inside = np.zeros(among, dtype=np.bool_)
    row = np.empty(size, dtype=np.intp)
    for _ in range(starts):
        inside[:] = False
        held[:] = 0
        value = 0.0
        for place in range(size):
            k = np.random.randint(among)
            for _ in range(8):
                if place > 0:
                    near = row[np.random.randint(place)]
                    if begins[near] < begins[near + 1]:
                        column = columns[np.random.randint(begins[near], begins[near + 1])]
                        k = classes[np.random.randint(first[column], first[column + 1])]
                if not inside[k]:
                    break
                k = np.random.randint(among)
            while inside[k]:
                k = (k + 1) % among
            row[place], inside[k] = k, True
            value += put(columns, begins[k], begins[k + 1], held, weights[place], divisor, used)
        improved = True
        while improved:
            improved = False
            for place in range(size):
                old, weight = row[place], weights[place]
                value += put(columns, begins[old], begins[old + 1], held, -weight, divisor, used)
                best = old
                most = change(columns, begins[old], begins[old + 1], held, weight, divisor, used)
                for k in range(among):
                    if not inside[k] and begins[k] < begins[k + 1]:
                        gain = change(columns, begins[k], begins[k + 1], held, weight, divisor, used)
                        if gain > most + BETTER:
                            best, most, improved = k, gain, True
                inside[old], inside[best], row[place] = False, True, best
                value += put(columns, begins[best], begins[best + 1], held, weight, divisor, used)
        if value > limit + violation:
            rows[found], values[found] = row, value - limit
            found += 1
    return rows[:found], values[:found]
