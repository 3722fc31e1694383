"""The gate itself: facts and packs in, one result for every rule out, and nothing lost in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from aboveboard.canonical import canonical_json
from aboveboard.errors import Conflict
from aboveboard.ids import sha256_digest
from aboveboard.policy.answer import read_answer, refused, result
from aboveboard.policy.facts import shape_error
from aboveboard.policy.pack import HOUSE, PolicyPack, Rule
from aboveboard.policy.rego import ENGINE, LIBRARY, CompiledRego, RegoFailed, engine_version
from aboveboard.policy.verdict import EngineRecord, GateVerdict, PackRecord, RuleResult, Severity, Verdict, overall
from aboveboard.spec.types import Purpose

_OWN = "gate"
"""The name under which the gate reports on its own preconditions."""


class Engine:
    """Packs compiled once, to judge any number of models. Belongs to one thread."""

    def __init__(self, packs: Sequence[PolicyPack]) -> None:
        """Compile `packs`. One that does not compile fails each of its rules, every time.

        Raises `Conflict` when two packs have the same name.
        """
        names = [pack.name for pack in packs]
        if len(set(names)) != len(names):
            raise Conflict(f"two packs have the same name: {', '.join(sorted(names))}", hint="judge with one of them")
        library = LIBRARY.read_bytes()
        self._packs = list(packs)
        self._record = EngineRecord(ENGINE, engine_version(), sha256_digest(library))
        self._library = {LIBRARY.name: library.decode()}
        self._broken: dict[str, RegoFailed] = {}
        self._rego: CompiledRego | None = None
        try:
            self._rego = self._compile(packs)
        except RegoFailed:  # one of them at least; find out which, so that the others are heard
            for pack in packs:
                try:
                    self._compile([pack])
                except RegoFailed as error:
                    self._broken[pack.name] = error
            self._rego = self._compile([pack for pack in packs if pack.name not in self._broken])

    def _compile(self, packs: Sequence[PolicyPack]) -> CompiledRego | None:
        """Compile packs together: the library and the facts are then read once for all of them."""
        modules = {f"{pack.name}/{name}": text for pack in packs for name, text in pack.modules.items()}
        return CompiledRego([pack.package for pack in packs], {**self._library, **modules}) if packs else None

    def judge(
        self, facts: Mapping[str, Any], as_of: date, *, before: Callable[[str], None] = lambda pack: None
    ) -> GateVerdict:
        """Return the verdict on `facts` under the law of the day `as_of`.

        `before` is told the name of each pack before it is asked: one may never answer. Raises `RequestRefused` for
        facts that are not JSON.
        """
        canonical = canonical_json(dict(facts))
        purpose = _purpose(facts)
        results = [self._whole(facts), self._covered(facts)]
        for pack, answers in zip(self._packs, self._all_answers(facts, before), strict=True):
            results.extend(_judge_pack(pack, answers, purpose, as_of))
        return GateVerdict(
            verdict=_verdict(results),
            as_of=as_of.isoformat(),
            facts_digest=sha256_digest(canonical),
            packs=tuple(PackRecord(pack.name, pack.manifest.version, pack.digest) for pack in self._packs),
            engine=self._record,
            results=tuple(results),
        )

    def _all_answers(
        self, facts: Mapping[str, Any], before: Callable[[str], None]
    ) -> list[dict[str, Any] | RegoFailed]:
        """Return, for each pack, what its rules answered or why they did not."""
        try:
            if self._rego is not None:
                self._rego.consider(dict(facts))
        except RegoFailed as error:
            return [error for _ in self._packs]
        return [self._broken.get(pack.name) or self._answers(pack, before) for pack in self._packs]

    def _answers(self, pack: PolicyPack, before: Callable[[str], None]) -> dict[str, Any] | RegoFailed:
        if self._rego is None:
            return RegoFailed("was not compiled")
        before(pack.name)
        try:
            return self._rego.answers(pack.package)
        except RegoFailed as error:
            return error

    @staticmethod
    def _whole(facts: Mapping[str, Any]) -> RuleResult:
        """Judge whether the facts have the documented shape: a fact left out is not a fact in our favour."""
        problem = shape_error(dict(facts))
        return _own(
            "gate-facts-whole",
            "The facts are whole",
            "Every fact a rule may ask for is stated, if only as null.",
            Verdict.FAIL if problem else Verdict.PASS,
            f"the facts are not whole: {problem}" if problem else "every fact is stated",
            "run the evaluation again with this version of Aboveboard",
        )

    def _covered(self, facts: Mapping[str, Any]) -> RuleResult:
        """Judge whether every jurisdiction the model declares has a pack here, the house's own among them."""
        model = facts.get("model")
        wanted = model.get("jurisdictions") if isinstance(model, dict) else None
        provided = {pack.manifest.jurisdiction for pack in self._packs}
        if not isinstance(wanted, list) or not wanted:
            missing = ["(the facts name no jurisdiction)"]
        else:
            missing = [str(name) for name in (*wanted, HOUSE) if name not in provided]
        return _own(
            "gate-packs-cover",
            "Every jurisdiction has its say",
            "A model is judged by the rules of every jurisdiction it declares, and by its own limits.",
            Verdict.FAIL if missing else Verdict.PASS,
            f"no policy pack judged {', '.join(missing)}" if missing else f"judged by {', '.join(sorted(provided))}",
            "add the pack of that jurisdiction",
        )


