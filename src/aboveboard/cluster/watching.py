"""Following every object of a kind: listed once, then watched, and listed again now and then.

The list again is what makes it safe: a watch whose connection died without a word ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aboveboard.errors import AboveboardError, NotFound

NOT_INSTALLED_SECONDS = 300.0
"""Until it is asked again whether a kind has been installed."""

_log = logging.getLogger("aboveboard.cluster")


class WatchApi(Protocol):
    """What is needed of the API server (see `kube.Cluster`)."""

    async def listed(
        self, api_version: str, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> tuple[list[dict[str, Any]], str]:
        """Return all objects of a kind and the version of the list."""

    def watched(
        self,
        api_version: str,
        kind: str,
        version: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what happens to them from then on."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Which objects are followed."""

    api_version: str
    kind: str
    namespace: str | None = None
    labels: Mapping[str, str] | None = None
    relist: float = 600
    """Seconds between two lists."""
    retry: float = 1
    """Seconds until the first new attempt after a failure; doubled each time, up to a minute."""


async def follow(
    api: WatchApi,
    followed: Followed,
    *,
    listed: Callable[[Sequence[dict[str, Any]]], Awaitable[None]],
    happened: Callable[[str, dict[str, Any]], Awaitable[None]],
) -> None:
    """Tell of every object of a kind, for ever. Each list is everything there is; events are about one object."""
    failures = 0
    where: dict[str, Any] = {"namespace": followed.namespace, "labels": followed.labels}
    while True:
        try:
            items, version = await api.listed(followed.api_version, followed.kind, **where)
            await listed(items)
            failures = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(followed.relist):
                    events = api.watched(followed.api_version, followed.kind, version, **where)
                    async with contextlib.aclosing(events):  # type: ignore[type-var]
                        async for kind, item in events:
                            await happened(kind, item)
        except NotFound:
            await asyncio.sleep(NOT_INSTALLED_SECONDS)
        except AboveboardError as error:
            failures += 1
            _log.warning("following %s: %s", followed.kind, error.message)
            await asyncio.sleep(min(followed.retry * 2 ** min(failures - 1, 10), 60))
