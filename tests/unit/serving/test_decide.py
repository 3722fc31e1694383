from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.models import Model
from aboveboard.serving.decide import decide


def test_decides_by_the_cut_offs_and_explains_what_is_not_favourable(model: Model, rows: NDArray[np.float64]) -> None:
    seen = set()
    for row in rows:
        decision = decide(model, row, locale="en")
        expected = float(model.score(row.reshape(1, -1))[0])
        assert decision.score == expected
        if expected >= model.approve_at:
            assert (decision.outcome, decision.reasons) == ("approve", ())
        elif expected >= model.refer_at:
            assert decision.outcome == "refer"
        else:
            assert decision.outcome == "decline"
            assert 1 <= len(decision.reasons) <= 4
            contributions = [reason.contribution for reason in decision.reasons]
            assert contributions == sorted(contributions)
            assert contributions[-1] < 0
        seen.add(decision.outcome)
    assert seen == {"approve", "refer", "decline"}


@pytest.mark.parametrize(("locale", "text"), [("de-AT", "Die "), ("zh", "最近"), ("fr", "The ")])
def test_reasons_speak_the_language_asked_for_or_english(
    model: Model, rows: NDArray[np.float64], locale: str, text: str
) -> None:
    declined = next(row for row in rows if decide(model, row, locale="en").outcome == "decline")
    assert decide(model, declined, locale=locale).reasons[0].text.startswith(text)
