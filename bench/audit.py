"""The audit log: acknowledged and sequenced entries per second, latencies, proofs, sizes, recovery.

Events are decisions with 23 features. Those about new persons are the expensive case: each needs a key, made durably
before the record is sealed under it. Those about persons seen before find their key in memory.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from aboveboard.audit import AuditLog, events, verifier
from aboveboard.audit.committer import Settled
from aboveboard.audit.journal_files import FileJournalWriter
from aboveboard.clock import system_clock, timestamp

_REPEATS = 5


def decisions(count: int, start: int = 0) -> list[events.Decision]:
    """Return `count` decisions about as many people."""
    chance = random.Random(start)  # noqa: S311
    now = timestamp(system_clock())
    return [
        events.Decision(
            time=now,
            decision_id=f"dec-{start + n:026d}",
            subject=f"sub-{chance.getrandbits(128):032x}",
            model="credit-default",
            release="sha256:" + "ab" * 32,
            track="champion",
            jurisdiction="us",
            locale="en",
            features={f"FEATURE_{k}": round(chance.uniform(0, 100_000), 2) for k in range(23)},
            cohort={"sex": "female", "age": "from-30-to-39"},
            score=chance.random(),
            outcome="approve",
            reasons=["credit-line", "latest-payment"],
        )
        for n in range(count)
    ]


def of(event: events.Decision, other: events.Decision) -> events.Decision:
    """Return `event` as one about the person of `other`."""
    return msgspec.structs.replace(event, subject=other.subject)


def fsync_milliseconds(directory: Path) -> float:
    """Return the median time of the storage's own fdatasync after a write of 4 KiB."""
    descriptor = os.open(directory / "probe", os.O_CREAT | os.O_WRONLY)
    spans = []
    for _ in range(100):
        os.write(descriptor, bytes(4096))
        begun = time.perf_counter()
        os.fdatasync(descriptor)
        spans.append(time.perf_counter() - begun)
    os.close(descriptor)
    return statistics.median(spans) * 1000


