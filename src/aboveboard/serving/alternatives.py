"""What would have led to the favourable outcome instead, in words: changes of the person's, and other terms.

Both are statements about the model that decided, with everything else as it was. They promise nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from aboveboard.models.reasons import text_for
from aboveboard.models.recourse import Recourse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aboveboard.serving.deployment import Deployment


class AlternativeValue(msgspec.Struct, frozen=True):
    """One feature with another value."""

    feature: str
    text: str
    """What the person is told where this feature lowers the score."""
    from_: bool | int | float | str = msgspec.field(name="from")
    to: bool | int | float | str


class Alternative(msgspec.Struct, frozen=True):
    """Values that together, all else as it was, would have led to the favourable outcome."""

    changes: list[AlternativeValue]
    score: float
    """The calibrated probability of the favourable outcome with them."""


class Alternatives(msgspec.Struct, frozen=True):
    """Everything that would have led to the favourable outcome instead, and may be named."""

    recourse: list[Alternative] | None = None
    """At most three ways for the person, the smallest first; empty where none was found, null where the model
    declares nothing that a person could change."""
    counter_offers: list[Alternative] | None = None
    """The nearest terms that would have been approved, e.g. the largest amount (12 CFR 1002.9(a)(1)); empty where
    there are none, null where the model declares no term of the application."""


def alternatives(deployment: Deployment, row: NDArray[np.float64], locale: str) -> Alternatives:
    """Return what would have led a row, shape (width,), that was not favourable, to approval, with texts in `locale`.

    It takes a tenth of a second or so; see `aboveboard.models.recourse` for what it is.
    """
    search = deployment.recourse
    texts = {
        feature: text_for(code.texts, locale) for code in deployment.model.reason_codes for feature in code.features
    }

    def stated(found: list[Recourse]) -> list[Alternative]:
        return [
            Alternative(
                [AlternativeValue(c.feature, texts[c.feature], c.from_, c.to) for c in recourse.changes],
                recourse.score,
            )
            for recourse in found
        ]

    return Alternatives(
        recourse=stated(search.recourses(row)) if search.declared else None,
        counter_offers=stated(search.counter_offers(row)) if search.negotiable else None,
    )
