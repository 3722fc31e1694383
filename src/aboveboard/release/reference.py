"""Which release somebody means: a digest, the beginning of one, or a name."""

from __future__ import annotations

from aboveboard.errors import Misuse, NotFound
from aboveboard.release.bundle import RELEASE_TYPE
from aboveboard.release.manifest import CREATED, TITLE, Manifest, is_digest
from aboveboard.release.verification import Manifests

_SHORTEST_PREFIX = 6


def releases_in(manifests: Manifests) -> dict[str, Manifest]:
    """Return the manifests that are releases, by digest."""
    return {digest: manifest for digest, (_, manifest) in manifests.items() if manifest.artifact_type == RELEASE_TYPE}


def resolve(manifests: Manifests, reference: str) -> str:
    """Return the digest that `reference` means: a digest, at least six digits of one, a name, or name:latest.

    The latest of a name is the one evaluated last, whether or not it may run: nobody is given an older one unasked.
    Raises `NotFound`, and `Misuse` when several are meant.
    """
    releases = releases_in(manifests)
    if not releases:
        raise NotFound("there are no releases here", hint="make one with: aboveboard release create")
    if is_digest(reference):
        found = {reference} & releases.keys()
    else:
        name = reference.removesuffix(":latest")
        named = [digest for digest, manifest in releases.items() if (manifest.annotations or {}).get(TITLE) == name]
        newest = max(
            named, key=lambda digest: ((releases[digest].annotations or {}).get(CREATED, ""), digest), default=""
        )
        prefix = "sha256:" + reference.removeprefix("sha256:")
        long_enough = len(prefix) >= len("sha256:") + _SHORTEST_PREFIX
        found = {digest for digest in releases if long_enough and digest.startswith(prefix)} | ({newest} - {""})
    if len(found) > 1:
        raise Misuse(f"{reference!r} may mean {len(found)} releases", hint="give more digits of the digest")
    if not found:
        raise NotFound(f"no release {reference[:100]!r}", hint="list them with: aboveboard release list")
    return found.pop()
