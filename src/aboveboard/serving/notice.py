"""What a person is told about a decision that was not in their favour: pure, from the record and the release.

Three things stand side by side, as the law asks for them: the principal reasons (12 CFR 1002.9(b)(2), applicants at
the cut-off compared with), the key factors of the score (FCRA 615(a), a list of its own: at most four), and how the
decision came about and what would have changed it (GDPR art. 15(1)(h) and 22(3); CJEU C-203/22). To the last belongs
what the person could change, and with it which other terms could have been approved, where the model declares any.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from aboveboard.audit import events
from aboveboard.errors import Conflict
from aboveboard.models import Model, Reason
from aboveboard.models.reasons import text_for
from aboveboard.serving.alternatives import Alternative, alternatives, as_told
from aboveboard.serving.decide import score_of
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.review_history import PersonDecided
from aboveboard.serving.service import StatedReason
from aboveboard.serving.wording import WORDS
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
    recourse: list[Alternative] | None
    """At most three smallest ways in which the person could have reached it, of what can be changed; empty where none
    was found, null where the model declares nothing that a person could change. About the model, not a promise."""
    counter_offers: list[Alternative] | None
    """The nearest terms that would have been approved (12 CFR 1002.9(a)(1)), e.g. the largest amount; empty where
    there are none, null where the model declares no term of the application."""
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
    told = decision.alternatives
    if told is not UNSET and told.in_time:  # what was said once is said again, whatever computes it today
        instead = as_told(told, decision.features, model, locale)
    else:
        instead = alternatives(deployment, row, locale)
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
        recourse=instead.recourse,
        counter_offers=instead.counter_offers,
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