def gate(facts: Mapping[str, Any], packs: Sequence[PolicyPack], as_of: date) -> GateVerdict:
    """Return the verdict of `packs` on `facts` under the law of the day `as_of`; see `Engine` for many models.

    Raises `RequestRefused` for facts that are not JSON.
    """
    return Engine(packs).judge(facts, as_of)


def _verdict(results: Sequence[RuleResult]) -> Verdict:
    """Return the overall verdict; the gate's own preconditions alone never make it `pass`."""
    verdict = overall(results)
    answered = any(r.verdict is Verdict.PASS and r.severity is Severity.BLOCK for r in results if r.pack != _OWN)
    return Verdict.FAIL if verdict is Verdict.PASS and not answered else verdict


def _purpose(facts: Mapping[str, Any]) -> Purpose | None:
    model = facts.get("model")
    try:
        return Purpose(model["purpose"]) if isinstance(model, dict) else None
    except (KeyError, ValueError):
        return None


def _judge_pack(
    pack: PolicyPack, said: dict[str, Any] | RegoFailed, purpose: Purpose | None, day: date
) -> list[RuleResult]:
    """Return a result for every declared rule, and one for every answer that no rule asked for."""
    rules = pack.manifest.rules
    if isinstance(said, RegoFailed):
        return [refused(rule, pack.name, f"rule gave no answer: pack {pack.name}: {said}") for rule in rules]
    answers = dict(said)
    results = [_judge_rule(rule, pack.name, answers.pop(rule.id, None), purpose, day) for rule in rules]
    strays = [
        _own(
            "gate-undeclared-answer",
            "Every answer belongs to a declared rule",
            "A pack answers the rules of its manifest and no others.",
            Verdict.FAIL,
            f"pack {pack.name} answers {stray!r}, which its manifest does not declare",
            "declare the rule in pack.yaml, or mend its name in the Rego",
        )
        for stray in sorted(answers)
    ]
    return results + strays


def _judge_rule(rule: Rule, pack: str, raw: Any, purpose: Purpose | None, day: date) -> RuleResult:
    if rule.purposes != "any" and purpose is None:
        return refused(rule, pack, "the facts do not say what the model is for, so that no rule can be set aside")
    if purpose is not None and not rule.concerns(purpose):
        return result(rule, pack, Verdict.NOT_APPLICABLE, f"does not concern a model for {purpose}")
    answered = read_answer(rule, pack, raw)
    if rule.in_force(day):
        return answered
    if rule.effective_from is not None and day < rule.effective_from:
        outlook = (
            f"law from {rule.effective_from}; as things stand it would say {answered.verdict}: {answered.message}"
        )
        return result(rule, pack, Verdict.NOT_APPLICABLE, outlook)
    return result(rule, pack, Verdict.NOT_APPLICABLE, f"no longer law: its last day was {rule.effective_to}")


def _own(rule: str, title: str, law: str, verdict: Verdict, message: str, remedy: str) -> RuleResult:
    """Return what the gate says about its own preconditions."""
    return RuleResult(
        rule=rule,
        pack=_OWN,
        title=title,
        citation="Aboveboard, fail closed",
        law=law,
        verdict=verdict,
        severity=Severity.BLOCK,
        message=message,
        review_required=False,
        remedy="" if verdict is Verdict.PASS else remedy,
    )
