"""Ranking is deterministic, names only what lowered the score, and finds words in the person's language."""

from __future__ import annotations

import pytest

from aboveboard.errors import Misuse
from aboveboard.models.reasons import ReasonCode, rank, reason_codes, text_for

TEXTS = {"de": "Zu viele Schulden", "en": "Too much debt", "pt-BR": "Dívida demais", "zh-Hant": "債務過多"}


@pytest.mark.parametrize(
    ("locale", "tag"),
    [
        ("en", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("de_AT", "de"),
        ("pt-br", "pt-BR"),
        ("pt", "en"),
        ("zh-Hant-TW", "zh-Hant"),
        ("fr", "en"),
        ("", "en"),
        ("*", "en"),
    ],
)
def test_a_locale_falls_back_to_its_language_then_english(locale: str, tag: str) -> None:
    assert text_for(TEXTS, locale) == TEXTS[tag]


def test_without_english_the_first_text_is_the_last_resort() -> None:
    assert text_for({"fr": "Trop de dettes", "de": "Zu viele Schulden"}, "ja") == "Trop de dettes"


def test_only_what_lowers_the_score_is_named_and_the_lowest_first() -> None:
    assert rank([-0.5, 0.4, -1e-12, 0.0, -2.0], list("abcde"), 4) == [4, 0]


def test_no_more_than_asked_are_named() -> None:
    assert rank([-1, -2, -3, -4, -5], list("abcde"), 4) == [4, 3, 2, 1]
    assert rank([-1, -2, -3, -4, -5], list("abcde"), 1) == [4]


def test_ties_go_by_declared_order_and_rounding_does_not_break_them() -> None:
    assert rank([-0.3, -(0.1 + 0.2), -0.3], list("abc"), 4) == [0, 1, 2]
    assert rank([-(0.1 + 0.2), -0.3], list("ab"), 4) == [0, 1]


def test_the_same_sentence_is_not_said_twice() -> None:
    assert rank([-1, -2, -3], ["same", "same", "other"], 4) == [2, 1]


def test_features_of_one_code_stand_together_in_declared_order() -> None:
    codes = reason_codes(
        [("PAY_0", "late", {"en": "Late"}), ("LIMIT", "limit", {"en": "Limit"}), ("PAY_2", "late", {"en": "Late"})]
    )
    assert codes == (
        ReasonCode("late", ("PAY_0", "PAY_2"), {"en": "Late"}),
        ReasonCode("limit", ("LIMIT",), {"en": "Limit"}),
    )


def test_a_code_that_stands_for_two_things_is_misuse() -> None:
    with pytest.raises(Misuse, match="'late' stands for two things"):
        reason_codes([("late", "late", {"en": "Late"}), ("PAY_2", "late", {"en": "Late payments"})])
