"""The report of a real model on 9,000 held-out clients."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.errors import DataRefused, NotVerified
from aboveboard.evaluation import Report, evaluate
from tests.unit.evaluation.evaluation_cases import NOON, HeldOut, LinearModel, credit_data, credit_model, credit_spec

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def report() -> Report:
    return evaluate(credit_model(), credit_spec(), credit_data(), model_digest=DIGEST, clock=lambda: NOON)


def held_out(rows: list[int]) -> HeldOut:
    data = credit_data()
    return HeldOut(data.frame, data.favourable, {"holdout": np.array(rows, dtype=np.int64)})


def test_it_says_what_was_evaluated_on_what(report: Report) -> None:
    assert report.model == "credit-default"
    assert report.model_digest == DIGEST
    assert report.data_digest == credit_data().lineage.data_digest
    assert report.created == "2026-11-21T12:00:00.000Z"
    assert report.rows == 9000
    assert (report.approve_at, report.refer_at, report.adverse_impact_ratio_limit) == (0.72, 0.6, 0.8)


def test_every_protected_attribute_of_the_spec_is_there(report: Report) -> None:
    assert [attribute.attribute for attribute in report.fairness] == ["sex", "age", "marriage", "education"]
    assert all(sum(group.n for group in attribute.groups) == 9000 for attribute in report.fairness)
    assert not any(attribute.used_as_feature for attribute in report.fairness)


def test_it_survives_json(report: Report) -> None:
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_the_same_evidence_gives_the_same_report_in_any_order(report: Report) -> None:
    data = credit_data()
    backwards = HeldOut(data.frame, data.favourable, {"holdout": data.partitions["holdout"][::-1]})

    again = evaluate(credit_model(), credit_spec(), data, model_digest=DIGEST, clock=lambda: NOON)
    reversed_ = evaluate(credit_model(), credit_spec(), backwards, model_digest=DIGEST, clock=lambda: NOON)

    assert again == report
    assert reversed_.fairness == report.fairness
    assert reversed_.calibration == report.calibration
    assert reversed_.caveats == report.caveats


def test_caveats_name_what_a_reader_must_know(report: Report) -> None:
    text = "\n".join(report.caveats)

    assert "Selective labels" in text
    assert "at random from the same period" in text
    assert "fall between the cut-offs and go to a person" in text
    assert "too few held-out members" not in text  # every group has dozens


def test_small_and_absent_groups_are_named() -> None:
    frame = credit_data().frame
    under_62 = np.flatnonzero((frame["AGE"] < 62).to_numpy())[:600].tolist()
    three_elders = np.flatnonzero((frame["AGE"] >= 62).to_numpy())[:3].tolist()

    with_three = evaluate(
        credit_model(), credit_spec(), held_out(under_62 + three_elders), model_digest=DIGEST, clock=lambda: NOON
    )
    with_none = evaluate(credit_model(), credit_spec(), held_out(under_62), model_digest=DIGEST, clock=lambda: NOON)

    assert any("from-62 (n = 3)" in caveat for caveat in with_three.caveats)
    assert any("from-62 (n = 0)" in caveat for caveat in with_none.caveats)
    assert with_none.fairness[1].groups[-1].selection_rate.value is None


def test_a_holdout_with_one_outcome_only_is_reported_and_not_invented() -> None:
    good = np.flatnonzero(credit_data().favourable)[:200].tolist()

    report = evaluate(credit_model(), credit_spec(), held_out(good), model_digest=DIGEST, clock=lambda: NOON)

    assert report.performance.auc.value is None
    assert report.calibration.slope is None
    assert any("no calibration slope" in caveat for caveat in report.caveats)
    assert all(group.false_positive_rate.value is None for attribute in report.fairness for group in attribute.groups)


def test_nothing_held_out_is_refused() -> None:
    with pytest.raises(DataRefused, match="nothing to evaluate on"):
        evaluate(credit_model(), credit_spec(), held_out([]), model_digest=DIGEST, clock=lambda: NOON)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    class Broken(LinearModel):
        def score(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.full(len(rows), np.nan)

    model = credit_model()
    broken = Broken(model.encoding, model.weights, model.intercept, model.references)

    with pytest.raises(NotVerified, match="not a probability"):
        evaluate(broken, credit_spec(), credit_data(), model_digest=DIGEST, clock=lambda: NOON)


def test_a_model_with_exaggerated_scores_is_called_out() -> None:
    model = credit_model()
    loud = replace(model, weights=model.weights * 3, intercept=model.intercept * 3)

    report = evaluate(loud, credit_spec(), credit_data(), model_digest=DIGEST, clock=lambda: NOON)

    assert any("too extreme" in caveat for caveat in report.caveats)


def test_it_takes_less_than_two_seconds(report: Report) -> None:
    started = time.process_time()

    evaluate(credit_model(), credit_spec(), credit_data(), model_digest=DIGEST, clock=lambda: NOON)

    assert report.rows == 9000  # the fixture has loaded what is loaded lazily
    assert time.process_time() - started < 2.0


def test_importing_the_package_loads_no_scientific_library() -> None:
    code = (
        "import sys, aboveboard.evaluation;"
        "print(sorted({'scipy', 'sklearn', 'pandas', 'polars', 'lightgbm', 'jinja2'} & set(sys.modules)))"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
