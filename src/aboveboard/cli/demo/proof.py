"""Proofs of what was decided, checked by code that shares nothing with the log; then one person is erased."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape

from aboveboard.audit.verifier import verify_consistency, verify_receipt
from aboveboard.cli.demo.decisions import DecisionServer, Replayed, ask
from aboveboard.cli.demo.scene import APPROVER, Scene
from aboveboard.cli.output import short
from aboveboard.errors import NotFound, NotVerified, Retained
from aboveboard.files import write_atomically
from aboveboard.ids import subject_token


@dataclass(frozen=True)
class Proven:
    """What the log could show."""

    receipt: Path
    entries: int


def prove_and_erase(scene: Scene, server: DecisionServer, replayed: Replayed) -> Proven:
    """Prove one decision, prove that the log only grew, erase one person and prove it all again."""
    out = scene.out
    workspace = scene.acting(APPROVER)
    decision, client = replayed.decisions[0], replayed.clients[0]
    with (
        scene.step("audit", "The log's proofs, checked by a verifier that shares no code with the log."),
        workspace.log() as log,
    ):
        before = log.publish()
        out.say(f"[green]✓[/] checkpoint   {before.size} entries, root {before.root.hex()[:16]}…")
        receipt = log.receipt(decision["decision_id"], actor=APPROVER, purpose="demonstration")
        path = scene.home.root / "receipt.json"
        write_atomically(path, receipt.to_json(), mode=0o600)
        verify_receipt(json.loads(path.read_bytes()), [log.vkey])
        out.say(f"[green]✓[/] inclusion    decision {decision['decision_id']} is entry {receipt.index} of the log")
        out.say(f"               its receipt: {short(path)}")
        connection = http.client.HTTPConnection(server.address, timeout=30)
        for other in replayed.clients[1:21]:
            ask(connection, other, "en")
        connection.close()
        after = log.publish()
        consistency = json.loads(msgspec.json.encode(log.prove_consistency(before.size, after.size)))
        verify_consistency(consistency, [log.vkey])
        out.say(f"[green]✓[/] consistency  the log of {after.size} entries only appended to the log of {before.size}")
    with (
        scene.step(
            "erase", "A person asks to be forgotten. Their key and salts are destroyed; the log does not change."
        ),
        workspace.log() as log,
    ):
        token = subject_token(workspace.token_key(), client.identifier)
        try:
            log.erase(token, actor=APPROVER, reason="request of the person (GDPR art. 17)")
        except Retained as held:
            out.say(f"[green]✓[/] refused      {escape(held.message)}")
            out.say("[dim]               the demo overrides the retention period, and the log says so[/]")
        else:
            raise NotVerified("an erasure within the retention period was not refused")
        erasure = log.erase(token, actor=APPROVER, reason="demonstration", override="demonstration on public data")
        last = log.publish()
        _must_be_gone(log, decision["decision_id"])
        verify_receipt(json.loads(path.read_bytes()), [log.vkey])
        consistency = json.loads(msgspec.json.encode(log.prove_consistency(before.size, last.size)))
        verify_consistency(consistency, [log.vkey])
        report = log.fsck()
        if not report.clean:
            raise NotVerified("the log is not sound after the erasure", hint="run: aboveboard audit fsck")
        entries = ", ".join(map(str, erasure.erased_entries))
        out.say(f"[green]✓[/] erased       {escape(token[:16])}…: what entry {entries} committed to is gone")
        out.say("[green]✓[/] proofs       the receipt handed out before, consistency and fsck: all still hold")
    return Proven(path, last.size)


def _must_be_gone(log: Any, decision_id: str) -> None:
    try:
        log.receipt(decision_id, actor=APPROVER, purpose="checking the erasure")
    except NotFound:
        return
    raise NotVerified("a record was still readable after its erasure")
