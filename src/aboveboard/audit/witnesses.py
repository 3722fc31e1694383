"""Which witnesses a log asks, and how many must cosign: `witnesses.json` in the log's directory.

    {"quorum": 1, "witnesses": [{"url": "https://witness.example", "keys": ["witness.example+…"]}]}

It belongs to the log, not to a process: whoever publishes asks the same witnesses. A file that cannot be read, or a
quorum that can never be had, opens no log.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from aboveboard.audit.cosigning import CosignatureCollector, WitnessAddress
from aboveboard.audit.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44
from aboveboard.audit.storage import TileStorage
from aboveboard.errors import Misuse, NotVerified
from aboveboard.files import storage_errors, write_atomically

FILE = "witnesses.json"


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One witness: where it listens, and the public keys it is trusted by."""

    url: str
    keys: list[str]


class Witnesses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All witnesses of a log, and how many of them must cosign before a checkpoint is published."""

    quorum: int
    witnesses: list[Asked]

    def addresses(self) -> list[WitnessAddress]:
        """Return the witnesses' addresses. Raises `Misuse` for what can be no set of witnesses."""
        if not 0 <= self.quorum <= len(self.witnesses):
            raise Misuse(
                f"a quorum of {self.quorum} of {len(self.witnesses)} witnesses can never be had",
                hint="ask for fewer, or name more witnesses",
            )
        try:
            found = [WitnessAddress.parse(asked.url, *asked.keys) for asked in self.witnesses]
        except NotVerified as error:
            raise Misuse(
                f"a witness's key cannot be read: {error.message}", hint="copy it again from the witness: NAME+ID+KEY"
            ) from error
        keys = [key for address in found for key in address.keys]
        if any(key.kind not in (COSIGNATURE_ED25519, COSIGNATURE_MLDSA44) for key in keys):
            raise Misuse("a witness's key is a cosignature key", hint="get it with: aboveboard witness key DIRECTORY")
        # One witness under two addresses would count twice for the quorum.
        names = [{key.name for key in address.keys} for address in found]
        if any(len(of_one) > 1 for of_one in names) or len(set().union(*names)) < len(names):
            raise Misuse("every witness has one name, and no two have the same", hint="name each witness once")
        return found

    def collector(self, storage: TileStorage) -> CosignatureCollector:
        """Return what asks these witnesses, with proofs from `storage`. Raises `Misuse`."""
        return CosignatureCollector(self.addresses(), storage, quorum=self.quorum)


def read_witnesses(directory: Path) -> Witnesses | None:
    """Return the witnesses of the log in `directory`, or None where it has none. Raises `Misuse`."""
    path = directory / FILE
    with storage_errors(path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
    try:
        found = msgspec.json.decode(content, type=Witnesses)
        found.addresses()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Misuse(f"{path}: {error}", hint="see how-to/run-a-witness") from error
    except Misuse as error:
        raise Misuse(f"{path}: {error.message}", hint=error.hint or "see how-to/run-a-witness") from error
    return found


def write_witnesses(directory: Path, witnesses: Witnesses) -> None:
    """Make these the witnesses of the log in `directory`, from the next checkpoint on. Raises `Misuse`."""
    witnesses.addresses()
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / FILE, msgspec.json.format(msgspec.json.encode(witnesses), indent=2) + b"\n")
