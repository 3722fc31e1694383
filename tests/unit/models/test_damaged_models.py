"""A model file that is damaged, made up or meant to harm is refused; nothing crashes and nothing else is raised."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aboveboard.errors import NotVerified
from aboveboard.models import load_model
from aboveboard.models.lightgbm_native import NativeBooster
from aboveboard.models.shapley import HAS_KERNEL, kernel_forest
from aboveboard.models.trees import parse_trees
from aboveboard.spec.types import Family
from tests.unit.models.synthetic_case import fitted

LIGHTGBM, SCORECARD = Family.LIGHTGBM, Family.SCORECARD
needs_kernel = pytest.mark.skipif(not HAS_KERNEL, reason="the C kernel is not built here")
Edit = Callable[[dict[str, Any]], object]


def refused(files: dict[str, bytes]) -> NotVerified:
    with pytest.raises(NotVerified) as error:
        load_model(files)
    assert error.value.hint
    return error.value


def edited(family: Family, name: str, edit: Edit) -> dict[str, bytes]:
    files = dict(fitted(family).files())
    document = json.loads(files[name])
    edit(document)
    return {**files, name: json.dumps(document).encode()}


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.pop("format"),
        lambda d: d.update(format="aboveboard-model/2"),
        lambda d: d.update(extra=1),
        lambda d: d.update(family="oracle"),
        lambda d: d["features"].pop(),
        lambda d: d["features"][0].update(name="other"),
        lambda d: d["features"][0].update(minimum=5, maximum=1),
        lambda d: d["decision"].update(approve_at=0.1),
        lambda d: d["decision"].update(approve_at=1.5),
        lambda d: d["decision"].update(max_reasons=5),
        lambda d: d["decision"].update(max_reasons=0),
        lambda d: d["calibration"].update(slope=-1.0),
        lambda d: d["calibration"].update(slope=0),
        lambda d: d["calibration"].update(slope=1e308),
        lambda d: d["calibration"].update(intercept=3.0),
        lambda d: d["references"].pop("at-cut-off"),
        lambda d: d["references"]["at-cut-off"].update(people=3),
        lambda d: d["references"]["at-cut-off"].update(score=0.99),
        lambda d: d["references"]["at-cut-off"]["record"].update(late=20),
        lambda d: d["references"]["at-cut-off"]["record"].update(late="0"),
        lambda d: d["references"]["at-cut-off"]["record"].pop("late"),
        lambda d: d["reason_codes"].pop(),
        lambda d: d["reason_codes"].append(d["reason_codes"][0]),
        lambda d: d["reason_codes"][0].update(texts={}),
        lambda d: d["reason_codes"][0].update(features=["income", "income"]),
    ],
)
def test_a_model_json_that_contradicts_itself_is_refused(edit: Edit) -> None:
    refused(edited(LIGHTGBM, "model.json", edit))


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(base_points=500),
        lambda d: d.update(start=10**9),
        lambda d: d["features"].pop(),
        lambda d: d["features"].reverse(),
        lambda d: d["features"][0]["bins"].pop(),
        lambda d: d["features"][0].update(bins=[]),
        lambda d: d["features"][0]["bins"].reverse(),
        lambda d: d["features"][0]["bins"][0].update(points=d["features"][0]["bins"][-1]["points"] + 1),
        lambda d: d["features"][0]["bins"][0].update(points=1.5),
        lambda d: d["features"][1]["bins"][0].update(up_to=None),
        lambda d: d["features"][2]["levels"].pop(),
        lambda d: d["features"][2].update(levels=[], bins=d["features"][0]["bins"]),
    ],
)
def test_a_scorecard_that_contradicts_itself_is_refused(edit: Edit) -> None:
    refused(edited(SCORECARD, "scorecard.json", edit))


@pytest.mark.parametrize("family", list(Family))
def test_files_that_are_missing_or_too_many_are_refused(family: Family) -> None:
    files = fitted(family).files()
    for name in files:
        refused({other: content for other, content in files.items() if other != name})
        for content in (b"", b"\xff\xfe", b"{", b"[" * 100_000, files[name][: len(files[name]) // 2]):
            refused({**files, name: content})
    refused({**files, "extra.txt": b""})


def test_files_of_two_models_do_not_go_together() -> None:
    trees, card = fitted(LIGHTGBM).files(), fitted(SCORECARD).files()
    refused({"model.json": trees["model.json"], "scorecard.json": card["scorecard.json"]})
    other = re.sub(r"max_feature_idx=\d+", "max_feature_idx=40", trees["trees.txt"].decode())
    assert "different models" in refused({**trees, "trees.txt": other.encode()}).hint


def replaced(key: str, value: str) -> Callable[[str], str]:
    """Replace the first line of a key that a tree has."""
    return lambda text: re.sub(rf"(?m)^{key}=.*$", f"{key}={value}", text, count=1)


@pytest.mark.parametrize(
    "damage",
    [
        replaced("version", "v3"),
        replaced("num_class", "3"),
        replaced("num_tree_per_iteration", "2"),
        replaced("objective", "regression"),
        replaced("objective", "binary sigmoid:2"),
        replaced("max_feature_idx", "-1"),
        replaced("max_feature_idx", "99999999999"),
        replaced("max_feature_idx", "0"),
        replaced("num_leaves", "0"),
        replaced("num_leaves", "-3"),
        replaced("num_leaves", "99999999999"),
        replaced("num_leaves", "2"),
        replaced("num_cat", "1"),
        replaced("is_linear", "1"),
        replaced("split_feature", "999"),
        replaced("leaf_value", "nan"),
        lambda text: re.sub(r"(?m)^(leaf_value=)\S+", r"\1nan", text, count=1),
        lambda text: re.sub(r"(?m)^(leaf_value=)\S+", r"\1inf", text, count=1),
        lambda text: re.sub(r"(?m)^(threshold=)\S+", r"\1nan", text, count=1),
        lambda text: re.sub(r"(?m)^(split_feature=)\S+", r"\g<1>8", text, count=1),
        lambda text: re.sub(r"(?m)^(split_feature=)\S+", r"\g<1>-1", text, count=1),
        lambda text: re.sub(r"(?m)^(decision_type=)\S+", r"\g<1>1", text, count=1),
        lambda text: re.sub(r"(?m)^(decision_type=)\S+", r"\g<1>12", text, count=1),
        lambda text: re.sub(r"(?m)^(decision_type=)\S+", r"\g<1>99", text, count=1),
        lambda text: re.sub(r"(?m)^(left_child=)\S+", r"\g<1>0", text, count=1),
        lambda text: re.sub(r"(?m)^(left_child=)\S+", r"\g<1>500", text, count=1),
        lambda text: re.sub(r"(?m)^(left_child=)\S+", r"\g<1>-500", text, count=1),
        lambda text: re.sub(r"(?m)^(left_child=)\S+", r"\g<1>99999999999999999999", text, count=1),
        lambda text: re.sub(
            r"(?m)^right_child=(.*)$", lambda m: "right_child=" + m[1].rsplit(" ", 1)[0], text, count=1
        ),
        lambda text: text.replace("Tree=1\n", "Tree=7\n", 1),
        lambda text: text.replace("Tree=0\n", "Tree=0\nnum_leaves=2\n", 1),
        lambda text: text.replace("end of trees", ""),
        lambda text: text.replace("label_index=0", "label_index=0\naverage_output", 1),
        lambda text: text[: text.index("Tree=0")] + "\nend of trees\n",
        lambda text: "forest" + text[4:],
    ],
)
def test_a_text_that_is_no_tree_is_refused(damage: Callable[[str], str]) -> None:
    files = fitted(LIGHTGBM).files()
    text = files["trees.txt"].decode()
    damaged = damage(text)
    assert damaged != text
    refused({**files, "trees.txt": damaged.encode()})


def test_any_byte_changed_is_refused_or_another_sound_model() -> None:
    files = fitted(LIGHTGBM).files()
    text = bytearray(files["trees.txt"])
    rng = np.random.default_rng(5)
    row = fitted(LIGHTGBM).reference().reshape(1, -1)
    for position in rng.integers(0, len(text), 150):
        damaged = bytearray(text)
        damaged[position] = int(rng.integers(32, 127))
        try:
            loaded = load_model({**files, "trees.txt": bytes(damaged)})
        except NotVerified:
            continue
        assert np.isfinite(loaded.score(row)).all()


def test_a_tree_that_is_too_deep_is_refused() -> None:
    count = 70
    text = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
        "objective=binary sigmoid:1\n\nTree=0\n"
        f"num_leaves={count + 1}\nnum_cat=0\nsplit_feature={'0 ' * count}\nthreshold={'1 ' * count}\n"
        f"decision_type={'0 ' * count}\nleft_child={' '.join(str(i + 1) for i in range(count - 1))} -1\n"
        f"right_child={' '.join(str(~(i + 1)) for i in range(count))}\nleaf_value={'0.5 ' * (count + 1)}\n\n"
        "end of trees\n"
    )
    with pytest.raises(NotVerified, match="deeper than 64"):
        parse_trees(text)


@needs_kernel
@pytest.mark.parametrize(
    ("field", "value"),
    [("left", 0), ("left", 10**6), ("right", -5), ("left", 2), ("column", 8), ("column", 2**31 - 1)],
)
def test_the_kernel_checks_the_trees_once_more(field: str, value: int) -> None:
    kernel = importlib.import_module("aboveboard.models._shapley")
    trees = parse_trees(fitted(LIGHTGBM).files()["trees.txt"].decode())
    players = fitted(LIGHTGBM).encoding.owner.astype(np.int32)
    assert kernel.Forest(trees.nodes, trees.roots, players, 5)
    for wrong in (players + 1, players - 1, players[:-1], players[:0], players.astype(np.int64)):
        with pytest.raises(ValueError, match=r"the nodes do not form|an array is empty"):
            kernel.Forest(trees.nodes, trees.roots, wrong, 5)
    with pytest.raises(ValueError, match="the nodes do not form"):
        kernel.Forest(trees.nodes, trees.roots + 100_000, players, 5)
    trees.nodes[field][0] = value
    with pytest.raises(ValueError, match="the nodes do not form"):
        kernel.Forest(trees.nodes, trees.roots, players, 5)


@needs_kernel
def test_the_kernel_refuses_arrays_of_another_size() -> None:
    model = fitted(LIGHTGBM)
    trees = parse_trees(model.files()["trees.txt"].decode())
    forest = kernel_forest(trees, model.reference(), model.encoding.owner)
    width, players = model.encoding.width, len(model.encoding.features)
    cases: list[tuple[Any, Any]] = [
        (np.zeros((2, width)), np.zeros((1, players))),
        (np.zeros((2, width - 1)), np.zeros((2, players))),
        (np.zeros((2, width), np.float32), np.zeros((2, players))),
        (np.zeros((2, width)), np.zeros((2, players + 1))),
        (np.zeros((0, width)), np.zeros((1, players))),
    ]
    for rows, out in cases:
        with pytest.raises(ValueError, match="do not fit"):
            forest.attribute(rows, out)
    with pytest.raises((ValueError, BufferError)):
        forest.attribute(np.asfortranarray(np.zeros((4, width))), np.zeros((4, players)))
    frozen = np.zeros((1, players))
    frozen.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        forest.attribute(np.zeros((1, width)), frozen)


def test_what_lightgbm_itself_refuses_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    trees = parse_trees(fitted(LIGHTGBM).files()["trees.txt"].decode())
    monkeypatch.setattr(type(trees), "to_text", lambda self: "not a model")
    with pytest.raises(NotVerified, match="LightGBM does not take the model"):
        NativeBooster(trees)
