"""The policy packs of the cluster: which are valid, and which judge a namespace. No I/O; `watching` brings them.

A pack in the policy namespace judges every namespace, or those it names; a pack elsewhere judges its own. It speaks
where its jurisdiction is asked about; the jurisdiction `house` always is. What selects a service and is not valid
refuses it, as the gate does with a pack that does not compile: nobody can say what it demands.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from aboveboard.canonical import canonical_json
from aboveboard.cluster.judging import Overran
from aboveboard.cluster.types import PolicyPackSpec
from aboveboard.errors import AboveboardError, GateRefused, Problem, SpecInvalid, StorageFailed
from aboveboard.ids import sha256_digest
from aboveboard.policy import PolicyPack, built_in_packs
from aboveboard.policy.pack import HOUSE, assemble_pack
from aboveboard.policy.rehearsal import PackTest, rehearse

PackKey = tuple[str, str]
"""Namespace and name."""
Rehearse = Callable[[PolicyPack, Sequence[PackTest]], list[Problem]]
"""Returns why a pack cannot be relied on, or raises `Overran` (`judging.JudgingProcess.rehearse`)."""


def read_pack(document: Mapping[str, Any], *, rehearse: Rehearse = rehearse) -> PolicyPack:
    """Return the pack of a PolicyPack resource, after it compiled and its tests came out as stated.

    Raises `SpecInvalid` with every problem, and `Overran` where that did not come to an end.
    """
    name = str(document.get("metadata", {}).get("name", ""))
    where = f"PolicyPack {name}"
    hint = "see docs/how-to/write-a-policy-pack.md"
    try:
        # As JSON: dates are text there, which the strict types accept from nothing else.
        spec = PolicyPackSpec.model_validate_json(json.dumps(document.get("spec")), by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [
            Problem(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "), file=where)
            for e in error.errors()
        ]
        raise SpecInvalid(f"{where}: not a valid policy pack", problems, hint=hint) from error
    manifest = spec.manifest
    problems = [
        Problem(f"manifest.rules: {rule.id}", "does not say from when it is law", "add effective_from", where)
        for rule in manifest.rules
        if rule.effective_from is None
    ]
    if manifest.name != name:
        problems.append(Problem("manifest.name", f"{manifest.name!r} is not the name of the resource", "", where))
    if manifest.name in built_in_packs():
        problems.append(Problem("manifest.name", f"{manifest.name!r} comes with Aboveboard", "take another", where))
    judging = {"manifest": manifest.model_dump(mode="json"), "modules": spec.modules}
    try:
        pack = assemble_pack(manifest, spec.modules, sha256_digest(canonical_json(judging)), where=where)
    except SpecInvalid as error:
        raise SpecInvalid(error.message, [*problems, *error.problems], hint=hint) from error
    problems += rehearse(pack, spec.tests)
    if problems:
        raise SpecInvalid(f"{where}: not a valid policy pack", problems, hint=hint)
    return pack


@dataclass(frozen=True, slots=True)
class HeldPack:
    """A PolicyPack as it was read."""

    key: PackKey
    document: Mapping[str, Any]
    pack: PolicyPack | None
    error: SpecInvalid | None

    @property
    def jurisdiction(self) -> str | None:
        """Whose law it states; None where even that cannot be read."""
        found = _at(self.document, "spec", "manifest", "jurisdiction")
        return found if isinstance(found, str) else None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Which namespaces it says it judges."""
        found = _at(self.document, "spec", "namespaces")
        return tuple(map(str, found)) if isinstance(found, list) else ()


@dataclass(frozen=True, slots=True)
class Selected:
    """The packs that judge in a namespace."""

    general: tuple[PolicyPack, ...]
    """Of the policy namespace: these may stand for a jurisdiction that no built-in pack covers."""
    local: tuple[PolicyPack, ...]
    """Of the namespace itself: these only add demands."""


