"""The report as one HTML file for those who must rely on it: no script, no network, light and dark, printable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from aboveboard.evaluation.report import AttributeFairness, Measure, Report
from aboveboard.spec import ModelSpec

if TYPE_CHECKING:
    from jinja2 import Environment

_ORDER = ("fail", "insufficient", "pass", "not-applicable")

_WORDS = {
    "pass": "Pass",
    "fail": "Fail",
    "insufficient": "Not enough evidence",
    "not-applicable": "Not applicable",
}
_SIGNS = {"pass": "✓", "fail": "✕", "insufficient": "?", "not-applicable": "–"}

MISSING = "–"


def render_html(
    report: Report, verdict: object | None = None, lineage: object | None = None, spec: ModelSpec | None = None
) -> str:
    """Return the report as one self-contained HTML document.

    `verdict` is what a gate said (`aboveboard.policy.GateVerdict`) and `lineage` the record of the data
    (`aboveboard.data.Lineage`), both as themselves or as JSON-ready mappings. What is not given is left out, and a
    missing verdict is said to be missing.
    """
    judged = None if verdict is None else _builtins(verdict)
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            verdict=judged,
            rules=_ranked(judged) if judged else [],
            count=_counts(judged) if judged else {},
            lineage=None if lineage is None else _builtins(lineage),
            spec=None if spec is None else spec.spec,
            metadata=None if spec is None else spec.metadata,
            limits=_limits(spec),
            texts=_texts(spec),
            lowest=lowest_ratio(report),
            level=f"{report.confidence * 100:g}%",
        )
    )


def lowest_ratio(report: Report) -> tuple[AttributeFairness, str, Measure] | None:
    """Return the attribute, group and measure of the smallest adverse impact ratio, None where none is defined."""
    ratios = [
        (attribute, group.group, group.adverse_impact_ratio)
        for attribute in report.fairness
        for group in attribute.groups
        if not group.reference and group.adverse_impact_ratio.value is not None
    ]
    return min(ratios, key=lambda entry: entry[2].value or 0.0, default=None)


def _builtins(document: object) -> Any:
    return document if isinstance(document, Mapping) else msgspec.to_builtins(document)


def _ranked(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the results in the order a reader needs them: what refuses first, and numbers before words."""
    return sorted(verdict["results"], key=lambda rule: (_ORDER.index(rule["verdict"]), rule["measured"] is None))


def _counts(verdict: Mapping[str, Any]) -> dict[str, int]:
    return {word: sum(rule["verdict"] == word for rule in verdict["results"]) for word in _ORDER}


def _limits(spec: ModelSpec | None) -> dict[str, str]:
    """Return what the spec demands of each measure, in words."""
    if spec is None:
        return {}
    limits = spec.spec.evaluation.limits
    bounds = {
        "auc": ("at least", limits.auc_at_least),
        "ks": ("at least", limits.ks_at_least),
        "brier": ("at most", limits.brier_at_most),
        "calibration_error": ("at most", limits.calibration_error_at_most),
    }
    return {name: f"{words} {bound:g}" for name, (words, bound) in bounds.items() if bound is not None}


def _texts(spec: ModelSpec | None) -> dict[str, str]:
    """Return what an applicant is told by reason code, in English where there is English."""
    if spec is None:
        return {}
    texts = dict(spec.spec.reason_texts(feature) for feature in spec.spec.features)
    return {code: words.get("en") or next(iter(words.values())) for code, words in texts.items()}


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from aboveboard.evaluation import charts

    environment = Environment(
        loader=PackageLoader("aboveboard.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        decimal=decimal,
        percent=percent,
        points=points,
        p_value=p_value,
        interval=interval,
        measured=measured,
        sentence=sentence,
        short=short_digest,
    )
    environment.globals.update(charts=charts, WORDS=_WORDS, SIGNS=_SIGNS)
    return environment


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number with fixed digits after the point; never minus zero."""
    if value is None:
        return MISSING
    return _minus(f"{value:.{digits}f}")


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as per cent."""
    return MISSING if value is None else _minus(f"{value * 100:.{digits}f}") + "%"


def points(value: float | None) -> str:
    """Return a difference of rates in percentage points, with its sign."""
    if value is None:
        return MISSING
    number = _minus(f"{value * 100:.1f}")
    return number if number[0] == "−" or number == "0.0" else f"+{number}"


def p_value(value: float | None) -> str:
    """Return a p-value the way people write it."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(measure: Measure, style: str = "decimal") -> str:
    """Return the two ends of an interval, or why there is none; `style` is decimal, percent or points."""
    if measure.value is None:
        return "not defined"
    if measure.low is None and measure.high is None:
        return "no interval"
    write = {"decimal": decimal, "percent": percent, "points": points}[style]
    low, high = write(measure.low).removesuffix("%"), write(measure.high)
    return f"{low} to {high}"


def measured(value: float | None) -> str:
    """Return what a rule measured or demands, in at most four significant digits."""
    if value is None:
        return MISSING
    if value == int(value) and abs(value) < 1e15:
        return _minus(f"{int(value):,}")
    return _minus(f"{value:.3f}" if 0.001 <= abs(value) < 1000 else f"{value:.3g}")


def sentence(words: str) -> str:
    """Return what a rule says as a sentence of its own."""
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".") if words else ""


def short_digest(digest: str) -> str:
    """Return the head of a digest, enough to compare by eye."""
    algorithm, _, rest = digest.partition(":")
    return f"{algorithm}:{rest[:12]}…" if len(rest) > 12 else digest


def _minus(number: str) -> str:
    """Write a true minus sign, and none before a zero."""
    if number.startswith("-") and not number.strip("-0.,"):
        return number[1:]
    return number.replace("-", "−", 1) if number.startswith("-") else number
