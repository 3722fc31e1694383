"""Coverage-guided fuzzing of everything that reads foreign bytes: our errors come out, and nothing else.

Not part of the test run: `pip install atheris`, then run this file with `-max_total_time=60`.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["aboveboard.audit"]):
    from aboveboard.audit import note, record, segment, tiles, verifier, witness
    from aboveboard.audit.edge import Edge
    from aboveboard.errors import AboveboardError


def one_input(data: bytes) -> None:
    """Feed one input to every parser."""
    text = data.decode("utf-8", errors="replace")
    with suppress(AboveboardError):
        record.decode_record(data)
    with suppress(AboveboardError):
        segment.SegmentHeader.decode(data)
    if batch := segment.decode_batch(data):
        with suppress(AboveboardError):
            batch.commitments()
            list(batch.entries())
    segment.batch_after(data, 0)
    for width in (1, 2, 256):
        for parse in (tiles.parse_tile, tiles.parse_bundle):
            with suppress(AboveboardError):
                parse(data, width)
        with suppress(AboveboardError):
            Edge.decode(width, data).root()
    for read in (note.VerifierKey.parse, note.SigningKey.parse, note.parse_checkpoint, note.parse_signature_lines):
        with suppress(AboveboardError):
            read(text)
    with suppress(AboveboardError):
        note.parse_checkpoint(note.parse_note(text)[0])
    with suppress(AboveboardError):
        witness.parse_request(data)
    with suppress(verifier.VerificationFailed):
        verifier.parse_key(text)
    with suppress(verifier.VerificationFailed):
        verifier.check_note(text, [], 0)
    with suppress(verifier.VerificationFailed):
        document = verifier.parse_json(data)
        verifier.canonical(document)
        verifier.verify(document, [])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
