"""What is written as YAML is read back as it was, by readers of YAML 1.1 and of YAML 1.2."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from aboveboard.deploy.manifests import to_yaml

AWKWARD = "no|y|~|null|1e3|1_000|0x1F|0o17|017|12:30:45|2026-11-21|=|<<|.nan|- a|a: b|{a}|[a]|%a|@a|`a`|!a|&a|*a|'|\""
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [*AWKWARD.split("|"), "a\nb", " a\nb\n", "a\n\n", "\n", "|"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXT, below, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(TEXT, JSON, max_size=5), min_size=1, max_size=3))
@example([{"a": "x\ny"}, {"b": ["no", "yes", "08", "1.0", ""]}])
@example([{"a": "line\n  indented\n\nend\n"}])
def test_every_reader_reads_what_was_meant(documents: list[dict[str, Any]]) -> None:
    text = to_yaml(documents)
    assert list(yaml.safe_load_all(text)) == documents
    assert list(YAML(typ="safe", pure=True).load_all(text)) == documents