@dataclass(slots=True)
class PackBook:
    """Every PolicyPack of the cluster, as it was last read. Written by one task, read by any thread."""

    policy_namespace: str
    timer: Callable[[], float]
    scopes: tuple[str | None, ...] = (None,)
    """Which namespaces are listed, each by itself; None is all of them at once."""
    lasts: float = 300
    """Seconds for which what was read last is believed; then nothing is judged."""
    rehearse: Rehearse = rehearse
    _packs: dict[PackKey, HeldPack] = field(default_factory=dict)
    _read: dict[str, PolicyPack | SpecInvalid] = field(default_factory=dict)
    _confirmed: dict[str | None, float] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def replace(self, documents: Iterable[Mapping[str, Any]], scope: str | None = None) -> list[PackKey]:
        """Take the whole list of a scope as its present state; return the packs that came, went or changed."""
        others = {key: held for key, held in self._packs.items() if scope is not None and key[0] != scope}
        new = others | {held.key: held for held in map(self._hold, documents)}
        old, self._packs = self._packs, new
        self._confirmed[scope] = self.timer()
        kept = {_fingerprint(held.document) for held in new.values()}
        self._read = {digest: found for digest, found in self._read.items() if digest in kept}
        return [key for key in {**old, **new} if _spec(old.get(key)) != _spec(new.get(key))]

    def put(self, document: Mapping[str, Any]) -> list[PackKey]:
        """Take one pack that is new or changed; return its key if its spec is another one now."""
        held = self._hold(document)
        before = self._packs.get(held.key)
        self._packs = {**self._packs, held.key: held}
        return [held.key] if _spec(before) != _spec(held) else []

    def drop(self, document: Mapping[str, Any]) -> list[PackKey]:
        """Forget a pack that is gone."""
        key = _key(document)
        known = key in self._packs
        self._packs = {other: held for other, held in self._packs.items() if other != key}
        return [key] if known else []

    def all(self) -> list[HeldPack]:
        """Return every pack, in the order of their keys."""
        return [held for _, held in sorted(self._packs.items())]

    def rival(self, held: HeldPack) -> PackKey | None:
        """Return the pack of the policy namespace that has the name of this one and judges the same namespace."""
        general = self._packs.get((self.policy_namespace, held.key[1]))
        if held.key[0] == self.policy_namespace or general is None:
            return None
        return general.key if not general.namespaces or held.key[0] in general.namespaces else None

    def readable(self) -> bool:
        """Tell whether the packs are known as they are now, or were a short time ago."""
        now = self.timer()
        return all(now - self._confirmed.get(scope, float("-inf")) <= self.lasts for scope in self.scopes)

    def select(self, namespace: str, jurisdictions: Sequence[str]) -> Selected:
        """Return the packs that judge releases under some jurisdictions in a namespace.

        Raises `StorageFailed` while the packs cannot be read, and `GateRefused` when one of them is not valid.
        """
        if not self.readable():
            raise StorageFailed(
                "the cluster's policy packs cannot be read, so nobody knows what they demand",
                hint="look at the log of this process, and at its right to list policypacks",
            )
        asked = {*jurisdictions, HOUSE}
        chosen = [
            held
            for held in self.all()
            if (held.key[0] == namespace or (held.key[0] == self.policy_namespace and self._names(held, namespace)))
            and held.jurisdiction in (None, *asked)
        ]
        for held in chosen:
            if held.error is not None:
                raise GateRefused(
                    f"policy pack {'/'.join(held.key)} is not valid: {held.error.problems[0]}",
                    hint=f"kubectl describe policypack -n {held.key[0]} {held.key[1]}",
                )
        packs = [(held.key[0] == self.policy_namespace, held.pack) for held in chosen if held.pack is not None]
        return Selected(
            tuple(pack for general, pack in packs if general), tuple(pack for general, pack in packs if not general)
        )

    def _names(self, held: HeldPack, namespace: str) -> bool:
        return not held.namespaces or namespace in held.namespaces

    def _hold(self, document: Mapping[str, Any]) -> HeldPack:
        digest = _fingerprint(document)
        with self._turn:
            found = self._read.get(digest)
        if found is None:
            try:
                found = read_pack(document, rehearse=self.rehearse)
            except SpecInvalid as error:
                found = error
            except Overran as error:  # tried again with the next list
                invalid = SpecInvalid(error.message, [Problem("", error.message, error.hint)], hint=error.hint)
                return HeldPack(_key(document), document, None, invalid)
            except AboveboardError as error:
                found = SpecInvalid(error.message, [Problem("", error.message, error.hint)], hint=error.hint)
            with self._turn:
                self._read[digest] = found
        if isinstance(found, SpecInvalid):
            return HeldPack(_key(document), document, None, found)
        return HeldPack(_key(document), document, found, None)


def _key(document: Mapping[str, Any]) -> PackKey:
    return str(document["metadata"].get("namespace", "default")), str(document["metadata"]["name"])


def _spec(held: HeldPack | None) -> Any:
    return None if held is None else held.document.get("spec")


def _fingerprint(document: Mapping[str, Any]) -> str:
    text = json.dumps([document["metadata"]["name"], document.get("spec")], sort_keys=True, default=str)
    return sha256_digest(text.encode())


def _at(document: Any, *path: str) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document
