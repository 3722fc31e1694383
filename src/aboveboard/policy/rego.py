"""The edge to the Rego engine: one compiled pack, facts in, whatever it answers out.

rego-cpp by way of regopy, which speaks the Rego of OPA 1.x. Four of its habits are dealt with here: it prints
compile errors, so its log is silenced; it writes a division by zero into the output as text that is no JSON, so
errors in built-in functions are made strict; its in-memory input cuts numbers to six decimals and does not escape
strings, so the facts go in as one canonical JSON term; and a rule that does not hold simply is not in the output,
which is for the caller to notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aboveboard.canonical import canonical_json

ENGINE = "rego-cpp"
LIBRARY = Path(__file__).parent / "packs" / "library.rego"
"""Functions every pack may import as `data.aboveboard.library`."""

_SMALLEST = 1e-300


class RegoFailed(Exception):
    """The engine did not compile a pack, or stopped while it evaluated one."""


def engine_version() -> str:
    """Return the version of the Rego engine."""
    import regopy

    return str(regopy.__version__)


class CompiledRego:
    """Modules compiled once, to answer for any number of facts. Belongs to one thread: it holds the facts."""

    def __init__(self, packages: Sequence[str], modules: Mapping[str, str]) -> None:
        """Compile `modules` (Rego text by file name) to answer for `packages`. Raises `RegoFailed`."""
        # Loading the shared library takes 50 ms, which a process that only reads verdicts should not spend.
        from regopy import Interpreter, LogLevel, RegoError

        self._interpreter = Interpreter()
        self._interpreter.log_level = LogLevel.NONE
        self._interpreter.strict_built_in_errors = True
        try:
            for name, text in modules.items():
                self._interpreter.add_module(name, text)
            self._bundle = self._interpreter.build(None, [_entrypoint(package) for package in packages])
        except RegoError as error:
            raise RegoFailed(f"does not compile: {_first_message(str(error), modules)}") from error
        if not self._bundle.ok():
            messages = "; ".join(dict.fromkeys(_messages(self._bundle.node())))
            raise RegoFailed(f"does not compile: {messages or 'the engine did not say why'}")

    def consider(self, facts: Any) -> None:
        """Take on the facts that the next answers are about. Raises `RegoFailed`."""
        from regopy import RegoError

        try:
            self._interpreter.set_input_term(canonical_json(_readable(facts)).decode())
        except RegoError as error:
            raise RegoFailed("the engine did not take the facts") from error

    def answers(self, package: str) -> dict[str, Any]:
        """Return the value of `answers` in one package; {} where it is undefined.

        Raises `RegoFailed` when the engine stopped, or said something other than one object without duplicate keys.
        """
        from regopy import RegoError

        try:
            output = self._interpreter.query_bundle_entrypoint(self._bundle, _entrypoint(package))
        except (RegoError, ValueError, TypeError, AssertionError) as error:
            raise RegoFailed("gave nothing that can be read; a function may be misspelt") from error
        if not output.ok():
            raise RegoFailed("; ".join(dict.fromkeys(_messages(output.node()))) or "stopped without saying why")
        return _object(str(output))


def _readable(node: Any) -> Any:
    """Return the facts without what the engine misreads: numbers below 1e-300 become 0, and blank text empty.

    A p-value may be that small. White space is escaped in the term and stays so inside the engine, where trimming
    does not find it.
    """
    if isinstance(node, dict):
        return {key: _readable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_readable(value) for value in node]
    if isinstance(node, str):
        return "" if node.isspace() else node
    return 0.0 if isinstance(node, float) and abs(node) < _SMALLEST else node


def _entrypoint(package: str) -> str:
    return f"{package.replace('.', '/')}/answers"


def _object(text: str) -> dict[str, Any]:
    if text == "undefined":
        return {}
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except ValueError as error:
        raise RegoFailed(f"gave nothing that can be read: {error}") from error
    expressions = document.get("expressions") if isinstance(document, dict) else None
    if not isinstance(expressions, list) or len(expressions) != 1 or not isinstance(expressions[0], dict):
        raise RegoFailed("`answers` is not an object of rule id and answer")
    return expressions[0]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _messages(node: Any) -> Iterator[str]:
    """Yield the text of every error in the engine's tree of errors."""
    from regopy import NodeKind
    from regopy.rego_shared import rego_node_value

    if node.kind == NodeKind.ErrorMessage:
        yield rego_node_value(node._impl)
        return
    for index in range(len(node)):
        yield from _messages(node.at(index))


def _first_message(tree: str, modules: Mapping[str, str]) -> str:
    """Return the first message in the engine's printed tree of errors, with file and line.

    The tree reads `(error 6:m.rego|49|1 (errormsg 16:this is unclosed) …`: lengths before texts, offsets in bytes.
    """
    found = re.search(
        r"\(error \d+:(?P<file>.+?)\|(?P<offset>\d+)\|.*?\(errormsg \d+:(?P<text>[^)]*)\)", tree, re.DOTALL
    )
    if found is None:
        return "the engine did not say why"
    before = modules.get(found["file"], "").encode()[: int(found["offset"])]
    line = before.count(b"\n") + 1
    return f"{found['file']}:{line}: {found['text']}"
