"""In which form an answer goes out, and what browsers and caches between may do with it."""

from __future__ import annotations

from typing import Final

NOT_KEPT: Final = {"cache-control": "no-store"}
"""With what may be about a person: no cache keeps it (RFC 9111 section 5.2.2.5)."""
PAGE: Final = {
    **NOT_KEPT,
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""With a page: it runs nothing, loads nothing, is in nobody's frame, and its address goes nowhere."""


def prefers_html(accept: str) -> bool:
    """Tell whether a client that sends this `Accept` would rather have HTML than JSON (RFC 9110 section 12.5.1).

    Who does not name HTML gets JSON, for programs ask for anything.
    """
    html = json = anything = None
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = _weight(parameters)
        match kind:
            case "text/html":
                html = weight
            case "application/json":
                json = weight
            case "*/*" | "application/*":
                anything = weight
    if html is None:
        return False
    return html > 0 and html >= (json if json is not None else anything or 0.0)


def _weight(parameters: list[str]) -> float:
    """Return the `q` among the parameters of a media type: 1 where there is none, 0 for one that is no number."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
