"""Reviewers at a terminal: `review`, `contest` and `outcome` against a running server, and what the log has of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit import events
from aboveboard.settings import Home
from tests.integration.serving.process import Released, open_log, running
from tests.integration.serving.test_human_review import Staff
from tests.integration.serving.test_server_tls import certificates

__all__ = ["certificates"]

STATEMENT = "The late payment was the bank's mistake.\n\x1b[2J[bold]not markup[/bold]"


class Desk:
    """Runs `aboveboard` as one of the staff, each with a key file of their own."""

    def __init__(self, staff: Staff, directory: Path) -> None:
        self._staff = staff
        self._directory = directory
        for name, key in staff.keys.items():
            (directory / f"{name}.key").write_text(key + "\n")

    def run(
        self, name: str, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ABOVEBOARD_")}
        return subprocess.run(
            [sys.executable, "-m", "aboveboard", *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            env={
                **clean,
                "NO_COLOR": "1",
                "ABOVEBOARD_HOME": str(self._directory / "nothing-here"),
                "ABOVEBOARD_URL": self._staff.server.url,
                **({"ABOVEBOARD_KEY_FILE": str(self._directory / f"{name}.key")} if name else {}),
                **environment,
            },
            timeout=120,
            check=False,
        )

    def json(self, name: str, *arguments: str, code: int = 0, stdin: str = "") -> Any:
        done = self.run(name, *arguments, "--json", stdin=stdin)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout if code == 0 else done.stdout or done.stderr)


@pytest.fixture
def staff(home: Home) -> Staff:
    return Staff(home.root)


@pytest.fixture
def desk(staff: Staff, tmp_path: Path) -> Desk:
    return Desk(staff, tmp_path)


def test_a_contested_decision_is_decided_anew_and_the_log_has_all_of_it(
    released: Released, home: Home, staff: Staff, desk: Desk
) -> None:
    with running(home, release=released.digests[1], clients=str(staff.path)) as staff.server:
        case = staff.decided(released, "decline")
        assert desk.json("eve", "contest", case, "--statement-file", "-", stdin=STATEMENT)["decision_id"] == case
        waiting = desk.json("ada", "review", "list", "--state", "waiting")["cases"]
        assert [(one["decision_id"], one["cause"]) for one in waiting if one["cause"] == "contested"] == [
            (case, "contested")
        ]
        assert desk.json("ada", "review", "claim", case)["claimed_by"] == "ada"
        refused = desk.json("bob", "review", "claim", case, code=69)["error"]
        assert (refused["code"], refused["facts"]) == ("conflict", {"status": 409, "problem": "conflict"})
        desk.json("ada", "review", "release", case)
        assert case in desk.run("bob", "review", "list").stdout

        proposed = desk.json("ada", "review", "decide", case, "approve", "--comment", "the bank confirmed it")
        assert (proposed["state"], proposed["outcome"]) == ("proposed", "decline")
        alone = desk.run("ada", "review", "confirm", case, "--comment", "me again")
        assert (alone.returncode, "four eyes" in alone.stderr) == (77, True)
        rejected = desk.json("bob", "review", "reject", case, "--comment", "where is the letter?")
        assert rejected["state"] == "rejected"
        desk.json("ada", "review", "decide", case, "approve", "--comment", "here it is")
        done = desk.json("bob", "review", "confirm", case, "--comment", "I have seen the letter")
        assert (done["state"], done["outcome"], done["changed"]) == ("decided", "approve", True)

        shown = desk.json("eve", "review", "show", case, code=77)["error"]
        assert "the role read" in shown["message"]
        page = staff.ask("complaints", "GET", f"/decisions/{case}/notice").json()
        assert (page["outcome"], page["decided_since"]["outcome"]) == ("decline", "approve")

    with open_log(home) as log:
        log.publish()
        history = [item.event for item in log.history(case, actor="auditor", purpose="test")]
        receipts = [
            log.receipt(index=item.index, actor="auditor", purpose="test")
            for item in log.history(case, actor="auditor", purpose="test")
        ]
        assert log.fsck().findings == []
    assert [type(event).__name__ for event in history] == [
        "Decision",
        "ReviewRequested",
        "ReviewClaimed",
        "ReviewReleased",
        "ReviewProposed",
        "ReviewRejected",
        "ReviewProposed",
        "ReviewDecided",
    ]
    assert len(receipts) == len(history)  # each is proved by itself
    decision, contest, last = history[0], history[1], history[-1]
    assert isinstance(decision, events.Decision)
    assert isinstance(contest, events.ReviewRequested)
    assert isinstance(last, events.ReviewDecided)
    assert (decision.outcome, contest.statement, contest.actor) == ("decline", STATEMENT, "eve")
    assert (last.outcome, last.changed, last.actor, last.proposed_by) == ("approve", True, "bob", "ada")
    assert {event.subject for event in history if isinstance(event, events.Personal)} == {decision.subject}


def test_what_is_shown_is_what_the_server_has_and_nothing_a_terminal_obeys(
    released: Released, home: Home, staff: Staff, desk: Desk
) -> None:
    clients = json.loads(staff.path.read_text())
    next(one for one in clients["clients"] if one["name"] == "ada")["roles"].append("read")
    staff.path.write_text(json.dumps(clients))
    with running(home, release=released.digests[0], clients=str(staff.path)) as staff.server:
        case = staff.decided(released, "decline")
        desk.json("eve", "contest", case, "--statement", STATEMENT)
        shown = desk.json("ada", "review", "show", case, "--locale", "de")
        assert shown["decision"]["decision_id"] == case
        assert [step["step"] for step in shown["review"]["steps"]] == ["decided", "contested"]
        text = desk.run("ada", "review", "show", case, "--locale", "de").stdout
        for reason in shown["notice"]["principal_reasons"]:
            assert reason["text"] in " ".join(text.split())
        assert "[bold]not" in text
        assert "\x1b" not in text
        favourable = staff.decided(released, "approve")
        assert desk.json("ada", "review", "show", favourable)["notice"] is None
        assert "no notice" in desk.run("ada", "review", "show", favourable).stdout


def test_outcomes_one_by_one_and_from_files(
    released: Released, home: Home, staff: Staff, desk: Desk, tmp_path: Path
) -> None:
    with running(home, release=released.digests[0], clients=str(staff.path)) as staff.server:
        decisions = {"json": {"requests": released.clients[:30]}}
        answers = staff.ask("origination", "POST", "/decisions/batch", **decisions).json()["answers"]
        ids = [answer["decision_id"] for answer in answers]
        assert desk.json("origination", "outcome", ids[0], "repaid")["decision_id"] == ids[0]
        day = datetime.now(UTC).date()
        table = tmp_path / "ledger.csv"
        table.write_text("label,note,observed,decision_id\n" + "".join(f"repaid,x,{day},{one}\n" for one in ids))
        done = desk.json("origination", "outcome", "--from", str(table))
        assert (done["recorded"], done["known"], done["refused"]) == (29, 1, 0)
        lines = "".join(
            json.dumps({"decision_id": one, "label": "defaulted", "observed": str(day)}) + "\n"
            for one in [*ids[:3], "dec-" + "0" * 26]
        )
        told = desk.run("origination", "outcome", "--from", "-", stdin=lines)
        assert told.returncode == 65
        assert "3 recorded, 0 known" in told.stdout
        assert "not-found" in told.stdout
        for wrong, code in (("[]\n{", 65), ("", 65)):
            assert desk.run("origination", "outcome", "--from", "-", stdin=wrong).returncode == code
        table.write_text("label,observed\nrepaid,2026-01-01\n")
        lacking = desk.run("origination", "outcome", "--from", str(table))
        assert (lacking.returncode, "decision_id" in lacking.stderr) == (65, True)
        for misuse in (["outcome"], ["outcome", ids[0]], ["outcome", ids[0], "repaid", "--from", str(table)]):
            assert desk.run("origination", *misuse).returncode == 64


def test_who_asks_wrongly_is_told_what_to_do(released: Released, home: Home, staff: Staff, desk: Desk) -> None:
    with running(home, release=released.digests[0], clients=str(staff.path)) as staff.server:
        case = staff.decided(released, "refer")
        assert desk.run("", "review", "list").returncode == 77  # no key at all
        assert desk.run("", "review", "list", ABOVEBOARD_KEY=staff.keys["ada"]).returncode == 0
        assert desk.run("origination", "review", "list").returncode == 77
        wrong = desk.run("ada", "review", "decide", case, "maybe", "--comment", "?")
        assert (wrong.returncode, "decide approve or decline" in wrong.stderr) == (65, True)
        assert desk.run("ada", "review", "claim", "../../v1/tracks").returncode == 66
        assert desk.run("ada", "review", "decide", case, "approve").returncode == 64  # why?
        assert desk.run("ada", "review", "list", "--cursor", "nonsense").returncode == 65
        elsewhere = desk.run("ada", "review", "list", "--url", "http://reviews.bank.example:8080")
        assert (elsewhere.returncode, "in the clear" in elsewhere.stderr) == (64, True)
        assert desk.run("ada", "review", "list", "--url", "nonsense").returncode == 64
        assert desk.run("ada", "review", "list", "--key-file", "nowhere.key").returncode == 66
        assert staff.keys["ada"] not in desk.run("ada", "review", "list", "--json").stdout
        gone = staff.server.url
    closed = desk.run("ada", "review", "list", "--url", gone)
    assert (closed.returncode, "is the server running" in closed.stderr) == (75, True)


def test_a_server_with_a_certificate_of_its_own_is_believed_by_its_authority(
    released: Released, home: Home, staff: Staff, desk: Desk, certificates: Path
) -> None:
    tls = {"certificate": str(certificates / "server.pem"), "certificate_key": str(certificates / "server.key")}
    with running(home, release=released.digests[0], clients=str(staff.path), **tls) as staff.server:
        assert staff.server.url.startswith("https://")
        believed = desk.run("ada", "review", "list", "--ca", str(certificates / "authority.pem"))
        assert (believed.returncode, believed.stdout) == (0, "nothing waits for a person\n")
        assert desk.run("ada", "review", "list").returncode == 75
        assert desk.run("ada", "review", "list", "--ca", str(certificates / "server.key")).returncode == 64
