from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aboveboard.errors import AboveboardError, RequestRefused
from aboveboard.serving.outcomes import OutcomeReport, check_day, parse_outcomes

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


def test_of_a_batch_each_is_read_by_itself() -> None:
    good = b'{"decision_id": "dec-%s", "label": "repaid", "observed": "2026-11-21"}' % (b"0" * 26)
    wrong = (
        good.replace(b"2026-11-21", b"2026-02-30"),
        good.replace(b"dec-", b"app-"),
        good.replace(b"repaid", b"Repaid!"),
        good.replace(b"repaid", b"paid-4111111111111111"),
        good.replace(b'"label"', b'"kind"'),
        b"17",
    )
    read = parse_outcomes(b'{"outcomes": [%b]}' % b", ".join([good, *wrong, good]))
    assert [one.code if isinstance(one, AboveboardError) else one.label for one in read] == [
        "repaid",
        *["request-refused"] * 3,
        "card-number",
        *["request-refused"] * 2,
        "repaid",
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"outcomes": []}', "request-refused"),
        (b'{"outcomes": [%b]}' % b",".join([b"{}"] * 5001), "request-refused"),
        (b'{"outcomes": [{"label": "a", "label": "b"}]}', "duplicate-key"),
        (b'{"outcomes": [{]}', "not-json"),
        (b"[]", "request-refused"),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(body: bytes, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_outcomes(body)
    assert caught.value.code == code
