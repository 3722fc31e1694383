"""Whether a release is what was signed and approved: everything is read once, checked, and handed over as read.

The caller loads the model from the bytes returned, so nothing can be exchanged between the check and the use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from aboveboard.clock import timestamp
from aboveboard.errors import NotFound, NotVerified
from aboveboard.release import evidence
from aboveboard.release.approval import (
    Approval,
    Withdrawal,
    distinct_approvals,
    earliest_withdrawal,
    objection,
    required_approvals,
)
from aboveboard.release.bundle import CONFIG_TYPE, REFERRER_TYPES, RELEASE_TYPE, SCHEMA, ReleaseDocument, pack
from aboveboard.release.documents import decode
from aboveboard.release.layout import OciLayout
from aboveboard.release.manifest import TITLE, Manifest, describe
from aboveboard.release.signature import APPROVAL, RELEASE, WITHDRAWAL, Attestation, open_envelope
from aboveboard.release.trust import Trust

Manifests = Mapping[str, tuple[bytes, Manifest]]


@dataclass(frozen=True, slots=True)
class VerifiedRelease:
    """A release of which every byte was checked, with the bytes."""

    digest: str
    document: ReleaseDocument
    files: Mapping[str, bytes]
    """Every file by its name in the release, e.g. `report.json`, `model/model.json`."""
    approvals: tuple[Approval, ...]
    withdrawal: Withdrawal | None
    ignored: tuple[str, ...]
    """Why other statements about this release did not count."""

    @property
    def model_files(self) -> dict[str, bytes]:
        """The files of the model by their own names, for `aboveboard.models.load_model`."""
        return evidence.model_files(self.files)


def verify_release(
    layout: OciLayout,
    manifests: Manifests,
    trust: Trust,
    digest: str,
    *,
    horizon: datetime,
    require_approval: bool,
) -> VerifiedRelease:
    """Return the release with this digest, if everything about it holds as of `horizon`.

    Checked are: every blob against its digest; the manifest against what its files and document make it; the
    evidence against the model and among itself; the verdict; the author's signature; and, unless `require_approval`
    is false, that enough others approved it and nobody took it back. Raises `NotVerified`, naming what does not hold.
    """
    document, files = read_release(layout, manifests, digest)
    proof = evidence.read_evidence(files)
    for field, found in _claims(proof).items():
        stated = getattr(document, field)
        if stated != found:
            raise NotVerified(
                f"{field} of the release is {stated}, its files say {found}", expected=stated, found=found
            )
    if document.verdict != evidence.PASS:
        raise NotVerified(
            f"the verdict on this release is {document.verdict!r}, not pass",
            verdict=document.verdict,
            hint="only what passed its gate is released: run again",
        )
    counted, ignored = read_statements(layout, manifests, trust, digest, document, horizon)
    approvals = distinct_approvals(digest, counted[APPROVAL])
    withdrawal = earliest_withdrawal(digest, counted[WITHDRAWAL])
    reasons = "; ".join(ignored)
    if not counted[RELEASE]:
        raise NotVerified(
            f"no signature of the author on {digest} holds" + (f": {reasons}" if reasons else ""),
            hint="check that the trust file has the author's key" if trust.keys else "there is no trust file here",
            digest=digest,
        )
    needed = required_approvals(document.materiality)
    if needed is None:
        raise NotVerified(f"materiality {document.materiality!r} is not known here", hint="upgrade Aboveboard")
    if require_approval and withdrawal is not None:
        raise NotVerified(
            str(withdrawal),
            hint="serve another release: a withdrawal stands, and a new run makes a new release",
            digest=digest,
            withdrawer=withdrawal.withdrawer,
        )
    if require_approval and len(approvals) < needed:
        raise NotVerified(
            f"{digest} has {len(approvals)} of {needed} approvals" + (f": {reasons}" if reasons else ""),
            hint="somebody other than the author approves it: aboveboard release approve",
            digest=digest,
            approvals=len(approvals),
            required=needed,
        )
    return VerifiedRelease(digest, document, files, approvals, withdrawal, tuple(ignored))


def read_release(layout: OciLayout, manifests: Manifests, digest: str) -> tuple[ReleaseDocument, dict[str, bytes]]:
    """Return the document and files of a release whose blobs all match; signatures are not looked at."""
    if digest not in manifests:
        raise NotFound(f"no release {digest}", hint="list them with: aboveboard release list")
    content, manifest = manifests[digest]
    if manifest.artifact_type != RELEASE_TYPE or manifest.config.media_type != CONFIG_TYPE:
        raise NotVerified(f"{digest} is not a release", digest=digest, hint="name a release: aboveboard release list")
    document = decode(layout.read(manifest.config), ReleaseDocument, "the release document")
    if document.schema != SCHEMA:
        raise NotVerified(f"release schema {document.schema!r} is not known here", hint="upgrade Aboveboard")
    files = {(layer.annotations or {}).get(TITLE, ""): layout.read(layer) for layer in manifest.layers}
    if pack(document, files).manifest != content:
        raise NotVerified(
            f"manifest {digest} is not what its files and document make it",
            digest=digest,
            hint="restore it from a backup, or fetch or import the release again",
        )
    return document, files


def _claims(proof: evidence.Evidence) -> dict[str, object]:
    """Return what a release document must say about this evidence.

    What the rules judged is what is released: a lower materiality here, say, would ask for fewer approvals.
    """
    return {
        "name": proof.model.name,
        "purpose": proof.model.purpose,
        "materiality": proof.model.materiality,
        "jurisdictions": proof.model.jurisdictions,
        "regions": proof.model.regions,
        "created": timestamp(proof.report.created),
        "model_digest": proof.model_digest,
        "data_digest": proof.data_digest,
        "facts_digest": proof.facts_digest,
        "report_digest": proof.report_digest,
        "verdict": proof.verdict,
    }


def read_statements(
    layout: OciLayout, manifests: Manifests, trust: Trust, digest: str, document: ReleaseDocument, horizon: datetime
) -> tuple[Mapping[str, list[Attestation]], list[str]]:
    """Return the statements that count by their predicate type, and why the others do not.

    A damaged envelope raises; one that is whole but of no weight, e.g. by a key no longer trusted, is passed over,
    or else anybody who can add a blob could stop a release.
    """
    subject = describe(manifests[digest][0], manifests[digest][1].media_type)
    counted: dict[str, list[Attestation]] = {predicate_type: [] for predicate_type in REFERRER_TYPES}
    ignored: list[str] = []
    for referrer, (_, manifest) in sorted(manifests.items()):
        if manifest.subject is None or manifest.subject.digest != digest:
            continue
        predicate_type = next((p for p, kind in REFERRER_TYPES.items() if kind == manifest.artifact_type), None)
        layout.read(manifest.config)
        envelopes = [layout.read(layer) for layer in manifest.layers]
        name = f"statement {referrer[7:19]}"
        if predicate_type is None or manifest.subject != subject or len(envelopes) != 1:
            ignored.append(f"{name}: it is of a kind not known here")
            continue
        try:
            attestation = open_envelope(envelopes[0], trust, subject=digest, predicate_type=predicate_type)
        except NotVerified as error:
            ignored.append(f"{name}: {error.message}")
            continue
        if reason := objection(attestation, author=document.author, horizon=horizon):
            ignored.append(f"{name}: {reason}")
            continue
        counted[predicate_type].append(attestation)
    return counted, ignored
