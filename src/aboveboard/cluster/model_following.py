"""Following Models and the Jobs they became: whatever happens to either, the Model is looked at."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aboveboard.cluster.model_controller import ModelController, attempt
from aboveboard.cluster.owned import LABELS
from aboveboard.cluster.types import API_VERSION
from aboveboard.cluster.watching import Followed, WatchApi, follow

ModelKey = tuple[str, str]
"""Namespace and name."""

RELIST_SECONDS = 300.0
"""Between two lists of Models: what failed is tried again by then, and what was changed by hand put right."""


class ModelFollowing:
    """Reconciles every Model when it or a Job of it changes, and now and then."""

    def __init__(
        self,
        api: WatchApi,
        controller: ModelController,
        *,
        about: Callable[[Mapping[str, Any]], Callable[[str, str, str], None]],
        namespace: str | None = None,
        relist: float = RELIST_SECONDS,
    ) -> None:
        self._api = api
        self._controller = controller
        self._about = about
        self._namespace = namespace
        self._relist = relist
        self._models: dict[ModelKey, dict[str, Any]] = {}
        self._jobs: dict[ModelKey, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._jobs_known = asyncio.Event()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Follow for ever."""
        models = Followed(API_VERSION, "Model", namespace=self._namespace, relist=self._relist)
        jobs = Followed("batch/v1", "Job", namespace=self._namespace, labels=LABELS)
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._api, jobs, listed=self._jobs_listed, happened=self._job_happened))
            group.create_task(follow(self._api, models, listed=self._listed, happened=self._happened))

    async def _listed(self, items: Sequence[dict[str, Any]]) -> None:
        self._models = {_key(item): item for item in items}
        for key in list(self._models):
            await self._look(key)

    async def _happened(self, what: str, item: dict[str, Any]) -> None:
        key = _key(item)
        if what == "DELETED":
            self._models.pop(key, None)
        elif what in ("ADDED", "MODIFIED"):
            self._models[key] = item
            await self._look(key)

    async def _jobs_listed(self, items: Sequence[dict[str, Any]]) -> None:
        before, self._jobs = self._jobs, defaultdict(dict)
        for item in items:
            if (owner := _model_of(item)) is not None:
                self._jobs[owner][item["metadata"]["uid"]] = item
        self._jobs_known.set()
        for key in {**before, **self._jobs}:
            if before.get(key) != self._jobs.get(key):
                await self._look(key)

    async def _job_happened(self, what: str, item: dict[str, Any]) -> None:
        owner = _model_of(item)
        if owner is None:
            return
        if what == "DELETED":
            self._jobs[owner].pop(item["metadata"]["uid"], None)
        elif what in ("ADDED", "MODIFIED"):
            self._jobs[owner][item["metadata"]["uid"]] = item
        await self._look(owner)

    async def _look(self, key: ModelKey) -> None:
        await self._jobs_known.wait()
        async with self._turn:
            model = self._models.get(key)
            if model is None or model["metadata"].get("deletionTimestamp"):
                return
            event = await attempt(self._controller, model, self._jobs.get(key, {}).values())
            if event is not None:
                self._about({**model, "apiVersion": API_VERSION, "kind": "Model"})(*event)


def _key(item: Mapping[str, Any]) -> ModelKey:
    return str(item["metadata"]["namespace"]), str(item["metadata"]["name"])


def _model_of(job: Mapping[str, Any]) -> ModelKey | None:
    """Return the Model a Job belongs to: its owner, or the owner's owner, a CronJob that has the Model's name."""
    metadata = job["metadata"]
    labels = metadata.get("labels") or {}
    name = str(labels.get("app.kubernetes.io/instance", ""))
    if labels.get("app.kubernetes.io/name") != "model-run":
        return None
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller") and (reference.get("kind"), reference.get("name")) in (
            ("Model", name),
            ("CronJob", name),
        ):
            return str(metadata["namespace"]), name
    return None
