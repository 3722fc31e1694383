"""What a column's name suggests: an identifier, a protected attribute, health, or where a person can be found.

A name is a hint and nothing more, so everything here errs on the careful side and says so in a comment that the
owner of the data reads.
"""

from __future__ import annotations

import re
import unicodedata


def _set_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PROTECTED = _set_of(
    """
    sex gender male female age dob birth birthday birthdate born race racial ethnic ethnicity marital
    marriage married religion religious faith nationality national citizenship citizen foreign foreigner
    immigrant disability disabled handicap pregnant pregnancy orientation caste tribe union political
    party geschlecht alter familienstand sexe sexo genero edad idade
    """
)
_HEALTH = _set_of(
    """
    health medical medicine disease diagnosis illness smoker smoking bmi hospital medication treatment
    """
)
_PLACE_OR_NAME = _set_of(
    """
    zip zipcode postcode postal address street city town name firstname lastname surname email phone
    telephone mobile ip employer
    """
)
_NOT_A_PERSONS = _set_of(
    """
    account accounts loan loans credit card vehicle car property house building history file business
    company firm oldest newest trade trades line lines policy contract relationship
    """
)
"""Beside one of these, `age` is not a person's."""

_PEOPLE = "customer|client|applicant|subject|person|member|borrower|debtor"
_IDENTIFIER = re.compile(
    rf"(\w+ )?(id|uuid|guid|ssn|iban)|id \w+|{_PEOPLE}"
    rf"|({_PEOPLE}|user|loan|application|account|case|record) (no|nr|num|number|key|ref|reference|code|token)"
)


def words(name: str) -> list[str]:
    """Return the words in a column's name: `annualIncome_EUR` is annual, income, eur."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word.casefold() for word in re.split(r"[\W_]+", spaced) if word]


def humanised(name: str) -> str:
    """Return a column's name as words in a sentence: `credit_amount` is `credit amount`."""
    return " ".join(words(name)) or "value"


def suggests_protected(name: str) -> bool:
    """Tell whether the name is that of a characteristic the law protects."""
    parts = set(words(name))
    hits = parts & _PROTECTED
    return bool(hits - {"age"}) or ("age" in hits and not parts & _NOT_A_PERSONS)


def suggests_age(name: str) -> bool:
    """Tell whether the name is that of a person's age in years."""
    parts = set(words(name))
    return bool(parts & {"age", "alter", "edad", "idade"}) and not parts & _NOT_A_PERSONS


def suggests_health(name: str) -> bool:
    """Tell whether the name is that of health data (GDPR art. 9)."""
    return bool(set(words(name)) & _HEALTH)


def suggests_person(name: str) -> bool:
    """Tell whether the name is that of something that helps to find a person."""
    return bool(set(words(name)) & _PLACE_OR_NAME)


def suggests_identifier(name: str) -> bool:
    """Tell whether the name is that of an identifier: `ID`, `customer_id`, `loan number`."""
    return _IDENTIFIER.fullmatch(" ".join(words(name))) is not None


def slug(text: str, *, otherwise: str) -> str:
    """Return a DNS-1123 label made from `text`, or from `otherwise` where nothing in it can be written so."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    label = re.sub(r"[^a-z0-9]+", "-", " ".join(words(ascii_only))).strip("-")[:63].strip("-")
    return label or otherwise


def distinct_slugs(texts: list[str], *, prefix: str) -> list[str]:
    """Return one DNS-1123 label per text, no two alike; a text that is a number gets the prefix."""
    taken: set[str] = set()
    labels = []
    for index, text in enumerate(texts, start=1):
        sign = "minus-" if re.match(r"-\d", text) else ""
        label = slug(text, otherwise=f"{prefix}-{index}"[:63])
        if label[0].isdigit():
            label = f"{prefix}-{sign}{label}"[:63].strip("-")
        number = 2
        candidate = label
        while candidate in taken:
            candidate = f"{label[:58].strip('-')}-{number}"
            number += 1
        taken.add(candidate)
        labels.append(candidate)
    return labels
