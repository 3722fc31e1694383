"""Check, data, train, evaluate, gate: one model that passes, one that the law refuses, one that passes again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from ruamel.yaml import YAML

from aboveboard.cli.check import show_contract
from aboveboard.cli.demo.scene import AUTHOR, Scene
from aboveboard.cli.evidence import show_report, show_verdict
from aboveboard.cli.run import run_with_progress
from aboveboard.spec import ModelSpec, load_spec

if TYPE_CHECKING:
    from aboveboard.training import Run


@dataclass(frozen=True)
class Judged:
    """The three models and what the gate said of them."""

    spec: ModelSpec
    champion: Run
    refused: Run
    scorecard: Run


def judge_models(scene: Scene) -> Judged:
    """Take the example's model and two variants of it through the pipeline."""
    out = scene.out
    path = scene.example / "model.yaml"
    with scene.step(
        "check", "What is declared: what the model may use, what is protected, what an applicant is told."
    ):
        spec = load_spec(path)
        show_contract(out, spec)
    with scene.step(
        "data, train, evaluate, gate",
        "Contract and tokens first; then a search, a fit with the declared directions, calibration; then the law.",
    ):
        champion = run_with_progress(out, scene.acting(AUTHOR), path, trials=0 if scene.fast else None)
        lineage = champion.dataset.lineage
        out.say(
            f"data      {lineage.rows:,} records, content {lineage.data_digest[:19]}…; "
            f"{escape(str(spec.spec.data.identifier))} is replaced by a keyed token, e.g. "
            f"{escape(champion.dataset.frame['subject'][0][:16])}…"
        )
        show_report(out, champion.report)
        show_verdict(out, champion.verdict)
    with scene.step(
        "a better model, refused",
        "The same model may now read the four protected attributes. It ranks better. The gate is not impressed.",
    ):
        variant = _variant(scene, path, spec, "with-protected", _use_protected)
        refused = run_with_progress(out, scene.acting(AUTHOR), variant, trials=0)
        before, after = champion.report.performance.auc.value, refused.report.performance.auc.value
        out.say(f"AUC       {before:.4f} → [bold]{after:.4f}[/] on the same held-out records")
        show_verdict(out, refused.verdict)
    with scene.step(
        "a third model, passed",
        "A scorecard of points per band: no trees, the same interface, the same reasons, the same gate.",
    ):
        variant = _variant(scene, path, spec, "scorecard", _use_scorecard)
        scorecard = run_with_progress(out, scene.acting(AUTHOR), variant, trials=0)
        value = scorecard.report.performance.auc.value
        out.say(f"AUC       {value:.4f} [dim](LightGBM {before:.4f})[/]")
        show_verdict(out, scorecard.verdict)
    return Judged(spec, champion, refused, scorecard)


def _variant(scene: Scene, original: Path, spec: ModelSpec, suffix: str, change: Any) -> Path:
    """Write a changed copy of the model spec into the demo's home, its data named by absolute path."""
    yaml = YAML()
    document = yaml.load(original.read_text(encoding="utf-8"))
    document["metadata"]["name"] = f"{spec.metadata.name}-{suffix}"
    source = (original.parent / spec.spec.data.source.path).resolve()
    document["spec"]["data"]["source"]["path"] = str(source)
    change(document["spec"], spec)
    target = scene.home.root / "specs" / f"{suffix}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return target


def _use_protected(document: Any, spec: ModelSpec) -> None:
    for attribute in spec.spec.protected:
        document["features"].append(
            {
                "name": attribute.column,
                "type": "integer",
                "classification": "sensitive",
                "protectedUse": "none: this variant exists to be refused",
                "reasons": {"en": f"{attribute.name.capitalize()} (protected)"},
            }
        )


def _use_scorecard(document: Any, spec: ModelSpec) -> None:
    document["model"] = {"family": "scorecard", "seed": spec.spec.model.seed}
