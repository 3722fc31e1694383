"""The packs say the same in Open Policy Agent itself, where it is installed."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aboveboard.policy.rego import LIBRARY, CompiledRego
from tests.unit.policy.test_rules import CASES, FACTS, PACKS

OPA = shutil.which("opa")


def answers_of_opa(tmp_path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what `opa eval` makes of every pack."""
    (tmp_path / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.copy(LIBRARY, tmp_path / LIBRARY.name)
    command = [OPA or "opa", "eval", "--format", "json", "--input", str(tmp_path / "facts.json")]
    command += ["--data", str(tmp_path / LIBRARY.name)]
    for pack in PACKS:
        for name, text in pack.modules.items():
            path = tmp_path / f"{pack.name}-{name}"
            path.write_text(text, encoding="utf-8")
            command += ["--data", str(path)]
    said = subprocess.run([*command, "data.aboveboard.packs"], check=True, capture_output=True, timeout=60)
    packs: dict[str, Any] = json.loads(said.stdout)["result"][0]["expressions"][0]["value"]
    return {pack: value["answers"] for pack, value in packs.items()}


def alike(one: Any, other: Any) -> bool:
    """Tell whether two answers are equal, numbers to twelve digits: rego-cpp writes sixteen."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return bool(one == pytest.approx(other, rel=1e-12, abs=1e-15))
    return bool(one == other)


@pytest.mark.skipif(OPA is None, reason="opa is not installed")
@pytest.mark.parametrize(
    "case", [None, *CASES[::6]], ids=lambda case: f"{case[0]}: {case[1]}" if case else "the case"
)
def test_opa_gives_the_same_answers(tmp_path: Path, case: Any) -> None:
    facts = copy.deepcopy(FACTS)
    if case is not None:
        case[2](facts)
    modules = {f"{pack.name}/{name}": text for pack in PACKS for name, text in pack.modules.items()}
    compiled = CompiledRego(
        [pack.package for pack in PACKS], {LIBRARY.name: LIBRARY.read_text(encoding="utf-8"), **modules}
    )
    compiled.consider(facts)
    said = answers_of_opa(tmp_path, facts)
    for pack in PACKS:
        assert alike(compiled.answers(pack.package), said[pack.name.replace("-", "_")])
