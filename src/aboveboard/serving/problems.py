"""Problem documents (RFC 9457): what a client gets instead of an answer, never a stack trace."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

import msgspec

from aboveboard.audit import Erased
from aboveboard.errors import (
    AboveboardError,
    Conflict,
    DataRefused,
    GateRefused,
    Misuse,
    NotAuthorised,
    NotFound,
    NotVerified,
    Overloaded,
    RequestRefused,
    Retained,
    SpecInvalid,
    StorageFailed,
)
from aboveboard.serving import refusals
from aboveboard.serving.access import NotAuthenticated, TooManyRequests
from aboveboard.serving.cards import holds_card_number
from aboveboard.serving.recorder import Unconfirmed

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
_LONGEST_NAME = 128
_MOST_FAULTS = 10

_STATUS: dict[type[AboveboardError], HTTPStatus] = {
    refusals.NotHttp: HTTPStatus.BAD_REQUEST,
    refusals.HeadTooLarge: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    refusals.NotJson: HTTPStatus.BAD_REQUEST,
    refusals.InvalidUtf8: HTTPStatus.BAD_REQUEST,
    refusals.DuplicateKey: HTTPStatus.BAD_REQUEST,
    refusals.TooDeep: HTTPStatus.BAD_REQUEST,
    refusals.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    refusals.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    refusals.MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    refusals.CardNumber: HTTPStatus.UNPROCESSABLE_ENTITY,
    refusals.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    RequestRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    Erased: HTTPStatus.GONE,
    NotFound: HTTPStatus.NOT_FOUND,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotAuthorised: HTTPStatus.FORBIDDEN,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    Conflict: HTTPStatus.CONFLICT,
    Retained: HTTPStatus.CONFLICT,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    Unconfirmed: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    NotVerified: HTTPStatus.INTERNAL_SERVER_ERROR,
    GateRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    SpecInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    DataRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    Misuse: HTTPStatus.BAD_REQUEST,
}


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with a request (as in the example of RFC 9457 section 3)."""

    detail: str
    pointer: str = ""
    """A JSON pointer into the request, as a URI fragment (RFC 6901 section 6)."""


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """An `application/problem+json` body; `code` and `hint` extend the RFC's members."""

    type: str
    """A reference, relative to the server, that stands for the kind of problem."""
    title: str
    status: int
    code: str
    """Stable: programs may rely on it."""
    detail: str = ""
    hint: str = ""
    errors: list[Fault] = []
    """Everything that is wrong with the request, at once."""


def status_of(error: AboveboardError) -> HTTPStatus:
    """Return the HTTP status for an error: that of the nearest of its classes; 500 where none is listed."""
    for kind in type(error).__mro__:
        status = _STATUS.get(kind)
        if status is not None:
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of(error: AboveboardError) -> ProblemDocument:
    """Return the problem document for an error.

    Where the fault is the server's, the client learns that and the code: the details concern paths, keys and
    disks, and belong in the server's own log.
    """
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, StorageFailed):
        detail, hint, faults = "the server cannot answer this now", "", []
    else:
        detail, hint = error.message, error.hint
        faults = [_fault(problem) for problem in error.facts.get("problems", [])]
    return ProblemDocument(
        type=f"/problems/{error.code}",
        title=_title(error.code),
        status=int(status),
        code=error.code,
        detail=detail,
        hint=hint,
        errors=faults,
    )


def in_one_line(problem: ProblemDocument) -> str:
    """Return what is wrong for protocols whose errors are a text: the detail, and the first ten faults."""
    faults = [f"{fault.pointer} {fault.detail}".strip() for fault in problem.errors[:_MOST_FAULTS]]
    more = ["…"] if len(problem.errors) > _MOST_FAULTS else []
    return f"{problem.detail}: {'; '.join(faults + more)}" if faults else problem.detail


def unexpected() -> ProblemDocument:
    """Return the problem document for a fault of ours that nothing foresaw."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return ProblemDocument("/problems/internal", "Internal", int(status), "internal", "the server made a mistake")


def extra_headers(problem: ProblemDocument) -> dict[str, str]:
    """Return the headers that go with a problem: when to come back, how to say who one is, that we hang up."""
    match problem.status:
        case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.TOO_MANY_REQUESTS:
            return {"retry-after": str(RETRY_AFTER_SECONDS)}
        case HTTPStatus.UNAUTHORIZED:
            return {"www-authenticate": "Bearer"}
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return {"connection": "close"}
    return {}


def catalogue() -> dict[str, ProblemDocument]:
    """Return what each code a client can meet means, by code."""
    kinds: list[type[AboveboardError]] = [*_STATUS]
    documents = [
        ProblemDocument(
            type=f"/problems/{kind.code}",
            title=_title(kind.code),
            status=int(_STATUS[kind]),
            code=kind.code,
            detail=" ".join((kind.__doc__ or "").split()),
        )
        for kind in kinds
    ]
    return {document.code: document for document in [*documents, unexpected()]}


def _fault(problem: object) -> Fault:
    if isinstance(problem, dict):
        told, name = str(problem.get("problem", "")), str(problem.get("feature", ""))
        if len(name) > _LONGEST_NAME or holds_card_number(name):  # what a client has made up is not repeated
            return Fault(told, "#/features")
        return Fault(told, f"#/features/{quote(name.replace('~', '~0').replace('/', '~1'), safe='~')}")
    return Fault(str(problem))


def _title(code: str) -> str:
    return code.replace("-", " ").capitalize()
