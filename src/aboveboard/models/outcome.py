"""The words for what a score leads to, by purpose: the favourable one first."""

from __future__ import annotations

from typing import Final, NamedTuple

from aboveboard.spec.types import Purpose


class Outcomes(NamedTuple):
    """What happens at or above `approve_at`, from `refer_at` up, and below it."""

    favourable: str
    referred: str
    adverse: str


OUTCOMES: Final = {
    Purpose.CREDIT_DECISION: Outcomes("approve", "refer", "decline"),
    Purpose.FRAUD_DETECTION: Outcomes("allow", "challenge", "block"),
    Purpose.RECOMMENDATION: Outcomes("recommend", "review", "withhold"),
    Purpose.TEXT_CLASSIFICATION: Outcomes("accept", "review", "reject"),
}
