"""A stranger's file goes from `init` to a served decision; only the questions are answered by hand."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.integration.road.shell import ROOT, Shell

ANSWERS = {
    "owner": "lending@bank.example",
    "purpose": "credit-decision",
    "jurisdictions": "[us, eu]",
    "legalBasis": "contract",
    "validator": "validation@bank.example",
    "dpia": "DPIA-1",
    "humanReview": "review@bank.example",
    "monitoringPlan": "plan.md",
}


def write_loans(path: Path, people: int = 12_000, seed: int = 5) -> None:
    """Simulated loans whose repayment depends on income and debts and not on sex."""
    random = np.random.default_rng(seed)
    income = random.lognormal(10.5, 0.4, people)
    debts = random.gamma(2.0, 6000, people)
    years = random.integers(0, 30, people)
    home = random.choice(["rent", "own", "family"], people, p=[0.5, 0.35, 0.15])
    good = 1.2 + (income - 38_000) / 15_000 - debts / 12_000 + 0.05 * years + (home == "own") * 0.5
    approved = random.random(people) < 1 / (1 + np.exp(-good))
    pl.DataFrame(
        {
            "customer_id": [f"C{n:06d}" for n in range(people)],
            "income": income.round(2),
            "debts": debts.round(2),
            "years_employed": years,
            "home": home,
            "sex": random.choice(["female", "male"], people),
            "approved": approved.astype(int),
        }
    ).write_csv(path)


def answer(text: str) -> str:
    """Answer what `init` could not know, and touch nothing else."""
    return re.sub(r'(\w+): (?:"\?"|\["\?"\])', lambda match: f"{match[1]}: {ANSWERS[match[1]]}", text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_from_a_strangers_file_to_a_served_decision(shell: Shell) -> None:
    write_loans(shell.cwd / "loans.csv")
    made = shell.json("init", "loans.csv", "--target", "approved", "--favourable", "1", "--protected", "sex")
    assert made["questions"]
    unanswered = shell.run("check", "model.yaml")
    assert unanswered.returncode == 65
    assert unanswered.stderr.count("only you know this") == len(made["questions"])

    spec = shell.cwd / "model.yaml"
    spec.write_text(answer(spec.read_text(encoding="utf-8")), encoding="utf-8")
    assert shell.json("check", "model.yaml")["valid"]

    run = shell.json("run", "model.yaml", "--fast")
    assert run["verdict"] == "pass"
    assert shell.json("gate", run["run"])["gate"]["facts_digest"] == run["gate"]["facts_digest"]

    release = shell.json("release", "create", run["run"])["release"]
    assert shell.run("release", "verify", release).returncode == 1
    assert shell.run("release", "approve", release).returncode == 77
    assert shell.json("release", "approve", release, actor="grace@bank.example")["approver"] == "grace@bank.example"
    assert shell.json("release", "verify", release)["verified"]

    request = json.loads(shell.run("decide", release, "--template").stdout)
    request["subject"] = "C999999"
    request["features"] |= {"income": 15_000.0, "debts": 40_000.0}
    (shell.cwd / "request.json").write_text(json.dumps(request), encoding="utf-8")
    decided = shell.json("decide", release, "request.json")["decisions"][0]
    assert decided["outcome"] == "decline"
    assert 1 <= len(decided["reasons"]) <= 4

    people = pl.read_csv(shell.cwd / "loans.csv").drop("approved").head(50)
    people.write_csv(shell.cwd / "people.csv")
    batch = shell.json("decide", release, "people.csv")["decisions"]
    assert len(batch) == 50
    assert {decision["outcome"] for decision in batch} <= {"approve", "refer", "decline"}
    spoilt = people.with_columns(
        home=pl.when(pl.col("customer_id") == "C000007").then(pl.lit("castle")).otherwise("home")
    )
    spoilt.write_csv(shell.cwd / "people.csv")
    refused = shell.json("decide", release, "people.csv", code=65)["decisions"]
    assert [number for number, decision in enumerate(refused) if "code" in decision] == [7]

    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "aboveboard", "--home", shell.home, "serve", release, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert "serving" in server.stdout.readline()
            call = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/decisions",
                data=json.dumps(request).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(call, timeout=10) as response:  # noqa: S310
                served = json.load(response)
        finally:
            server.terminate()
    assert (served["outcome"], served["score"]) == (decided["outcome"], decided["score"])
    assert server.returncode == 0

    withdrawn = shell.json("release", "withdraw", release, "--reason", "two columns were swapped")
    assert (withdrawn["digest"], withdrawn["reason"]) == (release, "two columns were swapped")
    assert shell.run("release", "withdraw", release, "--reason", "once more").returncode == 69
    refused_now = shell.run("decide", release, "request.json")
    assert refused_now.returncode == 1
    assert "two columns were swapped" in refused_now.stderr
    acts = shell.json("audit", "find", "--kind", "release-withdrawn")["entries"]
    assert [act["kind"] for act in acts] == ["release-withdrawn/1"]

    shell.run("audit", "receipt", decided["decision_id"], "-o", "receipt.json")
    assert shell.json("audit", "verify", "receipt.json")["verified"]
    assert shell.json("audit", "fsck")["findings"] == []


def test_german_credit_shows_what_small_groups_cost(shell: Shell) -> None:
    example = ROOT / "examples" / "02-german-credit" / "model.yaml"
    run = shell.run("run", example, "--fast", "--json")
    verdict = json.loads(run.stdout)["verdict"]
    assert run.returncode == {"pass": 0, "fail": 1, "insufficient": 2}[verdict]
    assert verdict != "pass"


@pytest.mark.parametrize("favourable", ["0", "approved"])
def test_a_favourable_value_that_is_not_there_is_refused(shell: Shell, favourable: str) -> None:
    write_loans(shell.cwd / "few.csv", people=600)
    frame = pl.read_csv(shell.cwd / "few.csv").with_columns(approved=pl.lit(1))
    frame.write_csv(shell.cwd / "few.csv")
    refused = shell.run(
        *("init", "few.csv", "--target", "approved", "--favourable", favourable, "--protected", "sex"),
        *("-o", "few.yaml"),
    )
    assert refused.returncode == 65
    assert "approved" in refused.stderr
    assert not (shell.cwd / "few.yaml").exists()


def test_an_interrupted_run_leaves_nothing_and_the_next_one_works(shell: Shell) -> None:
    example = ROOT / "examples" / "01-credit-default" / "model.yaml"
    home = shell.home.with_name("interrupted")
    command = [sys.executable, "-m", "aboveboard", "--home", str(home), "run", str(example)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any((home / "audit").glob("journals/*/*")):
            time.sleep(0.05)
        time.sleep(2.0)
        run.send_signal(2)
        _, complaint = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "nothing half-written" in complaint
    assert "Traceback" not in complaint
    assert not list((home / "runs").glob("*")) if (home / "runs").exists() else True
    again = Shell(home, shell.cwd).run("run", example, "--fast")
    assert again.returncode == 0, again.stderr
