"""Bringing a Model to what it asks for: validate, make what its pipeline consists of, say how its last run went.

A run that was asked for is started once. Its Job goes some time after it ended: by its time to live, by the limits on
how many are kept, or by hand; the status remembers that it was started, and how it went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from aboveboard.clock import Clock
from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.model_run import ModelResource, pipeline_objects, read_model
from aboveboard.cluster.pack_status import differs
from aboveboard.cluster.plan import Action, Key, plan
from aboveboard.cluster.status import Condition, merged
from aboveboard.cluster.types import API_VERSION
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
        seen = resource["metadata"]
        # As it is now: the watch may be behind what was written, and nothing is started twice because of that.
        found = await self._api.get(Key(API_VERSION, "Model", seen["name"]), seen["namespace"])
        if found is None or found["metadata"]["uid"] != seen["uid"] or found["metadata"].get("deletionTimestamp"):
            return None
        resource = {**found, "apiVersion": API_VERSION, "kind": "Model"}
        metadata = resource["metadata"]
        generation = int(metadata.get("generation") or 0)
        before = resource.get("status") or {}
        jobs = list(jobs)
        last = last_run(jobs, before.get("lastRun"))
        started = before.get("startedRun")
        old: Sequence[Mapping[str, Any]] = ()
        try:
            model = read_model(resource, regions=self._context.regions)
        except SpecInvalid as error:
            text = "; ".join(map(str, error.problems))[:_LONGEST_MESSAGE]
            valid = Condition("Valid", False, "Invalid", text)
        else:
            valid = Condition("Valid", True, "Valid", f"{model.spec.metadata.name} says what it must")
            here = self._context
            desired = pipeline_objects(model, image=here.image, registry_secret=here.registry_secret)
            started = await self._bring(desired, metadata, started)
            old = superfluous(jobs, model)
        conditions = merged(
            before.get("conditions") or (), [valid, run_condition(last)], generation=generation, at=self._clock()
        )
        status = {"observedGeneration": generation, "conditions": conditions, "lastRun": last, "startedRun": started}
        if differs(status, before):
            await self._api.patch_status(metadata["name"], metadata["namespace"], status, kind="Model")
        for job in old:  # only now: what there was to say of them is written
            await self._api.delete(Key("batch/v1", "Job", job["metadata"]["name"]), metadata["namespace"])
        known = {condition.get("type"): condition for condition in before.get("conditions") or ()}
        for new in conditions:
            if new["reason"] not in ("NotAsked", known.get(new["type"], {}).get("reason")):
                return str(new["reason"]), str(new["message"])
        return None

    async def _bring(
        self, desired: list[dict[str, Any]], metadata: Mapping[str, Any], started: str | None
    ) -> str | None:
        """Make what is missing or different; return the Job of the run asked for last."""
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
        asked = next((item["metadata"]["name"] for item in desired if item["kind"] == "Job"), None)
        missing = asked is not None and Key("batch/v1", "Job", asked) not in there
        over = missing and started == asked
        wanted = [item for item in desired if Key.of(item) not in there and not (over and item["kind"] == "Job")]
        kept = [item for item in observed if Key.of(item) not in there]
        for change in plan(wanted, kept, owner=str(metadata.get("uid") or "")):
            if change.action is Action.DELETE:
                await self._api.delete(change.key, namespace)
            elif change.item is not None:
                await self._api.apply(change.item, force=change.ours)
        return asked or started


def last_run(jobs: Iterable[Mapping[str, Any]], before: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return how the Job made last stands, or stood when it was last seen: `before`, if nothing began since."""
    made = sorted(jobs, key=lambda job: (str(job["metadata"].get("creationTimestamp")), job["metadata"]["name"]))
    if before is not None and before["job"] not in {job["metadata"]["name"] for job in made}:
        begun = str(before.get("started", ""))
        if not made or str(made[-1]["metadata"].get("creationTimestamp")) < begun:
            over = before["phase"] in ("Succeeded", "Failed")
            return (
                dict(before)
                if over
                else {**before, "phase": "Failed", "message": "its Job was removed before it ended"}
            )
    if not made:
        return None
    job = made[-1]
    status = job.get("status") or {}
    met = _met(job)
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


def superfluous(jobs: Iterable[Mapping[str, Any]], model: ModelResource) -> list[Mapping[str, Any]]:
    """Return the Jobs that have ended and are more than are kept, the oldest first.

    Only those of runs that were asked for: those of the schedule are the CronJob's.
    """
    if model.pipeline is None:
        return []
    gone: list[Mapping[str, Any]] = []
    for phase, limit in (
        ("Complete", model.pipeline.successful_runs_history_limit),
        ("Failed", model.pipeline.failed_runs_history_limit),
    ):
        ended = sorted(
            (str(_met(job)[phase].get("lastTransitionTime")), job["metadata"]["name"], job)
            for job in jobs
            if phase in _met(job)
            and not job["metadata"].get("deletionTimestamp")
            and any(
                r.get("controller") and r.get("kind") == "Model" for r in job["metadata"].get("ownerReferences") or ()
            )
        )
        gone += [job for _, _, job in ended[: max(0, len(ended) - limit)]]
    return gone


def _met(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the conditions of a Job that are true."""
    found = (job.get("status") or {}).get("conditions") or ()
    return {condition["type"]: condition for condition in found if condition.get("status") == "True"}


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
