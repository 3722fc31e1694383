"""Judging in a process of its own, which is killed when a policy pack does not come to an end.

The rules of a cluster's packs are other people's programs, and the Rego engine cannot be interrupted: a thread that
waits for it waits for ever, and with it whoever waits for the thread. So one long-lived process compiles and judges;
what takes too long, or more memory than it may have, is refused by name, and the next question finds a new process.

What comes back is read as data, never as objects: the engine has seen text that anybody may have written.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import msgspec

from aboveboard.errors import AboveboardError, GateRefused, Problem, StorageFailed
from aboveboard.policy import GateVerdict, PolicyPack, built_in_packs, load_pack
from aboveboard.policy.engine import Engine
from aboveboard.policy.pack import BUILT_IN, HOUSE
from aboveboard.policy.rehearsal import PackTest, rehearse

LIMIT_SECONDS: Final = 3.0
"""For what one pack says about one set of facts; packs that come with Aboveboard take a tenth of a second each."""
WHOLE_SECONDS: Final = 6.0
"""For all packs together, and all tests of a pack: the webhook has eight, and then says nothing but that."""
START_SECONDS: Final = 30.0
REST_SECONDS: Final = 60.0
"""For which a pack that overran is refused without being asked: everybody else would wait for it each time."""
MEMORY_BYTES: Final = 128 * 1024 * 1024
"""What judging may take beyond what the process has when it is ready."""

_ENGINES: Final = 8
_READY, _STEP, _SAID, _REFUSED = b"r", b"s", b"v", b"e"


class Overran(GateRefused):
    """A policy pack was given up: nobody can say what it demands. Not to be remembered, it may have been bad luck."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is the verdict on these facts?"""

    facts: bytes
    packs: tuple[PolicyPack, ...]
    as_of: date


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """Does this pack compile, and do its tests come out?"""

    pack: PolicyPack
    tests: tuple[PackTest, ...]


class JudgingProcess:
    """Keeps one process that judges. Threads take turns."""

    def __init__(
        self, timer: Callable[[], float], *, limit: float = LIMIT_SECONDS, whole: float = WHOLE_SECONDS
    ) -> None:
        self._timer = timer
        self._limit = limit
        self._whole = whole
        self._context = multiprocessing.get_context("spawn")
        self._turn = threading.Lock()
        self._process: BaseProcess | None = None
        self._line: Connection | None = None
        self._resting: dict[str, float] = {}

    def start(self) -> None:
        """Start the process, so that nobody has to wait for it."""
        with self._turn:
            self._begin()

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def verdict(self, facts: bytes, packs: Sequence[PolicyPack], as_of: date) -> GateVerdict:
        """Return the verdict of `packs` on facts in JSON, as `policy.gate` does.

        Raises `Overran` with the pack that took too long or too much, and `GateRefused` for what the gate itself
        refuses.
        """
        return msgspec.json.decode(self._ask(_Verdict(facts, tuple(packs), as_of), packs), type=GateVerdict)

    def rehearse(self, pack: PolicyPack, tests: Sequence[PackTest]) -> list[Problem]:
        """Return why a pack cannot be relied on, as `policy.rehearsal.rehearse` does. Raises `Overran`."""
        return msgspec.json.decode(self._ask(_Rehearsal(pack, tuple(tests)), [pack]), type=list[Problem])

    def _ask(self, question: _Verdict | _Rehearsal, packs: Sequence[PolicyPack]) -> bytes:
        with self._turn:
            now = self._timer()
            for pack in packs:
                if self._resting.get(pack.digest, now) > now:
                    raise self._overran(f"policy pack {pack.name} was given up a moment ago")
            line = self._begin()
            if not _is_ready(line):
                self._end()
                raise StorageFailed("the process that judges does not start", hint="look at the log of this process")
            return self._answer(line, question, packs)

    def _answer(self, line: Connection, question: _Verdict | _Rehearsal, packs: Sequence[PolicyPack]) -> bytes:
        """Ask, and wait for the answer step by step, no longer than is allowed."""
        end = self._timer() + self._whole
        at: PolicyPack | None = None
        with contextlib.suppress(OSError):  # gone already: the answer says so
            line.send(question)
        while True:
            left = min(self._limit, end - self._timer())
            try:
                if left <= 0 or not line.poll(left):
                    raise self._given_up(at, packs, f"did not come to an end within {self._limit:g} s")
                said = line.recv_bytes()
            except (EOFError, OSError) as error:
                needed = "needed more memory than it may have, or broke the engine"
                raise self._given_up(at, packs, needed) from error
            kind, rest = said[:1], said[1:]
            if kind == _STEP:
                at = next((pack for pack in packs if pack.name == rest.decode()), None)
                continue
            if kind == _REFUSED:
                message, hint = msgspec.json.decode(rest, type=tuple[str, str])
                raise GateRefused(message, hint=hint)
            return rest

    def _given_up(self, at: PolicyPack | None, packs: Sequence[PolicyPack], why: str) -> Overran:
        self._end()
        self._begin()  # while whoever asked is told
        now = self._timer()
        self._resting = {digest: until for digest, until in self._resting.items() if until > now}
        if at is not None and at.name not in built_in_packs():
            self._resting[at.digest] = now + REST_SECONDS
        return self._overran(f"policy pack {at.name if at else ', '.join(pack.name for pack in packs)} {why}")

    @staticmethod
    def _overran(message: str) -> Overran:
        return Overran(message, hint="have whoever wrote it mend it; no rule of ours takes a tenth of that")

    def _begin(self) -> Connection:
        if self._line is None or self._process is None or not self._process.is_alive():
            self._end()
            self._line, theirs = self._context.Pipe()
            self._process = self._context.Process(
                target=_serve, args=(theirs, self._whole), name="aboveboard-judge", daemon=True
            )
            self._process.start()
            theirs.close()
        return self._line

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._line = self._process = None


