"""Policy is data: facts about a model, rules in Rego with their citations, and a verdict for every rule.

Here live the shape of the facts, the packs of rules by jurisdiction, the engine that counts their answers, and the
verdict. Nothing is measured here (that is `evaluation`) and nothing is approved (that is `release`). `release`,
`training`, `serving` and `cli` may import this package; importing it loads neither the Rego engine nor anything
that measures.
"""

from __future__ import annotations

from aboveboard.policy.engine import Engine, gate
from aboveboard.policy.gathering import build_facts
from aboveboard.policy.pack import PolicyPack, built_in_packs, load_pack, load_packs
from aboveboard.policy.verdict import Finding, GateVerdict, RuleResult, Severity, Verdict

__all__ = [
    "Engine",
    "Finding",
    "GateVerdict",
    "PolicyPack",
    "RuleResult",
    "Severity",
    "Verdict",
    "build_facts",
    "built_in_packs",
    "gate",
    "load_pack",
    "load_packs",
]
