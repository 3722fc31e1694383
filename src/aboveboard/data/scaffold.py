"""Writing a proposal as a commented model.yaml that the spec loader reads back."""

from __future__ import annotations

import json
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from aboveboard.spec.types import Scalar

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*")
_WORDS_OF_YAML = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"))
"""Read as something else than text by one YAML version or another."""


def render_scaffold(**facts: Any) -> str:
    """Return the text of model.yaml. The template names the facts; a missing one is a mistake of ours."""
    environment = Environment(
        loader=PackageLoader("aboveboard.data"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  it is YAML, quoted by `yaml_scalar`, and no HTML
    )
    environment.filters["yaml"] = yaml_scalar
    environment.filters["single"] = single_quoted
    environment.filters["comment"] = in_comment
    return environment.get_template("model.yaml.j2").render(**facts)


def yaml_scalar(value: Scalar) -> str:
    """Return a value as YAML that is read back as the same type and value by YAML 1.1 and 1.2 alike."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if _PLAIN.fullmatch(value) and value.casefold() not in _WORDS_OF_YAML:
        return value
    return _double_quoted(value)


def single_quoted(value: str) -> str:
    """Return text in single quotes. A lone question mark in double quotes stands for an open question."""
    return "'" + value.replace("'", "''") + "'" if value.isprintable() else _double_quoted(value)


def in_comment(value: str) -> str:
    """Return text that cannot end the comment it stands in."""
    return value if value.isprintable() else _double_quoted(value)


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"


def _double_quoted(text: str) -> str:
    """Return text in double quotes; JSON's escapes are YAML's, and what is not printable is escaped too."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in quoted
    )
