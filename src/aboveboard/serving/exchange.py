"""What the handlers of all routes share: who asks, what they send, and how they are answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from aboveboard.errors import NotFound, RequestRefused
from aboveboard.serving.access import Access, Client, Role
from aboveboard.serving.http import check_content_type, check_length, too_large
from aboveboard.serving.presentation import NOT_KEPT
from aboveboard.serving.requests import LARGEST_BODY

_DECISION_ID = re.compile(r"dec-[0-9a-z]{26}")


def client_of(request: Request, access: Access, role: Role, *others: Role) -> Client:
    """Return who asks. Raises `NotAuthenticated`, `TooManyRequests`, and `NotAuthorised` without any of the roles."""
    authorization = request.headers.get("authorization")
    client = access.client(authorization.encode() if authorization is not None else None)
    if client.roles.isdisjoint(others):
        client.require(role)
    return client


def decision_id_of(request: Request) -> str:
    """Return the decision id in a path. Raises `NotFound` for what cannot be one, without looking for it."""
    decision_id: str = request.path_params["decision_id"]
    if _DECISION_ID.fullmatch(decision_id) is None:
        raise NotFound("no decision of that id", hint="the id is in the answer to POST /v1/decisions")
    return decision_id


async def whole_body(request: Request, *, json: bool = True) -> bytes:
    """Return a body within the size limit, by default one that must be declared to be JSON.

    Raises `TooLarge`, `UnsupportedMediaType` and `RequestRefused`.
    """
    length = request.headers.get("content-length")
    if length is not None:
        check_length(length.encode())
    if json:
        content_type = request.headers.get("content-type")
        check_content_type(content_type.encode() if content_type is not None else None)
    parts = bytearray()
    try:
        async for part in request.stream():
            parts += part
            if len(parts) > LARGEST_BODY:
                raise too_large()
    except ClientDisconnect:
        raise RequestRefused("the request ended before its body did") from None
    return bytes(parts)


def json_response(
    content: Any,
    *,
    status: int = 200,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response with `content` as JSON, which no cache keeps."""
    return Response(
        msgspec.json.encode(content), status, headers={**NOT_KEPT, **(headers or {})}, media_type=media_type
    )
