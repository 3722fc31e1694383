"""What has to change so that the cluster holds what it should. Pure: desired and observed objects in, changes out."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from aboveboard.canonical import canonical_json
from aboveboard.cluster.types import GROUP
from aboveboard.errors import Conflict
from aboveboard.ids import sha256_digest

APPLIED = f"{GROUP}/applied"
"""The annotation that says which form of an object was applied last: what was removed since is noticed by it."""
SHARED_WITH = f"{GROUP}/shared-with"
"""The annotation of objects in which a roll-out controller owns weights and selectors."""
ROLLOUT_HASH = "rollouts-pod-template-hash"
AUTOSCALERS = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})
"""Of these only one may be there at a time: KEDA's admission refuses what another autoscaler scales already."""

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", re.ASCII)
_FACTORS: dict[str | None, Decimal] = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T"), 1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """An object of one namespace, by kind and name."""

    api_version: str
    kind: str
    name: str

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Key:
        """Return the key of an object."""
        return cls(item["apiVersion"], item["kind"], item["metadata"]["name"])

    @classmethod
    def parse(cls, text: str) -> Key:
        """Return the key that `str` wrote."""
        api_version, kind, name = text.rsplit("/", 2)
        return cls(api_version, kind, name)

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}/{self.name}"


class Action(StrEnum):
    """What is done to an object."""

    APPLY = "apply"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do."""

    action: Action
    key: Key
    reason: str
    """`missing`, `changed`, `drifted` or `no longer wanted`."""
    item: dict[str, Any] | None = None
    """What to apply."""
    ours: bool = True
    """Whether the object is known to be ours; only then are other managers overruled."""


def plan(desired: Sequence[dict[str, Any]], observed: Iterable[Mapping[str, Any]], *, owner: str) -> list[Change]:
    """Return the changes that make `observed` what is `desired`: applications in order, then deletions backwards.

    An autoscaler that gives way to one of another kind goes first; until the other is there the pods stay as many.
    `observed` may lack anything. `owner` is the uid of the service; of objects that something else controls, those
    desired raise `Conflict`, and those no longer wanted are left alone.
    """
    there = {Key.of(item): item for item in observed}
    changes: list[Change] = []
    for item in desired:
        key = Key.of(item)
        found = there.get(key)
        if found is not None and (other := _controller(found)) not in (None, owner):
            raise Conflict(
                f"{key.kind} {key.name} exists and belongs to something else",
                hint="rename the service, or remove that object",
                controller=other,
            )
        # The stamp is of what is desired by itself: a weight that moves is no change of ours.
        wanted = yielding(stamped(item), found)
        reason = _difference(wanted, found)
        if reason is not None:
            changes.append(Change(Action.APPLY, key, reason, wanted, ours=found is None or is_ours(found, owner)))
    kept = {Key.of(item) for item in desired}
    gone = [key for key, item in there.items() if key not in kept and is_ours(item, owner)]
    deletions = [Change(Action.DELETE, key, "no longer wanted") for key in reversed(gone)]
    first = [change for change in deletions if change.key.kind in AUTOSCALERS]
    return [*first, *changes, *(change for change in deletions if change not in first)]


def is_ours(item: Mapping[str, Any], owner: str) -> bool:
    """Tell whether an object is controlled by the service with this uid."""
    return _controller(item) == owner


def stamped(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object with the annotation that says which form of it this is."""
    metadata = item["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED: sha256_digest(canonical_json(item))}
    return {**item, "metadata": {**metadata, "annotations": annotations}}


def yielding(item: dict[str, Any], found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an object as desired, with what a roll-out controller set in it left as it is found."""
    if found is None or SHARED_WITH not in item["metadata"].get("annotations", {}):
        return item
    result = copy.deepcopy(item)
    selector = result["spec"].get("selector")
    hashed = (found.get("spec", {}).get("selector") or {}).get(ROLLOUT_HASH)
    if isinstance(selector, dict) and hashed is not None:
        selector[ROLLOUT_HASH] = hashed
    for routes, backends in (("http", "route"), ("rules", "backendRefs")):
        for mine, theirs in zip(
            result["spec"].get(routes, ()), found.get("spec", {}).get(routes) or (), strict=False
        ):
            for backend, other in zip(mine.get(backends, ()), theirs.get(backends) or (), strict=False):
                if "weight" in other:
                    backend["weight"] = other["weight"]
    return result


def contains(found: Any, wanted: Any) -> bool:
    """Tell whether everything that is wanted is found; defaults and other managers' fields may be there, too."""
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return not wanted and found is None
        return all(contains(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return not wanted and found is None
        return len(found) == len(wanted) and all(map(contains, found, wanted))
    return bool(found == wanted) or _same_quantity(found, wanted)


def _difference(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> str | None:
    if found is None:
        return "missing"
    annotations = found["metadata"].get("annotations") or {}
    if annotations.get(APPLIED) != wanted["metadata"]["annotations"][APPLIED]:
        return "changed"
    return None if contains(found, wanted) else "drifted"


def _controller(item: Mapping[str, Any]) -> str | None:
    references = item["metadata"].get("ownerReferences") or ()
    return next((reference["uid"] for reference in references if reference.get("controller")), None)


def _same_quantity(one: Any, other: Any) -> bool:
    """Tell whether two texts are one Kubernetes quantity: the API server writes `1024Mi` back as `1Gi`."""
    first, second = (_QUANTITY.fullmatch(text) if isinstance(text, str) else None for text in (one, other))
    if first is None or second is None:
        return False
    return bool(Decimal(first[1]) * _FACTORS[first[2]] == Decimal(second[1]) * _FACTORS[second[2]])
