"""What a person is told about a decision that was not in their favour: pure, from the record and the release.

Three things stand side by side, as the law asks for them: the principal reasons (12 CFR 1002.9(b)(2), applicants at
the cut-off compared with), the key factors of the score (FCRA 615(a), a list of its own: at most four), and how the
decision came about and what would have changed it (GDPR art. 15(1)(h) and 22(3); CJEU C-203/22).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.audit import events
from aboveboard.errors import Conflict
from aboveboard.models import Model, Reason
from aboveboard.models.reasons import text_for
from aboveboard.serving.decide import score_of
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.review_history import PersonDecided
from aboveboard.serving.service import StatedReason
from aboveboard.spec.types import ReferenceConvention


class Change(msgspec.Struct, frozen=True):
    """One factor, had it been as with those who are just approved."""

    code: str
    text: str
    values: dict[str, Any]
    """The features of the factor and the values that stand for `just approved`."""


class Notice(msgspec.Struct, frozen=True):
    """Everything a notice says."""

    decision_id: str
    decided: str
    model: str
    release: str
    outcome: str
    language: str
    principal_reasons: list[StatedReason]
    score: float
    score_range: tuple[float, float]
    key_factors: list[StatedReason]
    data_used: dict[str, events.Feature]
    """What the model read, and nothing else: no protected attribute is among it unless the law allows it."""
    would_have_changed_the_outcome: list[Change]
    """The fewest factors, the weightiest first, that together would have led to the favourable outcome."""
    human_review: str | None
    """Where the person can have a human decide."""
    decided_since: PersonDecided | None = None
    """What a person has decided after the model."""


def write_notice(
    decision: events.Decision, deployment: Deployment, locale: str, since: PersonDecided | None = None
) -> Notice:
    """Return the notice for a decision by the release that made it; `since` is what a person decided after it.

    Raises `Conflict` when the outcome was favourable (nothing adverse is there to give notice of), and when the
    release does not come to the recorded score again.
    """
    model = deployment.model
    if decision.outcome == model.outcomes[0]:
        raise Conflict("the decision was favourable: there is no adverse action to give notice of")
    row = model.encoding.encode(decision.features)
    if score_of(model, row) != decision.score:
        hint = "check the log with: aboveboard audit fsck"
        raise Conflict("the release does not come to the recorded score", hint=hint)
    reasons = model.reasons(row, locale)
    return Notice(
        decision_id=decision.decision_id,
        decided=decision.time,
        model=decision.model,
        release=decision.release,
        outcome=decision.outcome,
        language=_language(locale),
        principal_reasons=_stated(reasons),
        score=decision.score,
        score_range=(0.0, 1.0),
        key_factors=_stated(model.reasons(row, locale, ReferenceConvention.ALL_APPROVED)),
        data_used=decision.features,
        would_have_changed_the_outcome=changes(model, row, locale),
        human_review=deployment.human_review,
        decided_since=since,
    )


def changes(model: Model, row: NDArray[np.float64], locale: str) -> list[Change]:
    """Return factors that, taken to the reference applicant's values, lead a row, shape (width,), to approval.

    One factor alone where one is enough; otherwise the weightiest together, as few as it takes. The last resort is
    all of them: the reference applicant is approved.
    """
    reference = model.reference()
    contributions = model.by_reason(model.attribute(row[None, :]))[0]
    order = sorted(range(len(model.reason_codes)), key=lambda index: (round(float(contributions[index]), 9), index))

    def approved(codes: list[int]) -> bool:
        mask = np.isin(model.code_of_column, codes)
        return score_of(model, np.where(mask, reference, row)) >= model.approve_at

    alone = next((index for index in order if contributions[index] < 0 and approved([index])), None)
    chosen = (
        [alone] if alone is not None else next(order[:n] for n in range(1, len(order) + 1) if approved(order[:n]))
    )
    wanted = model.encoding.decode(reference)
    return [
        Change(
            code=model.reason_codes[index].code,
            text=text_for(model.reason_codes[index].texts, locale),
            values={name: wanted[name] for name in model.reason_codes[index].features},
        )
        for index in chosen
    ]


def notice_page(notice: Notice) -> str:
    """Return the notice as a page to print."""
    return str(_template().render(notice=notice, words=WORDS[notice.language]))


def _stated(reasons: list[Reason]) -> list[StatedReason]:
    return [StatedReason(reason.code, reason.text) for reason in reasons]


def _language(locale: str) -> str:
    language = locale.partition("-")[0].lower()
    return language if language in WORDS else "en"


@cache
def _template() -> Any:
    # Only who prints needs this; the decision path starts without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("aboveboard.serving", "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("notice.html")


WORDS = {
    "en": {
        "title": "Notice of a decision",
        "decision": "Decision",
        "decided": "Decided",
        "outcome": "Outcome",
        "reasons": "The principal reasons",
        "factors": "Key factors of the score",
        "score": "Score, on a scale from {low:g} to {high:g}",
        "data": "The data that was used",
        "procedure": "How the decision came about",
        "explanation": "A statistical model computed from this data the probability that the obligation will be met. "
        "Below a fixed limit a decision is not favourable. The reasons are the factors that lowered the result most, "
        "compared with applicants who are just approved.",
        "changed": "What would have changed the outcome",
        "had": "With these values, all else as it is, the outcome would have been favourable:",
        "review": "You can have a person decide, state your view and contest the decision",
        "model": "Model and release",
        "since": "A person has decided since, on {day}: {outcome}",
    },
    "de": {
        "title": "Mitteilung einer Entscheidung",
        "decision": "Entscheidung",
        "decided": "Entschieden am",
        "outcome": "Ergebnis",
        "reasons": "Die wesentlichen Gründe",
        "factors": "Wesentliche Einflüsse auf den Punktwert",
        "score": "Punktwert, auf einer Skala von {low:g} bis {high:g}",
        "data": "Die verwendeten Daten",
        "procedure": "Wie die Entscheidung zustande kam",
        "explanation": "Ein statistisches Modell hat aus diesen Daten die Wahrscheinlichkeit berechnet, dass die "
        "Verpflichtung erfüllt wird. Unter einer festen Grenze fällt die Entscheidung nicht günstig aus. Die Gründe "
        "sind die Einflüsse, die das Ergebnis am meisten verringert haben, verglichen mit gerade noch angenommenen "
        "Antragstellern.",
        "changed": "Was das Ergebnis geändert hätte",
        "had": "Mit diesen Werten, alles andere unverändert, wäre das Ergebnis günstig gewesen:",
        "review": "Sie können einen Menschen entscheiden lassen, Ihren Standpunkt darlegen und die Entscheidung "
        "anfechten",
        "model": "Modell und Ausgabe",
        "since": "Seither hat ein Mensch entschieden, am {day}: {outcome}",
    },
}
