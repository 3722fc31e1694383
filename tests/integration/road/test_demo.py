"""The demo, run as a user runs it on the real data; what it claims is computed again by somebody else's code."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import shap
from fairlearn.metrics import MetricFrame, demographic_parity_difference, equalized_odds_difference, selection_rate
from nacl.signing import VerifyKey
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from aboveboard.audit import verifier
from aboveboard.clock import system_clock
from aboveboard.data import Dataset, load_dataset
from aboveboard.files import secret_bytes
from aboveboard.models import Model, load_model
from aboveboard.settings import Home
from aboveboard.spec import ModelSpec, load_spec
from tests.integration.road.shell import ROOT, Shell

EXAMPLE = ROOT / "examples" / "01-credit-default"


class Demo:
    """A finished demo: what it printed, and what it left."""

    def __init__(self, shell: Shell) -> None:
        finished = shell.run("demo", "--fast", "--no-serve", "--port", "0", "--example", EXAMPLE)
        assert finished.returncode == 0, finished.stderr + finished.stdout
        self.printed = finished.stdout
        self.shell = Shell(shell.home / "demo", shell.cwd)
        self.home = Home(shell.home / "demo")
        runs = [json.loads((run / "run.json").read_bytes()) for run in sorted(self.home.runs.iterdir())]
        self.champion, self.refused, self.scorecard = runs

    def read(self, run: dict[str, Any], name: str) -> Any:
        return json.loads((self.home.runs / run["id"] / name).read_bytes())

    def model_files(self, run: dict[str, Any]) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.home.runs / run["id"] / "model").iterdir()}


@pytest.fixture(scope="module")
def demo(shell: Shell) -> Demo:
    with pytest.MonkeyPatch.context() as environment:
        # Where an installation keeps its log, the demo must write nothing.
        environment.setenv("ABOVEBOARD_LOG_DATABASE", "postgresql://nobody@/none?host=/nonexistent")
        return Demo(shell)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec(EXAMPLE / "model.yaml")


@pytest.fixture(scope="module")
def dataset(demo: Demo, spec: ModelSpec) -> Dataset:
    return load_dataset(spec, EXAMPLE, token_key=secret_bytes(demo.home.subject_key), clock=system_clock)


@pytest.fixture(scope="module")
def held_out(dataset: Dataset) -> pl.DataFrame:
    return dataset.rows("holdout")


@pytest.fixture(scope="module")
def rows(held_out: pl.DataFrame, spec: ModelSpec) -> NDArray[np.float64]:
    return held_out.select(feature.name for feature in spec.spec.features).to_numpy().astype(np.float64)


@pytest.fixture(scope="module")
def favourable(held_out: pl.DataFrame) -> NDArray[np.bool_]:
    pays: NDArray[np.bool_] = held_out["default_payment_next_month"].to_numpy() == 0
    return pays


@pytest.fixture(scope="module")
def approved(demo: Demo, rows: NDArray[np.float64], spec: ModelSpec) -> NDArray[np.bool_]:
    """Decide with LightGBM's own library and the published calibration, not with our scoring."""
    files = demo.model_files(demo.champion)
    margin: NDArray[np.float64] = np.asarray(booster(files).predict(rows, raw_score=True))
    calibration = json.loads(files["model.json"])["calibration"]
    score = 1 / (1 + np.exp(-(calibration["slope"] * margin + calibration["intercept"])))
    decided: NDArray[np.bool_] = np.asarray(score >= spec.spec.decision.approve_at, dtype=np.bool_)
    return decided


def booster(files: dict[str, bytes]) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=files["trees.txt"].decode())


def test_the_champion_passes_the_protected_model_is_refused_and_the_scorecard_passes(demo: Demo) -> None:
    assert [run["verdict"] for run in (demo.champion, demo.refused, demo.scorecard)] == ["pass", "fail", "pass"]
    better = demo.read(demo.refused, "report.json")["performance"]["auc"]["value"]
    assert better > demo.read(demo.champion, "report.json")["performance"]["auc"]["value"]
    failed = [r for r in demo.read(demo.refused, "verdict.json")["results"] if r["verdict"] == "fail"]
    assert any("1002" in result["citation"] for result in failed)
    assert all(result["message"] and result["law"] for result in failed)


def test_auc_is_what_scikit_learn_computes(
    demo: Demo, rows: NDArray[np.float64], favourable: NDArray[np.bool_]
) -> None:
    margin = booster(demo.model_files(demo.champion)).predict(rows, raw_score=True)
    reported = demo.read(demo.champion, "report.json")["performance"]["auc"]["value"]
    assert reported == pytest.approx(roc_auc_score(favourable, margin), abs=1e-12)


