"""What became of a decision: told later, by the client, and joined to it in the log."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec

from aboveboard.errors import RequestRefused
from aboveboard.serving.requests import Label, decode

DecisionId = Annotated[str, msgspec.Meta(pattern=r"^dec-[0-9a-z]{26}$")]


class OutcomeReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One outcome: `POST /v1/outcomes`."""

    decision_id: DecisionId
    label: Label
    """For example `repaid`, `defaulted`, `charged-back`, `complaint-upheld`."""
    observed: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """The day on which it was known."""


def parse_outcome(body: bytes) -> OutcomeReport:
    """Return the report in `body`. Raises `RequestRefused` and its kinds."""
    report = decode(body, OutcomeReport)
    try:
        date.fromisoformat(report.observed)
    except ValueError:
        raise RequestRefused("observed is not a day of the calendar", hint="write it as 2026-11-21") from None
    return report
