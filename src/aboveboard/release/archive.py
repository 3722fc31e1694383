"""A release and its statements as one file: a tar of an OCI image layout, to carry where no network goes.

Writing is reproducible. Reading takes only what belongs into a layout, by its hash, and unpacks nothing to disk.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from aboveboard.errors import NotFound, NotVerified
from aboveboard.files import storage_errors
from aboveboard.release.bundle import REFERRER_TYPES, RELEASE_TYPE
from aboveboard.release.documents import decode
from aboveboard.release.layout import LAYOUT_FILE, LayoutWriter, OciLayout, index_bytes
from aboveboard.release.manifest import Manifest, check, describe, hexadecimal, parse_manifest

SIZE_LIMIT = 2 * 1024**3
"""Bytes of an archive that is read; models for tabular decisions are far smaller."""

_MEMBER = re.compile(r"(\./)?(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})", re.ASCII)


class _Entry(msgspec.Struct, frozen=True):
    digest: str


class _Index(msgspec.Struct, frozen=True):
    """index.json as any OCI tool may have written it: only the digests are used, and they are checked."""

    manifests: list[_Entry]


def pack_archive(layout: OciLayout, manifests: Mapping[str, tuple[bytes, Manifest]], digest: str) -> bytes:
    """Return the tar of a layout that holds one release and every statement about it."""
    chosen = {
        name: (content, manifest)
        for name, (content, manifest) in manifests.items()
        if name == digest or (manifest.subject is not None and manifest.subject.digest == digest)
    }
    members = {"oci-layout": LAYOUT_FILE, "index.json": index_bytes(chosen)}
    for name, (content, manifest) in chosen.items():
        members[f"blobs/sha256/{hexadecimal(name)}"] = content
        for blob in (manifest.config, *manifest.layers):
            members[f"blobs/sha256/{hexadecimal(blob.digest)}"] = layout.read(blob)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            member = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644: nothing of this machine
            member.size = len(members[name])
            archive.addfile(member, io.BytesIO(members[name]))
    return buffer.getvalue()


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the files of a layout in a tar by name. Raises `NotVerified` for anything that does not belong there."""
    with storage_errors(path):
        if not path.is_file():
            raise NotFound(f"{path} is not a file", hint="name a tar file of an OCI image layout")
        if path.stat().st_size > SIZE_LIMIT:
            raise NotVerified(
                f"{path.name} is larger than {SIZE_LIMIT} bytes", hint="is it an archive of one release?"
            )
        content = path.read_bytes()
    return read_members(content, name=path.name)


def read_members(content: bytes, *, name: str = "the archive") -> dict[str, bytes]:
    """Return the files of a layout in the bytes of a tar, by name. Raises `NotVerified`."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                matched = _MEMBER.fullmatch(member.name)
                reader = archive.extractfile(member) if member.isreg() and not member.issparse() else None
                if matched is None or reader is None:
                    raise NotVerified(
                        f"{name}: {member.name[:100]!r} does not belong in an image layout",
                        hint="do not use this archive; ask whoever made it",
                    )
                files[matched[2]] = reader.read()
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise NotVerified(f"{name} is not a whole tar file: {error}", hint="ask for the archive again") from error
    return files


def unpack_archive(files: Mapping[str, bytes], writer: LayoutWriter) -> list[str]:
    """Add the releases in the files of a layout, and the statements about them; return the releases' digests."""
    if "index.json" not in files:
        raise NotVerified("the archive has no index.json", hint="it is not an OCI image layout")
    releases: list[str] = []
    statements: list[tuple[bytes, Manifest]] = []
    for entry in decode(files["index.json"], _Index, "index.json").manifests:
        content = _blob(files, entry.digest)
        check(msgspec.structs.replace(describe(content, ""), digest=entry.digest), content)
        manifest = parse_manifest(content, entry.digest)
        if manifest.artifact_type == RELEASE_TYPE:
            _put(files, writer, content, manifest)
            releases.append(entry.digest)
        elif manifest.artifact_type in REFERRER_TYPES.values() and manifest.subject is not None:
            statements.append((content, manifest))
    for content, manifest in statements:
        if manifest.subject is not None and manifest.subject.digest in releases:
            _put(files, writer, content, manifest)
    if not releases:
        raise NotVerified("there is no release in the archive", hint="it is an image layout of something else")
    return releases


def _put(files: Mapping[str, bytes], writer: LayoutWriter, content: bytes, manifest: Manifest) -> None:
    for blob in (manifest.config, *manifest.layers):
        writer.put(check(blob, _blob(files, blob.digest)))
    writer.add(content)


def _blob(files: Mapping[str, bytes], digest: str) -> bytes:
    content = files.get(f"blobs/sha256/{hexadecimal(digest)}")
    if content is None:
        raise NotVerified(
            f"blob {digest} is missing from the archive", expected=digest, hint="ask for the archive again"
        )
    return content
