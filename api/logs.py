"""The service's log: one JSON object a line, on standard error."""

from __future__ import annotations

import sys
from typing import Any

import structlog


class _StandardError:
    """Where lines go; looked up for each, so that whoever redirects standard error gets them."""

    def msg(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = exception = msg


def logger(name: str) -> Any:
    """A logger. Tracebacks are written plainly: a picture of every local variable takes seconds to draw."""
    return structlog.wrap_logger(
        _StandardError(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.BoundLogger,
        component=name,
    )