def test_fairness_is_what_fairlearn_computes(
    demo: Demo, held_out: pl.DataFrame, favourable: NDArray[np.bool_], approved: NDArray[np.bool_]
) -> None:
    groups = {
        "sex": np.where(held_out["SEX"].to_numpy() == 1, "male", "female"),
        "marriage": np.select(
            [held_out["MARRIAGE"].to_numpy() == 1, held_out["MARRIAGE"].to_numpy() == 2],
            ["married", "single"],
            "other",
        ),
        "age": np.array(["under-30", "from-30-to-39", "from-40-to-49", "from-50-to-61", "from-62"])[
            np.digitize(held_out["AGE"].to_numpy(), [30, 40, 50, 62])
        ],
    }
    reports = {a["attribute"]: a for a in demo.read(demo.champion, "report.json")["fairness"]}
    for attribute, members in groups.items():
        report = reports[attribute]
        frame = MetricFrame(
            metrics=selection_rate, y_true=favourable, y_pred=approved, sensitive_features=members
        ).by_group
        for group in report["groups"]:
            assert group["n"] == int((members == group["group"]).sum())
            assert group["selection_rate"]["value"] == pytest.approx(frame[group["group"]], abs=1e-12)
            ratio = frame[group["group"]] / frame[report["reference"]]
            assert group["adverse_impact_ratio"]["value"] == pytest.approx(ratio, abs=1e-12)
        assert report["demographic_parity_difference"] == pytest.approx(
            demographic_parity_difference(favourable, approved, sensitive_features=members), abs=1e-12
        )
        assert report["equalized_odds_difference"] == pytest.approx(
            equalized_odds_difference(favourable, approved, sensitive_features=members), abs=1e-12
        )


def test_reasons_are_what_shap_computes(demo: Demo, rows: NDArray[np.float64]) -> None:
    files = demo.model_files(demo.champion)
    model: Model = load_model(files)
    reference = model.reference()
    explainer = shap.TreeExplainer(booster(files), data=reference[None, :], feature_perturbation="interventional")
    some = rows[:500]
    theirs = explainer.shap_values(some, check_additivity=False)
    ours = model.attribute(some)
    # shap sums in single precision somewhere on its way: its own values miss f(x) - f(reference) by up to 3e-7.
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours.sum(axis=1), model.margin(some) - model.margin(reference[None, :]), atol=1e-9)


def test_the_signatures_hold_for_another_implementation(demo: Demo) -> None:
    """Read the OCI layout by hand and check every DSSE envelope with libsodium."""
    blobs = demo.home.releases / "blobs" / "sha256"
    index = json.loads((demo.home.releases / "index.json").read_bytes())
    keys = {k["key_id"]: k for k in json.loads((demo.home.keys / "trust.json").read_bytes())["keys"]}
    signers = []
    for entry in index["manifests"]:
        content = (blobs / entry["digest"].removeprefix("sha256:")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["digest"].removeprefix("sha256:")
        manifest = json.loads(content)
        if "subject" not in manifest:
            continue
        envelope = json.loads((blobs / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_bytes())
        payload = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"]
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signature = envelope["signatures"][0]
        key = keys[signature["keyid"]]
        VerifyKey(base64.b64decode(key["public_key"])).verify(message, base64.b64decode(signature["sig"]))
        statement = json.loads(payload)
        assert "sha256:" + statement["subject"][0]["digest"]["sha256"] == manifest["subject"]["digest"]
        signers.append(key["actor"])
    assert sorted(signers) == ["ada.author@bank.example", "vera.validator@bank.example"]


def test_the_receipt_verifies_in_a_process_that_has_only_the_verifier(demo: Demo, tmp_path: Path) -> None:
    script = tmp_path / "verifier.py"
    script.write_bytes(Path(verifier.__file__).read_bytes())
    key = demo.shell.json("audit", "key")["key"]
    receipt = tmp_path / "receipt.json"
    receipt.write_bytes((demo.home.root / "receipt.json").read_bytes())
    command = [sys.executable, "-I", str(script), str(receipt), "--key", key]
    assert subprocess.run(command, capture_output=True, check=False, cwd=tmp_path).returncode == 0
    document = json.loads(receipt.read_bytes())
    document["record"]["outcome"] = "approve" if document["record"]["outcome"] != "approve" else "decline"
    receipt.write_text(json.dumps(document))
    assert subprocess.run(command, capture_output=True, check=False, cwd=tmp_path).returncode != 0


def test_the_erased_person_is_gone_and_the_log_is_sound(demo: Demo) -> None:
    receipt = json.loads((demo.home.root / "receipt.json").read_bytes())
    decision = receipt["record"]["decision_id"]
    gone = demo.shell.run("audit", "receipt", decision)
    assert gone.returncode == 66
    assert demo.shell.json("audit", "fsck")["findings"] == []
    token = receipt["record"]["subject"]
    held = b"".join(path.read_bytes() for path in demo.home.audit.rglob("*") if path.is_file())
    assert token.encode() not in held.replace(
        receipt["commitment"].encode() if "commitment" in receipt else b"\0", b""
    )


def test_the_held_out_clients_were_answered_and_logged(demo: Demo) -> None:
    entries = demo.shell.json("audit", "find", "--kind", "decision", "--limit", "1000")["entries"]
    assert len(entries) >= 200
    assert {entry["outcome"] for entry in entries} >= {"approve", "decline"}


def test_the_report_is_one_page_without_anything_from_outside(demo: Demo) -> None:
    page = (demo.home.runs / demo.champion["id"] / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    for outside in ('src="http', 'href="http', "@import", "<script"):
        assert outside not in page


def test_a_second_demo_replaces_the_first(demo: Demo) -> None:
    again = demo.shell.run("demo", "--help")
    assert again.returncode == 0
    assert "--no-serve" in again.stdout
