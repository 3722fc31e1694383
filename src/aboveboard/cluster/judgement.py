"""Whether releases may run where somebody wants to run them: evidence, approvals, law, jurisdiction, place.

The same engine and packs as in CI and at approval, applied to the facts inside the release, under the law of today.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from aboveboard.cluster.packs import Selected
from aboveboard.errors import AboveboardError, Conflict
from aboveboard.ids import sha256_digest
from aboveboard.policy import GateVerdict, PolicyPack, built_in_packs, gate
from aboveboard.policy.verdict import Verdict
from aboveboard.release import VerifiedRelease
from aboveboard.spec.load import parse_spec
from aboveboard.spec.regions import Regions, residency_problems

Verify = Callable[[str], VerifiedRelease]
"""Returns a release of which everything holds, or raises one of our errors."""
Packs = Callable[[Sequence[str]], list[PolicyPack]]
"""Returns the packs of some jurisdictions, or raises one of our errors."""
Select = Callable[[str, Sequence[str]], Selected]
"""Returns the cluster's packs for a namespace and some jurisdictions, or raises (`packs.PackBook.select`)."""

Judge = Callable[[bytes, Sequence[PolicyPack], date], GateVerdict]
"""Returns the verdict of packs on facts in JSON, or raises one of our errors (`judging.JudgingProcess.verdict`)."""

VERIFIED = "release-verified"
POLICY = "policy-passes-today"
MODEL = "release-of-the-model"
JURISDICTION = "jurisdiction-judged"
RESIDENCY = "residency"
FLOWS = "data-flow-allowed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule, whether it holds, and how to see why."""

    rule: str
    held: bool
    message: str
    see: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}" + (f" (see: {self.see})" if self.see and not self.held else "")


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
    namespace: str = ""
    """Where in the cluster: some policy packs judge there only."""


class Law:
    """The packs of this process, each read once, those of the cluster as they are now, and the verdicts they gave.

    The same facts, packs and day give the same verdict again, so that one given is kept: applying the rules takes a
    third of a second, and thousands of services are looked at. A pack that changes on disk is read at the next start.
    Threads take turns to judge; a verdict that is there waits for nobody.
    """

    def __init__(
        self, packs: Packs, *, select: Select | None = None, kept: int = 1024, judge: Judge | None = None
    ) -> None:
        """Make a law. `judge` applies the rules; by default in this process, where a rule without end has none."""
        self._load = packs
        self._select = select
        self._kept = kept
        self._judge = judge or _judge_here
        self._judging = threading.Lock()
        self._packs: dict[tuple[str, ...], list[PolicyPack]] = {}
        self._verdicts: OrderedDict[tuple[str, tuple[str, ...], date], GateVerdict] = OrderedDict()
        self._turn = threading.Lock()

    def verdict(self, facts: bytes, jurisdictions: Sequence[str], as_of: date, *, namespace: str = "") -> GateVerdict:
        """Return the verdict on the facts in canonical or any other JSON. Raises our errors, and msgspec's."""
        with self._turn:
            packs = self._packs_of(tuple(sorted(set(jurisdictions))), namespace)
        key = sha256_digest(facts), tuple(pack.digest for pack in packs), as_of
        if (known := self._verdicts.get(key)) is not None:
            return known
        with self._judging:
            if (known := self._verdicts.get(key)) is not None:  # somebody asked meanwhile
                return known
            verdict = self._verdicts[key] = self._judge(facts, packs, as_of)
            if len(self._verdicts) > self._kept:
                self._verdicts.popitem(last=False)
            return verdict

    def _packs_of(self, names: tuple[str, ...], namespace: str) -> list[PolicyPack]:
        selected = self._select(namespace, names) if self._select is not None else Selected((), ())
        # A pack of the policy namespace may be that of a jurisdiction; one of a tenant's own only adds to the law.
        covered = {pack.manifest.jurisdiction for pack in selected.general}
        names = tuple(name for name in names if name not in covered or name in built_in_packs())
        if names not in self._packs:
            self._packs[names] = self._load(names)
        packs = [*self._packs[names], *selected.general, *selected.local]
        twice = {pack.name for pack in packs if sum(pack.name == other.name for other in packs) > 1}
        if twice:
            raise Conflict(f"several policy packs are named {', '.join(sorted(twice))}", hint="rename one of them")
        return packs


