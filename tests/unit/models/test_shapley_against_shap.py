"""Our contributions are those of shap's interventional explainer with one background row.

The two are not compared more closely because shap's own values add up to f(x) - f(reference) only within about
2e-7, ours within 1e-14. That ours are exact is shown against the definition, in tests/property.
"""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import shap

from aboveboard.models import Model
from aboveboard.spec.types import ReferenceConvention
from tests.unit.models.credit_case import CreditCase


@pytest.mark.parametrize("convention", list(ReferenceConvention))
def test_contributions_are_those_of_shap(credit: CreditCase, model: Model, convention: ReferenceConvention) -> None:
    rows = credit.rows[credit.holdout[:300]]
    booster = lightgbm.Booster(model_str=model.files()["trees.txt"].decode())
    background = model.reference(convention).reshape(1, -1)
    explainer = shap.TreeExplainer(booster, background, feature_perturbation="interventional", model_output="raw")
    expected = explainer.shap_values(rows)
    assert np.abs(model.attribute(rows, convention) - expected).max() < 1e-6
    assert np.abs(model.attribute(rows, convention) - expected).mean() < 1e-8
