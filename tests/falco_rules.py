"""Conditions of Falco's rules, evaluated for one event: enough of the language for the rules in deploy/falco.

A field that an event lacks satisfies no comparison, as in Falco; `not` turns that round. Macros and lists are looked
up among those of the same file, so a name that is not there is an error.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Event = Mapping[str, str]
Condition = Callable[[Event], bool]

_TOKEN = re.compile(r"""\s*("[^"]*"|'[^']*'|[(),]|!=|<=|>=|=|<|>|[^\s(),=!<>"']+)""")
_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "=": lambda found, wanted: found == wanted,
    "!=": lambda found, wanted: found != wanted,
    "contains": lambda found, wanted: wanted in found,
    "startswith": str.startswith,
}


class Rules:
    """A file of rules: `matching` says which of them an event sets off."""

    def __init__(self, path: Path) -> None:
        self.items: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.rules = {item["rule"]: item for item in self.items if "rule" in item}
        self.macros = {item["macro"]: item["condition"] for item in self.items if "macro" in item}
        self.lists = {item["list"]: [str(each) for each in item["items"]] for item in self.items if "list" in item}
        self.used: set[str] = set()
        self.fields: set[str] = set()
        self._conditions = {name: self.parse(rule["condition"]) for name, rule in self.rules.items()}

    def matching(self, event: Event) -> set[str]:
        """Return the names of the rules that the event sets off."""
        return {name for name, condition in self._conditions.items() if condition(event)}

    def parse(self, text: str) -> Condition:
        """Return a condition as a function of an event."""
        parser = _Parser(self, list(_tokens(text)))
        condition = parser.any_of()
        assert parser.at == len(parser.tokens), f"left over: {parser.tokens[parser.at :]}"
        return condition


class _Parser:
    def __init__(self, rules: Rules, tokens: list[str]) -> None:
        self.rules, self.tokens, self.at = rules, tokens, 0

    def take(self, *wanted: str) -> str:
        token = self.tokens[self.at]
        assert not wanted or token in wanted, f"{wanted} expected, not {token!r}"
        self.at += 1
        return token

    def next_is(self, token: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at] == token

    def any_of(self) -> Condition:
        parts = [self.all_of()]
        while self.next_is("or"):
            self.take()
            parts.append(self.all_of())
        return lambda event: any(part(event) for part in parts)

    def all_of(self) -> Condition:
        parts = [self.one()]
        while self.next_is("and"):
            self.take()
            parts.append(self.one())
        return lambda event: all(part(event) for part in parts)

    def one(self) -> Condition:
        if self.next_is("not"):
            self.take()
            denied = self.one()
            return lambda event: not denied(event)
        if self.next_is("("):
            self.take()
            inner = self.any_of()
            self.take(")")
            return inner
        name = self.take()
        if "." not in name:
            self.rules.used.add(name)
            return self.rules.parse(self.rules.macros[name])
        self.rules.fields.add(re.sub(r"\[.*\]", "", name))
        return self.comparison(name)

    def comparison(self, field: str) -> Condition:
        operator = self.take("in", *_COMPARE)
        if operator == "in":
            values = list(self.values())
            if field.endswith("net"):
                networks = [ipaddress.ip_network(value) for value in values]
                return lambda event: any(ipaddress.ip_address(event[field]) in net for net in networks)
            return lambda event: event.get(field) in values
        wanted, compare = _plain(self.take()), _COMPARE[operator]
        return lambda event: field in event and compare(event[field], wanted)

    def values(self) -> Iterator[str]:
        self.take("(")
        while True:
            token = self.take()
            if token in self.rules.lists:
                self.rules.used.add(token)
                yield from self.rules.lists[token]
            else:
                assert token[0] in "\"'" or not token.startswith("aboveboard_"), f"no list {token}"
                yield _plain(token)
            if self.take(",", ")") == ")":
                return


def _tokens(text: str) -> Iterator[str]:
    at, text = 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, f"not understood: {text[at : at + 40]!r}"
        yield match[1]
        at = match.end()


def _plain(token: str) -> str:
    return token[1:-1] if token[0] in "\"'" else token
