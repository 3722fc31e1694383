"""A release whose facts really pass the built-in packs, for the tests of the operator and the webhook."""

from __future__ import annotations

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import rfc8785

from aboveboard.policy import gate, load_packs
from aboveboard.policy.verdict import Verdict
from tests.release_cases import APPROVER, AUTHOR, MODEL, SPEC, Bank, digest_of_model, run_documents, sha256, write_run

FACTS = Path(__file__).parent / "golden" / "data" / "policy-facts.json"
JURISDICTIONS = ["us", "eu"]
REGIONS = ["eu-west", "eu-central"]
MODEL_YAML = SPEC.replace("regions: [eu-west]", "regions: [eu-west, eu-central]")


def passing_documents(*, jurisdictions: list[str] = JURISDICTIONS, auc: float | None = None) -> dict[str, Any]:
    """The documents of a run whose facts are whole."""
    documents = run_documents()
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    facts["model"] |= {
        "name": "small-loans",
        "purpose": "credit-decision",
        "materiality": "high",
        "family": "scorecard",
        "jurisdictions": jurisdictions,
        "regions": REGIONS,
        "digest": digest_of_model(MODEL),
    }
    facts["data"]["digest"] = documents["lineage"]["data_digest"]
    facts["evaluation"] |= {key: documents["report"][key] for key in ("created", "rows", "data_digest")}
    if auc is not None:
        facts["performance"]["auc"] |= {"value": auc, "low": auc - 0.01, "high": auc + 0.01}
    report = documents["report"]
    report |= {key: copy.deepcopy(facts[key]) for key in ("performance", "calibration", "explanation")}
    report["fairness"] = copy.deepcopy(facts["protected"])
    report |= facts["evaluation"]
    verdict = gate(facts, load_packs(jurisdictions), date(2026, 11, 21))
    assert auc is not None or verdict.verdict is Verdict.PASS, [r.message for r in verdict.refusals]
    documents["facts"] = facts
    documents["verdict"] = {"verdict": "pass", "facts_digest": sha256(rfc8785.dumps(facts)), "results": []}
    return documents


def release(bank: Bank, name: str = "run-01", *, approved: bool = True, **how: Any) -> str:
    """Make a release, and have it approved by somebody other than its author."""
    documents = passing_documents(**how)
    documents["run"] = {"id": name, "spec_digest": sha256(MODEL_YAML.encode())}
    digest = bank.store.create(write_run(bank.root / "runs" / name, documents, spec=MODEL_YAML), author=AUTHOR).digest
    if approved:
        bank.store.approve(digest, approver=APPROVER)
    return digest
