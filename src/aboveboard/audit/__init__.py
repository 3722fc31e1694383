"""The audit log: durable before answered, provable to anyone, and able to forget a person.

What lives here: the log as its users see it (`log`), put together (`opening`, `location`) and written to (`writing`,
`recorder`); events (`events`), the journal that makes them durable (`journal` and its homes, `segment`,
`committer`), the vault of personal keys (`vault`, `key_cache`, `kek`, `sealing`), the Merkle tree and its C2SP form
(`merkle`, `tiles`, `note`, `edge`, `sequencer`, `storage`), those who vouch for it (`witness`, `witnesses`,
`cosigning`, `anchoring`), proofs and an independent verifier in one file (`proof`, `verifier`), search and reading
(`index`, `reading`), the queue of decisions that wait for a person (`review`, `review_queue`), erasure and retention
(`erasure`, `retention`), and the check of it all (`fsck`). What does not: deciding anything, HTTP for decisions, the
command line. Everybody from `release` upwards may import it; it imports `spec` and what is below.

    with AuditLog.open(home.audit, keys=home.keys, origin="bank.example/audit") as log:
        log.append(events.ReleaseApproved(time=…, actor=…, release=…, role="validator"))
        checkpoint = log.publish()
        receipt = log.receipt("dec-…", actor=…, purpose="customer request")

Writing is `append` (blocks until durable), `channel(deliver).submit(event, tag)` (never blocks; one call to `deliver`
per group commit) or, inside asyncio, `await AsyncRecorder(log).append(event)`. All three raise `Overloaded` when the
queue is full and `StorageFailed` while the disk refuses: whoever gets an error answers nothing. `publish` puts
everything durable into the tree and signs it; `start(interval)` does so in the background.
"""

from __future__ import annotations

from aboveboard.audit import events
from aboveboard.audit.committer import Acknowledgement
from aboveboard.audit.erasure import Erasure
from aboveboard.audit.fsck import Finding, FsckReport
from aboveboard.audit.index import Entry, Query
from aboveboard.audit.log import AuditLog
from aboveboard.audit.opening import Options
from aboveboard.audit.proof import ConsistencyProof, InclusionProof, Receipt
from aboveboard.audit.reading import Erased
from aboveboard.audit.recorder import AsyncRecorder
from aboveboard.audit.sequencer import SignedCheckpoint
from aboveboard.audit.writing import Channel

__all__ = [
    "Acknowledgement",
    "AsyncRecorder",
    "AuditLog",
    "Channel",
    "ConsistencyProof",
    "Entry",
    "Erased",
    "Erasure",
    "Finding",
    "FsckReport",
    "InclusionProof",
    "Options",
    "Query",
    "Receipt",
    "SignedCheckpoint",
    "events",
]
