"""The one name of a fitted model: a digest over its files, whatever the family."""

from __future__ import annotations

from collections.abc import Mapping

from aboveboard.canonical import canonical_json
from aboveboard.ids import sha256_digest


def model_digest(files: Mapping[str, bytes]) -> str:
    """Return `sha256:` and 64 hex digits over the canonical JSON of {file name: digest of the file}.

    Two models have the same digest exactly when they have the same files under the same names; the order in
    which the files are given does not matter.
    """
    return sha256_digest(canonical_json({name: sha256_digest(content) for name, content in files.items()}))
