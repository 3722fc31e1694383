"""Payment card numbers, recognised so that they can be kept out."""

from __future__ import annotations

import re
import unicodedata

SHORTEST = 13
"""Digits in the shortest card number in use (ISO/IEC 7812 allows fewer; no scheme issues them)."""

_CANDIDATE = re.compile(r"(?<![0-9])[2-6](?:[ .-]?[0-9]){12,18}(?![0-9])")
# The ranges of the large schemes and their lengths, so that one in ten long account numbers is not refused
# merely because its last digit happens to fit.
_SCHEMES = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|6(?:011|4[4-9]\d|5\d{2})\d{12,15}"  # Discover, RuPay
    r"|62\d{14,17}"  # UnionPay
)
_PLAIN = {"Cf": "", "Zs": " ", "Pd": "-", "Sm": "-"}
"""By category of Unicode: characters without a width, spaces, dashes, and signs, of which minus is one."""
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn_holds(digits: str) -> bool:
    """Tell whether the last of `digits` is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    numbers = [ord(digit) - 48 for digit in digits]
    return (sum(numbers[-1::-2]) + sum(_DOUBLED[number] for number in numbers[-2::-2])) % 10 == 0


def holds_card_number(text: str) -> bool:
    """Tell whether `text` contains the number of a payment card, plain or grouped by spaces, hyphens or points."""
    if len(text) < SHORTEST:
        return False
    if not text.isascii():
        text = text.translate(_AsRead())
    for candidate in _CANDIDATE.findall(text):
        digits = candidate.replace(" ", "").replace("-", "").replace(".", "")
        if _SCHEMES.fullmatch(digits) and luhn_holds(digits):
            return True
    return False


class _AsRead(dict[int, str]):
    """What a person reads for a character: digits of any script as ours, what has no width as nothing.

    For `str.translate`, which asks once for each character. Not NFKC: of one character it can make eighteen.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        digit = unicodedata.decimal(character, None)
        read = _PLAIN.get(unicodedata.category(character), character) if digit is None else str(digit)
        self[code] = character if code < 128 else read
        return self[code]
