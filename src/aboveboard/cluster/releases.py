"""Where the operator and the webhook take releases from: what is here, and the registry for what is new about it."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

from aboveboard.clock import Clock
from aboveboard.errors import NotFound, NotVerified, StorageFailed
from aboveboard.release import Keyring, ReleaseStore, VerifiedRelease
from aboveboard.release.store import Fetch

ASK_AGAIN = timedelta(minutes=1)
"""For how long what the registry told about a release is taken for all there is: a withdrawal is seen after that."""


class ReleaseSource:
    """Verified releases by digest. Threads take turns."""

    def __init__(self, root: Path, trust_file: Path, *, fetch: Fetch | None, clock: Clock) -> None:
        """Keep releases in `root`. Without `fetch`, what is there is all there is."""
        self._store = ReleaseStore(root, keys=Keyring.verifying(trust_file), clock=clock)
        self._fetch = fetch
        self._clock = clock
        self._turn = threading.Lock()
        self._asked: dict[str, datetime] = {}
        self._away_since: datetime | None = None

    def verify(self, digest: str) -> VerifiedRelease:
        """Return a release of which everything holds now.

        The registry is asked for approvals and withdrawals every `ASK_AGAIN`, and whenever what is here does not
        hold. While it is away, what is here and holds is enough. Raises what `ReleaseStore.verify_current` raises.
        """
        with self._turn:
            if self._fetch is None:
                return self._store.verify(digest)
            now = self._clock()
            if self._asked_lately(digest, now):
                try:
                    return self._store.verify(digest)
                except (NotFound, NotVerified):
                    pass  # an approval may have been given since
            self._asked[digest] = now
            release, problem = self._store.verify_current(digest, self._fetch)
            self._away_since = now if isinstance(problem, StorageFailed) else None
            return release

    def _asked_lately(self, digest: str, now: datetime) -> bool:
        """Tell whether the registry was asked about this release, or found to be away, in the last `ASK_AGAIN`."""
        moments = (self._asked.get(digest), self._away_since)
        return any(moment is not None and now - moment < ASK_AGAIN for moment in moments)
