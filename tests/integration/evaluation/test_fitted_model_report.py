"""The report of a fitted, calibrated model, from the files it is stored in, on the example's real clients."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, selection_rate, true_positive_rate

from aboveboard.data import Dataset, load_dataset
from aboveboard.evaluation import Report, evaluate, render_html
from aboveboard.models import Model, load_model
from aboveboard.models.fit import fit_model
from aboveboard.policy import build_facts, gate, load_packs
from aboveboard.spec import ModelSpec, load_spec

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default"


def noon() -> datetime:
    return datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec(EXAMPLE / "model.yaml")


@pytest.fixture(scope="module")
def dataset(spec: ModelSpec) -> Dataset:
    return load_dataset(spec, EXAMPLE, token_key=b"k" * 32, clock=noon)


@pytest.fixture(scope="module")
def model(spec: ModelSpec, dataset: Dataset) -> Model:
    from aboveboard.models import Encoding

    encoding = Encoding.from_spec(spec)
    rows = {
        name: encoding.encode_columns(
            {feature.name: dataset.rows(name)[feature.name].to_list() for feature in spec.spec.features}
        )
        for name in ("train", "calibration")
    }
    outcome = {name: dataset.favourable[dataset.partitions[name]] for name in rows}
    parameters = {"n_estimators": 60, "learning_rate": 0.1, "num_leaves": 15, "min_child_samples": 60}
    fitted = fit_model(
        spec, rows["train"], outcome["train"], rows["calibration"], outcome["calibration"], parameters, seed=1
    )
    return load_model(fitted.files())


@pytest.fixture(scope="module")
def report(model: Model, spec: ModelSpec, dataset: Dataset) -> Report:
    return evaluate(model, spec, dataset, model_digest="sha256:" + "cd" * 32, clock=noon)


def test_fairness_equals_fairlearn_on_what_the_model_decides(
    report: Report, model: Model, spec: ModelSpec, dataset: Dataset
) -> None:
    frame = dataset.rows("holdout")
    rows = model.encoding.encode_columns({name.name: frame[name.name].to_list() for name in spec.spec.features})
    approved = model.score(rows) >= spec.spec.decision.approve_at
    sex = np.where(frame["SEX"].to_numpy() == 1, "male", "female")
    by_group = MetricFrame(
        metrics={"selection": selection_rate, "tpr": true_positive_rate},
        y_true=dataset.favourable[dataset.partitions["holdout"]],
        y_pred=approved,
        sensitive_features=sex,
    ).by_group

    for group in report.fairness[0].groups:
        assert group.selection_rate.value == pytest.approx(by_group.loc[group.group, "selection"], abs=1e-12)
        assert group.true_positive_rate.value == pytest.approx(by_group.loc[group.group, "tpr"], abs=1e-12)


def test_reasons_add_up_and_obey_the_declared_directions(report: Report) -> None:
    assert report.explanation.largest_additivity_error < 1e-6
    assert report.explanation.monotonic_violations == 0
    assert report.explanation.monotonic_rows == 400
    assert report.explanation.rows == report.rows


def test_stated_reasons_are_counted_as_the_model_states_them(
    report: Report, model: Model, spec: ModelSpec, dataset: Dataset
) -> None:
    frame = dataset.rows("holdout")
    rows = model.encoding.encode_columns({name.name: frame[name.name].to_list() for name in spec.spec.features})
    declined = rows[model.score(rows) < model.refer_at]
    counted = dict.fromkeys((code.code for code in model.reason_codes), 0)
    for row in declined:
        for reason in model.reasons(row, "de"):
            counted[reason.code] += 1

    assert report.explanation.declines == len(declined) > 100
    shares = {importance.code: importance.share_of_declines for importance in report.explanation.importances}
    assert shares == pytest.approx({code: count / len(declined) for code, count in counted.items()})


def test_a_gate_can_judge_it_and_a_person_can_read_it(report: Report, spec: ModelSpec, dataset: Dataset) -> None:
    facts = build_facts(spec, report, dataset.lineage, as_of=date(2026, 11, 21))
    verdict = gate(facts, load_packs(spec.spec.jurisdictions), date(2026, 11, 21))

    page = render_html(report, verdict, dataset.lineage, spec)

    assert page == render_html(report, msgspec.to_builtins(verdict), msgspec.to_builtins(dataset.lineage), spec)
    for result in verdict.results:
        assert result.citation.replace("&", "&amp;").replace("'", "&#39;") in page
    assert dataset.lineage.data_digest in page
    assert verdict.facts_digest in page


def test_it_takes_less_than_two_seconds_of_one_core(model: Model, spec: ModelSpec, dataset: Dataset) -> None:
    started = time.process_time()

    report = evaluate(model, spec, dataset, model_digest="sha256:" + "cd" * 32, clock=noon)

    assert report.rows > 9000
    assert time.process_time() - started < 2.0
