"""What is proposed is approved, allowed and the smallest there is: held against trying everything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aboveboard.models import Encoding, Model, ReasonCode
from aboveboard.models.calibration import Calibration
from aboveboard.models.contract import EncodedFeature
from aboveboard.models.lightgbm_trees import LightGBMTrees
from aboveboard.models.model import DecisionRule
from aboveboard.models.recourse import Recourse, RecourseSearch
from aboveboard.models.reference import Reference
from aboveboard.models.trees import Trees
from aboveboard.spec.recourse import Direction
from aboveboard.spec.recourse import Recourse as Rule
from aboveboard.spec.types import FeatureType, Purpose, ReferenceConvention
from tests.property.models.random_trees import ensembles

FEATURES = (
    EncodedFeature("amount", FeatureType.INTEGER, minimum=-2, maximum=3, optional=True),
    EncodedFeature("share", FeatureType.NUMBER, minimum=-1.5, maximum=1.5),
    EncodedFeature("home", FeatureType.CATEGORY, categories=("own", "rent", "street"), optional=True),
    EncodedFeature("employed", FeatureType.BOOLEAN),
    EncodedFeature("age", FeatureType.INTEGER, minimum=0, maximum=2),
)
ENCODING = Encoding(FEATURES)
STEPS = {"amount": 1, "share": 0.5}

values = {
    "amount": st.one_of(st.none(), st.integers(-2, 3)),
    "share": st.sampled_from([-1.5, -1.0, -0.7, 0.0, 0.2, 0.5, 1.0, 1.5]),
    "home": st.sampled_from([None, "own", "rent", "street"]),
    "employed": st.booleans(),
    "age": st.integers(0, 2),
}
records: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(values)
directions = st.sampled_from(Direction)


@st.composite
def pairs_of_records(draw: st.DrawFn) -> tuple[dict[str, object], dict[str, object]]:
    """Return a record, and one that differs from it in at most two features: changing both is often what it takes."""
    record, other = draw(records), draw(records)
    names = draw(st.lists(st.sampled_from(sorted(STEPS | {"home": 1, "employed": 1})), min_size=2, max_size=2))
    return record, {**record, **{name: other[name] for name in names}}


rules = st.fixed_dictionaries(
    {
        "amount": st.builds(lambda c, m: rule(c, step=1, most=m), directions, st.sampled_from([None, 1, 2.5])),
        "share": st.builds(lambda c, m: rule(c, step=0.5, most=m), directions, st.sampled_from([None, 0.5, 2])),
        "home": st.builds(lambda c: rule(c), directions),
        "employed": st.builds(lambda c: rule(c), directions),
    }
)


def rule(change: Direction, **more: float | None) -> Rule:
    return Rule.model_validate({"change": change, **(more if change is not Direction.NONE else {})})


def model_of(trees: LightGBMTrees, record: Mapping[str, object]) -> Model:
    """Return a model that just approves one record."""
    calibration = Calibration(slope=0.1, intercept=0.05)
    score = float(calibration.apply(trees.margin(ENCODING.encode(record)[None, :]))[0])
    reference = Reference(record=dict(record), people=50, score=score)  # type: ignore[arg-type]
    return Model(
        encoding=ENCODING,
        predictor=trees,
        calibration=calibration,
        decision=DecisionRule(Purpose.CREDIT_DECISION, score, score, ReferenceConvention.AT_CUT_OFF, 4),
        references=dict.fromkeys(ReferenceConvention, reference),
        reason_codes=tuple(ReasonCode(f.name, (f.name,), {"en": f.name}) for f in FEATURES),
    )


class Allowed(NamedTuple):
    value: object
    distance: float


def allowed(feature: EncodedFeature, own: object, rule: Rule) -> Iterator[Allowed]:
    """Yield, the plain way, every value the rule allows instead of a row's own, and how far away it is."""
    if own is None:
        return
    if feature.name in STEPS:
        assert isinstance(own, int | float)
        assert feature.minimum is not None
        assert feature.maximum is not None
        step = STEPS[feature.name]
        for multiple in range(-20, 20):
            value = multiple * step
            far = rule.most if rule.most is not None else feature.maximum - feature.minimum
            inside = feature.minimum <= value <= feature.maximum and (rule.most is None or abs(value - own) <= far)
            if inside and value != own and goes(rule.change, value > own):
                yield Allowed(value, abs(value - own) / far)
        return
    order: tuple[object, ...] = feature.categories or (False, True)
    for place, other in enumerate(order):
        if other != own and goes(rule.change, place > order.index(own)):
            yield Allowed(other, 1.0)


