"""Releases: content-addressed, signed OCI artifacts with their evidence and approvals.

Here live the OCI layout, the bundle, the bill of materials, signatures, keys, approvals, withdrawals, and the store
that is the door to them. What was approved is what runs: `ReleaseStore.verify` hands over the very bytes it checked.
Nothing is decided here about fairness or law; that was the gate. Audit events are written by the caller.

`cli` and `serving` import this package; it never loads the training side, and creating is the only thing that
reads a model spec.
"""

from __future__ import annotations

from aboveboard.release.approval import APPROVALS_REQUIRED, Approval, Withdrawal
from aboveboard.release.bundle import ReleaseDocument
from aboveboard.release.description import FileRecord, Release, ReleaseDetails, ReleaseSummary
from aboveboard.release.keyring import Keyring
from aboveboard.release.store import ReleaseStore
from aboveboard.release.trust import Role, Trust, TrustedKey
from aboveboard.release.verification import VerifiedRelease

__all__ = [
    "APPROVALS_REQUIRED",
    "Approval",
    "FileRecord",
    "Keyring",
    "Release",
    "ReleaseDetails",
    "ReleaseDocument",
    "ReleaseStore",
    "ReleaseSummary",
    "Role",
    "Trust",
    "TrustedKey",
    "VerifiedRelease",
    "Withdrawal",
]
