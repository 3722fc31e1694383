"""Making the three signed statements about a release, each only where it will count."""

from __future__ import annotations

from datetime import datetime

from aboveboard.clock import timestamp
from aboveboard.errors import Misuse, NotAuthorised
from aboveboard.release.approval import CLOCK_SKEW, COMMENT_LIMIT, objection, withdrawing_role
from aboveboard.release.bundle import Bundle, ReleaseDocument, pack_referrer
from aboveboard.release.keyring import Keyring
from aboveboard.release.manifest import MANIFEST_TYPE, describe
from aboveboard.release.signature import (
    APPROVAL,
    RELEASE,
    WITHDRAWAL,
    Attestation,
    open_envelope,
    sign_statement,
)
from aboveboard.release.trust import Role

Stated = tuple[Bundle, Attestation]
"""A statement to be stored, and what it says."""


def state_release(keys: Keyring, manifest: bytes, document: ReleaseDocument, *, at: datetime) -> Stated:
    """Return the statement of a release's author that they made it.

    Raises `NotAuthorised` when they have no key with which it would count, as the others here do.
    """
    predicate = {"author": document.author, "signed": timestamp(at)}
    return _state(keys, manifest, document, document.author, Role.AUTHOR, RELEASE, predicate, at)


def state_approval(
    keys: Keyring, manifest: bytes, document: ReleaseDocument, *, approver: str, comment: str, at: datetime
) -> Stated:
    """Return the statement that a release may run. Raises `Misuse` for a comment that is none, `NotAuthorised`."""
    _check_text("comment", comment)
    predicate = {"approver": approver, "approved": timestamp(at), "comment": comment}
    return _state(keys, manifest, document, approver, Role.APPROVER, APPROVAL, predicate, at)


def state_withdrawal(
    keys: Keyring, manifest: bytes, document: ReleaseDocument, *, withdrawer: str, reason: str, at: datetime
) -> Stated:
    """Return the statement that a release may not run any more. Raises `Misuse` without a reason, `NotAuthorised`."""
    if not reason.strip():
        raise Misuse("a withdrawal needs a reason", hint="say why in a sentence: it is signed and logged")
    _check_text("reason", reason)
    predicate = {"withdrawer": withdrawer, "withdrawn": timestamp(at), "reason": reason}
    role = withdrawing_role(withdrawer, author=document.author)
    return _state(keys, manifest, document, withdrawer, role, WITHDRAWAL, predicate, at)


def _state(
    keys: Keyring,
    manifest: bytes,
    document: ReleaseDocument,
    actor: str,
    role: Role,
    predicate_type: str,
    predicate: dict[str, str],
    at: datetime,
) -> Stated:
    subject = describe(manifest, MANIFEST_TYPE)
    envelope = sign_statement(
        keys,
        actor=actor,
        role=role,
        predicate_type=predicate_type,
        predicate=predicate,
        subject=subject.digest,
        name=document.name,
        at=at,
    )
    attestation = open_envelope(envelope, keys.trust(), subject=subject.digest, predicate_type=predicate_type)
    if reason := objection(attestation, author=document.author, horizon=at + CLOCK_SKEW):
        raise NotAuthorised(
            f"this signature would not count: {reason}", actor=actor, hint="see who may sign what in trust.json"
        )
    return pack_referrer(envelope, predicate_type=predicate_type, subject=subject), attestation


def _check_text(name: str, text: str) -> None:
    if len(text) > COMMENT_LIMIT:
        raise Misuse(f"the {name} is longer than {COMMENT_LIMIT} characters", hint="shorten it")
    if not all(character.isprintable() or character in "\n\t" for character in text):
        raise Misuse(f"the {name} has control characters", hint="write it as plain text")
