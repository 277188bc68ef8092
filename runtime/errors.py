"""Everything the runtime raises on purpose.

ServingError
├── ModelError                a model cannot be served as asked (exit code 2)
│   ├── UnknownModelError     no such model; carries close matches
│   ├── UncuttableModelError  the model cannot be traced or cut
│   └── WeightsError          the weights file does not hold what the layers need
├── ShareError                a share cannot be held as asked
│   └── MpsError              NVIDIA MPS is missing, not running, or refused
├── SettingError              an option or a variable of the environment cannot be followed (exit code 2)
├── MeasurementError          a profile could not be measured
├── ServiceError              the service cannot be reached, or refused what the agent asked
└── RequestError              a request is not answered; carries its HTTP status
    ├── BadRequestError       400: not what the protocol or the model expects
    ├── UnknownFragmentError  404: no such model, or nothing serves it from that layer on
    ├── QueueFullError        429: more is queued than may be
    ├── StageFailedError      500: a stage raised, or its worker died too often
    ├── NotServingError       503: no generation is routed, or a stage has no worker
    └── TooLateError          504: dropped, since it could not be on time any more
"""

from __future__ import annotations

from collections.abc import Sequence


class ServingError(Exception):
    """The root of this package's errors."""


class ModelError(ServingError):
    """A model cannot be served as asked; the message says what, and what would be right."""


class UnknownModelError(ModelError):
    """There is no model of that name; `close` are names that look like it."""

    def __init__(self, name: str, close: Sequence[str] = (), *, problem: str = "") -> None:
        self.name = name
        self.close = tuple(close)
        text = problem or f"there is no model {name!r} in torchvision"
        if self.close:
            text += f"; did you mean {' or '.join(self.close)}?"
        else:
            text += "; give a torchvision classification model, or package.module:factory"
        super().__init__(text)


class UncuttableModelError(ModelError):
    """The model cannot be traced or cut: the message says at which node, and why."""


class WeightsError(ModelError):
    """The weights file lacks a tensor, or holds it in another shape; the message names file and tensor."""


class ShareError(ServingError):
    """A share cannot be held as asked."""


class MpsError(ShareError):
    """NVIDIA MPS is missing, not running, or refused; the message says what to install or start."""


class SettingError(ServingError):
    """An option or a variable of the environment cannot be followed; the message names it."""


class MeasurementError(ServingError):
    """A profile could not be measured; the message says which model and cell."""


class ServiceError(ServingError):
    """The service cannot be reached, or refused what the agent asked; `status` is its HTTP status, or 0."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class RequestError(ServingError):
    """A request is not answered; `status` is the HTTP status that says so."""

    status = 500


class BadRequestError(RequestError):
    """The request is not what the protocol or the model expects; the message says what would be."""

    status = 400


class UnknownFragmentError(RequestError):
    """No such model, or nothing serves it from that layer on; the message lists what is served."""

    status = 404


class QueueFullError(RequestError):
    """More is queued than may be: try again later, or elsewhere."""

    status = 429


class StageFailedError(RequestError):
    """A stage raised on this request, or workers died of it too often."""

    status = 500


class NotServingError(RequestError):
    """No generation is routed yet, or a stage of the route has no worker."""

    status = 503


class TooLateError(RequestError):
    """Dropped, since it could not be on time any more."""

    status = 504
