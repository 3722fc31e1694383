"""What `aboveboard init` proposes for an unknown file: features, groups, what to leave out and why. Pure.

Where a file cannot tell, the careful choice is made: a column that might be protected, might give the answer away
or might name a person is left out, with the reason, and its owner puts it back if that was wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aboveboard.data import naming
from aboveboard.data.conversion import LARGEST_INTEGER, spell
from aboveboard.data.profile import Profile, presence_separation, separation
from aboveboard.data.protection import resembles
from aboveboard.data.roles import RESERVED
from aboveboard.spec.load import UNANSWERED
from aboveboard.spec.types import Classification, FeatureType, Scalar

LARGEST_CATEGORIES = 50
LEAK_AUC = 0.98
"""A single column that ranks this well was probably filled in after the outcome was known."""
SUGGESTED_AUC = 0.55
RARE_SHARE = 0.01
TELLING_SIZE = 120
"""Of so many people, 36 are held out on average; with fewer than 30 a group gives no verdict."""
LARGEST_LISTED = 10
"""A numeric protected attribute with more values than this is divided into bands."""
AGE_CUTS = (25.0, 40.0, 62.0)
"""62: the age from which 12 CFR 1002.6(b)(2) bars age from counting against an applicant."""


@dataclass(frozen=True, slots=True)
class ProposedFeature:
    """One input, its contract, and what to tell its owner."""

    name: str
    type: FeatureType
    classification: Classification
    reason: str
    max_missing: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that is not proposed as a feature."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ProposedGroup:
    """Listed values, or a band."""

    name: str
    values: tuple[Scalar, ...] = ()
    from_: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class ProposedAttribute:
    """A protected attribute with its groups, and what to tell its owner."""

    name: str
    column: str
    groups: tuple[ProposedGroup, ...]
    reference: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class ProposedFeatures:
    """The features in file order, and the columns left out."""

    features: list[ProposedFeature] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def propose_features(columns: Sequence[Profile], favourable: NDArray[np.bool_]) -> ProposedFeatures:
    """Return what to use of `columns`: the file's without target, identifier and protected attributes."""
    proposed = ProposedFeatures()
    spoken: set[str] = set()
    for column in columns:
        why = _why_not(column, favourable)
        if why:
            proposed.left_out.append(LeftOut(column.name, why))
            continue
        feature = _feature(column, favourable, spoken)
        spoken.add(feature.reason)
        proposed.features.append(feature)
    return proposed


