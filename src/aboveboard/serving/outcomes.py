"""What became of a decision: told later, by the client, and joined to it in the log.

A day on which nothing can have been known yet is refused. The same word twice is recorded once. Another word about
the same decision is recorded beside the first: what people pay back, and what they dispute, changes, and the entry
that stands last in the log counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Final

import msgspec

from aboveboard.audit import Acknowledgement, events
from aboveboard.audit.reading import Recorded
from aboveboard.errors import AboveboardError, RequestRefused
from aboveboard.serving.cards import holds_card_number
from aboveboard.serving.refusals import CardNumber
from aboveboard.serving.requests import Label, decode, unreadable

DecisionId = Annotated[str, msgspec.Meta(pattern=r"^dec-[0-9a-z]{26}$")]

EASTERNMOST: Final = timedelta(hours=14)
WESTERNMOST: Final = timedelta(hours=-12)
"""Where a day begins first, and where it ends last: the client's calendar is not ours."""


class OutcomeReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One outcome: `POST /v1/outcomes`."""

    decision_id: DecisionId
    label: Label
    """For example `repaid`, `defaulted`, `charged-back`, `complaint-upheld`."""
    observed: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """The day on which it was known."""


_decoder = msgspec.json.Decoder(OutcomeReport)


class OutcomeAnswer(msgspec.Struct, frozen=True):
    """What a client gets for an outcome."""

    decision_id: str
    label: str
    receipt: Acknowledgement
    """Of the record; of the first one, where the same was told before."""


class OutcomeBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/outcomes/batch`: up to five thousand outcomes."""

    outcomes: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=5000)]


class OutcomeResult(msgspec.Struct, frozen=True):
    """What a client gets for one outcome of a batch; where it is refused, a problem document stands in its place."""

    decision_id: str
    label: str
    receipt: Acknowledgement
    status: int
    """201, or 200 where the same was told before: what it would have been alone."""


def parse_outcome(body: bytes) -> OutcomeReport:
    """Return the report in `body`. Raises `RequestRefused` and its kinds."""
    return _fit(decode(body, OutcomeReport))


def parse_outcomes(body: bytes) -> list[OutcomeReport | AboveboardError]:
    """Return each report of the batch in `body`, or what is wrong with it.

    Raises `RequestRefused` and its kinds where the batch is none.
    """
    return [_parsed(part) for part in decode(body, OutcomeBatch).outcomes]


def _parsed(part: msgspec.Raw) -> OutcomeReport | AboveboardError:
    try:
        return _fit(_decoder.decode(part))
    except msgspec.DecodeError as error:
        return unreadable(error)
    except RequestRefused as error:
        return error


def _fit(report: OutcomeReport) -> OutcomeReport:
    try:
        date.fromisoformat(report.observed)
    except ValueError:
        raise RequestRefused("observed is not a day of the calendar", hint="write it as 2026-11-21") from None
    if holds_card_number(report.label):
        raise CardNumber("the label holds a payment card number", hint="name what happened, for example charged_back")
    return report


def check_day(report: OutcomeReport, decided: datetime, now: datetime) -> None:
    """Raise `RequestRefused` for a day before the decision, or one that has begun nowhere on earth yet."""
    observed = date.fromisoformat(report.observed)
    if observed < (decided + WESTERNMOST).date():
        raise RequestRefused("observed is a day before the decision", hint="give the day on which it was known")
    if observed > (now + EASTERNMOST).date():
        raise RequestRefused("observed is a day in the future", hint="report it once it is known")


def told_before(report: OutcomeReport, recorded: Sequence[Recorded]) -> Acknowledgement | None:
    """Return the receipt of the same outcome, of the same day, if it was told before."""
    for item in recorded:
        event = item.event
        if isinstance(event, events.OutcomeRecorded) and (event.label, event.observed) == (
            report.label,
            report.observed,
        ):
            return item.receipt
    return None
