"""Fitting a model from its spec: the family's own fit, then calibration, then the references.

Training only: this imports LightGBM's Python package, scikit-learn and scipy; the decision server never does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import DataRefused, Misuse, Problem
from aboveboard.models.calibration_fit import fit_calibration
from aboveboard.models.encoding import Encoding
from aboveboard.models.lightgbm_fit import fit_trees
from aboveboard.models.model import DecisionRule, Model
from aboveboard.models.predictor import Predictor
from aboveboard.models.reasons import reason_codes
from aboveboard.models.reference import find_references
from aboveboard.models.scorecard_fit import fit_scorecard
from aboveboard.spec import ModelSpec
from aboveboard.spec.types import Family

Parameters = Mapping[str, int | float | str | bool]


def fit_model(
    spec: ModelSpec,
    train_rows: NDArray[np.float64],
    train_favourable: NDArray[np.bool_],
    calibration_rows: NDArray[np.float64],
    calibration_favourable: NDArray[np.bool_],
    parameters: Parameters,
    seed: int,
) -> Model:
    """Return the model a spec declares, fitted to encoded rows, shape (n, width), and outcomes, shape (n,).

    The rows come from `Encoding.from_spec(spec).encode_columns`. The same arguments give the same model, byte for
    byte. Raises `DataRefused` where the records cannot carry a model (one outcome only, nobody approved) and
    `Misuse` for parameters the family does not take.
    """
    encoding = Encoding.from_spec(spec)
    for name, rows, favourable in (
        ("training", train_rows, train_favourable),
        ("calibration", calibration_rows, calibration_favourable),
    ):
        _check(name, rows, favourable, encoding.width)
    predictor = _fit_predictor(spec, encoding, train_rows, train_favourable, parameters, seed)
    calibration = fit_calibration(predictor.margin(calibration_rows), calibration_favourable)
    rule = spec.spec.decision
    references = find_references(
        encoding,
        np.concatenate([train_rows, calibration_rows]),
        lambda rows: calibration.apply(predictor.margin(rows)),
        rule.approve_at,
    )
    return Model(
        encoding=encoding,
        predictor=predictor,
        calibration=calibration,
        decision=DecisionRule(
            purpose=spec.spec.purpose,
            approve_at=rule.approve_at,
            refer_at=rule.refer_at,
            convention=rule.reference,
            max_reasons=rule.max_reasons,
        ),
        references=references,
        reason_codes=reason_codes((feature.name, *spec.spec.reason_texts(feature)) for feature in spec.spec.features),
    )


def _fit_predictor(
    spec: ModelSpec,
    encoding: Encoding,
    rows: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    parameters: Parameters,
    seed: int,
) -> Predictor:
    match spec.spec.model.family:
        case Family.LIGHTGBM:
            return fit_trees(encoding, rows, favourable, parameters, seed)
        case Family.SCORECARD:
            return fit_scorecard(encoding, rows, favourable, parameters)


def _check(name: str, rows: NDArray[np.float64], favourable: NDArray[np.bool_], width: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != width or favourable.shape != (len(rows),) or favourable.dtype != np.bool_:
        raise Misuse(
            f"{name}: rows of shape {rows.shape} and outcomes of shape {favourable.shape} do not go together",
            hint="encode the records with Encoding.from_spec(spec) and give one boolean for each",
        )
    good = int(favourable.sum())
    if good in (0, len(rows)):
        problem = Problem(
            name,
            f"{good} of {len(rows)} outcomes are favourable; both outcomes are needed",
            "check data.target.favourable in the spec, and the split",
        )
        raise DataRefused(f"the {name} records have one outcome only", [problem], hint=problem.hint)
