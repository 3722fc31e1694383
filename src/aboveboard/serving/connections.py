"""One HTTP connection as uvicorn reads it, held to what uvicorn leaves open.

A head has a largest size; a request has to come to its end; an offer of another protocol is ignored; a client that
has said everything is answered all the same; one that does not read is not read from; and what is no HTTP gets a
problem document. Nothing here costs anything for each request: sizes are added up where a head is parsed, and one
timer for each connection looks twice a minute.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aboveboard.errors import AboveboardError
from aboveboard.serving.http import DecisionEndpoint, refuse
from aboveboard.serving.problems import CONTENT_TYPE
from aboveboard.serving.refusals import HeadTooLarge, NotHttp

LARGEST_HEAD: Final = 1 << 16
"""Bytes of a request line and headers. Ours have some hundred; a token of an identity provider may have thousands."""
READING_SECONDS: Final = 30
"""How often it is looked whether a request comes to its end; at the second look in the same one we hang up."""

_AT_ONCE: Final = 1 << 19
"""More than the event loop hands over in one piece: what may belong to the requests around a head."""
_OFFERS: Final = frozenset({b"upgrade", b"http2-settings"})
_REASON: Final = {400: b"Bad Request", 431: b"Request Header Fields Too Large"}


class HeldProtocol(HttpToolsProtocol):
    """uvicorn's protocol, held to limits."""

    # uvicorn annotates its attributes for its own cycle only.
    cycle: Any
    pipeline: Any

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        endpoint = self.config.app
        assert isinstance(endpoint, DecisionEndpoint)  # noqa: S101  no other application is served
        self._endpoint = endpoint
        self._within = False
        self._completed = 0
        self._in_head = False
        self._head_bytes = 0
        self._without_offer: bytes | None = None
        self._seen: tuple[object, ...] = ()
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to look at the clock."""
        super().connection_made(transport)
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer with the connection."""
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def data_received(self, data: bytes) -> None:
        """Take bytes. An offer of another protocol ends the parser's work; it goes on without the offer."""
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while len(rest):
                try:
                    self.parser.feed_data(rest)
                except httptools.HttpParserUpgrade as offered:
                    rest = rest[offered.args[0] :]
                    head, self._without_offer = self._without_offer, None
                    if head is not None:
                        self.parser.feed_data(head)
                    continue
                break
            if self._in_head:
                self._head_bytes += len(data)
                if self._head_bytes > LARGEST_HEAD + _AT_ONCE:
                    self.send_400_response("")
        except httptools.HttpParserError:
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin with the request, unless it is to be read once more."""
        if not self._head_ends():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request is whole."""
        if self._without_offer is None:
            self._within = False
            self._completed += 1
            super().on_message_complete()

    def _begin(self) -> None:
        self._within = self._in_head = True
        self._head_bytes = 0

    def _head_ends(self) -> bool:
        """Tell whether the head offers another protocol, and so has to be read again without it.

        The parser would take the body for that protocol's; a server may ignore the offer (RFC 9110 section 7.8).
        Raises `HeadTooLarge`, which the parser passes on as its own.
        """
        self._in_head = False
        headers = self.headers
        if len(self.url) + sum([len(name) + len(value) for name, value in headers]) > LARGEST_HEAD:
            self._head_bytes = LARGEST_HEAD + _AT_ONCE + 1
            raise HeadTooLarge("the head of the request is too large")
        parser = self.parser
        if not parser.should_upgrade() or parser.get_method() == b"CONNECT":
            return False
        kept = b"".join([b"%b: %b\r\n" % header for header in headers if header[0] not in _OFFERS])
        line = b"%b %b HTTP/%b\r\n" % (parser.get_method(), self.url, parser.get_http_version().encode())
        self._without_offer = b"%b%b\r\n" % (line, kept)
        return True

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Tell whether the connection stays open for an answer that is due, to a client that has sent all it will."""
        cycle = self.cycle
        if self.scheme == "https" or cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Read nothing more from a client that does not fetch its answers."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on with a client that has fetched its answers."""
        super().resume_writing()
        self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser does not take, as everything else that is refused, and hang up."""
        if self.transport.is_closing():
            return
        error: AboveboardError = NotHttp("this is no HTTP request", hint="HTTP/1.1 is spoken here")
        if self._head_bytes > LARGEST_HEAD + _AT_ONCE:
            hint = "send fewer headers"
            error = HeadTooLarge(f"the head of the request is larger than {LARGEST_HEAD:,} bytes", hint=hint)
        problem = refuse(error, self._endpoint.metrics)
        body = msgspec.json.encode(problem)
        date = self._endpoint.date_header(self.server_state.default_headers)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n%bconnection: close\r\ncontent-length: %d\r\n\r\n%b"
            % (problem.status, _REASON[problem.status], CONTENT_TYPE.encode(), date, len(body), body)
        )
        self.transport.close()

    def _look_again(self) -> None:
        self._look = self.loop.call_later(min(READING_SECONDS, self.timeout_keep_alive), self._hurry)

    def _hurry(self) -> None:
        """Hang up on a client that is where it was at the last look: in the same request, or before its first."""
        transport = self.transport
        closing = transport.is_closing()
        state = (self._completed, self._within, self.cycle, closing)
        if state == self._seen:
            if closing:
                transport.abort()  # it does not even fetch its answers
                return
            if self._within or self.cycle is None:
                transport.close()
        self._seen = state
        self._look_again()
