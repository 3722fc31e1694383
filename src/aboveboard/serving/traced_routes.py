"""A span for each request to the routes beside the decision path; probes and scrapes are not worth one."""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.routing import Match, Route

from aboveboard.serving.entries import TRACE, Entry, http_entry
from aboveboard.serving.http import Message, Receive, Scope, Send
from aboveboard.serving.tracing import Tracing

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
"""Those the conventions know; any other word is the client's own, and not ours to pass on."""
PREFIX: Final = "/v1/"
INFERENCE: Final = "/infer"


class TracedRoutes:
    """The ASGI application of `routes`, traced; handlers find the trace in the scope, under `TRACE`."""

    def __init__(self, routes: Starlette, tracing: Tracing) -> None:
        self._routes = routes
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http" or not (scope["path"].startswith(PREFIX) or scope["path"].endswith(INFERENCE)):
            await self._routes(scope, receive, send)
            return
        trace = self._tracing.begin(
            scope["headers"],
            _without_route(scope["method"]),
            scheme=scope.get("scheme", ""),
            server=scope.get("server"),
        )
        if not trace.sampled:
            await self._routes(scope, receive, send)
            return
        for route in self._routes.routes:
            if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL:
                trace.routed(http_entry(scope["method"], route.path))
                break
        scope[TRACE] = trace
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._routes(scope, receive, noting)
        finally:
            trace.end(status)


def _without_route(method: str) -> Entry:
    if method in METHODS:
        return Entry(method, {"http.request.method": method})
    return Entry("HTTP", {"http.request.method": "_OTHER"})
