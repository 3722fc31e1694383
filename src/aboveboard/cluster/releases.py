"""Where the operator and the webhook take releases from: what is here, and the registry for what is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from aboveboard.clock import Clock
from aboveboard.errors import NotFound, NotVerified
from aboveboard.release import Keyring, ReleaseStore, VerifiedRelease

Fetch = Callable[[str], Mapping[str, bytes]]
"""Returns a release and its statements by digest, as `Registry.fetch` does."""


class ReleaseSource:
    """Verified releases by digest. Threads take turns."""

    def __init__(self, root: Path, trust_file: Path, *, fetch: Fetch | None, clock: Clock) -> None:
        self._store = ReleaseStore(root, keys=Keyring.verifying(trust_file), clock=clock)
        self._fetch = fetch
        self._turn = threading.Lock()

    def verify(self, digest: str) -> VerifiedRelease:
        """Return a release of which everything holds now.

        What does not hold here is fetched once more: an approval may have been given since. Raises what
        `ReleaseStore.verify` and `Registry.fetch` raise.
        """
        with self._turn:
            try:
                return self._store.verify(digest)
            except (NotFound, NotVerified):
                if self._fetch is None:
                    raise
            self._store.take(self._fetch(digest))
            return self._store.verify(digest)
