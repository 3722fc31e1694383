"""What is said about a PolicyPack: whether it can be judged by, and how many of its rules are law today."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from aboveboard.cluster.packs import HeldPack, PackKey
from aboveboard.cluster.status import Condition, merged


def pack_status(held: HeldPack, *, rival: PackKey | None, as_of: date, at: datetime) -> dict[str, Any]:
    """Return the status of a pack: digest, rules, and the condition `Ready` with its reason.

    `rival` is the pack of the policy namespace that already has its name.
    """
    metadata = held.document["metadata"]
    before = held.document.get("status") or {}
    generation = int(metadata.get("generation") or 0)
    status: dict[str, Any] = {"observedGeneration": generation, "digest": None, "rules": None, "inForce": None}
    if held.pack is None:
        problems = "; ".join(map(str, held.error.problems)) if held.error is not None else "it cannot be read"
        condition = Condition("Ready", False, "Invalid", f"it refuses what it selects: {problems}")
    else:
        rules = held.pack.manifest.rules
        in_force = sum(rule.in_force(as_of) for rule in rules)
        status |= {"digest": held.pack.digest, "rules": len(rules), "inForce": in_force}
        text = f"{in_force} of {len(rules)} rules are law on {as_of}"
        condition = Condition("Ready", True, "Valid", text)
        if rival is not None:
            text = f"{'/'.join(rival)} has this name and judges here, too: rename one; services here are refused"
            condition = Condition("Ready", False, "NameTaken", text)
    conditions = merged(before.get("conditions") or (), [condition], generation=generation, at=at)
    return {**status, "conditions": conditions}


def differs(status: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Tell whether a status has to be written."""
    return any(before.get(key) != value for key, value in status.items())
