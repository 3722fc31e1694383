from __future__ import annotations

import pytest

from aboveboard.serving.cards import holds_card_number, luhn_holds

# The test numbers the schemes publish.
SCHEMES = [
    "4111111111111111",
    "4012888888881881",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "30569309025904",
    "38520000023237",
    "3530111333300000",
    "6011111111111117",
    "6200000000000005",
]


@pytest.mark.parametrize("number", SCHEMES)
@pytest.mark.parametrize("form", ["{}", "card {}.", "({})", "a{}b"])
def test_recognises_the_numbers_of_the_schemes(number: str, form: str) -> None:
    assert holds_card_number(form.format(number))


@pytest.mark.parametrize("number", SCHEMES)
def test_a_wrong_check_digit_is_no_card_number(number: str) -> None:
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not luhn_holds(wrong)
    assert not holds_card_number(wrong)


@pytest.mark.parametrize(
    "text", ["4111-1111-1111-1111", "4111 1111 1111 1111", "3782 822463 10005", "4111.1111.1111.1111"]
)
def test_recognises_groups(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "\uff14" + "\uff11" * 15,  # full width
        "\u0664" + "\u0661" * 15,  # Arabic-Indic
        "4111\u00a01111\u202f1111\u20071111",  # spaces that do not break
        "4111\u200b1111\u00ad1111\ufeff1111",  # characters without a width
        "4111\u20131111\u20101111\u22121111",  # dashes, and a minus
    ],
)
def test_recognises_what_a_person_would(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "client 12",
        "2026-11-21T09:30:00.000Z",
        "01934c5e-7a3b-7c11-8f00-9a5d2b6c7e1f",
        "41111111111111111111111",  # too long to be one
        "1234567890123452",  # Luhn holds, but no scheme issues it
        "sub-9f86d081884c7d659a2feaa0c55ad015",
    ],
)
def test_leaves_other_text_alone(text: str) -> None:
    assert not holds_card_number(text)
