"""Canonical JSON (RFC 8785): the one byte sequence a document is hashed and signed as."""

from __future__ import annotations

from typing import Any

import rfc8785

from aboveboard.errors import RequestRefused


def canonical_json(document: Any) -> bytes:
    """Return `document` (dicts, lists, strings, finite numbers, booleans, None) as RFC 8785 bytes.

    Raises `RequestRefused` for what JSON cannot carry: NaN, infinities, integers beyond 2^53, other types.
    """
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise RequestRefused(f"not representable as canonical JSON: {error}") from error