def closed_loop(log: AuditLog, writers: int, batch: list[events.Decision]) -> tuple[float, float, float]:
    """Keep `writers` events under way until all are durable; return entries/s, p50 and p99 in milliseconds."""
    waiting = iter(batch)
    spans: list[float] = []
    done = threading.Event()

    def deliver(settled: list[Settled]) -> None:
        now = time.perf_counter()
        for begun, outcome in settled:
            if isinstance(outcome, Exception):
                raise outcome
            spans.append(now - begun)
            if (event := next(waiting, None)) is not None:
                channel.submit(event, time.perf_counter())
        if len(spans) == len(batch):
            done.set()

    channel = log.channel(deliver)
    begun = time.perf_counter()
    for _ in range(writers):
        channel.submit(next(waiting), time.perf_counter())
    done.wait()
    rate = len(batch) / (time.perf_counter() - begun)
    spans.sort()
    return rate, spans[len(spans) // 2] * 1000, spans[int(len(spans) * 0.99)] * 1000


def median(measure: Callable[[], float]) -> float:
    """Return the median of a few measurements."""
    return statistics.median(measure() for _ in range(_REPEATS))


def per_second(count: int, work: Callable[[], object]) -> float:
    """Return how many of `count` pieces of `work` were done in a second."""
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-audit-") as name:
        root = Path(name)
        probe = fsync_milliseconds(root)
        print(f"the storage's own fdatasync: {probe:.2f} ms (median)")
        with AuditLog.open(root / "audit", keys=root / "keys", origin="bench.example/log") as log:
            log.append(decisions(1)[0])
            start = 1
            title = ("persons", "writers", "acknowledged/s", "p50 ms", "p99 ms", "p99 - fsync", "CPU us each")
            print("{:>8} {:>8} {:>15} {:>8} {:>8} {:>12} {:>12}".format(*title))
            known = decisions(200, start)
            log.append_all(known)
            start += len(known)
            for persons, writers in itertools.product(("new", "known"), (1, 16, 64, 512)):
                rows = []
                for _ in range(3):
                    batch = decisions(min(4000, writers * 200), start)
                    start += len(batch)
                    if persons == "known":
                        batch = [of(event, known[n % len(known)]) for n, event in enumerate(batch)]
                    spent = time.process_time()
                    measured = closed_loop(log, writers, batch)
                    rows.append((*measured, (time.process_time() - spent) / len(batch) * 1e6))
                rate, middle, tail, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
                print(
                    f"{persons:>8} {writers:>8} {rate:>15,.0f} {middle:>8.2f} {tail:>8.2f} {tail - probe:>12.2f}"
                    f" {cpu:>12,.0f}"
                )
            log.publish()
            figures(log, start)
        sizes(root, start)
        reopening(root)


def figures(log: AuditLog, start: int) -> None:
    """Print sequencing, index, proofs, and the time until a receipt is complete."""
    sequencing, indexing = [], []
    for turn in range(3):
        log.append_all(decisions(10_000, start + turn * 10_000))
        sequencing.append(per_second(10_000, log._sequencer.publish))
        indexing.append(per_second(10_000, log._index.catch_up))
    print(f"sequenced and published: {statistics.median(sequencing):,.0f} entries/s")
    print(f"indexed for search: {statistics.median(indexing):,.0f} entries/s")
    latest = log.publish()
    chance = random.Random(7)  # noqa: S311
    leaves = [chance.randrange(latest.size) for _ in range(300)]
    print(f"inclusion proofs made: {median(lambda: per_second(300, lambda: [log.prove(n) for n in leaves])):,.0f}/s")
    receipt = log.receipt(index=leaves[0], actor="bench", purpose="bench")
    document = json.loads(msgspec.json.encode(receipt))
    rate = median(lambda: per_second(200, lambda: [verifier.verify(document, [log.vkey]) for _ in range(200)]))
    print(f"receipts verified: {rate:,.0f}/s ({len(receipt.to_json()):,} bytes each)")
    log.start(interval=0.25)
    spans = []
    for event in decisions(8, start + 50_000):
        begun = time.perf_counter()
        log.append(event)
        while not (seen := log.latest()) or seen.size <= latest.size:
            time.sleep(0.005)
        log.receipt(event.decision_id, actor="bench", purpose="bench")
        spans.append(time.perf_counter() - begun)
        latest = log.publish()
    log.stop()
    print(f"decision to complete receipt, publishing every 0.25 s: {statistics.median(spans):.2f} s")


def sizes(root: Path, entries: int) -> None:
    """Print what an entry takes on the disk."""

    def total(*names: str) -> float:
        paths = [path for part in names for path in (root / "audit").glob(part) if path.is_file()]
        return sum(path.stat().st_size for path in paths) / (entries + 30_000)

    parts = {
        "journal": total("journals/*/*.journal"),
        "vault": total("vault.sqlite"),
        "order and index": total("log.sqlite"),
        "tiles": total("tiles/**/*"),
    }
    print("bytes per entry: " + ", ".join(f"{name} {size:.0f}" for name, size in parts.items()))


def reopening(root: Path) -> None:
    """Print how long a writer takes to recover: it reads the last segment only, whatever came before."""
    journal = root / "audit" / "journals" / "main"
    size = max(journal.glob("*.journal")).stat().st_size

    def recover() -> float:
        begun = time.perf_counter()
        FileJournalWriter.open(root / "audit" / "journals", "main").close()
        return time.perf_counter() - begun

    spent = median(recover)
    print(
        f"recovery of a writer: {spent * 1000:.0f} ms for a last segment of {size / 2**20:.0f} MiB; segments end at"
        f" 64 MiB, so {spent * 64 * 2**20 / size * 1000:.0f} ms at most, for ten million entries too"
    )
