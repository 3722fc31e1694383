"""Records made unreadable without a person's key, and readable again with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from aboveboard.audit.events import Event, Personal
from aboveboard.audit.record import SALT_BYTES, commitment, decode_record, encode_record, retention_of
from aboveboard.audit.segment import Sealed
from aboveboard.audit.vault import LOG, Name, SubjectKey, Vault
from aboveboard.errors import AboveboardError, NotVerified, RequestRefused

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Opened:
    """A record with the salt that ties it to its commitment."""

    record: bytes
    salt: bytes

    def event(self) -> Event:
        """Return the event. Raises `NotVerified` for a type or version unknown here."""
        return decode_record(self.record)


def key_name(event: Event) -> Name:
    """Return which key an event is sealed under. Raises `RequestRefused` for a subject that names no person."""
    subject = event.subject if isinstance(event, Personal) else None
    if subject is not None and (not subject or subject.startswith("@")):
        raise RequestRefused("a subject is a person's token", hint="use ids.subject_token()")
    return Name(subject or LOG, event.time[:7], retention_of(event))


def seal(events: Sequence[Event], vault: Vault) -> list[Sealed | AboveboardError]:
    """Seal each event, or say what is wrong with it; call it while `vault.sealing()`.

    Raises `StorageFailed` when the vault cannot make the keys, in which case nothing is sealed.
    """
    prepared: list[tuple[Name, bytes] | AboveboardError] = []
    for event in events:
        try:
            record = encode_record(event)
            prepared.append((key_name(event), record))
        except AboveboardError as error:
            prepared.append(error)
    keys = vault.keys_for(item[0] for item in prepared if isinstance(item, tuple))
    random = os.urandom(len(prepared) * (SALT_BYTES + _NONCE_BYTES))
    sealed: list[Sealed | AboveboardError] = []
    position = 0
    for item in prepared:
        if isinstance(item, AboveboardError):
            sealed.append(item)
            continue
        key, record = keys[item[0]], item[1]
        salt = random[position : position + SALT_BYTES]
        nonce = random[position + SALT_BYTES : position + SALT_BYTES + _NONCE_BYTES]
        position += SALT_BYTES + _NONCE_BYTES
        committed = commitment(salt, record)
        ciphertext = key.cipher.encrypt(nonce, salt + record, committed + key.key_id)
        sealed.append(Sealed(committed, key.key_id, nonce, ciphertext))
    return sealed


def unseal(sealed: Sealed, key: SubjectKey) -> Opened:
    """Open a sealed entry and check it against its commitment. Raises `NotVerified`."""
    try:
        plain = key.cipher.decrypt(sealed.nonce, sealed.ciphertext, sealed.commitment + sealed.key_id)
    except (InvalidTag, ValueError) as error:
        raise NotVerified("a sealed record does not open with its key: it is damaged") from error
    opened = Opened(plain[SALT_BYTES:], plain[:SALT_BYTES])
    if commitment(opened.salt, opened.record) != sealed.commitment:
        raise NotVerified("a sealed record is not what the log commits to")
    return opened
