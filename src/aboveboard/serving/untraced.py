"""What a request is noted with while nobody traces it: nothing. `tracing` has the other kind, and needs an SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aboveboard.serving.entries import Entry
    from aboveboard.serving.service import Answer

Fact = str | bool | int | float


class Trace:
    """The way of one request, not traced; `tracing.RequestTrace` takes down what is told here."""

    __slots__ = ()

    sampled: bool = False
    """Whether anything is taken down."""

    @property
    def ids(self) -> dict[str, str]:
        """Return the ids that lead from a log line to this trace."""
        return {}

    @property
    def explaining(self) -> Callable[[], None] | None:
        """Return what begins the stage `reasons`, where that is worth a call."""
        return None

    def enter(self, stage: str, at: float | None = None) -> None:
        """Begin a stage, which ends the one before it."""

    def leave(self, at: float | None = None) -> None:
        """End the stage that is open, if one is."""

    def beside(self, name: str, began: float, *, error: str = "", **facts: Fact) -> None:
        """Note what was done beside the stages, from `began` until now, and the code of what went wrong in it."""

    def note(self, **facts: Fact) -> None:
        """Note facts about the request as a whole."""

    def decided(self, answer: Answer) -> None:
        """Note what was decided, by which release on which track."""

    def refused(self, code: str) -> None:
        """Note the code of the problem the client gets instead of an answer."""

    def routed(self, entry: Entry) -> None:
        """Note the entry of a request for which it was not known at its beginning."""

    def end(self, status: int | str) -> None:
        """End the trace of a request that was answered with a status of HTTP or, as a text, of gRPC."""


UNTRACED: Final = Trace()
