"""The evidence inside a release, and whether its parts belong together.

Only what a release must know about each document is declared here. The documents may carry more: their full
shapes belong to `evaluation`, `policy` and `data`, which a decision server does not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from aboveboard.errors import NotVerified
from aboveboard.ids import sha256_digest
from aboveboard.models.digest import model_digest
from aboveboard.release.documents import canonical, decode
from aboveboard.release.trust import Moment

SPEC = "model.yaml"
LINEAGE = "lineage.json"
REPORT = "report.json"
FACTS = "facts.json"
VERDICT = "verdict.json"
SBOM = "sbom.cdx.json"
MODEL_FOLDER = "model/"

PASS = "pass"  # noqa: S105  a verdict, not a password


class Measure(msgspec.Struct, frozen=True):
    """A number of the report, its interval and how many records it rests on."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class Performance(msgspec.Struct, frozen=True):
    """The measures of performance."""

    favourable_rate: Measure
    approval_rate: Measure
    auc: Measure
    ks: Measure
    brier: Measure
    average_precision: Measure


class Calibration(msgspec.Struct, frozen=True):
    """The one measure of calibration that stands for it."""

    error: Measure


class Group(msgspec.Struct, frozen=True):
    """How one group fares."""

    group: str
    reference: bool
    n: int
    selection_rate: Measure
    true_positive_rate: Measure
    false_positive_rate: Measure
    adverse_impact_ratio: Measure
    equal_opportunity_difference: Measure


class Attribute(msgspec.Struct, frozen=True):
    """The groups of one protected attribute."""

    attribute: str
    reference: str
    groups: list[Group]


class Report(msgspec.Struct, frozen=True):
    """What a release reads of report.json."""

    model: str
    family: str
    model_digest: str
    data_digest: str
    created: Moment
    rows: int
    confidence: float
    performance: Performance
    calibration: Calibration
    fairness: list[Attribute]
    caveats: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """What a release reads of verdict.json."""

    verdict: str
    facts_digest: str


class ModelFacts(msgspec.Struct, frozen=True):
    """Which model the rules judged."""

    name: str
    purpose: str
    materiality: str
    jurisdictions: list[str]
    regions: list[str]
    family: str
    digest: str


class DataFacts(msgspec.Struct, frozen=True):
    """Which data the rules judged."""

    digest: str


class Facts(msgspec.Struct, frozen=True):
    """What a release reads of facts.json."""

    model: ModelFacts
    data: DataFacts


class Lineage(msgspec.Struct, frozen=True):
    """What a release reads of lineage.json."""

    data_digest: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Documents that were found to belong together."""

    report: Report
    model: ModelFacts
    verdict: str
    model_digest: str
    data_digest: str
    facts_digest: str
    report_digest: str


def model_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of the model by their own names, without the folder."""
    return {
        name.removeprefix(MODEL_FOLDER): content for name, content in files.items() if name.startswith(MODEL_FOLDER)
    }


def read_evidence(files: Mapping[str, bytes]) -> Evidence:
    """Return the evidence in `files`, all digests computed again from the content.

    The report must be about exactly these model files and the data of the lineage, the facts about that report,
    and the verdict about exactly these facts. Raises `NotVerified` naming the first thing that does not hold. The
    verdict itself is returned, not judged.
    """
    for name in (SPEC, LINEAGE, REPORT, FACTS, VERDICT):
        if name not in files:
            raise NotVerified(f"{name} is missing", hint="every step of the road leaves its evidence; run it again")
    report = decode(files[REPORT], Report, REPORT)
    lineage = decode(files[LINEAGE], Lineage, LINEAGE)
    facts = decode(files[FACTS], Facts, FACTS)
    verdict = decode(files[VERDICT], Verdict, VERDICT)
    found_model = model_digest(model_files(files))
    _same("the model files are not the model of the report", report.model_digest, found_model)
    _same("the facts are not about this model", facts.model.digest, found_model)
    _same("the facts are not about the model of the report", facts.model.name, report.model)
    _same("the report is not about the data of the lineage", report.data_digest, lineage.data_digest)
    _same("the facts are not about the data of the lineage", facts.data.digest, lineage.data_digest)
    found_facts = sha256_digest(canonical(files[FACTS], FACTS))
    _same("the verdict is not about these facts", verdict.facts_digest, found_facts)
    try:
        _check_figures(files)
    except RecursionError as error:
        raise NotVerified(f"{FACTS} is nested too deeply") from error
    return Evidence(
        report=report,
        model=facts.model,
        verdict=verdict.verdict,
        model_digest=found_model,
        data_digest=lineage.data_digest,
        facts_digest=found_facts,
        report_digest=sha256_digest(files[REPORT]),
    )


def _check_figures(files: Mapping[str, bytes]) -> None:
    """Raise `NotVerified` when a figure that the rules judged is not the one in the report."""
    facts = decode(files[FACTS], dict[str, Any], FACTS)
    report = decode(files[REPORT], dict[str, Any], REPORT)
    parts = {
        "performance": "performance",
        "calibration": "calibration",
        "protected": "fairness",
        "explanation": "explanation",
    }
    for part, source in parts.items():
        if place := _difference(facts.get(part), report.get(source), part):
            raise NotVerified(
                f"the facts are not those of the report: {place} differs",
                hint="something was changed after the evaluation; run the pipeline again",
                place=place,
            )
    if place := _difference(facts.get("evaluation"), report, "evaluation"):
        raise NotVerified(
            f"the facts are not those of the report: {place} differs",
            place=place,
            hint="run again; evidence that was edited is not released",
        )


def _difference(fact: Any, figure: Any, place: str) -> str | None:
    """Return where two documents differ, or None; members that only one of them has are its own."""
    if isinstance(fact, dict) and isinstance(figure, dict):
        pairs = ((fact[key], figure[key], f"{place}.{key}") for key in fact if key in figure)
    elif isinstance(fact, list) and isinstance(figure, list) and len(fact) == len(figure):
        pairs = ((one, other, f"{place}[{i}]") for i, (one, other) in enumerate(zip(fact, figure, strict=True)))
    else:
        return None if fact == figure else place
    return next((found for one, other, where in pairs if (found := _difference(one, other, where))), None)


def _same(complaint: str, expected: str, found: str) -> None:
    if expected != found:
        raise NotVerified(
            f"{complaint}: expected {expected}, found {found}",
            hint="something was changed after the evaluation; run the pipeline again",
            expected=expected,
            found=found,
        )
