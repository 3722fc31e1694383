"""Holding the Lease: take it, renew it, stop in time when it cannot be renewed, give it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from aboveboard.clock import Clock
from aboveboard.cluster.lease import DEADLINE_SECONDS, RENEW_SECONDS, Sighting, held_by, may_take, released, sighted
from aboveboard.cluster.plan import Key
from aboveboard.errors import AboveboardError, Conflict

_log = logging.getLogger("aboveboard.cluster")


class LeaseApi(Protocol):
    """What is needed of the API server (see `kube.Cluster`)."""

    async def get(self, key: Key, namespace: str) -> dict[str, Any] | None:
        """Return the Lease or None."""

    async def create(self, item: dict[str, Any]) -> dict[str, Any]:
        """Create the Lease; `Conflict` when somebody was first."""

    async def replace(self, item: dict[str, Any]) -> dict[str, Any]:
        """Replace the Lease; `Conflict` when somebody was first."""


class Election:
    """One candidate for one Lease."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        name: str,
        namespace: str,
        identity: str,
        clock: Clock,
        timer: Callable[[], float],
        renew_seconds: float = RENEW_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._api = api
        self._key = Key("coordination.k8s.io/v1", "Lease", name)
        self._namespace = namespace
        self.identity = identity
        """Who this is in the Lease."""
        self._clock = clock
        self._timer = timer
        self._renew_seconds = renew_seconds
        self._deadline_seconds = deadline_seconds
        self._sighting: Sighting | None = None

    async def won(self) -> None:
        """Return once this process holds the Lease."""
        while not await self._attempt():
            await asyncio.sleep(self._renew_seconds)

    async def lost(self) -> None:
        """Renew the Lease; return once somebody else holds it or it could not be renewed in time."""
        renewed = self._timer()
        while True:
            await asyncio.sleep(self._renew_seconds)
            if await self._attempt():
                renewed = self._timer()
            elif self._timer() - renewed > self._deadline_seconds or self._taken():
                _log.warning("the lease %s is lost; somebody else acts", self._key.name)
                return

    async def give_back(self) -> None:
        """Leave the Lease free for the next one, where it is still ours."""
        try:
            lease = await self._api.get(self._key, self._namespace)
            if lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                await self._api.replace(released(lease))
        except AboveboardError as error:
            _log.warning("the lease was not given back, and runs out by itself: %s", error.message)

    def _taken(self) -> bool:
        return self._sighting is not None and self._sighting.holder not in ("", self.identity)

    async def _attempt(self) -> bool:
        try:
            lease = await self._api.get(self._key, self._namespace)
            mine = held_by(lease, self.identity, name=self._key.name, namespace=self._namespace, at=self._clock())
            if lease is None:
                await self._api.create(mine)
                return True
            self._sighting = sighted(lease, self._sighting, self._timer())
            if not may_take(self._sighting, self.identity, self._timer()):
                return False
            await self._api.replace(mine)
        except Conflict:
            return False
        except AboveboardError as error:
            _log.warning("the lease could not be read or written: %s", error.message)
            return False
        return True
