"""Bringing one DecisionService to what it should be: judge, plan, apply, report. The handlers only call this."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aboveboard.clock import Clock
from aboveboard.cluster.admission import wish_of
from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.judgement import Judgement, Law, Verify, judge
from aboveboard.cluster.plan import Action, Change, Key, plan
from aboveboard.cluster.reconcile import desired_objects
from aboveboard.cluster.status import Condition, judged, merged, workload_conditions
from aboveboard.cluster.types import DecisionService, load_service
from aboveboard.cluster.workload import workload_reference
from aboveboard.errors import AboveboardError, SpecInvalid, StorageFailed

Report = Callable[[str, str, str], None]
"""Takes the type (`Normal`, `Warning`), reason and message of an event about the service."""


class Api(Protocol):
    """What is needed of the API server (see `kube.Cluster`)."""

    async def get(self, key: Key, namespace: str) -> dict[str, Any] | None:
        """Return an object or None."""

    async def apply(self, item: dict[str, Any], *, force: bool) -> dict[str, Any]:
        """Apply an object server-side."""

    async def delete(self, key: Key, namespace: str) -> None:
        """Delete an object."""

    async def patch_status(self, name: str, namespace: str, status: Mapping[str, Any]) -> None:
        """Write the status of a service."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one pass ended."""

    settled: bool
    """Whether nothing is left to wait for."""
    again: bool
    """Whether something failed that may go better next time."""
    changes: tuple[Change, ...]


