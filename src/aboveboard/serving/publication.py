"""How far the published log is behind what this server has decided: pure, from moments in seconds."""

from __future__ import annotations


class PublicationLag:
    """The age of the oldest decision, as far as one process knows, that the newest checkpoint does not cover.

    It needs no count of entries, which other servers add to as well: only when this one last decided, and when the
    log was last signed.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def at(self, now: float, *, decided: float | None, published: float | None) -> float:
        """Return the lag at `now`, 0 where everything decided until `decided` was in the log at `published`.

        Asked at intervals; a decision counts as waiting from the first time it is seen to wait.
        """
        if decided is None or (published is not None and published >= decided):
            self._since = None
            return 0.0
        if self._since is None:
            self._since = decided
        return max(0.0, now - max(self._since, published or 0.0))
