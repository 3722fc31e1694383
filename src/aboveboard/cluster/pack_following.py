"""Keeping the book of policy packs as the cluster has them, for the operator and for the webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aboveboard.clock import Clock
from aboveboard.cluster.pack_status import differs, pack_status
from aboveboard.cluster.packs import PackBook, PackKey
from aboveboard.cluster.types import API_VERSION
from aboveboard.cluster.watching import Followed, WatchApi, follow
from aboveboard.errors import AboveboardError

RELIST_SECONDS = 60.0
"""Between two lists: half a minute after a watch died silently, its loss has been made good on average."""


class StatusApi(Protocol):
    """What is needed of the API server to say how a pack stands (see `kube.Cluster`)."""

    async def patch_status(
        self, name: str, namespace: str, status: Mapping[str, Any], *, kind: str = "DecisionService"
    ) -> None:
        """Write the status of a resource."""


class PackReports:
    """Says in each pack's status how it stands, and as an event when that changes."""

    def __init__(
        self,
        api: StatusApi,
        *,
        clock: Clock,
        about: Callable[[Mapping[str, Any]], Callable[[str, str, str], None]],
    ) -> None:
        self._api = api
        self._clock = clock
        self._about = about

    async def tell(self, book: PackBook) -> None:
        """Write every status that is not what it should be. What fails is tried again with the next list."""
        for held in book.all():
            now = self._clock()
            before = held.document.get("status") or {}
            status = pack_status(held, rival=book.rival(held), as_of=now.date(), at=now)
            if not differs(status, before):
                continue
            report = self._about({**held.document, "apiVersion": API_VERSION, "kind": "PolicyPack"})
            try:
                namespace, name = held.key
                await self._api.patch_status(name, namespace, status, kind="PolicyPack")
            except AboveboardError as error:
                report("Warning", "StatusNotWritten", error.message)
                continue
            (new,) = status["conditions"]
            old: Mapping[str, Any] = next(iter(before.get("conditions") or ()), {})
            if (old.get("status"), old.get("reason")) != (new["status"], new["reason"]):
                report("Normal" if new["status"] == "True" else "Warning", new["reason"], new["message"])


class PackFollowing:
    """Follows the PolicyPacks of a cluster for as long as its process lives."""

    def __init__(
        self,
        api: WatchApi,
        book: PackBook,
        *,
        changed: Callable[[Sequence[PackKey]], None] = lambda keys: None,
        reports: PackReports | None = None,
        relist: float = RELIST_SECONDS,
    ) -> None:
        self._api = api
        self._book = book
        self._changed = changed
        self._reports = reports
        self._relist = relist
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Follow for ever."""
        async with asyncio.TaskGroup() as group:
            for scope in self._book.scopes:
                group.create_task(self._follow(scope))

    async def _follow(self, scope: str | None) -> None:
        book = self._book

        async def listed(items: Sequence[dict[str, Any]]) -> None:
            await self._take(lambda: book.replace(items, scope))

        async def happened(what: str, item: dict[str, Any]) -> None:
            if what in ("ADDED", "MODIFIED"):
                await self._take(lambda: book.put(item))
            elif what == "DELETED":
                await self._take(lambda: book.drop(item))

        followed = Followed(API_VERSION, "PolicyPack", namespace=scope, relist=self._relist)
        await follow(self._api, followed, listed=listed, happened=happened)

    async def _take(self, change: Callable[[], list[PackKey]]) -> None:
        async with self._turn:
            # Compiling Rego takes its time, and the loop has a Lease to renew.
            keys = await asyncio.to_thread(change)
            if keys:
                self._changed(keys)
            if self._reports is not None:
                await self._reports.tell(self._book)