def _is_ready(line: Connection) -> bool:
    try:
        return line.poll(START_SECONDS) and line.recv_bytes() == _READY
    except (EOFError, OSError):
        return False


def _serve(line: Connection, whole: float) -> None:
    """Answer one question after the other, until the line is closed or somebody loses patience."""
    # A terminal sends Ctrl-C to the whole group: whoever started this decides when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    engines: OrderedDict[tuple[str, ...], Engine] = OrderedDict()
    _warm()
    _bound_memory()
    with contextlib.suppress(EOFError, OSError):
        while True:
            line.send_bytes(_READY)
            question = line.recv()
            _bound_time(whole)
            try:
                said = _SAID + _answered(question, engines, lambda name: line.send_bytes(_STEP + name.encode()))
            except AboveboardError as error:
                said = _REFUSED + msgspec.json.encode((error.message, error.hint))
            except MemoryError:
                os._exit(1)  # there is nothing left to say it with
            except msgspec.MsgspecError as error:
                said = _REFUSED + msgspec.json.encode((f"the facts are not JSON: {error}", ""))
            line.send_bytes(said)


def _answered(
    question: _Verdict | _Rehearsal,
    engines: OrderedDict[tuple[str, ...], Engine],
    step: Callable[[str], None],
) -> bytes:
    if isinstance(question, _Rehearsal):
        name = question.pack.name
        step(name)
        return msgspec.json.encode(rehearse(question.pack, question.tests, before=lambda: step(name)))
    key = tuple(pack.digest for pack in question.packs)
    engine = engines.pop(key, None) or Engine(question.packs)
    engines[key] = engine
    if len(engines) > _ENGINES:
        engines.popitem(last=False)
    facts = msgspec.json.decode(question.facts, type=dict[str, object])
    return msgspec.json.encode(engine.judge(facts, question.as_of, before=step))


def _warm() -> None:
    """Load what the first question would wait for, and what is not to count as its memory."""
    rehearse(load_pack(BUILT_IN / HOUSE), [])


def _bound_time(seconds: float) -> None:
    """Have the kernel end this process where whoever should lose patience is gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 2, hard))


def _bound_memory() -> None:
    """Have the process fail rather than grow: in a container the kernel would end everything in it."""
    statm = Path("/proc/self/statm")
    with contextlib.suppress(OSError, ValueError):
        size = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, size + MEMORY_BYTES))