def goes(change: Direction, up: bool) -> bool:
    return change in (Direction.EITHER, Direction.INCREASE if up else Direction.DECREASE)


class Way(NamedTuple):
    features: tuple[str, ...]
    distance: float


def everything(model: Model, record: Mapping[str, object], rules: Mapping[str, Rule]) -> list[Way]:
    """Return every approved change of one or two features, found by scoring each by itself."""
    options = {f.name: [*allowed(f, record[f.name], rules[f.name])] for f in FEATURES if f.name in rules}
    ways = []
    for count in (1, 2):
        for names in itertools.combinations(options, count):
            for chosen in itertools.product(*(options[name] for name in names)):
                changed = {**record, **{name: option.value for name, option in zip(names, chosen, strict=True)}}
                if score(model, changed) >= model.approve_at:
                    ways.append(Way(names, sum(option.distance for option in chosen)))
    return ways


def score(model: Model, record: Mapping[str, object]) -> float:
    return float(model.score(model.encoding.encode(record)[None, :])[0])


def distance(recourse: Recourse, rules: Mapping[str, Rule]) -> float:
    by_name = {feature.name: feature for feature in FEATURES}
    return sum(
        option.distance
        for change in recourse.changes
        for option in allowed(by_name[change.feature], change.from_, rules[change.feature])
        if option.value == change.to
    )


@settings(max_examples=250, deadline=None)
@given(ensembles(ENCODING.width, zero_is_missing=False), pairs_of_records(), rules)
def test_nothing_smaller_is_found_by_trying_everything(
    trees: Trees, pair: tuple[dict[str, object], dict[str, object]], rules: dict[str, Rule]
) -> None:
    predictor = LightGBMTrees(trees, ENCODING.owner)
    record, approved = sorted(pair, key=lambda one: float(predictor.margin(ENCODING.encode(one)[None, :])[0]))
    model = model_of(predictor, approved)
    if score(model, record) >= model.approve_at:
        assert not RecourseSearch(model, rules).recourses(ENCODING.encode(record))
        return
    found = RecourseSearch(model, rules).recourses(ENCODING.encode(record))
    ways = everything(model, record, rules)
    alone = {way.features[0] for way in ways if len(way.features) == 1}
    minimal = [way for way in ways if len(way.features) == 1 or not set(way.features) & alone]
    assert bool(found) == bool(minimal)
    if found:
        assert len(found[0].changes) == min(len(way.features) for way in minimal)
    for recourse in found:
        names = tuple(change.feature for change in recourse.changes)
        least = min(way.distance for way in minimal if way.features == names)
        assert abs(distance(recourse, rules) - least) < 1e-9
    first = min(((len(way.features), way.distance) for way in minimal), default=None)
    assert first is None or abs(distance(found[0], rules) - first[1]) < 1e-9


@settings(max_examples=150, deadline=None)
@given(ensembles(ENCODING.width, zero_is_missing=False), records, records, rules)
def test_what_is_proposed_is_approved_and_allowed(
    trees: Trees, record: dict[str, object], approved: dict[str, object], rules: dict[str, Rule]
) -> None:
    model = model_of(LightGBMTrees(trees, ENCODING.owner), approved)
    found = RecourseSearch(model, rules).recourses(ENCODING.encode(record))
    if score(model, record) >= model.approve_at:
        assert not found
    by_name = {feature.name: feature for feature in FEATURES}
    named: set[str] = set()
    for recourse in found:
        for change in recourse.changes:
            options = allowed(by_name[change.feature], record[change.feature], rules[change.feature])
            assert change.to in [option.value for option in options]
            assert change.from_ == record[change.feature]
        changed = {**record, **{change.feature: change.to for change in recourse.changes}}
        assert score(model, changed) == recourse.score >= model.approve_at
        features = {change.feature for change in recourse.changes}
        assert not features <= named
        named |= features
    assert len(found) <= 3
    assert "age" not in named


@settings(max_examples=50, deadline=None)
@given(ensembles(ENCODING.width, zero_is_missing=False), st.lists(records, min_size=1, max_size=5))
def test_boxes_add_up_to_the_margin(trees: Trees, some: list[dict[str, object]]) -> None:
    predictor = LightGBMTrees(trees, ENCODING.owner)
    boxes = predictor.boxes()
    rows: list[NDArray[np.float64]] = [ENCODING.encode(record) for record in some]
    sums = [boxes.start + boxes.values[boxes.count(boxes.broken(row)) == 0].sum() for row in rows]
    np.testing.assert_allclose(sums, predictor.margin(np.array(rows)), atol=1e-9)
