"""What a gate says: one result for each rule, the verdict over all of them, and what it takes to check it again."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """The four answers a rule can give. Nothing but `pass` ever lets anything through."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"
    """The evidence does not decide the question: too few people, or an interval that straddles the limit."""
    NOT_APPLICABLE = "not-applicable"
    """The rule does not concern this model, or was not law on the day."""


class Severity(StrEnum):
    """What follows from a rule that does not pass."""

    BLOCK = "block"
    WARN = "warn"


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One comparison within a rule that looks at several groups."""

    attribute: str
    group: str
    verdict: Verdict
    measured: float | None
    low: float | None
    high: float | None
    n: int | None
    p_value: float | None


class RuleResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one rule of one pack said."""

    rule: str
    pack: str
    title: str
    citation: str
    law: str
    """What the law asks, in one sentence of our own words."""
    verdict: Verdict
    severity: Severity
    message: str
    """One sentence with the number in it."""
    review_required: bool
    """Whether a lawyer has yet to confirm the citation against its source."""
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    n: int | None = None
    attribute: str | None = None
    group: str | None = None
    findings: tuple[Finding, ...] = ()
    """Every comparison made; attribute, group and numbers above are those of the one that decided."""
    remedy: str = ""
    """What to do about a verdict other than pass."""


class PackRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which pack judged, down to its bytes."""

    name: str
    version: str
    digest: str


class EngineRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What evaluated the rules."""

    name: str
    version: str
    library: str
    """Digest of the Rego functions every pack may import."""


class GateVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer of a gate. The same facts, packs, engine and day give the same verdict again."""

    verdict: Verdict
    as_of: str
    """The day whose law was applied, ISO 8601."""
    facts_digest: str
    """SHA-256 of the canonical JSON (RFC 8785) of the facts."""
    packs: tuple[PackRecord, ...]
    engine: EngineRecord
    results: tuple[RuleResult, ...]

    @property
    def refusals(self) -> tuple[RuleResult, ...]:
        """The results that keep the gate shut: blocking rules that failed or lack evidence, failures first."""
        shut = [r for r in self.results if r.severity is Severity.BLOCK and r.verdict in _SHUT]
        return tuple(sorted(shut, key=lambda result: _SHUT.index(result.verdict)))

    @property
    def warnings(self) -> tuple[RuleResult, ...]:
        """The results of rules that advise, where they did not pass."""
        return tuple(r for r in self.results if r.severity is Severity.WARN and r.verdict in _SHUT)


_SHUT = (Verdict.FAIL, Verdict.INSUFFICIENT)


def overall(results: Iterable[RuleResult]) -> Verdict:
    """Return the verdict over all rules; where no blocking rule applied, nothing was shown and it is `fail`."""
    verdicts = {result.verdict for result in results if result.severity is Severity.BLOCK}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if Verdict.INSUFFICIENT in verdicts:
        return Verdict.INSUFFICIENT
    return Verdict.PASS if Verdict.PASS in verdicts else Verdict.FAIL
