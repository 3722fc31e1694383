"""Events of Kubernetes (core/v1) about our resources: what `kubectl describe` shows below the status."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError

REPORTER = "aboveboard-operator"
_LONGEST_MESSAGE = 1000
_log = logging.getLogger("aboveboard.cluster")


class EventApi(Protocol):
    """What is needed of the API server (see `kube.Cluster`)."""

    async def create(self, item: dict[str, Any]) -> dict[str, Any]:
        """Create the event."""


class Happenings:
    """Posts events in the background: that one cannot be posted stops nothing."""

    def __init__(self, api: EventApi, *, clock: Clock, instance: str) -> None:
        self._api = api
        self._clock = clock
        self._instance = instance
        self._tasks: set[asyncio.Task[None]] = set()

    def about(self, resource: Mapping[str, Any]) -> Callable[[str, str, str], None]:
        """Return what takes the type (`Normal`, `Warning`), reason and message of an event about a resource."""

        def report(kind: str, reason: str, message: str) -> None:
            task = asyncio.create_task(self._post(self._event(resource, kind, reason, message)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return report

    async def posted(self) -> None:
        """Wait until everything said has been posted."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _post(self, event: dict[str, Any]) -> None:
        try:
            await self._api.create(event)
        except AboveboardError as error:
            _log.warning("an event was not posted: %s", error.message)

    def _event(self, resource: Mapping[str, Any], kind: str, reason: str, message: str) -> dict[str, Any]:
        metadata = resource["metadata"]
        moment = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{secrets.token_hex(8)}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": resource["apiVersion"],
                "kind": resource["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message[:_LONGEST_MESSAGE],
            "count": 1,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "source": {"component": REPORTER},
            "reportingComponent": REPORTER,
            "reportingInstance": self._instance[:128],
        }