def _judge_here(facts: bytes, packs: Sequence[PolicyPack], as_of: date) -> GateVerdict:
    return gate(msgspec.json.decode(facts, type=dict[str, object]), packs, as_of)


def judge(wish: Wish, *, verify: Verify, law: Law, as_of: date, regions: Regions | None = None) -> Judgement:
    """Return what holds and what does not. Never raises for what is asked about: an error is a refusal.

    With `regions` also whether the data of each release may flow to where it would run.
    """
    if not wish.releases:
        return Judgement((Finding(VERIFIED, False, "no release is named"),))
    return Judgement(
        tuple(f for digest in wish.releases for f in _judge_release(wish, digest, verify, law, as_of, regions))
    )


def _judge_release(
    wish: Wish, digest: str, verify: Verify, law: Law, as_of: date, regions: Regions | None
) -> list[Finding]:
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
    if regions is not None:
        found.append(_flows(wish, digest, release, regions))
    return [*found, _policy(wish, digest, release, law, as_of)]


def _flows(wish: Wish, digest: str, release: VerifiedRelease, regions: Regions) -> Finding:
    """Judge the model as `aboveboard check --regions` does, but where and under whose law it would really run."""
    short = digest[:19]
    see = "regions.yaml; aboveboard check model.yaml --regions regions.yaml"
    try:
        model = parse_spec(release.files["model.yaml"].decode(), name=f"{short} model.yaml")
    except (AboveboardError, UnicodeDecodeError, KeyError) as error:
        return Finding(FLOWS, False, f"{short}: its model.yaml cannot be read: {error}", see)
    asked = model.spec.model_copy(update={"regions": wish.regions, "jurisdictions": wish.jurisdictions})
    problems = [problem.message for problem in residency_problems(model.model_copy(update={"spec": asked}), regions)]
    home = model.spec.data.source.region
    if home is not None and home not in {region.name for region in regions.spec.regions}:
        problems.append(f"its data are in {home}, which is not in regions.yaml")
    if problems:
        return Finding(FLOWS, False, f"{short}: {'; '.join(problems)}", see)
    return Finding(FLOWS, True, f"{short}: its data may flow to {', '.join(wish.regions)}")


def _subset(rule: str, may: str, digest: str, wanted: Sequence[str], allowed: Sequence[str]) -> Finding:
    missing = [name for name in wanted if name not in allowed]
    message = f"{digest[:19]} {may} {', '.join(allowed)}" + (f", not {', '.join(missing)}" if missing else "")
    if not wanted:
        message = f"{digest[:19]}: none is named, so none can be held to"
    return Finding(rule, bool(wanted) and not missing, message, f"aboveboard release show {digest}")


def _policy(wish: Wish, digest: str, release: VerifiedRelease, law: Law, as_of: date) -> Finding:
    short = digest[:19]
    see = f"aboveboard release show {digest}; aboveboard gate {release.document.run_id} --as-of {as_of}"
    try:
        asked = [*release.document.jurisdictions, *wish.jurisdictions]
        verdict = law.verdict(release.files["facts.json"], asked, as_of, namespace=wish.namespace)
    except (AboveboardError, msgspec.MsgspecError, KeyError) as error:
        return Finding(POLICY, False, f"{short}: the rules could not be applied: {error}", see)
    if verdict.verdict is Verdict.PASS:
        packs = ", ".join(f"{pack.name} {pack.version}" for pack in verdict.packs)
        return Finding(POLICY, True, f"{short}: passes under the law of {verdict.as_of} ({packs})")
    rules = "; ".join(f"{result.rule} ({result.citation}): {result.message}" for result in verdict.refusals[:5])
    return Finding(POLICY, False, f"{short}: {verdict.verdict.value} under the law of {verdict.as_of}: {rules}", see)
