from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from aboveboard.models import Encoding, Model
from aboveboard.models.contract import EncodedFeature
from aboveboard.serving.bins import BINS, FeatureBins
from aboveboard.serving.metrics import Metrics
from aboveboard.spec.types import FeatureType

ENCODING = Encoding(
    (
        EncodedFeature(name="amount", type=FeatureType.NUMBER, minimum=0, maximum=100),
        EncodedFeature(name="late", type=FeatureType.INTEGER, minimum=-2, maximum=3, optional=True),
        EncodedFeature(name="purpose", type=FeatureType.CATEGORY, categories=("car", "house"), optional=True),
        EncodedFeature(name="homeowner", type=FeatureType.BOOLEAN),
        EncodedFeature(name="income", type=FeatureType.NUMBER, optional=True),
    )
)


def counted(records: list[dict[str, object]]) -> dict[tuple[str, str], int]:
    bins = FeatureBins(ENCODING)
    for record in records:
        bins.add(ENCODING.encode(record))
    return {(feature, label): count for feature, label, count in bins.counts() if count}


def test_each_value_falls_into_one_bin() -> None:
    record: dict[str, object] = {"amount": 25.0, "late": 3, "purpose": "house", "homeowner": True, "income": 1e9}
    assert counted([record]) == {
        ("amount", "[20, 30)"): 1,
        ("late", "3"): 1,
        ("purpose", "house"): 1,
        ("homeowner", "true"): 1,
        ("income", "present"): 1,
    }
    absent: dict[str, object] = {"amount": 100, "late": None, "purpose": None, "homeowner": False, "income": None}
    assert counted([absent]) == {
        ("amount", "[90, 100]"): 1,
        ("late", "missing"): 1,
        ("purpose", "missing"): 1,
        ("homeowner", "false"): 1,
        ("income", "missing"): 1,
    }


def test_agrees_with_sorting_one_by_one() -> None:
    random = np.random.default_rng(3)
    records: list[dict[str, object]] = [
        {
            "amount": float(random.uniform(0, 100)),
            "late": None if random.random() < 0.2 else int(random.integers(-2, 4)),
            "purpose": [None, "car", "house"][random.integers(3)],
            "homeowner": bool(random.integers(2)),
            "income": None if random.random() < 0.5 else float(random.normal()),
        }
        for _ in range(1_000)
    ]
    wanted: Counter[tuple[str, str]] = Counter()
    for record in records:
        low = int(record["amount"] // 10) * 10  # type: ignore[operator]
        wanted["amount", f"[{low}, {low + 10}{']' if low == 90 else ')'}"] += 1
        wanted["late", "missing" if record["late"] is None else str(record["late"])] += 1
        wanted["purpose", str(record["purpose"] or "missing")] += 1
        wanted["homeowner", str(record["homeowner"]).lower()] += 1
        wanted["income", "missing" if record["income"] is None else "present"] += 1
    assert counted(records) == dict(wanted)


def test_every_feature_of_a_model_adds_up(model: Model, rows: NDArray[np.float64]) -> None:
    encoding = model.encoding
    metrics = Metrics()
    counts = metrics.of_release("credit-default", "sha256:" + "a" * 64, "champion", encoding)
    assert counts.bins is not None
    for row in rows:
        counts.bins.add(row)
    sums: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for feature, _, count in counts.bins.counts():
        sums[feature] += count
        places[feature] += 1
    assert set(sums.values()) == {len(rows)}
    assert set(sums) == {feature.name for feature in encoding.features}
    assert max(places.values()) <= 2 * BINS + 1
    family = next(f for f in metrics.collect() if f.name == "aboveboard_feature_values")
    assert sum(sample.value for sample in family.samples) == len(rows) * len(encoding.features)
