"""Reading the directory of a finished run, and what its model spec says about the release to be made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from aboveboard.errors import GateRefused, NotFound, NotVerified
from aboveboard.files import storage_errors
from aboveboard.ids import sha256_digest
from aboveboard.release import evidence
from aboveboard.release.documents import decode
from aboveboard.spec import ModelSpec
from aboveboard.spec.load import parse_spec

_DOCUMENTS = (evidence.SPEC, evidence.LINEAGE, evidence.REPORT, evidence.FACTS, evidence.VERDICT)
_RECORD = "run.json"


class _RunRecord(msgspec.Struct, frozen=True):
    """What a release reads of run.json."""

    id: str
    spec_digest: str


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that passed its gate: its id, the files that go into the release, and what they prove."""

    id: str
    spec: ModelSpec
    files: dict[str, bytes]
    evidence: evidence.Evidence


def read_run(directory: Path) -> FinishedRun:
    """Read a run and check everything that a release will claim.

    Raises `NotFound` when there is no such run, and `GateRefused` when the verdict is anything but pass or when
    the parts of the run do not belong together.
    """
    with storage_errors(directory):
        if not directory.is_dir():
            raise NotFound(f"{directory} is not a run", hint="list the runs with: aboveboard runs")
    try:
        files = {name: _read(directory, name) for name in _DOCUMENTS}
        files |= {f"{evidence.MODEL_FOLDER}{name}": c for name, c in _read_folder(directory / "model").items()}
        record = decode(_read(directory, _RECORD), _RunRecord, _RECORD)
        proof = evidence.read_evidence(files)
        if record.spec_digest != sha256_digest(files[evidence.SPEC]):
            raise NotVerified(
                f"{evidence.SPEC} was changed after the run",
                expected=record.spec_digest,
                hint="run again: what is released is what was judged",
            )
    except NotVerified as error:
        raise GateRefused(f"run {directory.name}: {error.message}", hint=error.hint, **error.facts) from error
    if proof.verdict != evidence.PASS:
        raise GateRefused(
            f"run {directory.name}: the verdict is {proof.verdict!r}, and only pass is released",
            hint=f"see which rules refuse it, and why: aboveboard gate {directory.name}",
            verdict=proof.verdict,
        )
    spec = parse_spec(files[evidence.SPEC].decode(errors="replace"), name=f"{directory.name}/{evidence.SPEC}")
    _check_spec(spec, proof.model, directory.name)
    return FinishedRun(record.id, spec, files, proof)


def _check_spec(spec: ModelSpec, facts: evidence.ModelFacts, run: str) -> None:
    """Raise `GateRefused` when the rules judged something else than what model.yaml declares."""
    body = spec.spec
    declared = evidence.ModelFacts(
        name=spec.metadata.name,
        purpose=body.purpose.value,
        materiality=body.materiality.value,
        jurisdictions=list(body.jurisdictions),
        regions=list(body.regions),
        family=body.model.family.value,
        digest=facts.digest,
    )
    if declared != facts:
        raise GateRefused(
            f"run {run}: the facts that were judged are not those of {evidence.SPEC}",
            hint="run the pipeline again with this model.yaml",
        )


def _read(directory: Path, name: str) -> bytes:
    path = directory / name
    with storage_errors(path):
        # A link could bring in a file from anywhere on this machine.
        if path.is_symlink() or not path.is_file():
            raise NotVerified(f"{name} is missing", hint="every step of the road leaves its evidence; run it again")
        return path.read_bytes()


def _read_folder(directory: Path) -> dict[str, bytes]:
    with storage_errors(directory):
        if directory.is_symlink() or not directory.is_dir():
            raise NotVerified("the run has no model", hint="run the pipeline again")
        names = sorted(path.name for path in directory.iterdir())
    return {name: _read(directory, name) for name in names}
