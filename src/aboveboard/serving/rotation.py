"""Keys, clients and certificates that change on disk while the server runs, as mounted Secrets do.

Each second the files are looked at: modification time, inode and size, through links. What changed is read as
strictly as at the start; what does not hold is logged once, and the one before goes on counting.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError, StorageFailed
from aboveboard.serving.access import Access, load_clients
from aboveboard.serving.identity import KeySource, load_identity
from aboveboard.serving.options import ServerOptions

LOOK_SECONDS = 1.0
PATIENCE = 10
"""Looks until something that could not be had (an identity provider that is away) is asked for again."""

_log = logging.getLogger("aboveboard.serving")


@dataclass(frozen=True, slots=True)
class Rotating:
    """Something that is read from files and can be read again."""

    name: str
    """What it is, for the log."""
    files: tuple[Path, ...]
    take: Callable[[], None]
    """Read it and use it from now on. Raises one of our errors, or `OSError`; then the one before counts."""


class Rotation:
    """Looks at the files from a thread of its own, for as long as the block lasts."""

    def __init__(self, things: Sequence[Rotating], *, seconds: float = LOOK_SECONDS) -> None:
        self._things = list(things)
        self._seconds = seconds
        self._stop = threading.Event()
        self._seen = {thing.name: _stamps(thing.files) for thing in self._things}
        self._waits: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="rotation", daemon=True)

    def __enter__(self) -> Rotation:
        """Begin to look, where there is anything to look at."""
        if self._things:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._stop.set()
        if self._things:
            self._thread.join()

    def look(self) -> None:
        """Look once at every file."""
        for thing in self._things:
            stamps = _stamps(thing.files)  # before it is read: what changes meanwhile is seen next time
            wait = self._waits.get(thing.name, 0)
            if stamps == self._seen[thing.name] and wait != 1:
                self._waits[thing.name] = max(0, wait - 1)
                continue
            self._seen[thing.name] = stamps
            self._waits[thing.name] = 0
            try:
                thing.take()
            except (AboveboardError, OSError) as error:
                reason = error.message if isinstance(error, AboveboardError) else error.strerror
                _log.error("%s changed and cannot be used, the one before goes on counting: %s", thing.name, reason)
                if isinstance(error, StorageFailed):
                    self._waits[thing.name] = PATIENCE
            else:
                _log.warning("%s changed and is in use", thing.name)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.look()
            except Exception:  # noqa: BLE001  the thread has to go on looking, whatever it was
                _log.exception("what may have changed on disk could not be looked at")


def rotation(
    options: ServerOptions,
    access: Access,
    keys: KeySource | None,
    renew_certificate: Callable[[], None],
    *,
    clock: Clock,
) -> Rotation:
    """Return what looks at the clients, the identity provider and the certificate of a server; `keys` are running."""
    things: list[Rotating] = []
    if (clients := options.clients) is not None:
        things.append(Rotating("clients", (clients,), lambda: access.renew(load_clients(clients))))
    if (identity := options.identity) is not None:
        running = keys

        def take() -> None:
            nonlocal running
            tokens, fresh = load_identity(identity, clock=clock)
            fresh.start()
            access.believe(tokens)
            before, running = running, fresh
            if before is not None:
                before.stop()

        files = (identity,) if keys is None or keys.file is None else (identity, keys.file)
        things.append(Rotating("the identity provider", files, take))
    pem = (options.certificate, options.certificate_key, options.client_authority)
    if options.certificate is not None:
        things.append(Rotating("the certificate", tuple(path for path in pem if path is not None), renew_certificate))
    return Rotation(things)


def _stamps(files: Sequence[Path]) -> tuple[tuple[int, int, int] | None, ...]:
    found: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return tuple(found)
