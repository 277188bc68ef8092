"""Everything the service raises on purpose; each class is one HTTP status and one stable `code`.

    ServiceError
    ├── BadRequestError          400 bad_request            the request cannot be read
    ├── UnauthorizedError        401 unauthorized           no key, or not a valid one
    ├── ForbiddenError           403 scope_missing          a valid key without the scope this needs
    ├── NotFoundError            404 not_found              no such resource
    ├── MethodError              405 method_not_allowed
    ├── BodyTimeoutError         408 body_timeout           the body did not arrive in time
    ├── HeadTimeoutError         408 head_timeout           nor did the request's head
    ├── ConflictError            409 conflict               the present state does not allow it
    │   ├── ContradictionError   409 contradictory          the parts of a document contradict each other
    │   ├── InvalidPlanError     409 invalid_plan           `violations` say which laws, and where
    │   ├── DoesNotFitError      409 does_not_fit           the plan does not fit the live nodes' GPUs
    │   └── GenerationError      409 generation_moved       another deployment came first
    ├── TooLargeError            413 too_large
    ├── MediaTypeError           415 unsupported_media_type
    ├── InvalidInputError        422 invalid_input          `errors` say what, where, and what would be right
    │   └── KeyReusedError       422 idempotency_key_reused
    ├── TooManyRequestsError     429 too_many_requests
    ├── HeadTooLargeError        431 head_too_large         too long a path, or too many headers
    ├── InternalError            500 internal_error         a defect of ours
    └── UnavailableError         503 unavailable            the database does not answer; try again

`api.problems` turns them into application/problem+json, at one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from planner.errors import Complaint, InputError
from planner.errors import ContradictionError as InputContradictionError


class ServiceError(Exception):
    """The root. `detail` is for people; `extra` are further members of the problem document."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "The service failed"

    def __init__(
        self,
        detail: str,
        *,
        errors: Iterable[Complaint] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = extra
        super().__init__(detail)


class BadRequestError(ServiceError):
    """The request cannot be read."""

    status, code, title = 400, "bad_request", "The request cannot be read"


class UnauthorizedError(ServiceError):
    """No key, or not a valid one."""

    status, code, title = 401, "unauthorized", "A valid API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="regraft"'})


class ForbiddenError(ServiceError):
    """A valid key without the scope that this needs."""

    status, code, title = 403, "scope_missing", "The API key lacks a scope"


class NotFoundError(ServiceError):
    """There is no such resource."""

    status, code, title = 404, "not_found", "There is no such resource"


class MethodError(ServiceError):
    """The resource does not have this method."""

    status, code, title = 405, "method_not_allowed", "The resource does not have this method"


class BodyTimeoutError(ServiceError):
    """The request's body did not arrive in time."""

    status, code, title = 408, "body_timeout", "The request's body did not arrive in time"


class HeadTimeoutError(ServiceError):
    """The request's head did not arrive in time."""

    status, code, title = 408, "head_timeout", "The request's head did not arrive in time"


class HeadTooLargeError(ServiceError):
    """The request's path and headers are larger than the service takes."""

    status, code, title = 431, "head_too_large", "The request's head is too large"


class ConflictError(ServiceError):
    """The present state does not allow it."""

    status, code, title = 409, "conflict", "The present state does not allow it"


class ContradictionError(ConflictError):
    """Each part of the document is well formed, but the parts contradict each other.

    409 rather than 422, because the document is what the API's description asks for: that its lists are of
    equal length, or its ids different, no JSON schema can say.
    """

    code, title = "contradictory", "The parts of the document contradict each other"


class InvalidPlanError(ConflictError):
    """A plan made elsewhere breaks a law with the workload and the profiles it was made from."""

    code, title = "invalid_plan", "The plan breaks a law"


class DoesNotFitError(ConflictError):
    """The plan does not fit the GPUs of the live nodes."""

    code, title = "does_not_fit", "The plan does not fit the GPUs of the live nodes"


class GenerationError(ConflictError):
    """Another deployment came first."""

    code, title = "generation_moved", "Another deployment came first"


class TooLargeError(ServiceError):
    """The request's body is larger than the service takes."""

    status, code, title = 413, "too_large", "The request's body is too large"


class MediaTypeError(ServiceError):
    """The body is of a type that the service does not read."""

    status, code, title = 415, "unsupported_media_type", "The service reads application/json"


class InvalidInputError(ServiceError):
    """The input is wrong; `errors` say what, where, and what would be right."""

    status, code, title = 422, "invalid_input", "The input is wrong"

    @classmethod
    def of(cls, error: InputError) -> ServiceError:
        """The planner's complaints as a problem."""
        count = len(error.complaints)
        kind = ContradictionError if isinstance(error, InputContradictionError) else cls
        return kind(f"{error.source}: {count} complaint{'s' if count != 1 else ''}", errors=error.complaints)


class KeyReusedError(InvalidInputError):
    """This Idempotency-Key was already used with another request."""

    code, title = "idempotency_key_reused", "The Idempotency-Key was used with another request"


class TooManyRequestsError(ServiceError):
    """More requests than the service allows this client."""

    status, code, title = 429, "too_many_requests", "Too many requests"


class InternalError(ServiceError):
    """A defect of ours: the log has the traceback."""


class UnavailableError(ServiceError):
    """The database does not answer; the request may be repeated."""

    status, code, title = 503, "unavailable", "The service cannot answer at the moment"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})
