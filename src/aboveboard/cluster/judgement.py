"""Whether releases may run where somebody wants to run them: evidence, approvals, law, jurisdiction, place.

The same engine and packs as in CI and at approval, applied to the facts inside the release, under the law of today.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from aboveboard.errors import AboveboardError
from aboveboard.policy import PolicyPack, gate
from aboveboard.policy.verdict import Verdict
from aboveboard.release import VerifiedRelease

Verify = Callable[[str], VerifiedRelease]
"""Returns a release of which everything holds, or raises one of our errors."""
Packs = Callable[[Sequence[str]], list[PolicyPack]]
"""Returns the packs of some jurisdictions, or raises one of our errors."""

VERIFIED = "release-verified"
POLICY = "policy-passes-today"
MODEL = "release-of-the-model"
JURISDICTION = "jurisdiction-judged"
RESIDENCY = "residency"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule, whether it holds, and how to see why."""

    rule: str
    held: bool
    message: str
    see: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}" + (f" (see: {self.see})" if self.see else "")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about everything that wants to run together."""

    findings: tuple[Finding, ...]

    @property
    def admitted(self) -> bool:
        """Whether every rule holds; with nothing looked at, nothing was shown."""
        return bool(self.findings) and all(finding.held for finding in self.findings)

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The rules that do not hold."""
        return tuple(finding for finding in self.findings if not finding.held)

    def of(self, rule: str) -> tuple[Finding, ...]:
        """Return what was found about one rule."""
        return tuple(finding for finding in self.findings if finding.rule == rule)

    def holds(self, *rules: str) -> bool:
        """Tell whether rules were looked at and hold."""
        found = [finding for rule in rules for finding in self.of(rule)]
        return bool(found) and all(finding.held for finding in found)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which releases somebody wants to run, of which model, under whose law, and where."""

    releases: tuple[str, ...]
    model: str
    jurisdictions: tuple[str, ...]
    regions: tuple[str, ...]


def judge(wish: Wish, *, verify: Verify, packs: Packs, as_of: date) -> Judgement:
    """Return what holds and what does not. Never raises for what is asked about: an error is a refusal."""
    if not wish.releases:
        return Judgement((Finding(VERIFIED, False, "no release is named"),))
    return Judgement(tuple(f for digest in wish.releases for f in _judge_release(wish, digest, verify, packs, as_of)))


def _judge_release(wish: Wish, digest: str, verify: Verify, packs: Packs, as_of: date) -> list[Finding]:
    short = digest[:19]
    try:
        release = verify(digest)
    except AboveboardError as error:
        return [Finding(VERIFIED, False, f"{short}: {error.message}", f"aboveboard release verify {digest}")]
    document = release.document
    approvers = ", ".join(approval.approver for approval in release.approvals)
    found = [
        Finding(VERIFIED, True, f"{short}: signed by {document.author}, approved by {approvers}"),
        Finding(
            MODEL,
            document.name == wish.model,
            f"{short} is a release of {document.name}, asked for is {wish.model}",
            f"aboveboard release show {digest}",
        ),
        _subset(JURISDICTION, "was judged under the law of", digest, wish.jurisdictions, document.jurisdictions),
        _subset(RESIDENCY, "may run in", digest, wish.regions, document.regions),
    ]
    return [*found, _policy(wish, digest, release, packs, as_of)]


def _subset(rule: str, may: str, digest: str, wanted: Sequence[str], allowed: Sequence[str]) -> Finding:
    missing = [name for name in wanted if name not in allowed]
    message = f"{digest[:19]} {may} {', '.join(allowed)}" + (f", not {', '.join(missing)}" if missing else "")
    if not wanted:
        message = f"{digest[:19]}: none is named, so none can be held to"
    return Finding(rule, bool(wanted) and not missing, message, f"aboveboard release show {digest}")


def _policy(wish: Wish, digest: str, release: VerifiedRelease, packs: Packs, as_of: date) -> Finding:
    short = digest[:19]
    see = f"aboveboard release show {digest}; aboveboard gate {release.document.run_id} --as-of {as_of}"
    try:
        facts = msgspec.json.decode(release.files["facts.json"], type=dict[str, object])
        asked = dict.fromkeys([*release.document.jurisdictions, *wish.jurisdictions])
        verdict = gate(facts, packs(list(asked)), as_of)
    except (AboveboardError, msgspec.MsgspecError, KeyError) as error:
        return Finding(POLICY, False, f"{short}: the rules could not be applied: {error}", see)
    if verdict.verdict is Verdict.PASS:
        return Finding(POLICY, True, f"{short}: passes under the law of {verdict.as_of}")
    rules = "; ".join(f"{result.rule} ({result.citation}): {result.message}" for result in verdict.refusals[:5])
    return Finding(POLICY, False, f"{short}: {verdict.verdict.value} under the law of {verdict.as_of}: {rules}", see)
