"""What may become a release, who may approve it, and what is handed over when it is verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aboveboard.errors import Conflict, GateRefused, Misuse, NotAuthorised, NotFound, NotVerified
from aboveboard.release import Keyring, ReleaseStore, Role
from aboveboard.release import approval as approval_policy
from aboveboard.release.bundle import pack, pack_referrer
from aboveboard.release.layout import OciLayout
from aboveboard.release.manifest import describe
from aboveboard.release.signature import APPROVAL, RELEASE, sign_statement
from tests.release_cases import (
    APPROVER,
    AUTHOR,
    MODEL,
    OTHER,
    SPEC,
    START,
    Bank,
    later,
    run_documents,
    write_run,
)

VALIDATOR = "vera@bank.example"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def test_what_was_approved_is_what_is_handed_over(bank: Bank) -> None:
    digest = bank.approved()
    verified = bank.store.verify("small-loans:latest")
    assert verified.digest == digest
    assert verified.model_files == MODEL
    assert verified.files["model.yaml"] == SPEC.encode()
    assert [(a.approver, a.comment, a.digest) for a in verified.approvals] == [(APPROVER, "validated", digest)]
    assert verified.document.author == AUTHOR
    assert verified.document.run_id == "run-01"
    assert verified.ignored == ()


def test_the_digest_is_that_of_the_manifest_on_disk(bank: Bank) -> None:
    digest = bank.released()
    manifest = (bank.root / "releases" / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert digest == "sha256:" + hashlib.sha256(manifest).hexdigest()


def test_creating_a_release_again_gives_the_same_one_and_adds_nothing(bank: Bank) -> None:
    digest = bank.released()
    before = {path: path.read_bytes() for path in (bank.root / "releases").rglob("*") if path.is_file()}
    bank.time.forward(days=1)
    assert bank.store.create(bank.root / "runs" / "run-01", author=AUTHOR).digest == digest
    assert {path: path.read_bytes() for path in (bank.root / "releases").rglob("*") if path.is_file()} == before


def test_the_same_run_in_another_store_is_the_same_release(tmp_path: Path) -> None:
    assert Bank(tmp_path / "one").released() == Bank(tmp_path / "other").released()


@pytest.mark.parametrize("verdict", ["fail", "insufficient", "not-applicable", "PASS", "passed", ""])
def test_only_exactly_pass_is_released(bank: Bank, verdict: str) -> None:
    run = write_run(bank.root / "run", run_documents(verdict))
    with pytest.raises(GateRefused, match="only pass"):
        bank.store.create(run, author=AUTHOR)
    assert bank.store.list() == []


def _drop(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def _rewrite(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(run: Path) -> None:
        document = json.loads((run / name).read_text())
        change(document)
        (run / name).write_text(json.dumps(document))

    return apply


def _linked(run: Path) -> None:
    (run / "outside").write_bytes(b"secret")
    (run / "model" / "link.json").symlink_to(run / "outside")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_drop("verdict.json"), "verdict.json is missing"),
        (_drop("facts.json"), "facts.json is missing"),
        (_drop("report.json"), "report.json is missing"),
        (_drop("lineage.json"), "lineage.json is missing"),
        (_drop("model.yaml"), "model.yaml is missing"),
        (_drop("run.json"), "run.json is missing"),
        (_drop("model/trees.txt"), "not the model of the report"),
        (lambda run: (run / "model" / "model.json").write_bytes(b"another model"), "not the model of the report"),
        (lambda run: (run / "model" / "extra.json").write_bytes(b"{}"), "not the model of the report"),
        (lambda run: (run / "model.yaml").write_text(SPEC + "# changed\n"), "model.yaml was changed"),
        (lambda run: (run / "verdict.json").write_bytes(b'{"verdict": "pass"'), "verdict.json is not the document"),
        (lambda run: (run / "facts.json").write_bytes(b"\xff"), "facts.json is not the document"),
        (_rewrite("facts.json", lambda facts: facts.update(as_of="2020-01-01")), "not about these facts"),
        (_rewrite("facts.json", lambda facts: facts["model"].update(digest="sha256:0")), "not about this model"),
        (_rewrite("lineage.json", lambda lineage: lineage.update(data_digest="sha256:0")), "data of the lineage"),
        (
            _rewrite("report.json", lambda report: report["performance"]["auc"].update(value=0.99)),
            r"performance.auc.value differs",
        ),
        (
            _rewrite("report.json", lambda report: report["fairness"][0]["groups"].pop()),
            r"protected\[0\].groups differs",
        ),
        (_rewrite("report.json", lambda report: report.update(rows=901)), "evaluation.rows differs"),
        (_linked, "link.json is missing"),
    ],
)
def test_a_run_whose_parts_do_not_belong_together_is_refused(
    bank: Bank, change: Callable[[Path], None], complaint: str
) -> None:
    run = write_run(bank.root / "run")
    change(run)
    with pytest.raises(GateRefused, match=complaint):
        bank.store.create(run, author=AUTHOR)
    assert bank.store.list() == []


def test_the_facts_must_be_those_of_the_spec(bank: Bank) -> None:
    spec = SPEC.replace("materiality: high", "materiality: low")
    documents = run_documents()
    documents["run"]["spec_digest"] = "sha256:" + hashlib.sha256(spec.encode()).hexdigest()
    with pytest.raises(GateRefused, match=r"not those of model\.yaml"):
        bank.store.create(write_run(bank.root / "run", documents, spec=spec), author=AUTHOR)


def test_a_directory_that_is_no_run_is_not_found(bank: Bank) -> None:
    with pytest.raises(NotFound):
        bank.store.create(bank.root / "nothing", author=AUTHOR)


def test_nobody_without_a_key_releases(bank: Bank) -> None:
    run = write_run(bank.root / "run")
    with pytest.raises(NotAuthorised, match="no signing key"):
        bank.store.create(run, author="eve@bank.example")
    with pytest.raises(NotAuthorised, match="role author"):
        bank.store.create(run, author=APPROVER)


def test_an_unapproved_release_does_not_run(bank: Bank) -> None:
    digest = bank.released()
    with pytest.raises(NotVerified, match="0 of 1 approvals"):
        bank.store.verify(digest)
    assert bank.store.verify(digest, require_approval=False).approvals == ()


def test_the_author_cannot_approve_even_with_an_approvers_key(bank: Bank) -> None:
    digest = bank.released()
    with pytest.raises(NotAuthorised, match="own work"):
        bank.store.approve(digest, approver=AUTHOR)
    with pytest.raises(NotAuthorised, match="own work"):
        bank.store.approve(digest, approver=AUTHOR.upper())


def test_one_person_approves_once(bank: Bank) -> None:
    digest = bank.approved()
    with pytest.raises(Conflict, match="before"):
        bank.store.approve(digest, approver=APPROVER)
    bank.time.forward(seconds=1)
    bank.store.approve(digest, approver=OTHER)
    assert [a.approver for a in bank.store.verify(digest).approvals] == [APPROVER, OTHER]


def test_the_number_of_approvals_is_the_policys(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval_policy, "APPROVALS_REQUIRED", {"high": 2})
    digest = bank.approved()
    with pytest.raises(NotVerified, match="1 of 2 approvals"):
        bank.store.verify(digest)
    bank.store.approve(digest, approver=OTHER)
    assert len(bank.store.verify(digest).approvals) == 2


def test_a_materiality_without_a_policy_is_refused(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = bank.approved()
    monkeypatch.setattr(approval_policy, "APPROVALS_REQUIRED", {"low": 1})
    with pytest.raises(NotVerified, match="not known here"):
        bank.store.verify(digest)


def test_verification_as_of_a_moment_does_not_know_what_came_later(bank: Bank) -> None:
    digest = bank.released()
    bank.time.forward(hours=2)
    bank.store.approve(digest, approver=APPROVER)
    with pytest.raises(NotVerified, match="later than the moment asked about"):
        bank.store.verify(digest, at=START + timedelta(hours=1))
    assert bank.store.verify(digest, at=START + timedelta(hours=2)).approvals
    with pytest.raises(NotVerified, match="no signature of the author"):
        bank.store.verify(digest, at=START - timedelta(hours=1))


def test_a_verifier_needs_nothing_but_the_trust_file(bank: Bank) -> None:
    digest = bank.approved()
    trust_file = bank.root / "elsewhere" / "trust.json"
    trust_file.parent.mkdir()
    trust_file.write_bytes(bank.keys.trust_file.read_bytes())
    trust_file.chmod(0o644)
    verifier = ReleaseStore(bank.root / "releases", keys=Keyring.verifying(trust_file), clock=bank.time)
    assert verifier.verify(digest).digest == digest
    with pytest.raises(NotAuthorised, match="no keys"):
        verifier.approve(digest, approver=OTHER)


def test_without_trust_nothing_verifies(bank: Bank) -> None:
    digest = bank.approved()
    stranger = ReleaseStore(bank.root / "releases", keys=Keyring.verifying(bank.root / "none.json"), clock=bank.time)
    with pytest.raises(NotVerified, match="no trusted key") as refusal:
        stranger.verify(digest)
    assert "trust file" in refusal.value.hint


def test_an_approver_whose_key_was_removed_no_longer_counts(bank: Bank) -> None:
    digest = bank.approved()
    trust = json.loads(bank.keys.trust_file.read_text())
    trust["keys"] = [key for key in trust["keys"] if key["actor"] != APPROVER]
    bank.keys.trust_file.write_text(json.dumps(trust))
    with pytest.raises(NotVerified, match=r"0 of 1 approvals.*no trusted key"):
        bank.store.verify(digest)
    bank.store.approve(digest, approver=OTHER)
    verified = bank.store.verify(digest)
    assert [a.approver for a in verified.approvals] == [OTHER]
    assert "no trusted key" in verified.ignored[0]


def test_a_retired_key_keeps_what_it_signed_and_signs_no_more(bank: Bank) -> None:
    digest = bank.approved()
    key = next(key for key in bank.keys.trust().keys if key.actor == APPROVER)
    bank.keys.retire(key.key_id, at=bank.time.forward(days=30))
    bank.time.forward(days=1)
    assert bank.store.verify(digest).approvals
    second = bank.released("run-02", lambda documents: documents["run"].update(id="run-02"))
    with pytest.raises(NotAuthorised, match="no signing key"):
        bank.store.approve(second, approver=APPROVER)
    renewed = bank.keys.ensure(APPROVER, [Role.APPROVER], at=bank.time())
    assert bank.store.approve(second, approver=APPROVER).key_id == renewed.key_id


def test_references(bank: Bank) -> None:
    with pytest.raises(NotFound, match="no releases"):
        bank.store.resolve("small-loans")
    first = bank.released()
    bank.time.forward(days=1)
    second = bank.released("run-02", later)
    for reference in (first, first[:19], first[7:13]):
        assert bank.store.resolve(reference) == first
    assert bank.store.resolve("small-loans") == bank.store.resolve("small-loans:latest") == second
    assert [summary.digest for summary in bank.store.list()] == [second, first]
    for unknown in ("", "sha256:", first[7:12], "other", "sha256:" + "0" * 64, "../../etc/passwd", "small-loans:1"):
        with pytest.raises(NotFound):
            bank.store.resolve(unknown)


def test_list_and_show_tell_what_does_not_hold(bank: Bank) -> None:
    digest = bank.released()
    assert [(s.approved, s.problem, s.approvers) for s in bank.store.list()] == [(False, None, [])]
    bank.store.approve(digest, approver=APPROVER)
    details = bank.store.show(digest)
    assert details.summary.approved
    assert details.approvals_required == 1
    assert {file.name for file in details.files} == {
        "facts.json",
        "lineage.json",
        "model.yaml",
        "model/model.json",
        "model/trees.txt",
        "report.json",
        "sbom.cdx.json",
        "verdict.json",
    }
    layer = next(file for file in details.files if file.name == "model/model.json")
    assert (layer.size, layer.media_type) == (len(MODEL["model.json"]), "application/vnd.aboveboard.model.v1+json")
    (bank.root / "releases" / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")).write_bytes(b"other")
    (summary,) = bank.store.list()
    assert not summary.approved
    assert layer.digest in (summary.problem or "")
    with pytest.raises(NotVerified, match=layer.digest):
        bank.store.show(digest)
    with pytest.raises(NotVerified, match=layer.digest):
        bank.store.approve(digest, approver=OTHER)


def test_a_comment_has_a_limit(bank: Bank) -> None:
    digest = bank.released()
    with pytest.raises(Misuse):
        bank.store.approve(digest, approver=APPROVER, comment="x" * 2001)
    with pytest.raises(Misuse, match="control characters"):
        bank.store.approve(digest, approver=APPROVER, comment="\x1b[2J")
    assert bank.store.approve(digest, approver=APPROVER, comment="read:\n\tall of it").comment == "read:\n\tall of it"


def test_a_moment_has_a_time_zone(bank: Bank) -> None:
    digest = bank.approved()
    with pytest.raises(Misuse, match="time zone"):
        bank.store.verify(digest, at=START.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("materiality", "low"),
        ("name", "other"),
        ("purpose", "fraud-detection"),
        ("jurisdictions", ["us"]),
        ("regions", ["us-east"]),
        ("created", "2026-11-20T09:00:00.000Z"),
        ("model_digest", "sha256:" + "0" * 64),
        ("report_digest", "sha256:" + "0" * 64),
        ("schema", "aboveboard.dev/release/v2"),
    ],
)
def test_a_document_that_claims_what_its_files_do_not_say_is_refused_even_signed(
    bank: Bank, field: str, value: object
) -> None:
    """An author with a good key who packs a release by hand, past the checks of `create`."""
    good = bank.store.verify(bank.released(), require_approval=False)
    crooked = pack(msgspec.structs.replace(good.document, **{field: value}), good.files)
    with OciLayout(bank.root / "releases").writing() as writer:
        for blob in crooked.blobs:
            writer.put(blob)
        writer.add(crooked.manifest)
    kind = RELEASE
    attach(bank, crooked.digest, signer=AUTHOR, role=Role.AUTHOR, predicate_type=kind, author=AUTHOR, signed=NOW)
    with pytest.raises(NotVerified, match=f"{field} of the release is|release schema"):
        bank.store.verify(crooked.digest, require_approval=False)
    with pytest.raises(NotVerified):
        bank.store.approve(crooked.digest, approver=APPROVER)
    assert bank.store.verify(good.digest, require_approval=False)


def test_a_release_whose_verdict_is_not_pass_is_refused_even_signed(bank: Bank) -> None:
    good = bank.store.verify(bank.released(), require_approval=False)
    verdict = {**json.loads(good.files["verdict.json"]), "verdict": "insufficient"}
    files = {**good.files, "verdict.json": json.dumps(verdict).encode()}
    crooked = pack(msgspec.structs.replace(good.document, verdict="insufficient"), files)
    with OciLayout(bank.root / "releases").writing() as writer:
        for blob in crooked.blobs:
            writer.put(blob)
        writer.add(crooked.manifest)
    attach(bank, crooked.digest, signer=AUTHOR, role=Role.AUTHOR, predicate_type=RELEASE, author=AUTHOR, signed=NOW)
    with pytest.raises(NotVerified, match="not pass"):
        bank.store.verify(crooked.digest, require_approval=False)
    with pytest.raises(NotVerified, match="not pass"):
        bank.store.approve(crooked.digest, approver=APPROVER)


def attach(bank: Bank, digest: str, *, signer: str, role: Role, predicate_type: str, **predicate: str) -> None:
    """Put a statement beside a release by hand, past the rules of the store, as somebody with disk access could."""
    layout = OciLayout(bank.root / "releases")
    envelope = sign_statement(
        bank.keys,
        actor=signer,
        role=role,
        predicate_type=predicate_type,
        predicate=predicate,
        subject=digest,
        name="small-loans",
        at=bank.time(),
    )
    with layout.writing() as writer:
        subject = describe(writer.known[digest][0], "application/vnd.oci.image.manifest.v1+json")
        bundle = pack_referrer(envelope, predicate_type=predicate_type, subject=subject)
        for blob in bundle.blobs:
            writer.put(blob)
        writer.add(bundle.manifest)


NOW = "2026-11-21T09:30:00.000Z"


@pytest.mark.parametrize(
    ("signer", "role", "predicate", "reason"),
    [
        (AUTHOR, Role.APPROVER, {"approver": AUTHOR, "approved": NOW}, "cannot approve their own work"),
        (AUTHOR, Role.APPROVER, {"approver": APPROVER, "approved": NOW}, f"signed with a key of {AUTHOR}"),
        (VALIDATOR, Role.VALIDATOR, {"approver": VALIDATOR, "approved": NOW}, "not trusted as approver"),
        (APPROVER, Role.APPROVER, {"approver": APPROVER, "approved": "2026-11-21T09:29:59Z"}, "was not valid at"),
        (
            APPROVER,
            Role.APPROVER,
            {"approver": APPROVER, "approved": "2026-11-21T09:35:01Z"},
            "later than the moment",
        ),
        (APPROVER, Role.APPROVER, {"approver": APPROVER, "approved": "2026-11-21T09:30:00"}, "predicate is not"),
        (APPROVER, Role.APPROVER, {"approver": APPROVER}, "predicate is not"),
    ],
)
def test_an_approval_against_the_rules_does_not_count(
    bank: Bank, signer: str, role: Role, predicate: dict[str, str], reason: str
) -> None:
    bank.keys.ensure(VALIDATOR, [Role.VALIDATOR], at=bank.time())
    digest = bank.released()
    attach(bank, digest, signer=signer, role=role, predicate_type=APPROVAL, comment="", **predicate)
    with pytest.raises(NotVerified, match=f"0 of 1 approvals.*{reason}"):
        bank.store.verify(digest)
    (ignored,) = bank.store.verify(digest, require_approval=False).ignored
    assert reason in ignored


def test_a_second_approval_by_the_same_person_put_there_by_hand_counts_once(bank: Bank) -> None:
    digest = bank.approved()
    attach(
        bank,
        digest,
        signer=APPROVER,
        role=Role.APPROVER,
        predicate_type=APPROVAL,
        approver=APPROVER,
        approved="2026-11-21T09:30:01.000Z",
        comment="again",
    )
    assert [a.comment for a in bank.store.verify(digest).approvals] == ["validated"]


def test_an_approver_cannot_sign_as_author(bank: Bank) -> None:
    """The signature of the author is what makes a release; a statement of that kind by another role is nothing."""
    digest = bank.released()
    trust = json.loads(bank.keys.trust_file.read_text())
    trust["keys"][0]["roles"] = ["approver"]
    bank.keys.trust_file.write_text(json.dumps(trust))
    attach(bank, digest, signer=APPROVER, role=Role.APPROVER, predicate_type=RELEASE, author=APPROVER, signed=NOW)
    with pytest.raises(NotVerified, match=r"no signature of the author.*not trusted as author"):
        bank.store.verify(digest, require_approval=False)