class Controller:
    """Reconciles services, any number of them. It keeps nothing in memory that a restart would miss."""

    def __init__(self, api: Api, context: ReconcileContext, *, verify: Verify, law: Law, clock: Clock) -> None:
        self._api = api
        self.context = context
        self._verify = verify
        self._law = law
        self._clock = clock

    async def reconcile(self, document: Mapping[str, Any], report: Report) -> Outcome:
        """Bring one service to what its spec says, as far as everything about it holds; write its status.

        A release that does not hold changes nothing: what ran before goes on. Raises nothing of ours: what goes
        wrong is in the status, in an event and in the outcome.
        """
        document = {key: value for key, value in document.items() if key != "status"} | {
            "status": dict(document.get("status") or {})
        }
        status = document["status"]
        try:
            service = load_service(document)
        except AboveboardError as error:
            return await self._refuse(document, status, [], "InvalidSpec", error, report)
        judgement = await asyncio.to_thread(self._judge, service)
        found = judged(judgement)
        if not judgement.admitted:
            text = "; ".join(str(finding) for finding in judgement.refusals)
            return await self._refuse(document, status, found, "Refused", _Refused(text), report, service)
        try:
            desired = desired_objects(service, self.context)
            observed = await self._observe(service, desired, status)
            changes = plan(desired, observed.values(), owner=service.metadata.uid or "")
        except AboveboardError as error:
            return await self._refuse(document, status, found, _reason(error), error, report, service)
        inventory = list(dict.fromkeys([*(str(Key.of(item)) for item in desired), *_inventory(status)]))
        if changes and inventory != _inventory(status):
            # Written before anything is made: whatever happens next, nothing of ours is forgotten.
            await self._write(service.metadata.name, service.metadata.namespace, {"inventory": inventory}, report)
        failure: AboveboardError | None = None
        done: list[Change] = []
        for change in changes:
            try:
                await self._carry_out(change, service.metadata.namespace)
            except AboveboardError as error:
                failure = error
                report("Warning", "ApplyFailed", error.message)
                break
            done.append(change)
        if done:
            report("Normal", "Reconciled", ", ".join(f"{c.key.kind} {c.key.name} ({c.reason})" for c in done))
        return await self._conclude(service, status, found, desired, failure, tuple(done), report)

    async def remove(self, document: Mapping[str, Any]) -> None:
        """Delete what a service consists of, backwards: what scales it, what runs it, what leads to it.

        Journals stay: their claims are not ours to delete. Raises our errors; then nothing is forgotten and the
        finalizer stays.
        """
        metadata = document["metadata"]
        for text in reversed(_inventory(document.get("status") or {})):
            key = Key.parse(text)
            found = await self._api.get(key, metadata["namespace"])
            references = (found or {}).get("metadata", {}).get("ownerReferences") or ()
            if any(reference.get("uid") == metadata["uid"] for reference in references):
                await self._api.delete(key, metadata["namespace"])

    def _judge(self, service: DecisionService) -> Judgement:
        return judge(
            wish_of(service),
            verify=self._verify,
            law=self._law,
            as_of=self._clock().date(),
            regions=self.context.regions,
        )

    async def _observe(
        self, service: DecisionService, desired: Iterable[Mapping[str, Any]], status: Mapping[str, Any]
    ) -> dict[Key, dict[str, Any]]:
        keys = dict.fromkeys([*map(Key.of, desired), *map(Key.parse, _inventory(status))])
        found = {}
        for key in keys:
            item = await self._api.get(key, service.metadata.namespace)
            if item is not None:
                found[key] = {**item, "apiVersion": key.api_version, "kind": key.kind}
        return found

    async def _carry_out(self, change: Change, namespace: str) -> None:
        if change.action is Action.DELETE:
            await self._api.delete(change.key, namespace)
        elif change.item is not None:
            await self._api.apply(change.item, force=change.ours)

    async def _conclude(
        self,
        service: DecisionService,
        status: Mapping[str, Any],
        found: list[Condition],
        desired: list[dict[str, Any]],
        failure: AboveboardError | None,
        changes: tuple[Change, ...],
        report: Report,
    ) -> Outcome:
        reference = workload_reference(service)
        key = Key(reference["apiVersion"], reference["kind"], reference["name"])
        again = failure is not None
        try:
            workload = await self._api.get(key, service.metadata.namespace)
        except AboveboardError as error:
            failure, again, workload = error, True, None
        conditions = workload_conditions(workload, service.spec.scaling.min)
        if failure is not None:
            conditions[1] = Condition("Progressing", False, _reason(failure), failure.message)
        champion = service.spec.releases.champion
        before = status.get("champion")
        shares = ", ".join(f"{track} {share}%" for track, share in service.spec.releases.shares().items())
        new: dict[str, Any] = {
            "observedGeneration": service.metadata.generation,
            "champion": champion if not again else before,
            "shares": shares if not again else status.get("shares"),
            "previous": before if before not in (None, champion) and not again else status.get("previous"),
            "objects": len(desired),
            "readyReplicas": int(((workload or {}).get("status") or {}).get("readyReplicas") or 0),
        }
        if not again:
            new["inventory"] = [str(Key.of(item)) for item in desired]
        await self._say(service.metadata.name, service.metadata.namespace, status, new, [*found, *conditions], report)
        settled = not again and conditions[0].holds is True and conditions[1].holds is False
        return Outcome(settled, again, changes)

    async def _refuse(
        self,
        document: Mapping[str, Any],
        status: Mapping[str, Any],
        found: list[Condition],
        reason: str,
        error: AboveboardError,
        report: Report,
        service: DecisionService | None = None,
    ) -> Outcome:
        """Report what does not hold; what runs is left as it is."""
        metadata = document["metadata"]
        problems = "; ".join(map(str, error.problems)) if isinstance(error, SpecInvalid) else ""
        message = ": ".join(part for part in (error.message, problems) if part)
        message += f" ({error.hint})" if error.hint else ""
        again = isinstance(error, StorageFailed)
        ready = Condition("Ready", False, reason, message)
        if service is not None and _inventory(status):
            reference = workload_reference(service)
            key = Key(reference["apiVersion"], reference["kind"], reference["name"])
            try:
                workload = await self._api.get(key, metadata["namespace"])
            except AboveboardError:
                workload, again = None, True
            ready = workload_conditions(workload, service.spec.scaling.min)[0]
        conditions = [*found, ready, Condition("Progressing", False, reason, message)]
        old = {condition.get("type"): condition.get("message") for condition in status.get("conditions") or ()}
        if old.get("Progressing") != message:
            report("Warning", reason, message)
        new = {"observedGeneration": int(metadata.get("generation") or 0)}
        await self._say(metadata["name"], metadata["namespace"], status, new, conditions, report)
        return Outcome(False, again, ())

    async def _say(
        self,
        name: str,
        namespace: str,
        before: Mapping[str, Any],
        new: Mapping[str, Any],
        conditions: list[Condition],
        report: Report,
    ) -> None:
        written = merged(
            before.get("conditions") or (),
            conditions,
            generation=int(new["observedGeneration"]),
            at=self._clock(),
        )
        status = {key: value for key, value in new.items() if value is not None} | {"conditions": written}
        if any(before.get(key) != value for key, value in status.items()):
            await self._write(name, namespace, status, report)

    async def _write(self, name: str, namespace: str, status: Mapping[str, Any], report: Report) -> None:
        try:
            await self._api.patch_status(name, namespace, status)
        except AboveboardError as error:
            report("Warning", "StatusNotWritten", error.message)


class _Refused(AboveboardError):
    """What was judged and does not hold."""

    code = "refused"


def _inventory(status: Mapping[str, Any]) -> list[str]:
    return [str(text) for text in status.get("inventory") or ()]


def _reason(error: AboveboardError) -> str:
    """Return an error's code as a condition's reason: `storage-failed` becomes `StorageFailed`."""
    return "".join(part.capitalize() for part in error.code.split("-"))
