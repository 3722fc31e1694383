"""From contributions to the reasons a person is told: which factors lowered the score, most of all first.

Regulation B (12 CFR 1002.9(b)(2) and its commentary) asks for the specific principal reasons, only for factors
actually scored, and holds more than four not likely to be helpful.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from aboveboard.errors import Misuse

NEGLIGIBLE: Final = 1e-9
"""Log-odds up to which a contribution is rounding, not a factor."""


class ReasonCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A factor a person can be told of: one feature, or several declared to belong together."""

    code: str
    features: tuple[str, ...]
    texts: dict[str, str]
    """The same sentence in several languages, keyed by BCP 47 tag; the first is the last resort."""


class Reason(msgspec.Struct, frozen=True):
    """One of the principal reasons for an outcome."""

    code: str
    text: str
    contribution: float
    """In log-odds against the reference; negative."""
    features: tuple[str, ...]


def text_for(texts: Mapping[str, str], locale: str) -> str:
    """Return the text for a BCP 47 tag: the tag itself, then its parents (RFC 4647 lookup), English, the first."""
    by_tag = {tag.lower(): text for tag, text in texts.items()}
    tag = locale.replace("_", "-").lower()
    while tag:
        if tag in by_tag:
            return by_tag[tag]
        tag = tag.rpartition("-")[0]
    return by_tag.get("en") or next(iter(by_tag.values()))


def rank(contributions: Sequence[float], texts: Sequence[str], most: int) -> list[int]:
    """Return which factors to name: score-lowering only, the lowest first, ties in declared order, texts distinct.

    `contributions` and `texts` are by factor, in declared order. Contributions that agree to nine decimals are a
    tie: the order must not hang on how a sum was rounded.
    """
    lowering = [(round(value, 9), index) for index, value in enumerate(contributions) if value < -NEGLIGIBLE]
    lowering.sort()
    chosen: list[int] = []
    told: set[str] = set()
    for _, index in lowering:
        if texts[index] not in told:
            told.add(texts[index])
            chosen.append(index)
            if len(chosen) == most:
                break
    return chosen


def reason_codes(factors: Iterable[tuple[str, str, Mapping[str, str]]]) -> tuple[ReasonCode, ...]:
    """Return the reason codes of features given as (feature, code, texts), in the order the codes first appear.

    Raises `Misuse` where one code stands for two things, e.g. a reason group named like a feature outside it.
    """
    merged: dict[str, tuple[list[str], Mapping[str, str]]] = {}
    for feature, code, texts in factors:
        features, own = merged.setdefault(code, ([], texts))
        if own != texts:
            raise Misuse(
                f"the reason code {code!r} stands for two things",
                hint="give the reason group another name than the feature has",
            )
        features.append(feature)
    return tuple(ReasonCode(code, tuple(features), dict(texts)) for code, (features, texts) in merged.items())
