"""Events, clocks and logs for the tests of the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aboveboard.audit import AuditLog, events
from aboveboard.clock import Clock, timestamp

ORIGIN = "bank.example/audit"
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


def decision(number: int = 0, subject: str | None = "sub-a", **changes: Any) -> events.Decision:
    fields: dict[str, Any] = {
        "time": timestamp(NOW),
        "decision_id": f"dec-{number:06d}",
        "subject": subject,
        "model": "credit-default",
        "release": "sha256:" + "ab" * 32,
        "track": "champion",
        "jurisdiction": "us",
        "locale": "en",
        "features": {
            "LIMIT_BAL": 20000.0,
            "PAY_0": -1,
            "RATIO": 0.123456789,
            "REGION": "Zürich",
            "NEW": True,
            "X": None,
        },
        "cohort": {"sex": "female"},
        "score": 0.731,
        "outcome": "approve",
        "reasons": ["credit-line"],
    }
    return events.Decision(**{**fields, **changes})


def approval(**changes: Any) -> events.ReleaseApproved:
    fields = {
        "time": timestamp(NOW),
        "actor": "v@bank.example",
        "release": "sha256:" + "ab" * 32,
        "role": "validator",
    }
    return events.ReleaseApproved(**{**fields, **changes})


def open_log(root: Path, *, clock: Clock | None = None, **changes: Any) -> AuditLog:
    options: dict[str, Any] = {"keys": root / "keys", "origin": ORIGIN, "clock": clock or ManualClock()}
    return AuditLog.open(root / "audit", **{**options, **changes})
