"""A run is whole or absent, reproducible from its seed, searched without touching held-out people, and logged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aboveboard.audit import AuditLog, Query
from aboveboard.errors import DataRefused, SpecInvalid
from aboveboard.evaluation.rows import encode_frame
from aboveboard.settings import Home
from aboveboard.spec import ModelSpec, load_spec
from aboveboard.training import Progress, Run, run_pipeline
from aboveboard.training.search import Trial, search_parameters
from tests.unit.models.credit_case import EXAMPLE, CreditCase

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
EVIDENCE = {
    "facts.json",
    "lineage.json",
    "model",
    "model.yaml",
    "report.html",
    "report.json",
    "run.json",
    "verdict.json",
}
Pipeline = Callable[..., Run]


@pytest.fixture(scope="module")
def spec_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The credit example with a tree count and a search that fit a unit test."""
    directory = tmp_path_factory.mktemp("model")
    shutil.copy(EXAMPLE / "credit_default_taiwan.parquet", directory)
    text = (EXAMPLE / "model.yaml").read_text(encoding="utf-8")
    small = text.replace("n_estimators: 200", "n_estimators: 30").replace("trials: 6", "trials: 2")
    (directory / "model.yaml").write_text(small, encoding="utf-8")
    return directory / "model.yaml"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def pipeline(home: Home, spec_path: Path) -> Pipeline:
    def run(
        path: Path = spec_path, *, observe: Callable[[Progress], None] = lambda progress: None, trials: int | None = 0
    ) -> Run:
        with AuditLog.open(home.audit, keys=home.keys, origin="test/log", clock=lambda: NOW, writer="cli") as log:
            return run_pipeline(
                path,
                home=home,
                log=log,
                token_key=b"k" * 32,
                actor="ada@bank.example",
                clock=lambda: NOW,
                observe=observe,
                trials=trials,
            )

    return run


@pytest.fixture(scope="module")
def run(pipeline: Pipeline) -> Run:
    return pipeline()


def test_a_run_leaves_every_piece_of_evidence(run: Run) -> None:
    assert {path.name for path in run.directory.iterdir()} == EVIDENCE
    record = json.loads((run.directory / "run.json").read_bytes())
    assert record["id"] == run.directory.name
    assert record["verdict"] == run.verdict.verdict
    assert record["versions"]["lightgbm"]


def test_the_same_seed_gives_the_same_model(run: Run, pipeline: Pipeline) -> None:
    again = pipeline()
    assert again.record.model_digest == run.record.model_digest
    assert again.record.data_digest == run.record.data_digest
    assert again.verdict == run.verdict
    assert again.record.id != run.record.id


def test_progress_runs_through_every_step_and_never_back(pipeline: Pipeline) -> None:
    seen: list[Progress] = []
    pipeline(observe=seen.append, trials=2)
    assert list(dict.fromkeys(progress.step for progress in seen)) == ["data", "train", "evaluate", "gate"]
    for step in ("data", "train", "evaluate", "gate"):
        fractions = [progress.fraction for progress in seen if progress.step == step]
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert sum("candidate" in progress.note for progress in seen) == 2


def test_start_and_verdict_are_in_the_log(run: Run, home: Home) -> None:
    with AuditLog.open(home.audit, keys=home.keys, origin="test/log", clock=lambda: NOW, writer="cli") as log:
        log.publish()
        kinds = {entry.kind for entry in log.find(Query(limit=1000), actor="auditor", purpose="test")}
    assert {"run-started/1", "gate-verdict-reached/1"} <= kinds


@pytest.mark.parametrize("when", ["data", "train", "evaluate", "gate"])
def test_an_interruption_leaves_no_run(pipeline: Pipeline, home: Home, when: str) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == when and progress.fraction == 1.0:
            raise KeyboardInterrupt

    before = sorted(home.runs.iterdir())
    with pytest.raises(KeyboardInterrupt):
        pipeline(observe=interrupt)
    assert sorted(home.runs.iterdir()) == before


def test_refused_input_leaves_no_run(pipeline: Pipeline, home: Home, spec_path: Path) -> None:
    before = sorted(home.runs.iterdir())
    text = spec_path.read_text(encoding="utf-8")
    for name, change, refusal in (
        ("spec.yaml", ("purpose: credit-decision", "purpose: luck"), SpecInvalid),
        ("data.yaml", ("name: PAY_0,", "name: PAY_1,"), DataRefused),
    ):
        path = spec_path.with_name(name)
        path.write_text(text.replace(*change), encoding="utf-8")
        with pytest.raises(refusal):
            pipeline(path)
    assert sorted(home.runs.iterdir()) == before


@pytest.fixture(scope="module")
def credit() -> CreditCase:
    return CreditCase.load()


class TestSearch:
    def searched(self, credit: CreditCase, spec: ModelSpec, trials: int) -> tuple[dict[str, object], list[Trial]]:
        seen: list[Trial] = []
        best, record = search_parameters(
            spec, credit.rows[credit.train], credit.favourable[credit.train], trials=trials, observe=seen.append
        )
        assert seen == record
        return dict(best), record

    def test_the_first_candidate_is_what_the_spec_states_and_the_best_wins(
        self, credit: CreditCase, spec_path: Path
    ) -> None:
        spec = load_spec(spec_path)
        best, record = self.searched(credit, spec, 4)
        stated = spec.spec.model.parameters
        assert {name: record[0].parameters[name] for name in stated} == dict(stated)
        assert best == max(record, key=lambda trial: trial.auc).parameters
        for trial in record:
            assert 7 <= int(trial.parameters["num_leaves"]) <= 31
            assert 0.02 <= float(trial.parameters["learning_rate"]) <= 0.1

    def test_the_same_seed_searches_the_same_places(self, credit: CreditCase, spec_path: Path) -> None:
        spec = load_spec(spec_path)
        assert self.searched(credit, spec, 3) == self.searched(credit, spec, 3)

    def test_no_trials_return_the_stated_parameters(self, credit: CreditCase, spec_path: Path) -> None:
        spec = load_spec(spec_path)
        best, record = self.searched(credit, spec, 0)
        assert best == dict(spec.spec.model.parameters)
        assert record == []


def test_the_reported_auc_is_that_of_the_held_out_rows(run: Run) -> None:
    rows = encode_frame(run.model.encoding, run.spec, run.dataset.rows("holdout"))
    favourable = run.dataset.favourable[run.dataset.partitions["holdout"]]
    assert run.report.performance.auc.value == pytest.approx(roc_auc_score(favourable, run.model.margin(rows)))
    assert np.isfinite(rows).all()
