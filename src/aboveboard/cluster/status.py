"""What is said about a DecisionService: conditions after the conventions of the Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aboveboard.clock import timestamp
from aboveboard.cluster.judgement import FLOWS, JURISDICTION, MODEL, POLICY, RESIDENCY, VERIFIED, Judgement

_MESSAGE_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that holds, does not, or is not known."""

    type: str
    holds: bool | None
    reason: str
    message: str = ""


def judged(judgement: Judgement) -> list[Condition]:
    """Return the conditions that say what was found about the releases."""
    return [
        _condition("ReleaseVerified", judgement, (VERIFIED, MODEL), "Verified", "NotVerified"),
        _condition("PolicyVerdict", judgement, (POLICY,), "Passed", "Refused"),
        _condition("ResidencyHolds", judgement, (RESIDENCY, JURISDICTION, FLOWS), "Held", "Violated"),
    ]


def _condition(kind: str, judgement: Judgement, rules: Sequence[str], good: str, bad: str) -> Condition:
    found = [finding for rule in rules for finding in judgement.of(rule)]
    if not found:
        return Condition(kind, None, "NotLookedAt", "what comes before it does not hold")
    wrong = [finding for finding in found if not finding.held]
    text = "; ".join(str(finding) for finding in wrong or found)
    return Condition(kind, not wrong, bad if wrong else good, text)


def workload_conditions(workload: Mapping[str, Any] | None, minimum: int) -> list[Condition]:
    """Return whether the pods of the present form are ready, from the workload's own status."""
    if workload is None:
        return [
            Condition("Ready", False, "NoWorkload", "there is no workload yet"),
            Condition("Progressing", True, "Starting", "the workload is being made"),
        ]
    status = workload.get("status") or {}
    ready = int(status.get("readyReplicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    wanted = max(minimum, int(status.get("replicas") or 0))
    # Argo Rollouts writes its observedGeneration as text.
    seen = int(status.get("observedGeneration") or 0) >= int(workload["metadata"].get("generation") or 0)
    done = seen and ready >= wanted and updated >= wanted
    count = f"{ready} of {wanted} pods are ready, {updated} in the present form"
    return [
        Condition("Ready", seen and ready > 0 and (done or ready >= minimum), "Serving" if ready else "NoPod", count),
        Condition("Progressing", not done, "Settled" if done else "RollingOut", count),
    ]


def merged(
    before: Iterable[Mapping[str, Any]], conditions: Iterable[Condition], *, generation: int, at: datetime
) -> list[dict[str, Any]]:
    """Return the conditions to be written: the moment of a transition stays where the answer stayed."""
    known = {condition.get("type"): condition for condition in before}
    result = []
    for condition in conditions:
        status = {True: "True", False: "False", None: "Unknown"}[condition.holds]
        old = known.get(condition.type, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        result.append(
            {
                "type": condition.type,
                "status": status,
                "reason": condition.reason,
                "message": condition.message[:_MESSAGE_LIMIT],
                "observedGeneration": generation,
                "lastTransitionTime": since or timestamp(at),
            }
        )
    return result
