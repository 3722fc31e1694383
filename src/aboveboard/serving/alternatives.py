"""What would have led to the favourable outcome instead, in words: changes of the person's, and other terms.

Both are statements about the model that decided, with everything else as it was. They promise nothing. What a client
was told with a decision is part of its record, by value: the words belong to the release, and are found there again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from aboveboard.audit import events
from aboveboard.models import Model
from aboveboard.models.contract import Value
from aboveboard.models.reasons import text_for
from aboveboard.models.recourse import Pause, Recourse

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

    in_time: bool
    """Whether the search ended in the time there is for a decision. If not, nothing is named: the notice has it."""
    recourse: list[Alternative] | None = None
    """At most three ways for the person, the smallest first; empty where none was found, null where the model
    declares nothing that a person could change."""
    counter_offers: list[Alternative] | None = None
    """The nearest terms that would have been approved, e.g. the largest amount (12 CFR 1002.9(a)(1)); empty where
    there are none, null where the model declares no term of the application."""


NOT_IN_TIME: Final = Alternatives(in_time=False)


def _no_pause() -> None:
    """Be no pause."""


def alternatives(
    deployment: Deployment, row: NDArray[np.float64], locale: str, pause: Pause = _no_pause
) -> Alternatives:
    """Return what would have led a row, shape (width,), that was not favourable, to approval, with texts in `locale`.

    It takes a millisecond, or seconds for a large ensemble in which everything can be changed; `pause` is called
    between its steps, and what it raises ends it. See `aboveboard.models.recourse` for what it is.
    """
    search, texts = deployment.recourse, _texts(deployment.model, locale)

    def stated(found: list[Recourse]) -> list[Alternative]:
        return [
            Alternative(
                [AlternativeValue(c.feature, texts(c.feature), c.from_, c.to) for c in recourse.changes],
                recourse.score,
            )
            for recourse in found
        ]

    return Alternatives(
        in_time=True,
        recourse=stated(search.recourses(row, pause)) if search.declared else None,
        counter_offers=stated(search.counter_offers(row, pause)) if search.negotiable else None,
    )


def as_recorded(told: Alternatives) -> events.ToldAlternatives:
    """Return alternatives as the record of their decision has them."""

    def recorded(ways: list[Alternative] | None) -> list[events.ToldAlternative] | None:
        if ways is None:
            return None
        return [events.ToldAlternative({c.feature: c.to for c in way.changes}, way.score) for way in ways]

    return events.ToldAlternatives(told.in_time, recorded(told.recourse), recorded(told.counter_offers))


def as_told(
    recorded: events.ToldAlternatives, features: Mapping[str, events.Feature], model: Model, locale: str
) -> Alternatives:
    """Return alternatives as they were told, word for word; `features` are those of the decision `model` made."""
    if not recorded.in_time:
        return NOT_IN_TIME
    encoding, texts = model.encoding, _texts(model, locale)
    before = encoding.decode(encoding.encode(features))

    def told(ways: list[events.ToldAlternative] | None) -> list[Alternative] | None:
        if ways is None:
            return None
        found = []
        for way in ways:
            # A whole number with a point is written without one in the log; the contract knows which it is.
            after = encoding.decode(encoding.encode({**features, **way.values}))
            changes = [
                AlternativeValue(name, texts(name), _present(before[name]), _present(after[name]))
                for name in (feature.name for feature in encoding.features)
                if name in way.values
            ]
            found.append(Alternative(changes, way.score))
        return found

    return Alternatives(in_time=True, recourse=told(recorded.recourse), counter_offers=told(recorded.counter_offers))


def _present(value: Value | None) -> Value:
    assert value is not None  # noqa: S101  what is missing is not changed, and nothing is changed to be missing
    return value


def _texts(model: Model, locale: str) -> Callable[[str], str]:
    """Return what finds the text for a feature, in a language."""
    by_feature = {feature: code.texts for code in model.reason_codes for feature in code.features}
    return lambda feature: text_for(by_feature[feature], locale)
