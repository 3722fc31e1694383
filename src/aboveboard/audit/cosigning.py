"""Asking witnesses for cosignatures: proof in, signature lines out, until the quorum is there."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from urllib.parse import urlsplit

from aboveboard.audit import merkle
from aboveboard.audit.note import Checkpoint, Signature, VerifierKey, parse_note, parse_signature_lines
from aboveboard.audit.storage import TileStorage
from aboveboard.audit.tiles import TileReader
from aboveboard.errors import AboveboardError, Misuse, NotVerified, StorageFailed

_MAX_ANSWER = 64 * 1024

Post = Callable[[str, bytes, float], "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answered."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """Where a witness listens, and the keys it is trusted by."""

    url: str
    keys: tuple[VerifierKey, ...]

    @classmethod
    def parse(cls, url: str, *vkeys: str) -> WitnessAddress:
        """Read an address from a submission prefix and vkeys. Raises `Misuse`, `NotVerified`."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise Misuse(f"{url!r} is no address of a witness", hint="write https://witness.example/prefix")
        if not vkeys:
            raise Misuse(f"no key is given for the witness at {url}", hint="a witness is trusted by its public key")
        return cls(url.rstrip("/"), tuple(VerifierKey.parse(key) for key in vkeys))


class NoQuorum(AboveboardError):
    """Too few witnesses cosigned; the checkpoint is not published."""

    code = "no-quorum"


class CosignatureCollector:
    """Asks all witnesses at once and returns the cosignatures of those that answered in time."""

    def __init__(
        self,
        witnesses: Sequence[WitnessAddress],
        storage: TileStorage,
        *,
        quorum: int,
        timeout: float = 5.0,
        post: Post | None = None,
    ) -> None:
        if not 0 <= quorum <= len(witnesses):
            raise Misuse(
                f"a quorum of {quorum} of {len(witnesses)} witnesses can never be had",
                hint="ask for fewer, or name more witnesses",
            )
        self._witnesses = witnesses
        self._tiles = TileReader(storage.get, 0)
        self._quorum = quorum
        self._timeout = timeout
        self._post = post or post_http
        self._sizes: dict[str, int] = {}
        self.failures: dict[str, str] = {}
        """Why witnesses did not cosign at the last attempt, by address."""

    def __call__(self, note: str, head: Checkpoint) -> list[Signature]:
        """Return cosignatures on `note`. Raises `NoQuorum`, naming what every missing witness said."""
        self.failures = {}
        signatures: list[Signature] = []
        answered = 0
        if not self._witnesses:
            return signatures
        with ThreadPoolExecutor(len(self._witnesses), thread_name_prefix="audit-witness") as pool:
            asked = {pool.submit(self._ask, witness, note, head): witness for witness in self._witnesses}
            for future in as_completed(asked):
                try:
                    signatures += future.result()
                    answered += 1
                except AboveboardError as error:
                    self.failures[asked[future].url] = error.message
        if answered < self._quorum:
            said = "; ".join(f"{url}: {why}" for url, why in sorted(self.failures.items()))
            raise NoQuorum(
                f"{answered} of {self._quorum} witnesses cosigned the checkpoint of size {head.size} ({said})",
                hint="events stay durable; receipts follow when the witnesses are back",
                failures=self.failures,
            )
        return sorted(signatures, key=lambda signature: (signature.name, signature.key_id))

    def _ask(self, witness: WitnessAddress, note: str, head: Checkpoint) -> list[Signature]:
        old = min(self._sizes.get(witness.url, head.size), head.size)
        for _ in range(2):
            proof = merkle.consistency_proof(self._tiles.at(head.size), old, head.size)
            lines = "".join(f"{base64.b64encode(part).decode()}\n" for part in proof)
            body = f"old {old}\n{lines}\n{note}".encode()
            answer = self._post(f"{witness.url}/add-checkpoint", body, self._timeout)
            if answer.status == 200:
                self._sizes[witness.url] = head.size
                return self._trusted(witness, note, answer.body)
            if answer.status != 409 or not answer.content_type.startswith("text/x.tlog.size"):
                raise NotVerified(f"status {answer.status}: {answer.body[:200].decode(errors='replace').strip()}")
            if not answer.body.strip().isdigit() or (old := int(answer.body)) > head.size:
                raise NotVerified("it has seen a larger tree than ours: was an old copy of the log restored?")
        raise NotVerified("it keeps answering with another size")

    @staticmethod
    def _trusted(witness: WitnessAddress, note: str, body: bytes) -> list[Signature]:
        """Return the signatures that are by the witness's known keys and hold."""
        text, _ = parse_note(note)
        known = {(key.name, key.key_id): key for key in witness.keys}
        try:
            offered = parse_signature_lines(body.decode())
        except UnicodeDecodeError as error:
            raise NotVerified("its answer is not UTF-8") from error
        good = []
        for signature in offered:
            if key := known.get((signature.name, signature.key_id)):
                key.verify(text, signature.value)
                good.append(signature)
        if not good:
            raise NotVerified("it did not sign with the key it is trusted by")
        return good


def post_http(url: str, body: bytes, timeout: float) -> Answer:
    """Send a request and return the answer. Raises `StorageFailed` when there is none."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "text/plain; charset=utf-8"})
        response = connection.getresponse()
        content = response.read(_MAX_ANSWER)
        return Answer(response.status, response.getheader("Content-Type", ""), content)
    except (OSError, http.client.HTTPException) as error:
        raise StorageFailed(f"not reached: {error}") from error
    finally:
        connection.close()
