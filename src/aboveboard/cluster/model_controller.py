"""Bringing a Model to what it asks for: validate, make what its pipeline consists of, say how its last run went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from aboveboard.clock import Clock
from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.model_run import pipeline_objects, read_model
from aboveboard.cluster.pack_status import differs
from aboveboard.cluster.plan import Action, Key, plan
from aboveboard.cluster.status import Condition, merged
from aboveboard.errors import AboveboardError, SpecInvalid

_LONGEST_MESSAGE = 2000


class ModelApi(Protocol):
    """What is needed of the API server (see `kube.Cluster`)."""

    async def get(self, key: Key, namespace: str) -> dict[str, Any] | None:
        """Return an object or None."""

    async def apply(self, item: dict[str, Any], *, force: bool) -> dict[str, Any]:
        """Apply an object server-side."""

    async def delete(self, key: Key, namespace: str) -> None:
        """Delete an object."""

    async def patch_status(
        self, name: str, namespace: str, status: Mapping[str, Any], *, kind: str = "DecisionService"
    ) -> None:
        """Write the status of a resource."""


class ModelController:
    """Reconciles Models. It keeps nothing in memory."""

    def __init__(self, api: ModelApi, context: ReconcileContext, *, clock: Clock) -> None:
        self._api = api
        self._context = context
        self._clock = clock

    async def reconcile(
        self, resource: Mapping[str, Any], jobs: Iterable[Mapping[str, Any]]
    ) -> tuple[str, str] | None:
        """Bring one Model to what it says; return the condition that changed and its message, if one did.

        `jobs` are those that belong to it. Raises our errors when the API server does not take something; it is
        tried again. A Model that is not valid changes nothing that runs.
        """
        metadata = resource["metadata"]
        generation = int(metadata.get("generation") or 0)
        before = resource.get("status") or {}
        last = last_run(jobs)
        try:
            model = read_model(resource, regions=self._context.regions)
        except SpecInvalid as error:
            text = "; ".join(map(str, error.problems))[:_LONGEST_MESSAGE]
            valid = Condition("Valid", False, "Invalid", text)
        else:
            valid = Condition("Valid", True, "Valid", f"{model.spec.metadata.name} says what it must")
            desired = pipeline_objects(model, image=self._context.image)
            await self._bring(desired, metadata)
        conditions = merged(
            before.get("conditions") or (), [valid, run_condition(last)], generation=generation, at=self._clock()
        )
        status = {"observedGeneration": generation, "conditions": conditions, "lastRun": last}
        if differs(status, before):
            await self._api.patch_status(metadata["name"], metadata["namespace"], status, kind="Model")
        old = {condition.get("type"): condition for condition in before.get("conditions") or ()}
        for new in conditions:
            if new["reason"] not in ("NotAsked", old.get(new["type"], {}).get("reason")):
                return str(new["reason"]), str(new["message"])
        return None

    async def _bring(self, desired: list[dict[str, Any]], metadata: Mapping[str, Any]) -> None:
        namespace, name = metadata["namespace"], metadata["name"]
        cron = Key("batch/v1", "CronJob", name)
        keys = dict.fromkeys([*map(Key.of, desired), cron])
        observed = []
        for key in keys:
            found = await self._api.get(key, namespace)
            if found is not None:
                observed.append({**found, "apiVersion": key.api_version, "kind": key.kind})
        # A Job that is there is as it was asked for: what it runs cannot change any more.
        there = {Key.of(item) for item in observed if item["kind"] == "Job"}
        wanted = [item for item in desired if Key.of(item) not in there]
        kept = [item for item in observed if Key.of(item) not in there]
        for change in plan(wanted, kept, owner=str(metadata.get("uid") or "")):
            if change.action is Action.DELETE:
                await self._api.delete(change.key, namespace)
            elif change.item is not None:
                await self._api.apply(change.item, force=change.ours)


def last_run(jobs: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return how the Job made last stands."""
    made = sorted(jobs, key=lambda job: (str(job["metadata"].get("creationTimestamp")), job["metadata"]["name"]))
    if not made:
        return None
    job = made[-1]
    status = job.get("status") or {}
    met = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    phase, message, ended = "Waiting", "", None
    if "Complete" in met:
        phase, ended = "Succeeded", status.get("completionTime") or met["Complete"].get("lastTransitionTime")
    elif "Failed" in met:
        phase, ended = "Failed", met["Failed"].get("lastTransitionTime")
        message = f"{met['Failed'].get('reason', '')}: {met['Failed'].get('message', '')}"[:_LONGEST_MESSAGE]
    elif status.get("active"):
        phase = "Running"
    found = {"job": job["metadata"]["name"], "phase": phase, "started": status.get("startTime")}
    found |= {"ended": ended, "message": message or None}
    return {key: value for key, value in found.items() if value is not None}


def run_condition(last: Mapping[str, Any] | None) -> Condition:
    """Return the condition `RunSucceeded`."""
    if last is None:
        return Condition("RunSucceeded", None, "NotAsked", "spec.pipeline asks for no run")
    holds = {"Succeeded": True, "Failed": False}.get(last["phase"])
    see = f"kubectl logs job/{last['job']}"
    return Condition("RunSucceeded", holds, last["phase"], f"{last.get('message', last['phase'])} (see: {see})")


async def attempt(
    controller: ModelController, resource: Mapping[str, Any], jobs: Iterable[Mapping[str, Any]]
) -> tuple[str, str, str] | None:
    """Reconcile, and return type, reason and message of the event there is to post, if there is one."""
    try:
        changed = await controller.reconcile(resource, jobs)
    except AboveboardError as error:
        return "Warning", "ApplyFailed", error.message
    if changed is None:
        return None
    reason, message = changed
    return "Warning" if reason in ("Invalid", "Failed") else "Normal", reason, message
