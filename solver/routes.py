"""Program 5.3, any number of stages a route, as numbers: a network over the cut points of one model.

An *arc* e leads from cut point i to j: a stage over layers [i, j) with an option; it takes t_e of a route's
budget, one instance carries c_e requests a second and costs s_e. A *class* k of load q_k enters at a
cut point and has to reach the last one, L, within its budget B_k, along one or several paths p:

    min  Σ_e s_e n_e
    s.t. Σ_p y_kp = 1                                 every request is served
         Σ_k q_k Σ_{p ∋ e} y_kp ≤ c_e n_e             capacity comes in whole instances
         Σ_{p ∋ e} y_kp ≤ n_e                         (the strong form)
         y ≥ 0, n whole;  only paths with Σ_{e ∈ p} t_e ≤ B_k

No valid plan is better than this program: equal stages of a plan can be pooled, a dominated option replaced
by what dominates it, and identical fragments (start, budget) add up to a class, all without loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# A route that takes its budget exactly, up to double precision, is in time.
EPSILON = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Arcs and classes of one model; arrays [E] and [K]. Arcs are sorted by tail, then head.

    `tail` and `head` are the cut points an arc leads from and to (tail < head ≤ depth), `time`, `capacity`
    and `price` its t_e, c_e and s_e; `entry`, `budget` and `load` say where a class enters, its B_k and q_k.
    """

    depth: int
    tail: Indices
    head: Indices
    time: Floats
    capacity: Floats
    price: Floats
    entry: Indices
    budget: Floats
    load: Floats

    @cached_property
    def leaving(self) -> Indices:
        """[depth + 1]: arcs leaving[i] … leaving[i + 1] − 1 have tail i."""
        return np.searchsorted(self.tail, np.arange(self.depth + 1))
