"""Made-up applicants with every kind of feature: numbers, whole numbers, categories, truth values, gaps."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aboveboard.models import Encoding, Model
from aboveboard.models.fit import Parameters, fit_model
from aboveboard.spec import ModelSpec
from aboveboard.spec.load import parse_spec
from aboveboard.spec.types import Family

SPEC = """
apiVersion: aboveboard.dev/v1alpha1
kind: Model
metadata: {name: loans, owner: lending@bank.example}
spec:
  purpose: fraud-detection
  materiality: low
  jurisdictions: [us]
  regions: [here]
  data:
    source: {path: loans.csv, format: csv, region: here}
    target: {column: repaid, favourable: 1}
    legalBasis: contract
  features:
    - {name: income, type: number, classification: financial, minimum: 0, maxMissing: 0.2, monotonic: increasing,
       reasons: {en: Income, de: Einkommen}}
    - {name: late, type: integer, classification: financial, minimum: 0, maximum: 20, monotonic: decreasing,
       reasons: {en: Late payments}}
    - {name: home, type: category, classification: public, categories: [own, rent, family, street], maxMissing: 0.2,
       reasons: {en: Housing}}
    - {name: employed, type: boolean, classification: public, monotonic: increasing, reasons: {en: Employment}}
    - {name: noise, type: number, classification: public, maxMissing: 0.2, reasons: {en: Noise}}
  protected:
    - name: sex
      column: sex
      reference: a
      groups: [{name: a, values: [0]}, {name: b, values: [1]}]
  model: {family: lightgbm}
  decision: {approveAt: 0.6, referAt: 0.4}
  evaluation: {limits: {aucAtLeast: 0.5, calibrationErrorAtMost: 1, adverseImpactRatioAtLeast: 0.8}}
"""
TREES: Parameters = {"n_estimators": 40, "num_leaves": 12, "learning_rate": 0.15, "min_child_samples": 20}


@cache
def spec(family: Family) -> ModelSpec:
    return parse_spec(SPEC.replace("family: lightgbm", f"family: {family.value}"), name="model.yaml")


@cache
def applicants(count: int = 3000) -> tuple[dict[str, list[Any]], NDArray[np.bool_]]:
    """Return columns as a record has them, and who repaid."""
    rng = np.random.default_rng(3)
    income, late = rng.gamma(3, 1000, count), rng.poisson(1.5, count)
    home, employed, noise = (
        rng.choice(4, count, p=[0.4, 0.35, 0.23, 0.02]),
        rng.random(count) < 0.8,
        rng.normal(size=count),
    )
    evidence = income / 2000 - 0.8 * late + np.array([0.8, 0.0, 0.2, -2.0])[home] + 0.7 * employed - 0.4
    favourable = rng.random(count) < 1 / (1 + np.exp(-evidence))
    gap = rng.random((3, count)) < 0.08
    homes = ("own", "rent", "family", "street")
    columns: dict[str, list[Any]] = {
        "income": [None if gap[0, i] else float(income[i]) for i in range(count)],
        "late": [min(int(value), 20) for value in late],
        "home": [None if gap[1, i] else homes[home[i]] for i in range(count)],
        "employed": [bool(value) for value in employed],
        "noise": [None if gap[2, i] else float(noise[i]) for i in range(count)],
    }
    return columns, favourable


@cache
def rows() -> NDArray[np.float64]:
    return Encoding.from_spec(spec(Family.LIGHTGBM)).encode_columns(applicants()[0])


@cache
def fitted(family: Family) -> Model:
    favourable = applicants()[1]
    parameters = TREES if family is Family.LIGHTGBM else {}
    return fit_model(
        spec(family), rows()[:2000], favourable[:2000], rows()[2000:], favourable[2000:], parameters, seed=1
    )
