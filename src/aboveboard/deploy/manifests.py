"""Kubernetes objects as YAML text that every reader understands alike: kubectl, Helm, Argo CD, Flux, a person.

Kubernetes reads YAML 1.1, where `no` is false and `1e3` may be a number; other tools read 1.2. Text that any of them
could take for something else is quoted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]*(?: [A-Za-z0-9_./(][A-Za-z0-9_./()-]*)*", re.ASCII)
"""What is text in every version of YAML, unless it is one of the words below."""
_WORDS: Final = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])


class _Representer(SafeRepresenter):
    """Quotes what must be quoted, and writes several lines as several lines."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write what appears twice twice: an anchor is harder to read than a repetition."""
        return True


def _represent_text(representer: SafeRepresenter, text: str) -> ScalarNode:
    lines = text.split("\n")
    literal = (
        len(lines) > 1
        and all(line.isprintable() and line == line.rstrip() for line in lines)
        and not lines[0].startswith(" ")
        and lines[0] != ""
    )
    style = "|" if literal else None if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else '"'
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _represent_text)


def to_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return JSON-like documents as YAML, `---` before each; keys stay in their order."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 4096
    writer.allow_unicode = True
    parts = []
    for document in documents:
        stream = io.StringIO()
        writer.dump(dict(document), stream)
        parts.append("---\n" + stream.getvalue())
    return "".join(parts)


def file_name(document: Mapping[str, Any]) -> str:
    """Return a file name for an object: its kind and name, e.g. `decisionservice-credit-default.yaml`."""
    metadata = document["metadata"]
    name = re.sub(r"[^a-z0-9.-]", "-", f"{document['kind']}-{metadata['name']}".lower())
    return f"{name}.yaml"
