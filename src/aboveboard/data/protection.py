"""Keeping people out of the data set: tokens for identifiers, and a search for identifiers nobody declared."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from aboveboard.errors import Problem
from aboveboard.ids import subject_token
from aboveboard.spec.model import Spec
from aboveboard.spec.types import FeatureType

CHANCE_SAMPLE = 30
CHANCE_SHARE = 0.2
"""One number in ten passes the Luhn check by chance. Among so many candidates, a share of hits up to this one is
taken for chance; with fewer candidates a single hit counts."""


def tokenise(identifiers: pl.Series, key: bytes) -> pl.Series:
    """Return the keyed token of every identifier, as the column `subject`."""
    tokens = [subject_token(key, identifier) for identifier in identifiers.to_list()]
    return pl.Series("subject", tokens, dtype=pl.String)


def luhn_valid(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


_BRANDS = re.compile(
    r"4\d{12}(\d{3})?(\d{3})?|5[1-5]\d{14}|(222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(0[0-5]|[689]\d)\d{11,16}|(6011|64[4-9]\d|65\d\d|62\d\d|60\d\d|8[12]\d\d)\d{12,15}|35(2[89]|[3-8]\d)\d{12}"
)
"""Issuer prefixes and lengths of the card schemes in use."""

_CARD_IN_TEXT = r"[0-9]{13,}|\b[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{1,7}\b|\b3[0-9]{3}[ -][0-9]{6}[ -][0-9]{5}\b"


def count_card_numbers(series: pl.Series) -> int:
    """Return how many records of a column hold what must be taken for a payment card number (PAN).

    Text is searched for 13 to 19 digits in a row or in the groups printed on cards; numbers are taken whole.
    """
    candidates = [d for d in _card_candidates(series) if len(d) <= 19 and _BRANDS.fullmatch(d)]
    hits = sum(luhn_valid(digits) for digits in candidates)
    by_chance = len(candidates) >= CHANCE_SAMPLE and hits <= CHANCE_SHARE * len(candidates)
    return 0 if by_chance else hits


def _card_candidates(series: pl.Series) -> list[str]:
    if series.dtype == pl.String:
        long = series.filter((series.str.len_bytes() >= 13).fill_null(False))
        found = long.str.extract_all(_CARD_IN_TEXT).explode(empty_as_null=False).drop_nulls()
        return found.str.replace_all("[^0-9]", "").to_list()
    if series.dtype.is_integer() or series.dtype.is_float() or series.dtype.is_decimal():
        large = series.filter(series.cast(pl.Float64).is_between(1e12, 1e19).fill_null(False))
        return [str(int(value)) for value in large.to_list() if value == int(value)]
    return []


_PATTERNS = {
    "email": r"(?i)^\s*[^@\s]+@[^@\s]+\.[a-z]{2,}\s*$",
    "phone": r"^\s*(\+[1-9][0-9 ()./-]{7,18}[0-9]|\(?[0-9]{3}\)?[ .-][0-9]{3}[.-][0-9]{4})\s*$",
    "us-social-security-number": r"^\s*[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\s*$",
    "uk-national-insurance-number": r"(?i)^\s*[a-ceghj-prstw-z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[a-d]\s*$",
}
"""What whole values of well-known kinds of identifier look like."""

_IBAN = r"(?i)^\s*[a-z]{2}[0-9]{2}(?: ?[a-z0-9]){11,30}\s*$"


def iban_valid(text: str) -> bool:
    """Tell whether `text` has the check digits of an international bank account number (ISO 13616, MOD 97-10)."""
    compact = text.replace(" ", "").strip().upper()
    rearranged = compact[4:] + compact[:4]
    return (
        rearranged.isalnum() and rearranged.isascii() and int("".join(str(int(c, 36)) for c in rearranged)) % 97 == 1
    )


def resembles(series: pl.Series) -> dict[str, int]:
    """Return how many records of a text column look like a person's identifier, by kind; cards are not among them."""
    if series.dtype != pl.String:
        return {}
    found = {kind: int(series.str.contains(pattern).sum() or 0) for kind, pattern in _PATTERNS.items()}
    long = series.filter((series.str.len_bytes() >= 15).fill_null(False))
    accounts = long.filter(long.str.contains(_IBAN)).to_list()
    found["bank-account-number"] = sum(iban_valid(text) for text in accounts)
    return {kind: count for kind, count in found.items() if count}


def undeclared_identifiers(frame: pl.DataFrame, spec: Spec) -> Iterator[Problem]:
    """Yield a problem for every column that holds identifiers it must not hold; counts only, never a value.

    Card numbers are refused wherever they stand except in the declared identifier, which is replaced by a keyed
    token at once (PCI DSS 4.0.1, 3.5.1.1). Other identifiers are refused in columns that would be kept.
    """
    kept = {f.name for f in spec.features if f.type is FeatureType.CATEGORY} | {a.column for a in spec.protected}
    for series in frame.iter_columns():
        if series.name == spec.data.identifier:
            continue
        if cards := count_card_numbers(series):
            yield Problem(
                series.name,
                f"{cards} record{'s' * (cards > 1)} with what looks like a payment card number",
                "remove the column from the file, or truncate it at the source (PCI DSS 4.0.1, 3.5.1)",
            )
        if series.name in kept:
            for kind, count in resembles(series).items():
                yield Problem(
                    series.name,
                    f"{count} record{'s' * (count > 1)} with what looks like a person's {kind.replace('-', ' ')}",
                    "remove them from the column, or declare it as data.identifier so that it is tokenised",
                )
