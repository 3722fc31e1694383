"""Descriptors, manifests and the index of the OCI image specification 1.1: shapes, parsing, canonical bytes.

Of the specification only what a release needs is here. Documents are written as canonical JSON, so that the
same release has the same digest wherever it is made, and read strictly: an unknown key is refused.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from aboveboard.errors import NotVerified
from aboveboard.ids import sha256_digest
from aboveboard.release.documents import decode

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY_CONTENT = b"{}"

TITLE = "org.opencontainers.image.title"
CREATED = "org.opencontainers.image.created"
AUTHORS = "org.opencontainers.image.authors"
REF_NAME = "org.opencontainers.image.ref.name"

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes; what the distribution specification asks a registry to accept at least."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class Descriptor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What a blob is, its digest and its size in bytes."""

    media_type: str
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """An image manifest as an artifact uses it; with a `subject` it is a referrer, a statement about another."""

    schema_version: int
    media_type: str
    artifact_type: str
    config: Descriptor
    layers: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """index.json: every manifest in the layout, releases and referrers alike."""

    schema_version: int
    media_type: str
    manifests: list[Descriptor]


def hexadecimal(digest: str) -> str:
    """Return the 64 hex digits of a SHA-256 digest. Raises `NotVerified` for anything else: no path gets through."""
    if _DIGEST.fullmatch(digest) is None:
        raise NotVerified(
            f"{digest[:80]!r} is not a SHA-256 digest", hint="a digest is sha256: and 64 lower-case hex digits"
        )
    return digest.removeprefix("sha256:")


def is_digest(text: str) -> bool:
    """Say whether `text` is a whole SHA-256 digest."""
    return _DIGEST.fullmatch(text) is not None


def describe(content: bytes, media_type: str, annotations: dict[str, str] | None = None) -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(media_type, sha256_digest(content), len(content), annotations=annotations)


def check(descriptor: Descriptor, content: bytes) -> bytes:
    """Return `content` if it is what the descriptor says, byte for byte. Raises `NotVerified` otherwise."""
    found = sha256_digest(content)
    if len(content) != descriptor.size or found != descriptor.digest:
        raise NotVerified(
            f"blob {descriptor.digest} does not hold: its content hashes to {found}",
            hint="restore this blob from a backup or import the release again; do not use what is there",
            expected=descriptor.digest,
            found=found,
        )
    return content


def parse_manifest(content: bytes, digest: str) -> Manifest:
    """Return the manifest in bytes that already match `digest`. Raises `NotVerified` when it is not one of ours."""
    manifest = decode(content, Manifest, f"manifest {digest}")
    if manifest.schema_version != 2 or manifest.media_type != MANIFEST_TYPE:  # both MUST be so: OCI manifest.md
        raise NotVerified(f"manifest {digest} is of another version or media type", digest=digest)
    return manifest


def index_entry(content: bytes, manifest: Manifest) -> Descriptor:
    """Return what index.json says about a manifest: nothing that is not in the manifest itself.

    As the distribution specification has it for referrers, type and annotations are those of the manifest. A
    release also gets a name that OCI tools can ask for, made of its own name and digest.
    """
    digest = sha256_digest(content)
    annotations = dict(manifest.annotations or {})
    if manifest.subject is None and TITLE in annotations:
        annotations[REF_NAME] = f"{annotations[TITLE]}-{digest.removeprefix('sha256:')[:12]}"
    return Descriptor(MANIFEST_TYPE, digest, len(content), manifest.artifact_type, annotations or None)
