"""Why a request is not decided: one class, and so one stable code, for each thing a client can mend."""

from __future__ import annotations

from aboveboard.errors import RequestRefused


class NotHttp(RequestRefused):
    """What no reader of HTTP/1.1 takes for one request, and for one only (RFC 9112)."""

    code = "not-http"


class HeadTooLarge(RequestRefused):
    """A request line and headers beyond the size limit."""

    code = "head-too-large"


class NotJson(RequestRefused):
    """A body that is not one JSON document (RFC 8259); `NaN` and `Infinity` are no JSON."""

    code = "not-json"


class InvalidUtf8(RequestRefused):
    """A body that is not UTF-8, as RFC 8259 section 8.1 demands."""

    code = "invalid-utf8"


class DuplicateKey(RequestRefused):
    """The same name twice in one object: two readers could see two different applications (RFC 8259 section 4)."""

    code = "duplicate-key"


class TooDeep(RequestRefused):
    """A document nested deeper than any request has reason to be."""

    code = "too-deep"


class TooLarge(RequestRefused):
    """A body beyond the size limit."""

    code = "too-large"


class UnsupportedMediaType(RequestRefused):
    """A body that does not say it is `application/json`."""

    code = "unsupported-media-type"


class MethodNotAllowed(RequestRefused):
    """A path that exists, asked with a method it does not have."""

    code = "method-not-allowed"


class CardNumber(RequestRefused):
    """A payment card number where none may be (PCI DSS 4.0.1, requirement 3.4.1 and the scope it draws)."""

    code = "card-number"


class IdempotencyKeyReused(RequestRefused):
    """An idempotency key that came with another request before."""

    code = "idempotency-key-reused"
