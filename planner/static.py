"""The baselines `static` and `static+`: phones keep one fixed cut, whatever their link does.

The fixed cut is the phones' part: `regraft partition --fixed-cut` makes the workload that such phones
send, in which all fragments of a model have one start and only budgets tell them apart. The server's part
is what these strategies do, and nothing can be re-aligned in it: `static` serves every fragment alone and
`static+` merges those with close budgets, by the same rules as `gslice` and `gslice+`.

A workload of fragments as they are has the cuts it has. On one with several cuts a model these
strategies give the plans of `gslice` and `gslice+`; `notes["cuts"]` says how many cuts each model has, so
that nobody takes such a plan for that of phones which kept still. To compare, plan the workload of the
adaptive phones by `graft` and that of the fixed ones by `static+`.
"""

from __future__ import annotations

from dataclasses import replace

from planner.gslice import gslice, gslice_plus
from planner.problem import Draft, PlanSettings, Problem, ProgressReport


def static(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """Every fragment alone."""
    return _with_cuts(problem, gslice(problem, settings, progress))


def static_plus(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """Fragments with close budgets merged."""
    return _with_cuts(problem, gslice_plus(problem, settings, progress))


def _with_cuts(problem: Problem, draft: Draft) -> Draft:
    cuts = {
        model: len({problem.fragments[number].start for number in numbers})
        for model, numbers in problem.by_model().items()
    }
    return replace(draft, notes={**draft.notes, "cuts": cuts})
