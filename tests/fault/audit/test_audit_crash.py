"""Writers killed in mid-flight: what was acknowledged is there, once, and nothing is damaged.

Acknowledgements leave the writer through a pipe and are kept in this process, outside of the store.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from aboveboard.audit import Options, events
from aboveboard.audit.committer import Settled
from aboveboard.audit.journal_files import FileJournalReader
from aboveboard.errors import AboveboardError
from tests.audit_cases import approval, decision, open_log

ROUNDS = int(os.environ.get("ABOVEBOARD_CRASH_ROUNDS", "200"))
SMALL = Options(segment_bytes=30_000, largest_group=50, post_quantum=False)


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked process and return its pid; this process must have no threads of its own."""
    pid = os.fork()
    if pid:
        return pid
    try:
        body()
        os._exit(0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc(file=sys.__stderr__)
        os._exit(1)


def write_forever(root: Path, out: int, seed: int) -> None:
    """Write, publish, erase and read back until killed, saying each acknowledgement on `out`."""
    chance = random.Random(seed)  # noqa: S311

    def deliver(settled: list[Settled]) -> None:
        lines = "".join(
            f"{outcome.commitment}\n" for _, outcome in settled if not isinstance(outcome, AboveboardError)
        )
        os.write(out, lines.encode())

    log = open_log(root, options=SMALL)
    log.start(interval=0.004)
    channel = log.channel(deliver)
    number = seed * 1_000_000
    while True:
        for _ in range(chance.randrange(1, 30)):
            number += 1
            event: events.Event = decision(number, f"sub-{number % 40}") if number % 7 else approval()
            channel.submit(event, None)
        time.sleep(chance.random() * 0.004)
        if chance.random() < 0.1 and log.latest():
            try:
                log.erase(f"sub-{chance.randrange(40)}", actor="dpo", reason="test", override="test")
            except AboveboardError:
                continue


def check_everything(root: Path, acknowledged: set[str]) -> None:
    """Recover, publish, and hold the log against what was acknowledged."""
    with open_log(root, options=SMALL) as log:
        log.run_due_erasures()
        log.append(approval())
        size = log.publish().size
        report = log.fsck()
        assert report.clean, report.as_dict()
        assert report.entries == size
        assert report.unsequenced == 0
    reader = FileJournalReader(root / "audit" / "journals")
    batches = [batch for name in reader.names() for *_, batch in reader.batches(name, None)]
    found = [commitment.hex() for batch in batches for commitment in batch.commitments()]
    assert len(found) == len(set(found)) == size
    assert acknowledged <= set(found), len(acknowledged - set(found))


def drain(pipe: int) -> bytes:
    content = b""
    while block := os.read(pipe, 1 << 16):
        content += block
    return content


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_acknowledged_event_is_lost_when_writers_are_killed(tmp_path: Path) -> None:
    chance = random.Random(20261121)  # noqa: S311
    acknowledged: set[str] = set()
    total = 0
    for turn in range(ROUNDS):
        root = tmp_path / str(turn // 20)  # a fresh log now and then keeps each check short
        if turn % 20 == 0:
            acknowledged = set()
        writers = []
        for writer in range(chance.choice((1, 1, 2))):
            reading, writing = os.pipe()
            pid = in_child(partial(write_forever, root, writing, turn * 2 + writer))
            os.close(writing)
            writers.append((pid, reading))
        select.select([pipe for _, pipe in writers], [], [], 10)
        time.sleep(chance.random() * 0.06)
        for pid, _ in writers:
            os.kill(pid, signal.SIGKILL)
        for pid, pipe in writers:
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status), "the writer failed by itself"
            lines = drain(pipe).split(b"\n")
            os.close(pipe)
            acknowledged.update(line.decode() for line in lines if len(line) == 64)
            total += len(lines) - 1
        if turn % 20 == 0 and chance.random() < 0.5:
            tear_the_end(root, chance)
        _, status = os.waitpid(in_child(partial(check_everything, root, acknowledged)), 0)
        assert os.waitstatus_to_exitcode(status) == 0, f"round {turn}"
    assert total > ROUNDS, "the writers hardly wrote: this proved nothing"


def tear_the_end(root: Path, chance: random.Random) -> None:
    """Append part of a batch, as a loss of power would leave it."""
    path = max((root / "audit" / "journals" / "main").glob("*.journal"))
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(content[116 : 116 + chance.randrange(1, 200)])
