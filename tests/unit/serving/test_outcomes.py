from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aboveboard.errors import RequestRefused
from aboveboard.serving.outcomes import OutcomeReport, check_day

DECIDED = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("observed", "decided", "now", "refused"),
    [
        ("2026-11-21", DECIDED, DECIDED, ""),
        ("2027-03-01", DECIDED, datetime(2027, 3, 1, tzinfo=UTC), ""),
        ("2026-11-19", DECIDED, DECIDED, "before the decision"),
        ("2026-11-23", DECIDED, DECIDED, "future"),
        ("2026-11-20", datetime(2026, 11, 21, 11, 59, tzinfo=UTC), DECIDED, ""),  # still the 20th on Baker Island
        ("2026-11-20", datetime(2026, 11, 21, 12, 0, tzinfo=UTC), DECIDED, "before the decision"),
        ("2026-11-22", DECIDED, datetime(2026, 11, 21, 10, 0, tzinfo=UTC), ""),  # the 22nd already on Kiritimati
        ("2026-11-22", DECIDED, datetime(2026, 11, 21, 9, 59, tzinfo=UTC), "future"),
    ],
)
def test_a_day_on_which_nothing_can_have_been_known_is_refused(
    observed: str, decided: datetime, now: datetime, refused: str
) -> None:
    report = OutcomeReport("dec-" + "0" * 26, "repaid", observed)
    if not refused:
        check_day(report, decided, now)
        return
    with pytest.raises(RequestRefused, match=refused):
        check_day(report, decided, now)
