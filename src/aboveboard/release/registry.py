"""Releases in an OCI registry: pushed with every statement about them, fetched by digest and by nothing else.

The distribution specification 1.1, over the standard library's client: a decision pod needs it before anything else
runs. What a registry answers is not believed: every blob is hashed again, and the release is verified by the store.
Registries without the referrers API are served by the fallback tag that the specification describes.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from aboveboard.errors import Misuse, NotAuthorised, NotFound, NotVerified, StorageFailed
from aboveboard.ids import sha256_digest
from aboveboard.release.archive import pack_archive, read_members
from aboveboard.release.bundle import REFERRER_TYPES
from aboveboard.release.documents import decode, encode
from aboveboard.release.layout import LAYOUT_FILE, OciLayout, index_bytes
from aboveboard.release.manifest import (
    INDEX_TYPE,
    MANIFEST_LIMIT,
    MANIFEST_TYPE,
    Descriptor,
    Index,
    Manifest,
    describe,
    hexadecimal,
    parse_manifest,
)
from aboveboard.release.volume import Blobs

BLOB_LIMIT = 2 * 1024**3
TIMEOUT_SECONDS = 30
_REPOSITORY = re.compile(r"([A-Za-z0-9.-]+(?::[0-9]{1,5})?)/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)", re.ASCII)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class _Listed(msgspec.Struct, frozen=True):
    digest: str
    size: int


class _Referrers(msgspec.Struct, frozen=True):
    """What a registry lists about a manifest; only the digests are used, and they are checked."""

    manifests: list[_Listed]


class _KeepAnswer(urllib.request.HTTPErrorProcessor):
    """Hand every answer back as it is: what a 404 means depends on what was asked."""

    def http_response(self, request: Any, response: Any) -> Any:
        return super().http_response(request, response) if response.status in _REDIRECTS else response

    https_response = http_response


_REDIRECTS = (301, 302, 303, 307, 308)


class Registry:
    """One repository of a registry, e.g. `registry.bank.example/models/releases`."""

    def __init__(
        self,
        repository: str,
        *,
        plain_http: bool = False,
        credentials: Mapping[str, tuple[str, str]] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Name the repository. `credentials` are user and password by the registry's host and port.

        `timeout_seconds` is how long the registry may be silent before it counts as away.
        """
        self._timeout_seconds = timeout_seconds
        matched = _REPOSITORY.fullmatch(repository)
        if matched is None:
            raise Misuse(f"{repository!r} is not a repository", hint="write it as registry.example/models/releases")
        self._host = matched[1]
        self._name = matched[2]
        self._base = f"{'http' if plain_http else 'https'}://{self._host}"
        self._basic = (credentials or {}).get(self._host)
        self._authorization: str | None = None
        self._opener = urllib.request.build_opener(_KeepAnswer)

    def fetch(self, digest: str, *places: Blobs) -> dict[str, bytes]:
        """Return a release and every statement about it as the files of an image layout, by name.

        Blobs of the release that are in one of `places` are taken from there; its statements always come from the
        registry, since releases are approved and withdrawn while a volume stays what it is.

        For `ReleaseStore.take`. Raises `NotFound`, `NotAuthorised`, `NotVerified` for an answer that is not what was
        asked for, and `StorageFailed` when the registry cannot be reached.
        """
        content = self._manifest(digest)
        found = {digest: (content, parse_manifest(content, digest))}
        for listed in self._referrers(digest):
            statement = self._manifest(listed.digest)
            manifest = parse_manifest(statement, listed.digest)
            if manifest.artifact_type in REFERRER_TYPES.values():
                found[listed.digest] = statement, manifest
        files = {"oci-layout": LAYOUT_FILE, "index.json": index_bytes(found)}
        for name, (manifest_bytes, manifest) in found.items():
            files[f"blobs/sha256/{hexadecimal(name)}"] = manifest_bytes
            for blob in (manifest.config, *manifest.layers):
                here = (place.blob(blob) for place in places if name == digest)
                found_here = next((content for content in here if content is not None), None)
                files[f"blobs/sha256/{hexadecimal(blob.digest)}"] = (
                    self._blob(blob) if found_here is None else found_here
                )
        return files

    def push(self, layout: OciLayout, digest: str) -> int:
        """Store a release with every statement about it; return how many statements. What is there stays there."""
        manifests = layout.manifests()
        if digest not in manifests:
            raise NotFound(f"no release {digest}", hint="list them with: aboveboard release list")
        files = read_members(pack_archive(layout, manifests, digest))
        about = [d for d, (_, m) in manifests.items() if m.subject is not None and m.subject.digest == digest]
        for name in (digest, *about):
            content, manifest = manifests[name]
            for blob in (manifest.config, *manifest.layers):
                self._put_blob(blob.digest, files[f"blobs/sha256/{hexadecimal(blob.digest)}"])
            self._put_manifest(name, content, manifest)
        return len(about)

    def _manifest(self, digest: str) -> bytes:
        status, _, content = self._ask(
            "GET", f"manifests/{digest}", headers={"Accept": MANIFEST_TYPE}, limit=MANIFEST_LIMIT
        )
        if status == 404:
            raise NotFound(f"{self._host}/{self._name} has no {digest}", hint="push it: aboveboard release push")
        return self._exactly(status, digest, content)

    def _blob(self, blob: Descriptor) -> bytes:
        if blob.size > BLOB_LIMIT:
            raise NotVerified(f"blob {blob.digest} is larger than {BLOB_LIMIT} bytes")
        status, _, content = self._ask("GET", f"blobs/{blob.digest}", limit=blob.size)
        return self._exactly(status, blob.digest, content)

    def _exactly(self, status: int, digest: str, content: bytes) -> bytes:
        if status != 200:
            raise StorageFailed(f"{self._host} answered {status} for {digest}", hint="look at the registry's log")
        if sha256_digest(content) != digest:
            raise NotVerified(f"{self._host} gave something else for {digest}", hint="do not use this registry")
        return content

    def _referrers(self, digest: str) -> list[_Listed]:
        """List the statements: by the referrers API, else by the fallback tag (distribution-spec 1.1)."""
        for path in (f"referrers/{digest}", f"manifests/{digest.replace(':', '-')}"):
            status, _, content = self._ask("GET", path, headers={"Accept": INDEX_TYPE}, limit=MANIFEST_LIMIT)
            if status == 200:
                return decode(content, _Referrers, f"the referrers of {digest}").manifests
            if status not in (400, 404, 405):
                raise StorageFailed(
                    f"{self._host} answered {status} for the statements about {digest}",
                    hint="look at the registry's log",
                )
        return []

    def _put_blob(self, digest: str, content: bytes) -> None:
        status, _, _ = self._ask("HEAD", f"blobs/{digest}")
        if status == 200:
            return
        status, headers, _ = self._ask("POST", "blobs/uploads/")
        if status != 202 or "Location" not in headers:
            raise StorageFailed(f"{self._host} answered {status} to an upload", hint="look at the registry's log")
        location = urllib.parse.urljoin(f"{self._base}/v2/{self._name}/", headers["Location"])
        location += f"{'&' if '?' in location else '?'}digest={digest}"
        kind = {"Content-Type": "application/octet-stream"}
        status, _, _ = self._ask("PUT", location, content, headers=kind)
        if status != 201:
            raise StorageFailed(f"{self._host} answered {status} for blob {digest}", hint="look at its log")

    def _put_manifest(self, digest: str, content: bytes, manifest: Manifest) -> None:
        headers = {"Content-Type": MANIFEST_TYPE}
        status, answered, _ = self._ask("PUT", f"manifests/{digest}", content, headers=headers)
        if status != 201:
            raise StorageFailed(
                f"{self._host} answered {status} for manifest {digest}", hint="look at the registry's log"
            )
        if manifest.subject is not None and "OCI-Subject" not in answered:
            self._tag_referrer(manifest.subject.digest, content, manifest)

    def _tag_referrer(self, subject: str, content: bytes, manifest: Manifest) -> None:
        """Add a statement to the fallback tag of its subject, as a client must where there is no referrers API."""
        tag = subject.replace(":", "-")
        status, _, listed = self._ask("GET", f"manifests/{tag}", headers={"Accept": INDEX_TYPE}, limit=MANIFEST_LIMIT)
        entries = decode(listed, Index, f"the tag {tag}").manifests if status == 200 else []
        entry = msgspec.structs.replace(describe(content, MANIFEST_TYPE), artifact_type=manifest.artifact_type)
        by_digest = {each.digest: each for each in [*entries, entry]}
        index = encode(Index(2, INDEX_TYPE, [by_digest[digest] for digest in sorted(by_digest)]))
        status, _, _ = self._ask("PUT", f"manifests/{tag}", index, headers={"Content-Type": INDEX_TYPE})
        if status != 201:
            raise StorageFailed(
                f"{self._host} answered {status} for the tag {tag}", hint="look at the registry's log"
            )

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        limit: int = MANIFEST_LIMIT,
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = path if "://" in path else f"{self._base}/v2/{self._name}/{path}"
        answer = self._send(method, url, body, headers or {}, limit)
        if answer[0] == 401:
            self._authorization = self._authorize(answer[1].get("WWW-Authenticate", ""))
            answer = self._send(method, url, body, headers or {}, limit)
        if answer[0] in (401, 403):
            raise NotAuthorised(
                f"{self._host} does not let us {method} {self._name}",
                hint="put the registry's user and password into config.json of DOCKER_CONFIG",
            )
        return answer

    def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310  http or https only
        if self._authorization is not None and url.startswith(f"{self._base}/"):
            # Not sent along when the registry redirects to its object store.
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                return response.status, response.headers, response.read(limit + 1)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise StorageFailed(
                f"{self._host} cannot be reached: {error}", hint="check the name, the network and its policies"
            ) from error

    def _authorize(self, challenge: str) -> str:
        """Return the header that answers a challenge: Basic, or a token from where the challenge sends us."""
        scheme, _, rest = challenge.partition(" ")
        basic = None
        if self._basic is not None:
            basic = "Basic " + base64.b64encode(":".join(self._basic).encode()).decode()
        if scheme.lower() == "basic" and basic is not None:
            return basic
        parameters = dict(_PARAMETER.findall(rest))
        realm = parameters.pop("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith(f"{urllib.parse.urlsplit(self._base).scheme}://"):
            raise NotAuthorised(f"{self._host} asks for credentials that we do not have", hint="set DOCKER_CONFIG")
        headers = {"Authorization": basic} if basic is not None else {}
        status, _, content = self._send(
            "GET", f"{realm}?{urllib.parse.urlencode(parameters)}", None, headers, MANIFEST_LIMIT
        )
        try:
            answer = json.loads(content) if status == 200 else {}
            token = answer.get("token") or answer["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise NotAuthorised(f"{self._host} gave no token", hint="check the user and password") from error
        return f"Bearer {token}"


def docker_credentials(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return user and password by registry from the `config.json` that `DOCKER_CONFIG` names; none without it."""
    folder = environment.get("DOCKER_CONFIG")
    path = Path(folder) / "config.json" if folder else None
    if path is None or not path.is_file():
        return {}
    found = {}
    try:
        for host, entry in json.loads(path.read_bytes()).get("auths", {}).items():
            if "auth" in entry:
                user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            else:
                user, password = entry["username"], entry["password"]
            found[urllib.parse.urlsplit(host).netloc or host] = user, password
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Misuse(f"{path}: not a docker configuration", hint="see docker login") from error
    return found


def from_environment(
    repository: str, *, plain_http: bool = False, timeout_seconds: float = TIMEOUT_SECONDS
) -> Registry:
    """Return a repository with the credentials of this process's environment."""
    return Registry(
        repository,
        plain_http=plain_http,
        credentials=docker_credentials(os.environ),
        timeout_seconds=timeout_seconds,
    )
