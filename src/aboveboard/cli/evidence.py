"""How reports and verdicts are shown in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from aboveboard.cli.output import MARKS, Output, interval, number

if TYPE_CHECKING:
    from aboveboard.evaluation.report import Measure, Report
    from aboveboard.policy.verdict import GateVerdict


def show_report(out: Output, report: Report) -> None:
    """Print performance and calibration, then fairness by group, each with its interval and n."""
    performance = report.performance
    out.table(
        ("measure", "value#", "interval", "n#"),
        [
            _row("AUC", performance.auc),
            _row("KS", performance.ks),
            _row("Brier score", performance.brier),
            _row("average precision", performance.average_precision),
            _row("calibration error", report.calibration.error),
            _row("approval rate", performance.approval_rate),
        ],
        title=f"\n[bold]{escape(report.model)}[/] on {report.rows:,} held-out records",
    )
    out.table(
        (
            "protected",
            "group",
            "n#",
            "approved#",
            "AIR#",
            f"{report.confidence:.0%} interval",
            "ΔTPR#",
            "p (adjusted)#",
        ),
        (
            (
                escape(attribute.attribute) if position == 0 else "",
                escape(group.group) + (" [dim](reference)[/]" if group.reference else ""),
                f"{group.n:,}",
                number(group.selection_rate.value),
                number(group.adverse_impact_ratio.value),
                "" if group.reference else interval(group.adverse_impact_ratio.low, group.adverse_impact_ratio.high),
                "" if group.reference else number(group.equal_opportunity_difference.value),
                number(group.p_value_adjusted, 4) if not group.reference else "",
            )
            for attribute in report.fairness
            for position, group in enumerate(attribute.groups)
        ),
        title="\n[bold]fairness[/]",
    )


def show_verdict(out: Output, verdict: GateVerdict, *, everything: bool = False) -> None:
    """Print the gate's verdict: every rule that does not pass in full, the others counted or listed."""
    shown = [r for r in verdict.results if everything or r.verdict not in ("pass", "not-applicable")]
    if shown:
        out.table(
            ("rule", "verdict", "what was found", "law"),
            (
                (
                    escape(result.rule),
                    MARKS[result.verdict],
                    escape(result.message),
                    escape(result.citation) + (" [dim](review required)[/]" if result.review_required else ""),
                )
                for result in shown
            ),
            title="\n[bold]gate[/]",
        )
    counts = {kind: sum(result.verdict == kind for result in verdict.results) for kind in MARKS}
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    packs = ", ".join(f"{pack.name} {pack.version}" for pack in verdict.packs)
    out.say(
        f"\n{MARKS[verdict.verdict]}  [bold]gate as of {verdict.as_of}[/]: {summary}  [dim]packs {escape(packs)}[/]"
    )


def verdict_document(verdict: GateVerdict) -> dict[str, Any]:
    """Return a verdict as the JSON a command prints."""
    import msgspec

    document: dict[str, Any] = {"verdict": str(verdict.verdict), "gate": msgspec.to_builtins(verdict)}
    return document


def _row(name: str, measure: Measure) -> tuple[str, str, str, str]:
    return name, number(measure.value), interval(measure.low, measure.high), f"{measure.n:,}"
