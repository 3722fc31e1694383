"""The witness as a web service: `POST /add-checkpoint`, with the status codes of C2SP tlog-witness."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from aboveboard.audit.witness import (
    InconsistentTree,
    OtherSize,
    SplitView,
    UnknownLog,
    UntrustedSignature,
    Witness,
    parse_request,
)
from aboveboard.errors import AboveboardError, RequestRefused

_MAX_BODY = 256 * 1024
_STATUS: dict[type[AboveboardError], int] = {
    RequestRefused: 400,
    UntrustedSignature: 403,
    UnknownLog: 404,
    SplitView: 409,
    InconsistentTree: 422,
}


def witness_app(witness: Witness) -> Starlette:
    """Return the ASGI application of a witness."""

    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                return PlainTextResponse("the request is too long\n", status_code=413)
        try:
            old, proof, note = parse_request(bytes(body))
            signatures = await run_in_threadpool(witness.add_checkpoint, old, proof, note)
        except OtherSize as other:
            # Set by hand: a text/* response class would append a charset, and the specification fixes the type.
            return Response(f"{other.size}\n", status_code=409, headers={"content-type": "text/x.tlog.size"})
        except AboveboardError as error:
            return PlainTextResponse(f"{error.message}\n", status_code=_STATUS.get(type(error), 503))
        return PlainTextResponse("".join(signature.line() for signature in signatures))

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"]), Route("/healthz", health)])
