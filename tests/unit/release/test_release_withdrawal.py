"""Who may take a release back, and what follows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from aboveboard.errors import Conflict, Misuse, NotAuthorised, NotVerified, StorageFailed
from aboveboard.release import Keyring, ReleaseStore, Role
from aboveboard.release.bundle import pack_referrer
from aboveboard.release.layout import OciLayout
from aboveboard.release.manifest import MANIFEST_TYPE, describe
from aboveboard.release.signature import WITHDRAWAL, sign_statement
from tests.release_cases import APPROVER, AUTHOR, OTHER, START, Bank, later

VALIDATOR = "vera@bank.example"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.mark.parametrize("withdrawer", [AUTHOR, APPROVER, OTHER])
def test_a_withdrawn_release_does_not_run(bank: Bank, withdrawer: str) -> None:
    digest = bank.approved()
    bank.time.forward(days=1)
    withdrawal = bank.store.withdraw("small-loans", withdrawer=withdrawer, reason="income was mis-coded in March")
    assert (withdrawal.digest, withdrawal.withdrawer) == (digest, withdrawer)
    with pytest.raises(
        NotVerified, match=f"withdrawn by {withdrawer} at 2026-11-22.*income was mis-coded"
    ) as refusal:
        bank.store.verify(digest)
    assert refusal.value.hint
    kept = bank.store.verify(digest, require_approval=False)
    assert kept.withdrawal == withdrawal == bank.store.withdrawal(digest)
    assert kept.files, "what it decided can still be explained"


def test_a_withdrawal_is_listed_and_shown(bank: Bank) -> None:
    digest = bank.approved()
    assert bank.store.withdrawal(digest) is None
    withdrawal = bank.store.withdraw(digest, withdrawer=OTHER, reason="drift")
    (line,) = bank.store.list()
    assert (line.approved, line.problem, line.withdrawal) == (False, None, withdrawal)
    assert bank.store.show(digest).summary == line


def test_the_name_goes_on_meaning_the_newest_release_although_it_was_withdrawn(bank: Bank) -> None:
    bank.approved()
    newest = bank.released("run-02", later)
    bank.store.approve(newest, approver=APPROVER)
    bank.store.withdraw(newest, withdrawer=OTHER, reason="drift")
    assert bank.store.resolve("small-loans") == newest, "nobody is given an older model unasked"


def test_how_it_stood_before_is_still_told(bank: Bank) -> None:
    digest = bank.approved()
    bank.time.forward(days=1)
    bank.store.withdraw(digest, withdrawer=OTHER, reason="drift")
    assert bank.store.verify(digest, at=START + timedelta(hours=1)).withdrawal is None


def test_nothing_takes_a_withdrawal_back(bank: Bank) -> None:
    digest = bank.released()
    bank.store.withdraw(digest, withdrawer=AUTHOR, reason="the wrong run")
    with pytest.raises(Conflict, match="withdrawn by ada"):
        bank.store.withdraw(digest, withdrawer=OTHER, reason="again")
    with pytest.raises(Conflict, match="withdrawn by ada"):
        bank.store.approve(digest, approver=APPROVER)
    assert bank.store.create(bank.root / "runs" / "run-01", author=AUTHOR).digest == digest
    with pytest.raises(NotVerified, match="withdrawn by ada"):
        bank.store.verify(digest)


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 2001, "\x1b[2Jfine"])
def test_a_reason_is_plain_text_of_some_length(bank: Bank, reason: str) -> None:
    digest = bank.approved()
    with pytest.raises(Misuse):
        bank.store.withdraw(digest, withdrawer=OTHER, reason=reason)
    bank.store.verify(digest)


def test_only_the_author_and_approvers_withdraw(bank: Bank) -> None:
    digest = bank.approved()
    bank.keys.ensure(VALIDATOR, [Role.VALIDATOR, Role.AUTHOR], at=bank.time())
    for stranger in (VALIDATOR, "eve@bank.example"):
        with pytest.raises(NotAuthorised):
            bank.store.withdraw(digest, withdrawer=stranger, reason="drift")
    bank.store.verify(digest)


@pytest.mark.parametrize(
    ("signer", "role", "claimed", "complaint"),
    [
        (VALIDATOR, Role.AUTHOR, VALIDATOR, "not trusted as approver"),
        (VALIDATOR, Role.AUTHOR, OTHER, "signed with a key of vera"),
    ],
)
def test_a_statement_without_weight_stops_nothing(
    bank: Bank, signer: str, role: Role, claimed: str, complaint: str
) -> None:
    """Otherwise anybody who can add a file could stop a release."""
    digest = bank.approved()
    bank.keys.ensure(signer, [role], at=bank.time())
    layout = OciLayout(bank.root / "releases")
    with layout.writing() as writer:
        subject = describe(writer.known[digest][0], MANIFEST_TYPE)
        envelope = sign_statement(
            bank.keys,
            actor=signer,
            role=role,
            predicate_type=WITHDRAWAL,
            predicate={"withdrawer": claimed, "withdrawn": "2026-11-21T09:30:00.000Z", "reason": "no"},
            subject=digest,
            name="small-loans",
            at=bank.time(),
        )
        bundle = pack_referrer(envelope, predicate_type=WITHDRAWAL, subject=subject)
        for blob in bundle.blobs:
            writer.put(blob)
        writer.add(bundle.manifest)
    verified = bank.store.verify(digest)
    assert verified.withdrawal is None
    assert any(complaint in ignored for ignored in verified.ignored)


def test_a_release_whose_author_is_not_trusted_any_more_can_be_withdrawn(bank: Bank) -> None:
    """A key was stolen: taking back what it signed must not need it."""
    digest = bank.approved()
    trust_file = bank.root / "keys" / "trust.json"
    trust = bank.keys.trust()
    trust_file.write_bytes(type(trust)(tuple(key for key in trust.keys if key.actor != AUTHOR)).to_bytes())
    with pytest.raises(NotVerified, match="no signature of the author"):
        bank.store.verify(digest)
    assert bank.store.withdraw(digest, withdrawer=OTHER, reason="the author's key was stolen").withdrawer == OTHER


def test_a_withdrawal_travels_with_its_release(bank: Bank) -> None:
    digest = bank.approved()
    before, after = bank.root / "before.tar", bank.root / "after.tar"
    bank.store.export(digest, before)
    bank.store.withdraw(digest, withdrawer=OTHER, reason="drift")
    bank.store.export(digest, after)
    other = ReleaseStore(bank.root / "other", keys=Keyring.verifying(bank.keys.trust_file), clock=bank.time)
    other.import_(before)
    other.verify(digest)
    other.import_(after)
    other.import_(before)
    with pytest.raises(NotVerified, match="withdrawn"):
        other.verify(digest)


def test_what_is_here_runs_while_nobody_can_be_asked_and_stops_once_it_is_told(bank: Bank) -> None:
    digest = bank.approved()
    here = ReleaseStore(bank.root / "here", keys=Keyring.verifying(bank.keys.trust_file), clock=bank.time)

    def away(digest: str, blobs: object) -> dict[str, bytes]:
        raise StorageFailed("the registry cannot be reached")

    def published(digest: str, blobs: object) -> dict[str, bytes]:
        root = bank.root / "releases"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    with pytest.raises(StorageFailed):
        here.verify_current(digest, away)
    assert here.verify_current(digest, published)[1] is None
    bank.store.withdraw(digest, withdrawer=OTHER, reason="drift")
    verified, problem = here.verify_current(digest, away)
    assert verified.digest == digest
    assert problem is not None
    for fetch in (published, away):
        with pytest.raises(NotVerified, match="withdrawn"):
            here.verify_current(digest, fetch)
