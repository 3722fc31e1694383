"""A small finished run, and a store with keys, for the tests of releases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785

from aboveboard.release import Keyring, ReleaseStore, Role

START = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
AUTHOR = "ada@bank.example"
APPROVER = "grace@bank.example"
OTHER = "mary@bank.example"

SPEC = """\
apiVersion: aboveboard.dev/v1alpha1
kind: Model
metadata: {name: small-loans, owner: risk@bank.example}
spec:
  purpose: credit-decision
  materiality: high
  jurisdictions: [us, eu]
  regions: [eu-west]
  data:
    source: {path: loans.csv, format: csv, region: eu-west}
    target: {column: repaid, favourable: 1}
    legalBasis: contract
    origin: application
  features:
    - name: income
      type: number
      classification: financial
      minimum: 0
      maximum: 1000000
      monotonic: increasing
      reasons: {en: Income is low}
  protected:
    - {name: sex, column: sex, reference: male, groups: [{name: male, values: [m]}, {name: female, values: [f]}]}
  model: {family: scorecard, seed: 1}
  decision: {approveAt: 0.7, referAt: 0.6}
  evaluation: {limits: {aucAtLeast: 0.6, calibrationErrorAtMost: 0.05, adverseImpactRatioAtLeast: 0.8}}
"""

MODEL = {"model.json": b'{"points": [1, 2, 3]}\n', "trees.txt": b"tree\n"}
DATA_DIGEST = "sha256:" + "d" * 64


def measure(value: float | None, n: int, spread: float = 0.02) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n}
    return {"value": value, "low": round(value - spread, 6), "high": round(value + spread, 6), "n": n}


def group(name: str, *, reference: bool, n: int, rate: float, ratio: float) -> dict[str, Any]:
    return {
        "group": name,
        "reference": reference,
        "n": n,
        "selection_rate": measure(rate, n),
        "true_positive_rate": measure(0.9, n),
        "false_positive_rate": measure(0.2, n),
        "mean_score": measure(0.7, n),
        "adverse_impact_ratio": measure(ratio, n),
        "equal_opportunity_difference": measure(None if n < 10 else 0.01, n),
    }


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_of_model(files: Mapping[str, bytes]) -> str:
    """The model digest, computed here independently of the product."""
    return sha256(rfc8785.dumps({name: sha256(content) for name, content in files.items()}))


def run_documents(verdict: str = "pass", model: Mapping[str, bytes] = MODEL, auc: float = 0.75) -> dict[str, Any]:
    """The documents of a run that belong together, before they are written."""
    figures = {
        "performance": {
            name: measure(auc if name == "auc" else 0.5, 900)
            for name in ("favourable_rate", "approval_rate", "auc", "ks", "brier", "average_precision")
        },
        "calibration": {"error": measure(0.01, 900), "slope": 1.0, "intercept": 0.0},
        "explanation": {"rows": 900, "declines": 200, "monotonic_violations": 0},
    }
    fairness = [
        {
            "attribute": "sex",
            "column": "sex",
            "reference": "male",
            "groups": [
                group("male", reference=True, n=500, rate=0.8, ratio=1.0),
                group("female", reference=False, n=400, rate=0.76, ratio=0.95),
            ],
        }
    ]
    report = {
        "model": "small-loans",
        "family": "scorecard",
        "model_digest": digest_of_model(model),
        "data_digest": DATA_DIGEST,
        "created": "2026-11-21T09:00:00.000Z",
        "rows": 900,
        "confidence": 0.95,
        **figures,
        "fairness": fairness,
        "caveats": ["Outcomes are known for granted loans only."],
    }
    facts: Any = {
        "schema": "aboveboard.dev/facts/v1",
        "as_of": "2026-11-21",
        "model": {
            "name": "small-loans",
            "purpose": "credit-decision",
            "materiality": "high",
            "jurisdictions": ["us", "eu"],
            "regions": ["eu-west"],
            "family": "scorecard",
            "digest": digest_of_model(model),
        },
        **figures,
        "protected": [{**attribute, "declared_groups": 2} for attribute in fairness],
        "evaluation": {"created": report["created"], "rows": 900, "data_digest": DATA_DIGEST},
        "data": {"digest": DATA_DIGEST, "rows": 3000},
    }
    return {
        "report": report,
        "facts": facts,
        "lineage": {"data_digest": DATA_DIGEST, "rows": 3000},
        "verdict": {"verdict": verdict, "facts_digest": sha256(rfc8785.dumps(facts)), "results": []},
        "run": {"id": "run-01", "spec_digest": sha256(SPEC.encode())},
    }


def later(documents: dict[str, Any]) -> None:
    """Make a run of the same model one that was evaluated a day later, and came out better."""
    documents.update(run_documents(auc=0.8))
    documents["run"]["id"] = "run-02"
    documents["report"]["created"] = documents["facts"]["evaluation"]["created"] = "2026-11-22T09:00:00.000Z"
    documents["verdict"]["facts_digest"] = sha256(rfc8785.dumps(documents["facts"]))


def write_run(
    directory: Path,
    documents: dict[str, Any] | None = None,
    *,
    model: Mapping[str, bytes] = MODEL,
    spec: str = SPEC,
) -> Path:
    """Write the directory of a finished run."""
    documents = run_documents(model=model) if documents is None else documents
    (directory / "model").mkdir(parents=True)
    for name, content in model.items():
        (directory / "model" / name).write_bytes(content)
    for name, document in documents.items():
        (directory / f"{name}.json").write_text(json.dumps(document, indent=2))
    (directory / "model.yaml").write_text(spec)
    (directory / "report.html").write_text("<!doctype html>")
    return directory


@dataclass
class Time:
    """A clock that stands still until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> datetime:
        self.now += timedelta(**duration)
        return self.now


@dataclass
class Bank:
    """A store, the keys of three people, and a clock."""

    root: Path
    time: Time = field(default_factory=Time)

    def __post_init__(self) -> None:
        self.keys = Keyring(self.root / "keys")
        self.keys.ensure(AUTHOR, [Role.AUTHOR, Role.APPROVER], at=self.time())
        self.keys.ensure(APPROVER, [Role.APPROVER], at=self.time())
        self.keys.ensure(OTHER, [Role.APPROVER], at=self.time())
        self.store = ReleaseStore(self.root / "releases", keys=self.keys, clock=self.time)

    def released(self, name: str = "run-01", change: Callable[[dict[str, Any]], None] | None = None) -> str:
        """Create a release and return its digest."""
        documents = run_documents()
        if change:
            change(documents)
        return self.store.create(write_run(self.root / "runs" / name, documents), author=AUTHOR).digest

    def approved(self) -> str:
        digest = self.released()
        self.store.approve(digest, approver=APPROVER, comment="validated")
        return digest
