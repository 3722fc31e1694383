"""What others read of the policy step: the schema of the facts, and a verdict in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from aboveboard.policy import gate, load_packs
from aboveboard.policy.facts import facts_schema

FACTS = Path(__file__).parents[1] / "data" / "policy-facts.json"


def pretty(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def test_facts_schema(golden: Callable[[str, str], None]) -> None:
    golden("policy-facts.schema.json", pretty(facts_schema()))


def test_verdict(golden: Callable[[str, str], None]) -> None:
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    facts["governance"]["dpia"] = None
    facts["protected"][1]["groups"][4]["n"] = 3
    verdict = gate(facts, load_packs(["us", "eu", "uk"]), date(2026, 11, 21))
    document = msgspec.to_builtins(verdict)
    for pack in document["packs"]:
        pack["digest"] = "of every byte of the pack"
    document["engine"]["library"] = "of the library"
    golden("policy-verdict.json", pretty(document))