def _why_not(column: Profile, favourable: NDArray[np.bool_]) -> str:
    """Return why a column is no feature, or nothing."""
    records = len(column.values)
    if column.kind == "empty":
        return "it has no value in any record"
    if column.kind == "unreadable":
        return "its values are neither numbers nor text, or not all of them finite"
    if column.name == RESERVED:
        return f"the name {RESERVED!r} is reserved for the token; rename the column"
    if column.name == UNANSWERED:
        return "a lone question mark stands for an open question; rename the column"
    if naming.suggests_protected(column.name):
        return (
            "WARNING: its name suggests a protected attribute. Give it to --protected so that fairness is checked on "
            "it; if it is something else, add it to the features"
        )
    if naming.suggests_health(column.name):
        return (
            "WARNING: its name suggests health data (GDPR art. 9), which Directive (EU) 2023/2225 bars from "
            "creditworthiness assessment"
        )
    if column.kind == "text" and (kinds := resembles(column.values)):
        return f"its values look like identifiers of people ({', '.join(sorted(kinds))})"
    if naming.suggests_identifier(column.name) and column.distinct > LARGEST_LISTED:
        return "its name is an identifier's, and identifiers carry no order and no meaning"
    if column.kind == "time":
        return "it is a date or time. To judge the model on the newest records: split: {method: time, column: …}"
    if column.distinct == 1 and column.missing == 0:
        return "it has the same value in every record"
    if column.distinct == 1:
        return "it has only one value, where it has any"
    if _row_number(column, records):
        return "it numbers the records"
    if column.kind == "text" and column.distinct > max(2, records // 2):
        return f"it is nearly unique: {column.distinct} distinct texts in {records} records"
    if column.kind == "text" and column.distinct > LARGEST_CATEGORIES:
        return f"it has {column.distinct} distinct texts, more than {LARGEST_CATEGORIES}; group them into fewer"
    if column.kind == "text" and any(not str(value).strip() for value, _ in column.counts()):
        return "some of its values are nothing but spaces; give them a spelling"
    if column.kind == "text" and any(len(str(value)) > 200 for value, _ in column.counts()):
        return "its values are long texts, not categories"
    return _leak(column, favourable)


def _row_number(column: Profile, records: int) -> bool:
    unique = column.kind == "integer" and column.distinct == records and records > LARGEST_LISTED
    return unique and column.high - column.low == records - 1


def _leak(column: Profile, favourable: NDArray[np.bool_]) -> str:
    area = separation(column, favourable)
    if max(area, 1 - area) > LEAK_AUC:
        return (
            f"WARNING: it alone tells the outcome (AUC {max(area, 1 - area):.3f}): probably it was filled in "
            "afterwards, or it is the outcome under another name"
        )
    presence = presence_separation(column, favourable)
    if max(presence, 1 - presence) > LEAK_AUC:
        return "WARNING: whether it has a value alone tells the outcome: probably it was filled in afterwards"
    return ""


def _feature(column: Profile, favourable: NDArray[np.bool_], spoken: set[str]) -> ProposedFeature:
    words = naming.humanised(column.name)
    reason = f"The level of {words}" if column.numeric else f"The information given on {words}"
    if reason in spoken:
        reason = f"{reason} ({column.name})"[:2000]
    low, high = padded(column.low, column.high, whole=column.kind == "integer") if column.numeric else (None, None)
    kinds = {"integer": FeatureType.INTEGER, "number": FeatureType.NUMBER, "boolean": FeatureType.BOOLEAN}
    return ProposedFeature(
        name=column.name,
        type=kinds.get(column.kind, FeatureType.CATEGORY),
        classification=Classification.PII if naming.suggests_person(column.name) else Classification.FINANCIAL,
        reason=reason,
        max_missing=allowed_missing(column.missing),
        minimum=low,
        maximum=high,
        categories=tuple(sorted(str(v) for v, _ in column.counts())) if column.kind == "text" else (),
        note=_direction(column, favourable),
    )


def _direction(column: Profile, favourable: NDArray[np.bool_]) -> str:
    """Say which way the column goes with the outcome on its own. It may turn beside other columns: a hint only."""
    if not column.numeric:
        return ""
    area = separation(column, favourable)
    if area >= SUGGESTED_AUC:
        return f"more of it goes with the favourable outcome (AUC {area:.2f} alone): monotonic: increasing?"
    if area <= 1 - SUGGESTED_AUC:
        return f"more of it goes with the other outcome (AUC {1 - area:.2f} alone): monotonic: decreasing?"
    return ""


def padded(low: float, high: float, *, whole: bool) -> tuple[float | None, float | None]:
    """Return limits for next month's data: half the observed span wider on either side, rounded outwards.

    What was never negative stays so; flags and fractions keep 0 and 1. None where the span is not finite.
    """
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    span = high - low
    if not math.isfinite(2 * span):
        return None, None
    bottom, top = low - span / 2, high + span / 2
    step = 10.0 ** (math.floor(math.log10(span)) - 1) if span > 0 else 1.0
    if whole:
        step = max(step, 1.0)
    if step > 0:
        bottom, top = math.floor(bottom / step) * step, math.ceil(top / step) * step
        digits = max(0, -math.floor(math.log10(step)))
        bottom, top = round(bottom, digits), round(top, digits)
    bottom = max(bottom, 0.0) if low >= 0 else min(bottom, low)
    top = min(top, 0.0) if high <= 0 else max(top, high)
    if whole:
        bottom, top = max(bottom, float(-LARGEST_INTEGER)), min(top, float(LARGEST_INTEGER))
    return bottom, top


def allowed_missing(share: float) -> float:
    """Return half again as many gaps as were seen and one in a hundred more; none where none were seen."""
    return 0.0 if share == 0 else min(1.0, math.ceil(round(share * 150 + 1, 6)) / 100)


def propose_attribute(column: Profile) -> ProposedAttribute:
    """Return groups for a protected attribute: one per value, or bands for a number with many values.

    The column must have two distinct values at least, and at most 50 if it is text. The largest group is the
    reference.
    """
    name = naming.slug(column.name, otherwise="attribute")
    if column.numeric and column.distinct > LARGEST_LISTED:
        groups, sizes = _bands(column)
        notes = ["the bands are a proposal: draw them where your law or your policy draws them"]
    else:
        groups, sizes = _listed(column, name)
        notes = []
    if column.missing:
        notes.append(f"{column.missing:.1%} of the records have no value; at most 5% may be in no group")
    small = [group.name for group, size in zip(groups, sizes, strict=True) if size < TELLING_SIZE]
    if small:
        notes.append(f"few people, so that the evidence may not suffice: {', '.join(small)}")
    reference = groups[int(np.argmax(sizes))].name
    return ProposedAttribute(name, column.name, tuple(groups), reference, tuple(notes))


def _listed(column: Profile, attribute: str) -> tuple[list[ProposedGroup], list[int]]:
    """One group per value; those below one in a hundred together in `other`, with the next until it is telling."""
    counts = column.counts()
    total = sum(n for _, n in counts)
    common = [(value, n) for value, n in counts if n >= RARE_SHARE * total]
    rare = [(value, n) for value, n in counts if n < RARE_SHARE * total]
    if len(common) < 2:
        common, rare = [*common, *rare[: 2 - len(common)]], rare[2 - len(common) :]
    while rare and len(common) > 2 and sum(n for _, n in rare) < TELLING_SIZE:
        rare.insert(0, common.pop())
    prefix = attribute[:40].strip("-")
    names = naming.distinct_slugs([spell(value) for value, _ in common], prefix=prefix)
    groups = [ProposedGroup(label, (value,)) for label, (value, _) in zip(names, common, strict=True)]
    sizes = [n for _, n in common]
    if rare:
        others = tuple(value for value, _ in rare)
        added = sum(n for _, n in rare)
        if "other" in names:
            at = names.index("other")
            groups[at] = ProposedGroup("other", (*groups[at].values, *others))
            sizes[at] += added
        else:
            groups.append(ProposedGroup("other", others))
            sizes.append(added)
    return groups, sizes


def _bands(column: Profile) -> tuple[list[ProposedGroup], list[int]]:
    """Bands of age at the cuts the law knows, or quarters of the people; no band without anybody in it."""
    values = column.values.drop_nulls().to_numpy().astype(np.float64)
    years = naming.suggests_age(column.name)
    wanted = AGE_CUTS if years else tuple(np.unique(np.quantile(values, (0.25, 0.5, 0.75), method="higher")).tolist())
    cuts: list[float] = []
    for cut in wanted:
        since = cuts[-1] if cuts else -math.inf
        if ((values >= since) & (values < cut)).any() and (values >= cut).any():
            cuts.append(cut)
    edges = [-math.inf, *cuts, math.inf]
    sizes = [int(((values >= a) & (values < b)).sum()) for a, b in itertools.pairwise(edges)]
    groups = [
        ProposedGroup(
            _band_name(index, a, b, years=years),
            from_=None if math.isinf(a) else a,
            below=None if math.isinf(b) else b,
        )
        for index, (a, b) in enumerate(itertools.pairwise(edges), start=1)
    ]
    return groups, sizes


def _band_name(index: int, start: float, end: float, *, years: bool) -> str:
    if not years:
        return f"band-{index}"
    if math.isinf(start):
        return f"under-{int(end)}"
    return f"from-{int(start)}" if math.isinf(end) else f"{int(start)}-{int(end) - 1}"
