"""Gathering the facts about one fitted model from the three documents that hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from aboveboard.canonical import canonical_json
from aboveboard.errors import Misuse, RequestRefused
from aboveboard.policy import facts as shapes
from aboveboard.spec import ModelSpec

if TYPE_CHECKING:  # at run time these would bring polars and scipy to everyone who only reads a verdict
    from aboveboard.data.lineage import Lineage
    from aboveboard.evaluation.report import Report


def build_facts(spec: ModelSpec, report: Report, lineage: Lineage, *, as_of: date) -> dict[str, Any]:
    """Return the facts about one fitted model, JSON-ready, in the shape of `aboveboard.policy.facts.Facts`.

    Raises `Misuse` when the three documents cannot be brought into that shape, e.g. for a number that is not finite.
    """
    measured = msgspec.to_builtins(report)
    origin = msgspec.to_builtins(lineage)
    declared_groups = {attribute.name: len(attribute.groups) for attribute in spec.spec.protected}
    facts = {
        "schema": shapes.SCHEMA,
        "as_of": as_of.isoformat(),
        **_declared(spec),
        "protected": [
            {
                **_only(shapes.ProtectedFacts, attribute),
                "declared_groups": declared_groups.get(attribute["attribute"], 0),
                "groups": [_only(shapes.GroupFacts, group) for group in attribute["groups"]],
            }
            for attribute in measured["fairness"]
        ],
        "performance": _only(shapes.PerformanceFacts, measured["performance"]),
        "calibration": _only(shapes.CalibrationFacts, measured["calibration"]),
        "evaluation": _only(shapes.EvaluationFacts, measured),
        "explanation": {
            **_only(shapes.ExplanationFacts, measured["explanation"]),
            "codes": [entry["code"] for entry in measured["explanation"]["importances"]],
        },
        "data": _data(spec, origin),
    }
    facts["model"] = {**facts["model"], "digest": measured["model_digest"]}
    try:
        canonical_json(facts)
        problem = shapes.shape_error(facts)
    except RequestRefused as error:
        problem = error.message
    if problem is not None:
        raise Misuse(
            f"the facts about {spec.metadata.name} are not whole: {problem}", hint="run the evaluation again"
        )
    return facts


def _only(shape: type[msgspec.Struct], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return those entries of a document that the facts have; the report holds more than rules read."""
    return {key: document[key] for key in shape.__struct_fields__ if key in document}


def _declared(spec: ModelSpec) -> dict[str, Any]:
    """Return what the spec says by itself."""
    body = spec.spec
    protected = {attribute.column for attribute in body.protected}
    features = []
    for feature in body.features:
        code, texts = body.reason_texts(feature)
        features.append(
            {
                "name": feature.name,
                "type": feature.type.value,
                "description": feature.description,
                "classification": feature.classification.value,
                "legal_basis": body.legal_basis_of(feature).value,
                "origin": body.origin_of(feature).value,
                "monotonic": feature.monotonic.value,
                "is_protected": feature.name in protected,
                "protected_use": feature.protected_use,
                "reason_code": code,
                "reason_texts": dict(texts),
            }
        )
    return {
        "model": {
            "name": spec.metadata.name,
            "owner": spec.metadata.owner,
            "description": spec.metadata.description,
            "purpose": body.purpose.value,
            "materiality": body.materiality.value,
            "jurisdictions": list(body.jurisdictions),
            "regions": list(body.regions),
            "family": body.model.family.value,
        },
        "governance": {
            "validator": body.governance.validator,
            "dpia": body.governance.dpia,
            "human_review": body.governance.human_review,
            "monitoring_plan": body.governance.monitoring_plan,
        },
        "declared": {"features": len(body.features), "protected": len(body.protected)},
        "features": features,
        "limits": _only(shapes.LimitFacts, body.evaluation.limits.model_dump(mode="json", by_alias=False)),
        "decision": _only(shapes.DecisionFacts, body.decision.model_dump(mode="json", by_alias=False)),
        "monitoring": _only(shapes.MonitoringFacts, body.monitoring.model_dump(mode="json", by_alias=False)),
        "retention": {
            "decisions_months": whole_months(body.retention.decisions),
            "releases_months": whole_months(body.retention.releases),
        },
    }


def _data(spec: ModelSpec, origin: dict[str, Any]) -> dict[str, Any]:
    """Return where the records came from, and whether the person's identifier was left behind."""
    name = spec.spec.data.identifier
    treatments = {column["name"]: column["treatment"] for column in origin["columns"]}
    kept = "tokenised" if name is not None and treatments.get(name) == "tokenised" else "raw"
    return {
        "digest": origin["data_digest"],
        "source_digest": origin["source"]["digest"],
        "region": origin["region"],
        "rows": origin["rows"],
        "identifier": "absent" if name is None else kept,
        "target": origin["target"]["column"],
        "split_method": origin["split"]["method"],
        "split_seed": origin["split"]["seed"],
        "partitions": {
            partition: {"rows": record["rows"], "digest": record["digest"]}
            for partition, record in origin["split"]["partitions"].items()
        },
    }


def whole_months(duration: str) -> int:
    """Return how many whole months an ISO 8601 calendar duration lasts at least, whatever day it starts on.

    Days count as months only where they outlast the longest run of that many months: `P183D` is five months, since
    July to December has 184 days.
    """
    parts = re.fullmatch(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?", duration)
    if parts is None:
        raise Misuse(f"{duration!r} is not a calendar duration", hint="write it as P25M, P10Y or P180D")
    years, months, days = (int(part or 0) for part in parts.groups())
    extra = 0
    while _longest_run(extra + 1) <= days:
        extra += 1
    return 12 * years + months + extra


@cache
def _longest_run(months: int) -> int:
    """Return the most days that so many months in a row can have."""

    def first(month: int) -> date:
        return date(2000 + month // 12, month % 12 + 1, 1)  # 2000 begins a cycle of four years with one leap day

    whole_years, rest = divmod(months, 48)
    return 1461 * whole_years + max((first(start + rest) - first(start)).days for start in range(48))
