"""A run: data → search → fit → evaluate → gate, with every step's evidence in one directory."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from aboveboard import __version__
from aboveboard.audit import AuditLog
from aboveboard.audit.events import GateVerdictReached, RunStarted
from aboveboard.clock import Clock, timestamp
from aboveboard.data import Dataset, load_dataset
from aboveboard.evaluation import Report, evaluate, render_html
from aboveboard.evaluation.rows import encode_frame
from aboveboard.files import whole_directory, write_atomically
from aboveboard.ids import new_id, sha256_digest
from aboveboard.models import Encoding, Model
from aboveboard.models.digest import model_digest
from aboveboard.models.fit import fit_model
from aboveboard.policy import GateVerdict, build_facts, gate, load_packs
from aboveboard.settings import Home
from aboveboard.spec import ModelSpec, load_spec
from aboveboard.spec.decision import Parameter
from aboveboard.training.progress import Observer, Progress, silent
from aboveboard.training.search import Trial, search_parameters


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`run.json`: what was run, by whom, from what, and what came of it."""

    id: str
    model: str
    created: str
    actor: str
    spec_digest: str
    data_digest: str
    model_digest: str
    verdict: str
    seed: int
    parameters: dict[str, int | float | str | bool]
    trials: list[Trial]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run and everything it found."""

    record: RunRecord
    directory: Path
    spec: ModelSpec
    dataset: Dataset
    model: Model
    report: Report
    verdict: GateVerdict


def run_pipeline(
    spec_path: Path,
    *,
    home: Home,
    log: AuditLog,
    token_key: bytes,
    actor: str,
    clock: Clock,
    observe: Observer = silent,
    trials: int | None = None,
    as_of: date | None = None,
) -> Run:
    """Run the whole pipeline on `spec_path` and keep the evidence under `home.runs`.

    `trials` limits the search below what the spec asks (0 for none) and `as_of` is the day whose law applies
    (today by default). The start and the verdict are events in `log`. The run's directory appears whole or, after
    an error or an interruption, not at all. A verdict other than pass is a result, not an error.

    Raises `SpecInvalid`, `DataRefused`, `NotFound`, `StorageFailed`.
    """
    spec_text = spec_path.read_bytes() if spec_path.is_file() else b""
    spec = load_spec(spec_path)
    run_id = new_id("run", clock())
    log.append(
        RunStarted(
            time=timestamp(clock()),
            actor=actor,
            run_id=run_id,
            model=spec.metadata.name,
            spec_digest=sha256_digest(spec_text),
        )
    )

    observe(Progress("data", 0.0, f"reading {spec.spec.data.source.path}"))
    dataset = load_dataset(spec, spec_path.parent, token_key=token_key, clock=clock)
    sizes = {name: len(indices) for name, indices in dataset.partitions.items()}
    observe(Progress("data", 1.0, f"{dataset.lineage.rows:,} records; held out {sizes['holdout']:,}"))

    model, parameters, candidates = _fit(spec, dataset, trials, observe)
    digest = model_digest(model.files())
    observe(Progress("train", 1.0, f"fitted; model {digest[:19]}"))

    observe(Progress("evaluate", 0.0, f"judging it on {sizes['holdout']:,} records it has never seen"))
    report = evaluate(model, spec, dataset, model_digest=digest, clock=clock)
    observe(Progress("evaluate", 1.0, f"AUC {report.performance.auc.value:.3f}; {len(report.fairness)} attributes"))

    observe(Progress("gate", 0.0, f"policy packs {', '.join(spec.spec.jurisdictions)}"))
    day = as_of or clock().date()
    facts = build_facts(spec, report, dataset.lineage, as_of=day)
    verdict = gate(facts, load_packs(spec.spec.jurisdictions), day)
    observe(Progress("gate", 1.0, f"{len(verdict.results)} rules: {verdict.verdict}"))

    record = RunRecord(
        id=run_id,
        model=spec.metadata.name,
        created=timestamp(clock()),
        actor=actor,
        spec_digest=sha256_digest(spec_text),
        data_digest=dataset.lineage.data_digest,
        model_digest=digest,
        verdict=verdict.verdict,
        seed=spec.spec.model.seed,
        parameters=parameters,
        trials=candidates,
        versions={"aboveboard": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("lightgbm", "numpy", "polars", "regopy")},
    )
    run = Run(record, home.runs / run_id, spec, dataset, model, report, verdict)
    _keep(run, spec_text, facts)
    log.append(
        GateVerdictReached(
            time=timestamp(clock()),
            actor=actor,
            run_id=run_id,
            release=None,
            model=spec.metadata.name,
            verdict=verdict.verdict,
            failed_rules=[result.rule for result in verdict.results if result.verdict in ("fail", "insufficient")],
            facts_digest=verdict.facts_digest,
            packs={pack.name: pack.digest for pack in verdict.packs},
        )
    )
    return run


def _fit(
    spec: ModelSpec, dataset: Dataset, trials: int | None, observe: Observer
) -> tuple[Model, dict[str, Parameter], list[Trial]]:
    """Return the model fitted with the best parameters found, those, and every candidate that was tried."""
    algorithm = spec.spec.model
    encoding = Encoding.from_spec(spec)
    rows = {name: encode_frame(encoding, spec, dataset.rows(name)) for name in ("train", "calibration")}
    favourable = {name: dataset.favourable[dataset.partitions[name]] for name in rows}
    wanted = algorithm.search.trials if trials is None else min(trials, algorithm.search.trials)

    def on_trial(trial: Trial) -> None:
        observe(Progress("train", trial.number / (wanted + 1), f"candidate {trial.number}: AUC {trial.auc:.4f}"))

    observe(Progress("train", 0.0, f"fitting {algorithm.family} on {len(rows['train']):,} records"))
    parameters, candidates = search_parameters(
        spec, rows["train"], favourable["train"], trials=wanted, observe=on_trial
    )
    model = fit_model(
        spec,
        rows["train"],
        favourable["train"],
        rows["calibration"],
        favourable["calibration"],
        parameters=parameters,
        seed=algorithm.seed,
    )
    return model, parameters, candidates


def _keep(run: Run, spec_text: bytes, facts: dict[str, Any]) -> None:
    """Write what a run found into its directory, which appears whole or not at all."""
    page = render_html(run.report, verdict=run.verdict, lineage=run.dataset.lineage, spec=run.spec)
    evidence = {
        "model.yaml": spec_text,
        "lineage.json": _json(run.dataset.lineage),
        "report.json": _json(run.report),
        "report.html": page.encode(),
        "facts.json": _json(facts),
        "verdict.json": _json(run.verdict),
        "run.json": _json(run.record),
        **{f"model/{name}": content for name, content in run.model.files().items()},
    }
    with whole_directory(run.directory) as directory:
        for name, content in evidence.items():
            write_atomically(directory / name, content)


def _json(document: object) -> bytes:
    """Return a document as indented JSON with sorted keys, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"
