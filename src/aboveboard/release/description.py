"""What a store tells about its releases: lists, details and their files, as commands print them."""

from __future__ import annotations

import msgspec

from aboveboard.release.approval import Approval, Withdrawal
from aboveboard.release.bundle import ReleaseDocument


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A release that was made."""

    digest: str
    document: ReleaseDocument


class ReleaseSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a list of releases."""

    digest: str
    name: str
    created: str
    author: str
    purpose: str
    materiality: str
    model_digest: str
    approvers: list[str]
    approved: bool
    """Whether it may run: everything about it holds, enough others approved it, and nobody took it back."""
    problem: str | None
    """What does not hold, where something does not."""
    withdrawal: Withdrawal | None = None
    """Who took it back, when and why."""


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a release."""

    name: str
    media_type: str
    size: int
    """In bytes."""
    digest: str


class ReleaseDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a store knows about one release."""

    summary: ReleaseSummary
    document: ReleaseDocument
    files: list[FileRecord]
    approvals: list[Approval]
    approvals_required: int | None
    ignored: list[str]
    """Why other statements about this release do not count."""
