"""Who may release a model, how many others must agree, and who may take it back. The whole policy is in this file.

Four eyes to let a release run: nobody approves their own work, and the same person counts once. One person is enough
to stop it: its author, or anybody who may approve. Only statements signed by a trusted key in the right role, in the
key's time, count at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from aboveboard.clock import timestamp
from aboveboard.release.signature import (
    ApprovalPredicate,
    Attestation,
    ReleasePredicate,
    WithdrawalPredicate,
)
from aboveboard.release.trust import Role, folded

APPROVALS_REQUIRED: Mapping[str, int] = {"low": 1, "medium": 1, "high": 1}
"""Approvals by others than the author, by materiality.

SR 26-2 asks for validation by somebody other than the developer, which one independent approval records, for every
tier. A bank that wants two for its highest tier changes the number here, and every verifier of that version
enforces it.
"""

CLOCK_SKEW = timedelta(minutes=5)
"""How far the clock of a signer may be ahead of ours."""

COMMENT_LIMIT = 2000
"""Characters in the comment of an approval or the reason of a withdrawal."""


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement that a release may run, that counted."""

    digest: str
    approver: str
    approved: str
    comment: str
    key_id: str


class Withdrawal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement that a release may not run any more, that counted. Nothing takes it back."""

    digest: str
    withdrawer: str
    withdrawn: str
    reason: str
    key_id: str

    def __str__(self) -> str:
        return f"{self.digest} was withdrawn by {self.withdrawer} at {self.withdrawn}: {self.reason}"


def required_approvals(materiality: str) -> int | None:
    """Return how many approvals a release needs, or None for a materiality that is not known here."""
    return APPROVALS_REQUIRED.get(materiality)


def objection(attestation: Attestation, *, author: str, horizon: datetime) -> str | None:
    """Return why a validly signed statement does not count, or None when it does.

    `author` is the release's, `horizon` the moment after which statements are not yet known.
    """
    key = attestation.key
    actor = attestation.actor
    roles = _roles(attestation, author)
    if key.actor != actor:
        return f"it speaks for {actor} but was signed with a key of {key.actor}"
    if not roles & {*key.roles}:
        return f"{actor} is not trusted as {' or '.join(sorted(roles))}"
    if not key.covers(attestation.moment):
        return f"the key of {actor} was not valid at {timestamp(attestation.moment)}"
    if attestation.moment > horizon:
        return f"{actor} signed it at {timestamp(attestation.moment)}, later than the moment asked about"
    if isinstance(attestation.predicate, ReleasePredicate) and actor != author:
        return f"{actor} is not the author of this release"
    if isinstance(attestation.predicate, ApprovalPredicate) and folded(actor) == folded(author):
        return f"{actor} is the author and cannot approve their own work"
    return None


def withdrawing_role(actor: str, *, author: str) -> Role:
    """Return the role in which `actor` takes a release of `author` back."""
    return Role.AUTHOR if folded(actor) == folded(author) else Role.APPROVER


def distinct_approvals(digest: str, attestations: Iterable[Attestation]) -> tuple[Approval, ...]:
    """Return one approval per approver, the earliest, in order of time and then of name."""
    earliest: dict[str, Approval] = {}
    for attestation in sorted(attestations, key=lambda attestation: (attestation.moment, attestation.actor)):
        predicate = attestation.predicate
        if isinstance(predicate, ApprovalPredicate):
            approval = Approval(
                digest=digest,
                approver=predicate.approver,
                approved=timestamp(predicate.approved),
                comment=predicate.comment,
                key_id=attestation.key.key_id,
            )
            earliest.setdefault(folded(predicate.approver), approval)
    return tuple(earliest.values())


def earliest_withdrawal(digest: str, attestations: Iterable[Attestation]) -> Withdrawal | None:
    """Return the first statement that took the release back; None where nobody did."""
    found = [
        Withdrawal(
            digest=digest,
            withdrawer=attestation.predicate.withdrawer,
            withdrawn=timestamp(attestation.predicate.withdrawn),
            reason=attestation.predicate.reason,
            key_id=attestation.key.key_id,
        )
        for attestation in attestations
        if isinstance(attestation.predicate, WithdrawalPredicate)
    ]
    return min(found, key=lambda withdrawal: (withdrawal.withdrawn, withdrawal.withdrawer), default=None)


def _roles(attestation: Attestation, author: str) -> set[Role]:
    """Return the roles of which the signer needs one for what they say."""
    match attestation.predicate:
        case ReleasePredicate():
            return {Role.AUTHOR}
        case ApprovalPredicate():
            return {Role.APPROVER}
        case WithdrawalPredicate(withdrawer=actor):
            return {Role.APPROVER, withdrawing_role(actor, author=author)}
