"""What makes a release: its files with their media types, its document, and the manifest that ties them.

The same files and the same document give the same manifest, byte for byte, wherever it is made. A verifier
uses that: it packs what it read once more and compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from aboveboard.errors import NotVerified
from aboveboard.ids import sha256_digest
from aboveboard.release import evidence
from aboveboard.release.documents import encode
from aboveboard.release.manifest import (
    AUTHORS,
    CREATED,
    EMPTY_CONTENT,
    EMPTY_TYPE,
    MANIFEST_TYPE,
    TITLE,
    Descriptor,
    Manifest,
    describe,
)
from aboveboard.release.signature import APPROVAL, ENVELOPE_TYPE, RELEASE, WITHDRAWAL

RELEASE_TYPE = "application/vnd.aboveboard.release.v1"
CONFIG_TYPE = "application/vnd.aboveboard.release.config.v1+json"

PURPOSE = "dev.aboveboard.purpose"
MATERIALITY = "dev.aboveboard.materiality"
MODEL_DIGEST = "dev.aboveboard.model-digest"

REFERRER_TYPES: Mapping[str, str] = {
    RELEASE: "application/vnd.aboveboard.release-signature.v1",
    APPROVAL: "application/vnd.aboveboard.approval.v1",
    WITHDRAWAL: "application/vnd.aboveboard.withdrawal.v1",
}
"""The artifact type of a statement about a release, by its predicate type."""

_MEDIA_TYPES = {
    evidence.SPEC: "application/vnd.aboveboard.model-spec.v1+yaml",
    evidence.LINEAGE: "application/vnd.aboveboard.lineage.v1+json",
    evidence.REPORT: "application/vnd.aboveboard.report.v1+json",
    evidence.FACTS: "application/vnd.aboveboard.facts.v1+json",
    evidence.VERDICT: "application/vnd.aboveboard.verdict.v1+json",
    evidence.SBOM: "application/vnd.cyclonedx+json",
}
_MODEL_FILE = re.compile(r"model/[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class ReleaseDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The config blob: what a release says about itself. Every digest in it can be computed from the files."""

    schema: str
    """Always `aboveboard.dev/release/v1`."""
    name: str
    purpose: str
    materiality: str
    jurisdictions: list[str]
    regions: list[str]
    author: str
    created: str
    """When the evaluation was finished, RFC 3339 in UTC. The moment of release is in the author's signature."""
    run_id: str
    aboveboard_version: str
    model_digest: str
    data_digest: str
    facts_digest: str
    report_digest: str
    verdict: str


SCHEMA = "aboveboard.dev/release/v1"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A manifest and every blob it needs."""

    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """The name of what is bundled: the digest of its manifest."""
        return sha256_digest(self.manifest)


def media_type(name: str) -> str:
    """Return the media type of a file of a release. Raises `NotVerified` for a file that has no place in one."""
    if known := _MEDIA_TYPES.get(name):
        return known
    if _MODEL_FILE.fullmatch(name) is None:
        raise NotVerified(f"{name[:200]!r} has no place in a release", hint="remove it from the run, or run again")
    return f"application/vnd.aboveboard.model.v1{'+json' if name.endswith('.json') else ''}"


def pack(document: ReleaseDocument, files: Mapping[str, bytes]) -> Bundle:
    """Return the release of `files`: one layer per file in order of name, the document as config.

    Raises `NotVerified` when a file is missing or has no place in a release.
    """
    for name in _MEDIA_TYPES:
        if name not in files:
            raise NotVerified(f"{name} is missing from the release", hint="run again: aboveboard run")
    if not evidence.model_files(files):
        raise NotVerified("the release has no model files", hint="run again: aboveboard run")
    config = encode(document)
    layers = [describe(files[name], media_type(name), {TITLE: name}) for name in sorted(files)]
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST_TYPE,
        artifact_type=RELEASE_TYPE,
        config=describe(config, CONFIG_TYPE),
        layers=layers,
        annotations={
            TITLE: document.name,
            CREATED: document.created,
            AUTHORS: document.author,
            PURPOSE: document.purpose,
            MATERIALITY: document.materiality,
            MODEL_DIGEST: document.model_digest,
        },
    )
    return Bundle(encode(manifest), (config, *(files[name] for name in sorted(files))))


def pack_referrer(envelope: bytes, *, predicate_type: str, subject: Descriptor) -> Bundle:
    """Return a statement about a manifest as an artifact that refers to it by `subject` (OCI image manifest)."""
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST_TYPE,
        artifact_type=REFERRER_TYPES[predicate_type],
        config=describe(EMPTY_CONTENT, EMPTY_TYPE),
        layers=[describe(envelope, ENVELOPE_TYPE)],
        subject=subject,
        annotations={"in-toto.io/predicate-type": predicate_type},
    )
    return Bundle(encode(manifest), (EMPTY_CONTENT, envelope))
