"""Signed statements: an in-toto Statement v1 in a DSSE envelope, signed with Ed25519.

The formats are those of the in-toto attestation framework (spec/v1/statement.md) and of DSSE v1 (protocol.md),
so any verifier of either can check them with the trusted public keys. A statement is about one manifest, by digest.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from aboveboard.errors import NotVerified
from aboveboard.release.documents import decode, encode
from aboveboard.release.keyring import Keyring
from aboveboard.release.manifest import hexadecimal
from aboveboard.release.trust import Moment, Role, Trust, TrustedKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"

RELEASE = "https://aboveboard.dev/attestations/release/v1"
"""By the author: this is the release I made. Predicate: `author`, `signed`."""
APPROVAL = "https://aboveboard.dev/attestations/approval/v1"
"""By an approver: this release may run. Predicate: `approver`, `approved`, `comment`."""
WITHDRAWAL = "https://aboveboard.dev/attestations/withdrawal/v1"
"""By an approver or the author: this release may not run any more. Predicate: `withdrawer`, `withdrawn`, `reason`."""


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature in base64; the key id is a hint and decides nothing."""

    sig: str
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A DSSE envelope (envelope.md)."""

    payload: str
    payload_type: str
    signatures: list[Signature]


class Subject(msgspec.Struct, frozen=True):
    """What a statement is about."""

    digest: dict[str, str]
    name: str = ""


class Statement(msgspec.Struct, frozen=True, rename="camel"):
    """An in-toto statement. Unknown members are ignored, as its parsing rules demand."""

    type_: str = msgspec.field(name="_type")
    subject: list[Subject]
    predicate_type: str
    predicate: msgspec.Raw


class ReleasePredicate(msgspec.Struct, frozen=True):
    """The author's statement."""

    author: str
    signed: Moment


class ApprovalPredicate(msgspec.Struct, frozen=True):
    """An approver's statement."""

    approver: str
    approved: Moment
    comment: str


class WithdrawalPredicate(msgspec.Struct, frozen=True):
    """The statement of somebody who takes a release back."""

    withdrawer: str
    withdrawn: Moment
    reason: str


Predicate = ReleasePredicate | ApprovalPredicate | WithdrawalPredicate


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a trusted key signed, before anybody asked whether it was allowed to."""

    key: TrustedKey
    predicate: Predicate

    @property
    def actor(self) -> str:
        """Who the statement says made it."""
        match self.predicate:
            case ReleasePredicate(author=actor) | ApprovalPredicate(approver=actor):
                return actor
            case WithdrawalPredicate(withdrawer=actor):
                return actor

    @property
    def moment(self) -> datetime:
        """When the statement says it was made."""
        match self.predicate:
            case ReleasePredicate(signed=moment) | ApprovalPredicate(approved=moment):
                return moment
            case WithdrawalPredicate(withdrawn=moment):
                return moment


_SHAPES: Mapping[str, type[Predicate]] = {
    RELEASE: ReleasePredicate,
    APPROVAL: ApprovalPredicate,
    WITHDRAWAL: WithdrawalPredicate,
}


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding that DSSE signs: type and payload, each after its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_statement(
    keys: Keyring,
    *,
    actor: str,
    role: Role,
    predicate_type: str,
    predicate: Mapping[str, Any],
    subject: str,
    name: str,
    at: datetime,
) -> bytes:
    """Return the envelope of a statement by `actor` about the manifest with digest `subject`, called `name`.

    Raises `NotAuthorised` when the actor has no key for the role.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": hexadecimal(subject)}}],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    payload = encode(statement)
    key_id, signature = keys.sign(actor, role, pae(PAYLOAD_TYPE, payload), at=at)
    return encode(
        Envelope(
            payload=base64.b64encode(payload).decode(),
            payload_type=PAYLOAD_TYPE,
            signatures=[Signature(sig=base64.b64encode(signature).decode(), keyid=key_id)],
        )
    )


def open_envelope(content: bytes, trust: Trust, *, subject: str, predicate_type: str) -> Attestation:
    """Return what the envelope says about `subject`, signed by a trusted key.

    The signature is checked before the payload is parsed, as DSSE demands. Whether the key's owner was allowed
    to say it is for the caller. Raises `NotVerified` with the reason when anything does not hold.
    """
    envelope = decode(content, Envelope, "envelope")
    payload = _base64(envelope.payload)
    message = pae(envelope.payload_type, payload)
    signers = (trust.verify(message, _base64(s.sig), s.keyid) for s in envelope.signatures)
    key = next((key for key in signers if key is not None), None)
    if key is None:
        raise NotVerified(
            "no trusted key made this signature",
            key_ids=[s.keyid for s in envelope.signatures],
            hint="ask who signed it; never trust a key to make it pass",
        )
    if envelope.payload_type != PAYLOAD_TYPE:
        raise NotVerified(f"payload type {envelope.payload_type!r} is not {PAYLOAD_TYPE}")
    statement = decode(payload, Statement, "statement")
    if statement.type_ != STATEMENT_TYPE or statement.predicate_type != predicate_type:
        raise NotVerified(f"the statement is not a {predicate_type}")
    if [about.digest.get("sha256") for about in statement.subject] != [hexadecimal(subject)]:
        raise NotVerified("the statement is about something else")
    predicate = decode(bytes(statement.predicate), _SHAPES[predicate_type], "predicate")
    return Attestation(key=key, predicate=predicate)


def _base64(text: str) -> bytes:
    """Decode standard or URL-safe base64; a DSSE verifier must accept either."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NotVerified("the envelope is not base64") from error
