"""The bill of materials: CycloneDX 1.6 with the software, the data, and a model card with the fairness figures.

`cyclonedx-python-lib` has no model card, so the document is written here and held against the CycloneDX schema in
the tests. The same release in the same environment gives the same bytes: no random serial number, no clock.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from aboveboard.canonical import canonical_json
from aboveboard.clock import timestamp
from aboveboard.ids import sha256_digest
from aboveboard.release.evidence import Attribute, Evidence, Group, Measure
from aboveboard.spec import ModelSpec

ROOT = "aboveboard"
_LICENCE_NAME = 80


class Distribution:
    """An installed distribution, as far as a bill of materials is concerned."""

    def __init__(self, name: str, version: str, licences: list[dict[str, Any]], requires: Sequence[str]) -> None:
        self.name: str = canonicalize_name(name)
        self.version = version
        self.licences = licences
        self.requires = sorted(requires)

    @property
    def purl(self) -> str:
        """The package URL, which also serves as reference within the document."""
        return f"pkg:pypi/{self.name}@{quote(self.version, safe='.-_~')}"


def installed_distributions(root: str = ROOT) -> list[Distribution]:
    """Return `root` and everything it needs as installed here, by name; extras that nobody asked for are left out."""
    found: dict[str, Distribution] = {}
    pending: list[tuple[str, frozenset[str]]] = [(canonicalize_name(root), frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        name, extras = pending.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        needs = list(_requirements(distribution, extras))
        pending.extend(needs)
        requires = {need for need, _ in needs} | set(found[name].requires if name in found else ())
        found[name] = Distribution(name, distribution.version, _licences(distribution), sorted(requires))
    for distribution_found in found.values():
        distribution_found.requires = [name for name in distribution_found.requires if name in found]
    return [found[name] for name in sorted(found)]


def bill_of_materials(
    spec: ModelSpec, evidence: Evidence, files: dict[str, bytes], distributions: Sequence[Distribution]
) -> bytes:
    """Return the CycloneDX 1.6 document of a release as canonical JSON.

    `files` are those of the model, by their own names.
    """
    model_ref = f"model:{evidence.model_digest}"
    data_ref = f"data:{evidence.data_digest}"
    model = {
        "type": "machine-learning-model",
        "bom-ref": model_ref,
        "name": spec.metadata.name,
        "version": evidence.model_digest,
        "supplier": {"name": spec.metadata.owner},
        "components": [
            {"type": "file", "name": name, "bom-ref": f"file:{name}", "hashes": [_sha256(sha256_digest(content))]}
            for name, content in sorted(files.items())
        ],
        "modelCard": _model_card(spec, evidence, data_ref),
    } | ({"description": spec.metadata.description} if spec.metadata.description else {})
    data = {
        "type": "data",
        "bom-ref": data_ref,
        "name": spec.spec.data.source.path,
        "version": evidence.data_digest,
        "hashes": [_sha256(evidence.data_digest)],
    }
    runtime = [d.purl for d in distributions if d.name == ROOT]
    by_name = {d.name: d.purl for d in distributions}
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": timestamp(evidence.report.created), "component": model},
        "components": [data, *(_component(d) for d in distributions)],
        "dependencies": [
            {"ref": model_ref, "dependsOn": [data_ref, *runtime]},
            *({"ref": d.purl, "dependsOn": sorted(by_name[name] for name in d.requires)} for d in distributions),
        ],
    }
    # The schema wants an RFC 4122 UUID; one made of the content keeps the document reproducible.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, sha256_digest(canonical_json(document)))
    return canonical_json(document | {"serialNumber": serial.urn})


def _component(distribution: Distribution) -> dict[str, Any]:
    component = {
        "type": "library",
        "bom-ref": distribution.purl,
        "name": distribution.name,
        "version": distribution.version,
        "purl": distribution.purl,
        "scope": "required",
    }
    return component | ({"licenses": distribution.licences} if distribution.licences else {})


def _model_card(spec: ModelSpec, evidence: Evidence, data_ref: str) -> dict[str, Any]:
    report = evidence.report
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": spec.spec.purpose.value,
            "architectureFamily": report.family,
            "datasets": [{"ref": data_ref}],
            "inputs": [{"format": f"{feature.name}: {feature.type.value}"} for feature in spec.spec.features],
            "outputs": [{"format": "probability of the favourable outcome"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(evidence))},
        "considerations": {
            "users": [spec.metadata.owner],
            "useCases": [spec.spec.purpose.value],
            "technicalLimitations": list(report.caveats),
            "fairnessAssessments": [
                _assessment(attribute, group, report.confidence)
                for attribute in report.fairness
                for group in attribute.groups
                if not group.reference
            ],
        },
    }


def _metrics(evidence: Evidence) -> Iterator[dict[str, Any]]:
    report = evidence.report
    overall: dict[str, Measure] = {
        "auc": report.performance.auc,
        "ks": report.performance.ks,
        "brier": report.performance.brier,
        "average_precision": report.performance.average_precision,
        "approval_rate": report.performance.approval_rate,
        "calibration_error": report.calibration.error,
    }
    for kind, measure in overall.items():
        yield from _metric(kind, measure, "held-out records")
    for attribute in report.fairness:
        for group in attribute.groups:
            part = f"{attribute.attribute}: {group.group}"
            yield from _metric("selection_rate", group.selection_rate, part)
            yield from _metric("true_positive_rate", group.true_positive_rate, part)
            yield from _metric("false_positive_rate", group.false_positive_rate, part)
            if not group.reference:
                yield from _metric("adverse_impact_ratio", group.adverse_impact_ratio, part)
                yield from _metric("equal_opportunity_difference", group.equal_opportunity_difference, part)


def _metric(kind: str, measure: Measure, part: str) -> Iterator[dict[str, Any]]:
    """Yield the metric; one that is not defined, e.g. a rate over nobody, is left out. No figure without its n."""
    if measure.value is None:
        return
    metric: dict[str, Any] = {"type": kind, "value": str(measure.value), "slice": f"{part} (n = {measure.n})"}
    if measure.low is not None and measure.high is not None:
        metric["confidenceInterval"] = {"lowerBound": str(measure.low), "upperBound": str(measure.high)}
    yield metric


def _assessment(attribute: Attribute, group: Group, confidence: float) -> dict[str, str]:
    def worded(name: str, measure: Measure) -> str:
        if measure.value is None:
            return f"{name} not defined"
        interval = (
            f", {confidence:.0%} interval {measure.low:.3f} to {measure.high:.3f}"
            if measure.low is not None and measure.high is not None
            else ""
        )
        return f"{name} {measure.value:.3f}{interval} (n = {measure.n})"

    return {
        "groupAtRisk": f"{attribute.attribute}: {group.group} (n = {group.n})",
        "benefits": worded("approved at a rate of", group.selection_rate),
        "harms": f"against {attribute.reference}: "
        + "; ".join(
            (
                worded("adverse impact ratio", group.adverse_impact_ratio),
                worded("difference in equal opportunity", group.equal_opportunity_difference),
            )
        ),
    }


def _requirements(
    distribution: metadata.Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the requirements of a distribution that apply on this machine with these extras."""
    for text in distribution.requires or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _licences(distribution: metadata.Distribution) -> list[dict[str, Any]]:
    """Return what the distribution's metadata say: SPDX expression, else name, else classifiers, else nothing."""
    fields = distribution.metadata

    def first(field: str) -> str:
        return next(iter(fields.get_all(field) or []), "").strip()

    if expression := first("License-Expression"):
        return [{"expression": expression}]
    classifiers = {
        classifier.rsplit(" :: ", 1)[-1]
        for classifier in fields.get_all("Classifier") or []
        if classifier.startswith("License :: ") and not classifier.endswith("OSI Approved")
    }
    if classifiers:
        return [{"license": {"name": name}} for name in sorted(classifiers)]
    name = first("License")
    if name and len(name) <= _LICENCE_NAME and not re.search(r"[\r\n]", name) and name.upper() != "UNKNOWN":
        return [{"license": {"name": name}}]
    return []


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}
