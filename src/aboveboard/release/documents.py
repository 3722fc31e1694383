"""Reading machine documents that may have been damaged or forged: strict, and only ever our own error."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from aboveboard.canonical import canonical_json
from aboveboard.errors import NotVerified, RequestRefused

T = TypeVar("T")


def decode(content: bytes, shape: type[T], name: str) -> T:
    """Return the JSON in `content` as `shape`. Raises `NotVerified`, naming the document, when it is not that."""
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise NotVerified(
            f"{name} is not the document it should be: {error}",
            document=name,
            hint="it is damaged or was edited: restore it as it was",
        ) from error


def encode(document: Any) -> bytes:
    """Return a struct, or JSON-ready data, as the canonical bytes under which it is hashed and signed."""
    return canonical_json(msgspec.to_builtins(document))


def canonical(content: bytes, name: str) -> bytes:
    """Return the JSON in `content` in canonical form. Raises `NotVerified` when it has none."""
    try:
        return canonical_json(decode(content, object, name))
    except (RequestRefused, RecursionError) as error:
        raise NotVerified(f"{name} has no canonical form: {error}", document=name) from error
