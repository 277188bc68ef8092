"""The templates of pages and reports: one environment, everything escaped, pictures as functions."""

from __future__ import annotations

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

from api.pictures import flow, gpus, words
from api.pictures.budgets import budget_bar

_HERE = Path(__file__).parent


def environment(*folders: Path) -> Environment:
    """Templates of these folders and of the pictures; names and numbers in the words of `words`."""
    loader = ChoiceLoader([FileSystemLoader(folder) for folder in (*folders, _HERE / "templates")])
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "number": words.number,
        "percent": words.percent,
        "ms": words.ms,
        "seconds": words.seconds,
        "rate": words.rate,
        "megabytes": words.megabytes,
        "why_left_out": words.why_left_out,
        "what_would_help": words.what_would_help,
        "models_key": gpus.legend,
    }
    made.globals |= {
        "flow_picture": flow.flow_picture,
        "flow_note": flow.hidden_note,
        "gpu_picture": gpus.gpu_picture,
        "gpu_note": gpus.hidden_note,
        "budget_bar": budget_bar,
        "many": words.many,
    }
    return made


def styles() -> str:
    """The pictures' style sheet, for a file that has to stand alone."""
    return (_HERE / "pictures.css").read_text()
