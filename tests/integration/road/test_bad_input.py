"""Bad input gets a clear message and a code, leaves nothing behind, and the next run works."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.integration.road.shell import ROOT, Shell
from tests.integration.road.test_own_data import answer, write_loans

EXAMPLE = ROOT / "examples" / "01-credit-default"
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def loans(shell: Shell) -> pl.DataFrame:
    """Good data with a model.yaml that passes, to be spoilt."""
    write_loans(shell.cwd / "loans.csv")
    shell.json("init", "loans.csv", "--target", "approved", "--favourable", "1", "--protected", "sex")
    spec = shell.cwd / "model.yaml"
    spec.write_text(answer(spec.read_text(encoding="utf-8")), encoding="utf-8")
    return pl.read_csv(shell.cwd / "loans.csv")


SPOILT: dict[str, tuple[Change, str]] = {
    "a missing column": (lambda f: f.rename({"income": "incom"}), "income"),
    "a wrong type": (lambda f: f.with_columns(income=pl.lit("plenty")), "income"),
    "out of range": (lambda f: f.with_columns(income=pl.col("income") * 1000), "income"),
    "an unknown category": (lambda f: f.with_columns(home=pl.lit("castle")), "home"),
    "the same record twice": (lambda f: pl.concat([f, f.head(3)]), "earlier one"),
    "one class only": (lambda f: f.with_columns(approved=pl.lit(1)), "approved"),
    "too few records": (lambda f: f.head(20), "records"),
    "no record": (lambda f: f.head(0), "no record"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_data_outside_its_contract_is_refused(shell: Shell, loans: pl.DataFrame, name: str) -> None:
    change, says = SPOILT[name]
    before = sorted((shell.home / "runs").glob("*"))
    change(loans).write_csv(shell.cwd / "loans.csv")
    refused = shell.run("run", "model.yaml", "--fast")
    loans.write_csv(shell.cwd / "loans.csv")
    assert refused.returncode == 65, refused.stderr
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "hint:" in refused.stderr
    assert sorted((shell.home / "runs").glob("*")) == before


def test_an_empty_file_is_refused(shell: Shell, loans: pl.DataFrame) -> None:
    (shell.cwd / "loans.csv").write_bytes(b"")
    refused = shell.run("run", "model.yaml", "--fast")
    loans.write_csv(shell.cwd / "loans.csv")
    assert refused.returncode == 65
    assert "empty" in refused.stderr


def test_a_group_of_three_people_gives_no_pass(shell: Shell, loans: pl.DataFrame) -> None:
    rare = pl.Series("sex", ["nonbinary"] * 3 + loans["sex"].to_list()[3:])
    loans.with_columns(rare).write_csv(shell.cwd / "rare.csv")
    shell.json(
        *("init", "rare.csv", "--target", "approved", "--favourable", "1", "--protected", "sex"), *("-o", "r.yaml")
    )
    spec = shell.cwd / "r.yaml"
    spec.write_text(answer(spec.read_text(encoding="utf-8")), encoding="utf-8")
    finished = shell.run("run", "r.yaml", "--fast")
    assert finished.returncode == 2, finished.stderr + finished.stdout
    assert "insufficient" in finished.stdout


def test_after_all_that_a_good_run_works(shell: Shell, loans: pl.DataFrame) -> None:
    loans.write_csv(shell.cwd / "loans.csv")
    assert shell.run("run", "model.yaml", "--fast").returncode == 0


def test_a_full_disk_is_a_clear_error_and_leaves_no_run(shell: Shell, loans: pl.DataFrame) -> None:
    # A limit on the size of files is what a full disk looks like to one process, without needing root.
    before = sorted((shell.home / "runs").iterdir())
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from aboveboard.cli import main; main(sys.argv[1:])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, "--home", str(shell.home), "run", "model.yaml", "--fast"],
        capture_output=True,
        text=True,
        cwd=shell.cwd,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        check=False,
    )
    assert finished.returncode == 74, finished.stderr + finished.stdout
    assert "Traceback" not in finished.stderr
    assert sorted((shell.home / "runs").iterdir()) == before


def test_a_damaged_release_is_refused_everywhere(shell: Shell, loans: pl.DataFrame) -> None:
    release = shell.json("release", "create", "latest")["release"]
    shell.json("release", "approve", release, actor="grace@bank.example")
    copy = Shell(shell.home.with_name("damaged"), shell.cwd)
    shutil.copytree(shell.home, copy.home)
    blob = max((copy.home / "releases" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    for command in (("release", "verify", release), ("serve", release), ("decide", release, "--template")):
        refused = copy.run(*command)
        assert refused.returncode == 1, refused.stderr
        assert blob.name[:8] in refused.stderr
    assert shell.run("release", "verify", release).returncode == 0


def test_a_port_in_use_is_said_before_anything_is_loaded(shell: Shell, loans: pl.DataFrame) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = shell.run("serve", "loans", "--port", str(taken.getsockname()[1]))
    assert refused.returncode == 69
    assert "in use" in refused.stderr
    assert "--port" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["chek"], 64, "did you mean 'check'?"),
        (["run", "--no-such-option"], 64, "No such option"),
        (["check", "nowhere.yaml"], 66, "no such file"),
        (["gate", "run-nowhere"], 66, "aboveboard runs"),
        (["release", "verify", "sha256:" + "0" * 64], 66, "release"),
        (["release", "create", "run-nowhere"], 66, "no run"),
        (["audit", "receipt", "dec-nowhere"], 66, "dec-nowhere"),
        (["audit", "verify", "nowhere.json"], 66, "no such file"),
        (
            ["init", "nowhere.csv", "--target", "a", "--favourable", "1", "--protected", "b", "-o", "n.yaml"],
            65,
            "nowhere",
        ),
        (["decide", "sha256:" + "0" * 64, "nowhere.json"], 66, "release"),
    ],
)
def test_misuse_is_named_and_coded(shell: Shell, arguments: list[str], code: int, says: str) -> None:
    refused = shell.run(*arguments)
    assert refused.returncode == code, refused.stderr
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


def test_errors_are_documents_in_json_mode(shell: Shell, tmp_path: Path) -> None:
    refused = shell.run("check", tmp_path / "nowhere.yaml", "--json")
    assert refused.stdout == ""
    error = json.loads(refused.stderr)["error"]
    assert error["code"] == "not-found"
    assert error["hint"]
