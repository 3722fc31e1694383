"""Public keys as people hand them over: on the command line, or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aboveboard.errors import Misuse, NotVerified
from aboveboard.files import storage_errors

if TYPE_CHECKING:
    from aboveboard.audit.note import VerifierKey


def keys_in(given: str) -> list[VerifierKey]:
    """Return the key that `given` is, or the keys in the file it names, one a line. Raises `Misuse`."""
    from aboveboard.audit.note import VerifierKey

    path = Path(given)
    if given.count("+") < 2 or (len(given) < 255 and path.is_file()):
        with storage_errors(path):
            if not path.is_file():
                raise Misuse(f"{given!r} is neither a public key nor a file", hint="see: aboveboard audit key")
            given = path.read_text(encoding="utf-8", errors="replace")
    try:
        found = [VerifierKey.parse(line) for line in given.split()]
    except NotVerified as error:
        raise Misuse(f"not a public key: {error.message}", hint="see: aboveboard audit key") from error
    if not found:
        raise Misuse(f"{path} holds no public key", hint="see: aboveboard audit key")
    return found
