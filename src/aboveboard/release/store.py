"""The store of releases: create, approve, withdraw, list, verify. The one door to an OCI image layout on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aboveboard import __version__
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError, Conflict, Misuse, NotAuthorised, NotFound, NotVerified
from aboveboard.files import write_atomically
from aboveboard.release.approval import (
    CLOCK_SKEW,
    Approval,
    Withdrawal,
    distinct_approvals,
    earliest_withdrawal,
    required_approvals,
)
from aboveboard.release.archive import pack_archive, read_archive, unpack_archive
from aboveboard.release.bundle import (
    MATERIALITY,
    MODEL_DIGEST,
    PURPOSE,
    SCHEMA,
    Bundle,
    ReleaseDocument,
    pack,
)
from aboveboard.release.description import FileRecord, Release, ReleaseDetails, ReleaseSummary
from aboveboard.release.evidence import SBOM, model_files
from aboveboard.release.keyring import Keyring
from aboveboard.release.layout import LayoutWriter, OciLayout
from aboveboard.release.manifest import (
    AUTHORS,
    CREATED,
    TITLE,
    Descriptor,
)
from aboveboard.release.reference import releases_in, resolve
from aboveboard.release.signature import WITHDRAWAL
from aboveboard.release.statement import state_approval, state_release, state_withdrawal
from aboveboard.release.trust import folded
from aboveboard.release.verification import (
    Manifests,
    VerifiedRelease,
    read_release,
    read_statements,
    verify_release,
)
from aboveboard.release.volume import Blobs

if TYPE_CHECKING:
    from aboveboard.release.registry import Registry

Summaries = list[ReleaseSummary]
Digests = list[str]
Fetch = Callable[[str, Blobs], Mapping[str, bytes]]
"""Returns a release by digest, and every statement about it, as `Registry.fetch` does; blobs may be here already."""


class ReleaseStore:
    """Releases in an OCI image layout, with the keys to sign and the trust to verify them."""

    def __init__(self, root: Path, *, keys: Keyring, clock: Clock) -> None:
        self._layout = OciLayout(root)
        self._keys = keys
        self._clock = clock

    def create(self, run_directory: Path, *, author: str) -> Release:
        """Make a release of a run that passed its gate, signed by its author.

        Making it again gives the same release. Raises `GateRefused` when the verdict is anything but pass or the
        parts of the run do not belong together, `NotAuthorised` when the author has no signing key, `StorageFailed`
        when the disk does not take it; then nothing is left.
        """
        # Only here are model.yaml and the bill of materials read and written: a decision server never needs them.
        from aboveboard.release.run import read_run
        from aboveboard.release.sbom import bill_of_materials, installed_distributions

        run = read_run(run_directory)
        sbom = bill_of_materials(run.spec, run.evidence, model_files(run.files), installed_distributions())
        body = run.spec.spec
        document = ReleaseDocument(
            schema=SCHEMA,
            name=run.spec.metadata.name,
            purpose=body.purpose.value,
            materiality=body.materiality.value,
            jurisdictions=list(body.jurisdictions),
            regions=list(body.regions),
            author=author,
            created=timestamp(run.evidence.report.created),
            run_id=run.id,
            aboveboard_version=__version__,
            model_digest=run.evidence.model_digest,
            data_digest=run.evidence.data_digest,
            facts_digest=run.evidence.facts_digest,
            report_digest=run.evidence.report_digest,
            verdict=run.evidence.verdict,
        )
        bundle = pack(document, {**run.files, SBOM: sbom})
        signature, _ = state_release(self._keys, bundle.manifest, document, at=self._clock())
        with self._layout.writing() as writer:
            if bundle.digest not in writer.known or not self._holds(writer.known, bundle.digest):
                _write(writer, bundle)
                _write(writer, signature)
        return Release(bundle.digest, document)

    def approve(self, reference: str, *, approver: str, comment: str = "") -> Approval:
        """Record that `approver` says this release may run.

        Raises `NotVerified` when anything about the release does not hold, `NotAuthorised` when the approver is its
        author or has no key for approving, `Conflict` when they have approved it before or it was withdrawn.
        """
        digest = self.resolve(reference)
        with self._layout.writing() as writer:
            release = self._verify(writer.known, digest, require_approval=False)
            if folded(approver) == folded(release.document.author):
                raise NotAuthorised(
                    f"{approver} is the author of {digest} and cannot approve their own work",
                    hint="somebody else approves it: aboveboard --actor SOMEBODY-ELSE release approve",
                    approver=approver,
                )
            if release.withdrawal is not None:
                raise _already_withdrawn(release.withdrawal)
            if any(folded(approval.approver) == folded(approver) for approval in release.approvals):
                raise Conflict(f"{approver} has approved {digest} before", hint="one approval per person counts")
            statement, attestation = state_approval(
                self._keys,
                writer.known[digest][0],
                release.document,
                approver=approver,
                comment=comment,
                at=self._clock(),
            )
            _write(writer, statement)
        return distinct_approvals(digest, [attestation])[0]

    def withdraw(self, reference: str, *, withdrawer: str, reason: str) -> Withdrawal:
        """Record that `withdrawer` says this release may not run any more. Nothing takes that back.

        Its author may say so, and whoever may approve. Raises `Misuse` without a reason, `NotVerified` when its bytes
        do not hold, `NotAuthorised` without a key that counts, `Conflict` when it was withdrawn before.
        """
        with self._layout.writing() as writer:
            digest = resolve(writer.known, reference)
            # What else may be wrong with it, such as a key no longer trusted, is no reason to keep it.
            document, _ = read_release(self._layout, writer.known, digest)
            if (before := self._withdrawal(writer.known, digest, document)) is not None:
                raise _already_withdrawn(before)
            statement, attestation = state_withdrawal(
                self._keys,
                writer.known[digest][0],
                document,
                withdrawer=withdrawer,
                reason=reason,
                at=self._clock(),
            )
            _write(writer, statement)
        withdrawal = earliest_withdrawal(digest, [attestation])
        assert withdrawal is not None  # noqa: S101  that is what was just signed
        return withdrawal

    def verify(self, reference: str, *, at: datetime | None = None, require_approval: bool = True) -> VerifiedRelease:
        """Return a release of which every byte was checked, with the bytes that were checked.

        `at` asks how it stood at a moment in the past: later statements do not count. Raises `NotFound`, and
        `NotVerified` naming what does not hold.
        """
        if at is not None and at.tzinfo is None:
            raise Misuse("a moment needs a time zone", hint="give it in UTC, e.g. 2026-11-21T09:30:00Z")
        manifests = self._layout.manifests()
        digest = resolve(manifests, reference)
        return self._verify(manifests, digest, require_approval=require_approval, at=at)

    def verify_current(self, digest: str, fetch: Fetch) -> tuple[VerifiedRelease, AboveboardError | None]:
        """Return a release that may run, after asking where it is published what has been said about it since.

        What is here and holds may run although nobody could be asked: decisions do not stop with a registry. Then the
        reason why nobody could be asked is returned beside it. Raises what `verify` and `take` raise, and what
        `fetch` raises where there is nothing here.
        """
        problem: AboveboardError | None = None
        try:
            files = fetch(digest, self)
        except AboveboardError as error:
            problem = error
        else:
            self.take(files)
        try:
            return self.verify(digest), problem
        except NotFound:
            if problem is not None:
                raise problem from None
            raise
        except NotVerified as error:
            raise error from problem

    def withdrawal(self, reference: str) -> Withdrawal | None:
        """Return who took a release back, when and why; None where nobody did. Raises as `verify` does."""
        manifests = self._layout.manifests()
        digest = resolve(manifests, reference)
        document, _ = read_release(self._layout, manifests, digest)
        return self._withdrawal(manifests, digest, document)

    def blob(self, descriptor: Descriptor) -> bytes | None:
        """Return the bytes of a blob that is here and whole, else None, so that `Registry.fetch` can spare it."""
        try:
            return self._layout.read(descriptor)
        except NotVerified:
            return None

    def resolve(self, reference: str) -> str:
        """Return the digest that `reference` means, as `aboveboard.release.reference.resolve` tells."""
        return resolve(self._layout.manifests(), reference)

    def list(self) -> Summaries:
        """Return all releases, the newest first, each with what does not hold about it."""
        manifests = self._layout.manifests()
        summaries = [self._summary(manifests, digest) for digest in releases_in(manifests)]
        return sorted(summaries, key=lambda summary: (summary.created, summary.digest), reverse=True)

    def show(self, reference: str) -> ReleaseDetails:
        """Return everything about one release, approved or not. Raises `NotFound`, or `NotVerified` when damaged."""
        manifests = self._layout.manifests()
        digest = resolve(manifests, reference)
        document, _ = read_release(self._layout, manifests, digest)
        summary = self._summary(manifests, digest)
        approvals: tuple[Approval, ...] = ()
        ignored: tuple[str, ...] = ()
        if summary.problem is None:
            verified = self._verify(manifests, digest, require_approval=False)
            approvals, ignored = verified.approvals, verified.ignored
        return ReleaseDetails(
            summary=summary,
            document=document,
            files=[
                FileRecord((layer.annotations or {})[TITLE], layer.media_type, layer.size, layer.digest)
                for layer in manifests[digest][1].layers
            ],
            approvals=[*approvals],
            approvals_required=required_approvals(document.materiality),
            ignored=[*ignored],
        )

    def export(self, reference: str, path: Path) -> str:
        """Write a release with its statements as a tar file that is an OCI image layout; return its digest.

        The same release and statements give the same file. Raises `NotVerified` for a release that does not hold.
        """
        manifests = self._layout.manifests()
        digest = resolve(manifests, reference)
        self._verify(manifests, digest, require_approval=False)
        write_atomically(path, pack_archive(self._layout, manifests, digest))
        return digest

    def import_(self, path: Path) -> Digests:
        """Take in the releases of such a tar file, with their statements; return their digests.

        All or none. Raises `NotVerified` when the file is not sound or a release in it was not signed by somebody
        trusted here. Approvals are judged when the release is used, as ever.
        """
        return self.take(read_archive(path))

    def take(self, files: Mapping[str, bytes]) -> Digests:
        """Take in the releases in the files of an image layout, as `import_` does and `Registry.fetch` gives them."""
        with self._layout.writing() as writer:
            releases = unpack_archive(files, writer)
            for digest in releases:
                self._verify({**writer.known, **writer.added}, digest, require_approval=False)
        return releases

    def push(self, reference: str, registry: Registry) -> tuple[str, int]:
        """Store a release that holds in a registry; return its digest and how many statements went with it."""
        digest = self.resolve(reference)
        self._verify(self._layout.manifests(), digest, require_approval=False)
        return digest, registry.push(self._layout, digest)

    def rebuild_index(self) -> int:
        """Write the index anew from the blobs after it was damaged; return how many manifests were found."""
        return self._layout.rebuild_index()

    def _verify(
        self, manifests: Manifests, digest: str, *, require_approval: bool, at: datetime | None = None
    ) -> VerifiedRelease:
        horizon = self._clock() + CLOCK_SKEW if at is None else at
        return verify_release(
            self._layout, manifests, self._keys.trust(), digest, horizon=horizon, require_approval=require_approval
        )

    def _withdrawal(self, manifests: Manifests, digest: str, document: ReleaseDocument) -> Withdrawal | None:
        counted, _ = read_statements(
            self._layout, manifests, self._keys.trust(), digest, document, self._clock() + CLOCK_SKEW
        )
        return earliest_withdrawal(digest, counted[WITHDRAWAL])

    def _holds(self, manifests: Manifests, digest: str) -> bool:
        try:
            self._verify(manifests, digest, require_approval=False)
        except AboveboardError:
            return False
        return True

    def _summary(self, manifests: Manifests, digest: str) -> ReleaseSummary:
        annotations = manifests[digest][1].annotations or {}
        problem: str | None = None
        approvals: tuple[Approval, ...] = ()
        withdrawal: Withdrawal | None = None
        try:
            verified = self._verify(manifests, digest, require_approval=False)
            approvals, withdrawal = verified.approvals, verified.withdrawal
        except AboveboardError as error:
            problem = error.message
        needed = required_approvals(annotations.get(MATERIALITY, ""))
        return ReleaseSummary(
            digest=digest,
            name=annotations.get(TITLE, ""),
            created=annotations.get(CREATED, ""),
            author=annotations.get(AUTHORS, ""),
            purpose=annotations.get(PURPOSE, ""),
            materiality=annotations.get(MATERIALITY, ""),
            model_digest=annotations.get(MODEL_DIGEST, ""),
            approvers=[approval.approver for approval in approvals],
            approved=problem is None and withdrawal is None and needed is not None and len(approvals) >= needed,
            problem=problem,
            withdrawal=withdrawal,
        )


def _already_withdrawn(withdrawal: Withdrawal) -> Conflict:
    return Conflict(
        str(withdrawal),
        hint="a withdrawal stands; a new run makes a new release",
        withdrawer=withdrawal.withdrawer,
    )


def _write(writer: LayoutWriter, bundle: Bundle) -> None:
    for blob in bundle.blobs:
        writer.put(blob)
    writer.add(bundle.manifest)
