"""What the checks on reasons find, in a model where the answer is known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.errors import NotVerified
from aboveboard.evaluation.explanation import assess_explanation, monotonic_violations
from aboveboard.spec.types import ReferenceConvention
from tests.unit.evaluation.evaluation_cases import LinearModel, NumericEncoding, credit_data, credit_model

ROWS = np.random.default_rng(1).normal(size=(2000, 3))


def linear(weights: list[float], monotonic: tuple[int, ...] = (0, 0, 0), shift: float = 0.0) -> LinearModel:
    return LinearModel(
        encoding=NumericEncoding(("a", "b", "c"), monotonic),
        weights=np.array(weights),
        intercept=0.5,
        references={
            ReferenceConvention.AT_CUT_OFF: np.zeros(3),
            ReferenceConvention.ALL_APPROVED: np.array([shift, 0.0, 0.0]),
        },
    )


class Inexact(LinearModel):
    """Contributions that miss a tenth of the first feature's part."""

    def attribute(
        self, rows: NDArray[np.float64], convention: ReferenceConvention | None = None
    ) -> NDArray[np.float64]:
        return np.asarray(super().attribute(rows, convention) * np.array([0.9, 1.0, 1.0]))


def test_contributions_that_add_up_have_no_error() -> None:
    explanation = assess_explanation(linear([1.0, -2.0, 0.5]), ROWS)

    assert explanation.largest_additivity_error < 1e-12
    assert explanation.rows == 2000


def test_contributions_that_do_not_add_up_are_found_at_their_worst() -> None:
    model = linear([1.0, -2.0, 0.5])
    inexact = Inexact(model.encoding, model.weights, model.intercept, model.references)

    explanation = assess_explanation(inexact, ROWS)

    assert explanation.largest_additivity_error == pytest.approx(0.1 * np.abs(ROWS[:, 0]).max())


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(NotVerified, match="not a finite number"):
        assess_explanation(linear([float("inf"), 1.0, 1.0]), ROWS)


def test_every_row_against_a_declared_direction_is_counted() -> None:
    with_it = linear([1.0, -2.0, 0.0], monotonic=(1, -1, 1))
    against_it = linear([1.0, 2.0, 0.0], monotonic=(1, -1, 1))

    assert not monotonic_violations(with_it, ROWS).any()
    assert monotonic_violations(against_it, ROWS).all()
    report = assess_explanation(against_it, ROWS)
    assert (report.monotonic_violations, report.monotonic_rows) == (400, 400)


def test_a_local_bump_is_found_where_it_is_and_missing_values_do_not_hide_it() -> None:
    class Bumpy(LinearModel):
        def margin(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            known = np.nan_to_num(rows)
            return np.asarray(known @ self.weights - 5.0 * ((known[:, 0] > 0.5) & (known[:, 1] > 1.0)))

    model = linear([1.0, 0.0, 0.0], monotonic=(1, 0, 0))
    bumpy = Bumpy(model.encoding, model.weights, model.intercept, model.references)
    rows = ROWS.copy()
    rows[::7, 0] = np.nan

    assert (monotonic_violations(bumpy, rows) == (rows[:, 1] > 1.0)).all()


def test_reasons_flip_where_the_reference_matters_and_only_there() -> None:
    same = assess_explanation(linear([1.0, -2.0, 0.5]), ROWS)
    moved = assess_explanation(linear([1.0, -2.0, 0.5], shift=1.0), ROWS)
    model = linear([1.0, -2.0, 0.5])
    adverse = ROWS[model.score(ROWS) < model.refer_at]

    assert same.reason_flip_rate == 0.0
    # Measured from 1 instead of 0, `a` becomes a reason for those between, and for nobody else.
    assert moved.reason_flip_rate == pytest.approx(((adverse[:, 0] >= 0) & (adverse[:, 0] < 1)).mean())


def test_without_adverse_decisions_there_is_no_flip_rate() -> None:
    lenient = replace(linear([1.0, -2.0, 0.5]), approve_at=0.0, refer_at=0.0)

    explanation = assess_explanation(lenient, ROWS)

    assert explanation.declines == 0
    assert explanation.reason_flip_rate is None
    assert [importance.share_of_declines for importance in explanation.importances] == [0, 0, 0]


def test_importances_are_mean_absolute_contributions_largest_first() -> None:
    explanation = assess_explanation(replace(linear([1.0, -2.0, 0.5]), max_reasons=1), ROWS)

    assert [importance.code for importance in explanation.importances] == ["b", "a", "c"]
    assert explanation.importances[0].mean_absolute == pytest.approx(2 * np.abs(ROWS[:, 1]).mean())
    assert sum(importance.share_of_declines for importance in explanation.importances) == pytest.approx(1, abs=0.02)


def test_a_real_model_of_real_people_obeys_every_direction() -> None:
    model, data = credit_model(), credit_data()
    frame = data.rows("holdout")
    rows = model.encoding.encode_columns({name: frame[name].to_list() for name in model.encoding.names})

    explanation = assess_explanation(model, rows)

    assert explanation.rows == 9000
    assert explanation.monotonic_violations == 0
    assert explanation.largest_additivity_error < 1e-9
