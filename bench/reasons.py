"""What one decision costs: encoding, scoring and exact reasons; and the same reasons from shap, for comparison."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import shap

from aboveboard.models import Encoding, Model, load_model
from aboveboard.models.fit import fit_model
from aboveboard.models.lightgbm_trees import TREES_FILE
from aboveboard.models.shapley import HAS_KERNEL, numpy_forest
from aboveboard.models.trees import parse_trees
from aboveboard.spec import load_spec
from aboveboard.spec.types import Family

EXAMPLE = Path(__file__).parents[1] / "examples" / "01-credit-default"
PARAMETERS = {"n_estimators": 200, "num_leaves": 31, "learning_rate": 0.05, "min_child_samples": 20}
PEOPLE = 2000


def main() -> None:
    """Print medians in microseconds for one row, and for one row within a batch."""
    trees, records = fitted(Family.LIGHTGBM, PARAMETERS)
    card, _ = fitted(Family.SCORECARD, {})
    rows = trees.encoding.encode_columns({name: [r[name] for r in records] for name in records[0]})
    files = trees.files()
    forest = parse_trees(files[TREES_FILE].decode())
    print(f"LightGBM, {len(forest.roots)} trees of up to 31 leaves, {trees.encoding.width} columns")
    print(f"the C kernel is {'in use' if HAS_KERNEL else 'not built: numpy takes its place'}\n")
    singles = [row.reshape(1, -1) for row in rows]

    report("encode one record", each(trees.encoding.encode, records))
    report("score one row", each(trees.score, singles))
    report("contributions of one row", each(trees.attribute, singles))
    report(
        "reasons for one row (contributions, merged, ranked, worded)",
        each(lambda row: trees.reasons(row, "de"), rows),
    )
    report("contributions, in a batch", batch(trees.attribute, rows))
    report("scorecard: score one row", each(card.score, singles))
    report("scorecard: reasons for one row", each(lambda row: card.reasons(row, "de"), rows))

    twin = numpy_forest(forest, trees.reference(), trees.encoding.owner)
    out = np.zeros((1, len(trees.encoding.features)))
    report("contributions of one row, numpy twin", each(lambda row: twin.attribute(row, out), singles[:200]))

    booster = lightgbm.Booster(model_str=forest.to_text())
    background = trees.reference().reshape(1, -1)
    explainer = shap.TreeExplainer(booster, background, feature_perturbation="interventional", model_output="raw")
    report("contributions of one row, shap interventional", each(explainer.shap_values, singles[:500]))
    report("contributions, in a batch, shap interventional", batch(explainer.shap_values, rows))
    report(
        "contributions of one row, LightGBM path-dependent",
        each(lambda r: booster.predict(r, pred_contrib=True), singles[:200]),
    )

    ours = trees.attribute(rows)
    theirs = explainer.shap_values(rows)
    difference = trees.margin(rows) - trees.margin(background)
    print(f"\nlargest error of the sum, of {PEOPLE} people: ours {np.abs(ours.sum(1) - difference).max():.1e},")
    print(f"shap {np.abs(theirs.sum(1) - difference).max():.1e}; between the two {np.abs(ours - theirs).max():.1e}")
    files = trees.files()
    print(
        f"load a model of {sum(map(len, files.values())) / 1e3:.0f} kB: {each(load_model, [files] * 15) / 1e3:.0f} ms"
    )


def fitted(family: Family, parameters: dict[str, Any]) -> tuple[Model, list[dict[str, Any]]]:
    """Return a model of the credit example, and records it has not seen."""
    spec = load_spec(EXAMPLE / "model.yaml")
    algorithm = spec.spec.model.model_copy(update={"family": family})
    spec = spec.model_copy(update={"spec": spec.spec.model_copy(update={"model": algorithm})})
    frame = pl.read_parquet(EXAMPLE / "credit_default_taiwan.parquet").sample(fraction=1.0, shuffle=True, seed=1)
    names = [feature.name for feature in spec.spec.features]
    favourable = (frame[spec.spec.data.target.column] == spec.spec.data.target.favourable).to_numpy()
    rows = Encoding.from_spec(spec).encode_columns({name: frame[name].to_list() for name in names})
    model = fit_model(
        spec, rows[:16_500], favourable[:16_500], rows[16_500:21_000], favourable[16_500:21_000], parameters, seed=1
    )
    return model, frame.select(names)[-PEOPLE:].to_dicts()


def each(call: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    """Return the median time of a call, in microseconds, after a warm-up."""
    times = []
    for argument in arguments:
        begin = time.perf_counter_ns()
        call(argument)
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times[len(times) // 10 :]) / 1e3


def batch(call: Callable[[Any], object], rows: Any) -> float:
    """Return the median time for one row of a batch, in microseconds, over nine batches."""
    return each(call, [rows] * 9) / len(rows)


def report(what: str, microseconds: float) -> None:
    """Print one line of the table."""
    print(f"{what:<62}{microseconds:>10.1f} µs")
